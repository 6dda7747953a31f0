"""A spot notice drains a node of a real control plane, asserted on the API server's own record: watch and audit log.

The shipped manifests are applied; the agent runs outside of them, as their pod would: the shipped configuration but for the
addresses of this machine, a token of the shipped ServiceAccount bound to the DaemonSet's pod, real TLS, real RBAC. D is the last
safe instant of a pod that its PodDisruptionBudget refuses: max(T - 3 s - its grace, notice + window/6), T the node's end.
"""

import math
import os
import random
import sys
import time
import urllib.parse

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.coredns import answer, site  # noqa: E402  pylint: disable=wrong-import-position
from rig.drains import LABEL, MARGIN, OUR_TAINT, RECORDED, USER, Drained, ShippedAgent, by_verb, of_self_check, slowest_answer, uid_of  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import FirstShown, Memory, SchedulingDelay, sanitized  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import RigFailure, wait_until  # noqa: E402  pylint: disable=wrong-import-position
from rig.workload import Population  # noqa: E402  pylint: disable=wrong-import-position
from sandbox import lookups  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position

TAINT = {"key": "example.com/reserved", "value": "batch", "effect": "NoSchedule"}
NAMES = tuple(f"host-{number}.example" for number in range(200))
WINDOW, POLL, RETRY = 60.0, 1.0, 5.0
MIB = 1024  # KiB
BASELINE = "aws-node-termination-handler: cordon 1.6-2.2 s, last eviction 11.8 s, 0 of 5 told, 210 requests, 52 MiB RSS, 15 anonymous"


@pytest.fixture
def drain(control_plane, shipped, workload, coredns_factory, agent_binary, tmp_path):  # pylint: disable=redefined-outer-name,unused-argument
    """drain(node, population=..., during=f) runs one drain from the notice to the end of the window or of the pods."""

    def run(node, population=Population(), before=lambda imds: None, during=lambda: None, dns_names=NAMES):
        work = workload(node, population, node_taints=[TAINT])
        upstream = coredns_factory(site(".", answer("203.0.113.7", ttl=1)))
        folder = tmp_path / node
        folder.mkdir()
        began = control_plane.audit.now()  # the test before may just have taken its marks back
        with Imds() as imds, control_plane.record(*RECORDED) as record, SchedulingDelay() as delay, \
                ShippedAgent(agent_binary, control_plane, node, folder, imds.url, upstream.port) as agent:
            agent.wait_ready()
            with lookups.Asker(dns_names, agent.dns_port, every=0.02, timeout=2.0, attempts=1) as asker, Memory(agent.process.pid) as memory:
                before(imds)
                with FirstShown(imds) as shown:
                    notice = imds.set_notice(after=random.uniform(0.2, 1.2), window=WINDOW)  # anywhere between two polls
                    wait_until(lambda: shown.at, 10, "the mock to show the notice")
                during()
                try:
                    work.wait_gone(timeout=WINDOW + 10)
                except RigFailure as failure:
                    raise RigFailure(f"{failure}\n{agent.process.tail(60)}") from None
            worst = delay.worst(shown.at, shown.at + WINDOW) + slowest_answer(control_plane.audit, shown.wall, time.time())
            requests = [each for each in control_plane.audit.requests(user=USER, since=max(began, shown.wall - 5)) if not of_self_check(each)]
            seen = record.all()
            assert agent.process.exit_code() is None, agent.process.tail()
        return Drained(work, agent, shown, float(notice.ends_wall), requests, seen, asker, memory, worst)

    return run


def figures(run):
    evictions, told = run.evictions(), run.told()
    guarded = [uid_of(pod) for pod in run.work.guarded()]
    in_time = [uid for uid in guarded if uid in told and told[uid].wall < run.ends and told[uid].object["metadata"]["deletionGracePeriodSeconds"] > 0]
    cordon = run.cordon()
    return {"cordon after notice": cordon.received - run.shown.wall,
            "last eviction after cordon": max((each.received for each in evictions), default=cordon.received) - cordon.received,
            "told": len(in_time), "guarded": len(guarded), "requests": len(run.requests), "verbs": by_verb(run.requests),
            "rss": run.memory.rss, "anonymous": run.memory.anonymous}


def show(capsys, run):
    found = figures(run)
    with capsys.disabled():
        print(f"\n{run.work.node}: notice to cordon {found['cordon after notice']:.2f} s, last eviction {found['last eviction after cordon']:.2f} s after"
              f" the cordon, {found['told']} of {found['guarded']} guarded pods told, {found['requests']} requests {found['verbs']},"
              f" {found['rss'] / MIB:.1f} MiB RSS, {found['anonymous'] / MIB:.2f} anonymous; lookups {run.asker.answered} answered,"
              f" {run.asker.failed} failed, slowest {run.asker.slowest * 1000:.0f} ms; worst scheduling delay {run.delay * 1000:.0f} ms\n"
              f"baseline, {BASELINE}")
    return found


def check_promises(control_plane, run, denies_until=0.0):
    """What holds in any weather. An API server that starts denies what it has not read the roles for: `denies_until` then."""
    work, told = run.work, run.told()
    forbidden = [each for each in run.requests if each.code in (401, 403) and each.received > denies_until]
    assert not forbidden
    node = control_plane.node(work.node)
    assert node["spec"].get("unschedulable") is True
    assert TAINT in node["spec"]["taints"]
    body = run.cordon().body
    assert set(body) <= {"spec", "metadata", "apiVersion", "kind"} and set(body["spec"]) == {"unschedulable"}
    assert set(body.get("metadata", {})) <= {"annotations", "labels"}
    assert node["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"] == "lastlight"
    ours = [taint for taint in node["spec"]["taints"] if taint["key"] == OUR_TAINT]
    assert [taint["effect"] for taint in ours] == ["NoSchedule"]
    assert len(run.node_writes()) <= 3
    # Nothing is asked of a pod that terminates already, but one marking eviction after our own deletion: it leaves the grace alone.
    assert {each.name for each in run.markings()} <= {each.name for each in run.deletions()}
    assert len({each.name for each in run.markings()}) == len(run.markings())
    for event in told.values():
        later = [each for each in run.seen if each.kind == "Pod" and each.object["metadata"]["uid"] == uid_of(event.object) and each.wall > event.wall
                 and each.object["metadata"]["deletionGracePeriodSeconds"] > 0]  # 0 is the kubelet's own, when the pod has stopped
        assert {each.object["metadata"]["deletionTimestamp"] for each in later} <= {event.object["metadata"]["deletionTimestamp"]}
    # Those that stay: nobody asked, nobody was told.
    own = control_plane.pods("kube-system", labels=LABEL)
    staying = work.untouchable() + [pod for pod in own if pod["spec"].get("nodeName") == work.node]
    names = {pod["metadata"]["name"] for pod in staying}
    assert len(staying) == len(work.untouchable()) + 1
    assert not [each for each in run.evictions(None) + run.requests if each.resource == "pods" and each.name in names]
    assert not {uid_of(pod) for pod in staying} & set(told)
    # Only what a budget refuses is deleted, each at most once, by UID and with a grace.
    guarded = {pod["metadata"]["name"]: pod for pod in work.guarded()}
    assert {each.name for each in run.deletions()} <= set(guarded)
    for each in run.deletions():
        assert each.body["preconditions"]["uid"] == uid_of(guarded[each.name])
        assert each.body["gracePeriodSeconds"] >= 1
    for each in run.evictions():
        assert each.body["deleteOptions"]["preconditions"]["uid"]
    assert run.asker.failed == 0, run.asker.failures
    assert run.asker.answered > 100


def check_guarded(run, grace):
    """Each pod that its budget refuses is deleted once, between D - 0.5 s and D + 1 s, with the grace that D promises. The agent rounds what
    is left to seconds: half a second of the machine's own delay costs one."""
    grace = set(range(min(grace) - math.floor(run.delay + 0.5), max(grace) + 1))
    due = run.last_safe_instant(run.work.population.guarded_grace)
    deletions = [each for each in run.deletions() if each.code == 200]
    assert sorted(each.name for each in deletions) == sorted(pod["metadata"]["name"] for pod in run.work.guarded())
    offsets = [each.received - due for each in deletions]
    assert min(offsets) >= -0.5 - run.delay, (offsets, run.delay)  # T was reckoned from when the agent asked
    assert max(offsets) <= 1.0 + run.delay, (offsets, run.delay)
    assert {each.body["gracePeriodSeconds"] for each in deletions} <= grace, [each.body for each in deletions]
    told = run.told()
    assert {told[uid_of(pod)].object["metadata"]["deletionGracePeriodSeconds"] for pod in run.work.guarded()} <= grace
    targets = {each.object["metadata"]["uid"] for each in run.seen if each.kind == "Pod" and any(
        condition["type"] == "DisruptionTarget" and condition["status"] == "True" for condition in each.object["status"].get("conditions", []))}
    assert {uid_of(pod) for pod in run.work.guarded()} <= targets


def test_a_notice_drains_the_node_as_the_record_shows(control_plane, drain, agent_binary, capsys):  # pylint: disable=redefined-outer-name
    run = drain("drain-spot")
    found = show(capsys, run)
    check_promises(control_plane, run)
    refused = [each for each in run.requests if each.subresource == "eviction" and each.code == 429]
    assert found["requests"] <= len(run.work.evictable()) + 12 + len(refused) + 3 * found["guarded"]
    # Cordoned by the first request after the notice, within one poll; the pods are listed beside it, on a connection of their own.
    after = [each for each in run.requests if each.received >= run.shown.wall]
    first = next(each for each in after if (each.verb, each.resource) != ("list", "pods"))
    assert (first.verb, first.resource, first.name, first.code) == ("patch", "nodes", run.work.node, 200)
    assert found["cordon after notice"] <= POLL + 0.1 + run.delay
    watched = next(event for event in run.seen if event.kind == "Node" and event.name == run.work.node and event.object["spec"].get("unschedulable"))
    assert all(run.seen.index(watched) < run.seen.index(event) for event in run.told().values() if event.object["spec"].get("nodeName") == run.work.node)
    # Every evictable pod whose budget allows it, by eviction; at once.
    free = {pod["metadata"]["name"] for pod in run.work.evictable()} - {pod["metadata"]["name"] for pod in run.work.guarded()}
    assert sorted(each.name for each in run.evictions()) == sorted(free)
    assert found["last eviction after cordon"] <= 1.0 + run.delay
    assert found["told"] == found["guarded"] == 5
    behind = {uid_of(pod) for pod in run.work.pods("web")} - {uid_of(pod) for pod in run.work.slow()}
    endpoints = run.terminating_endpoints()
    assert max(endpoints[uid] for uid in behind) <= 1.5 + run.delay
    check_guarded(run, {run.work.population.guarded_grace})
    listed = [urllib.parse.unquote(each.uri) for each in run.requests if each.resource == "pods" and each.verb in ("list", "watch")]
    assert listed and all(f"fieldSelector=spec.nodeName={run.work.node}" in uri for uri in listed), listed
    if not sanitized(agent_binary):
        assert found["anonymous"] < 6 * MIB


def test_an_api_server_that_is_away_for_a_part_of_the_window(control_plane, drain, agent_binary, capsys):  # pylint: disable=redefined-outer-name
    """It dies as the notice comes and returns 20 s later; a grace that is longer than the window makes D = notice + window/6."""
    away = []

    def outage():
        control_plane.stop_server()
        away.append(time.time())
        wait_until(lambda: time.time() - away[0] >= 20, 25, "the outage")
        control_plane.start_server()
        away.append(time.time())

    population = Population(guarded_grace=120)
    run = drain("drain-outage", population, during=outage)
    found = show(capsys, run)
    check_promises(control_plane, run, denies_until=away[1] + 5)
    # The cordon is among the first to be answered, within the longest back-off of the server's return; the list is retried beside it.
    after = [each for each in run.requests if each.received >= away[0] and each.code != 403]
    cordon = next(each for each in after if each.verb == "patch" and each.resource == "nodes")
    assert (cordon.name, cordon.code) == (run.work.node, 200)
    assert cordon.received - away[1] <= RETRY + 0.1 + run.delay
    # Asked for before any eviction; an API server that starts may deny it (it has not read its admission policies) and grant those.
    asked = next(each for each in run.requests if each.received >= away[0] and each.verb == "patch" and each.resource == "nodes")
    assert all(each.received >= asked.received for each in after if each.subresource == "eviction")
    free = [pod for pod in run.work.evictable() if pod not in run.work.guarded()]
    assert sorted(each.name for each in run.evictions()) == sorted(pod["metadata"]["name"] for pod in free)
    # D passed while nobody was there: what is left by then is what a deletion gives.
    deletions = [each for each in run.deletions() if each.code == 200]
    assert len(deletions) == found["told"] == found["guarded"] == 5
    for each in deletions:
        assert run.last_safe_instant(population.guarded_grace) < each.received <= away[1] + RETRY + 1 + run.delay
        assert abs(each.body["gracePeriodSeconds"] - (run.ends - MARGIN - each.received)) <= 1 + run.delay
