"""Drains in good and bad weather on a real control plane, all at once: windows of every length, a budget that opens one by one, agents
that are killed, roads that fail. Asserted on the API server's own record (watch and audit log); each prints its figure beside that of
aws-node-termination-handler (NTH) where that was measured: 42 pods and 5 of DaemonSets, 60 s, budgets that never allow.

`make bench-drain` plays it with a window of 120 s and five minutes of steady state as well.
"""

import math
import os
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.between import Between  # noqa: E402  pylint: disable=wrong-import-position
from rig.coredns import answer, site  # noqa: E402  pylint: disable=wrong-import-position
from rig.crowd import Crowd, Rotation  # noqa: E402  pylint: disable=wrong-import-position
from rig.drains import MARGIN, OUR_TAINT, Drained, by_verb, uid_of  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import FirstShown, cpu_seconds, sanitized  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from rig.scenes import FOREIGN, Scene, Stage  # noqa: E402  pylint: disable=wrong-import-position
from rig.workload import Population  # noqa: E402  pylint: disable=wrong-import-position

pytestmark = pytest.mark.xdist_group("drain-scenes")  # one worker plays it, once

LONG = os.environ.get("LASTLIGHT_DRAIN_LONG") == "1"
WINDOWS = (120, 60, 30, 15) if LONG else (60, 30, 15)
STEADY = 300.0 if LONG else 45.0
SEED = int(os.environ.get("LASTLIGHT_SEED", "0")) or int.from_bytes(os.urandom(3), "big")
IN_FLIGHT = 4  # requests at once of a drain that began with two, on average and at least
REQUEST_TIMEOUT = 0.9  # seconds: the least that an eviction is waited for
MIB = 1024  # KiB
KARPENTER = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
ANNOTATION = "lastlight.io/interruption"


class Crowded(Scene):
    """110 pods; in one of the windows as large as real ones can be."""

    def work(self):
        return Crowd(self.control_plane, self.node, seed=SEED + int(self.window), padding=12_000 if self.window == 30 else 0, node_taints=[FOREIGN])


class Rotating(Scene):
    window = 45.0

    def work(self):
        return Rotation(self.control_plane, self.node, replicas=5, node_taints=[FOREIGN])


class Killed(Scene):
    """SIGKILL to the whole agent in one phase of the drain, and a new one at once."""

    window = 25.0

    def __init__(self, phase):
        super().__init__(f"killed-{phase}")
        self.phase, self.away = phase, 0.0

    def reached(self):
        told = self.marked() if self.phase != "noticed" else set()
        free, guarded = ({uid_of(pod) for pod in pods} for pods in (self.pods.free(), self.pods.guarded()))
        return {"noticed": lambda: True, "cordoned": lambda: self.node_now()["spec"].get("unschedulable"), "evicting": lambda: told,
                "waiting": lambda: free <= told, "deleting": lambda: told & guarded, "told": lambda: free | guarded <= told}[self.phase]()

    def during(self):
        wait_until(self.reached, self.window, f"the phase {self.phase}", self.agent.process, interval=0.01)
        began = time.monotonic()
        self.restart()
        self.agent.wait_ready()
        self.away = time.monotonic() - began


class NodeAway(Scene):
    """Its Node object is deleted in mid-drain and made again five seconds later."""

    def during(self):
        self.until(self.marked, 10, "the first pod to be told")
        self.control_plane.delete_node(self.node)
        gone = time.monotonic()
        self.until(lambda: time.monotonic() - gone >= 5, 10, "five seconds without its Node object")
        self.control_plane.create_node(self.node, taints=[FOREIGN])


class Road(Scene):
    """A proxy between the agent and the API server."""

    def __init__(self, name, window=None, population=None, **bad):
        super().__init__(name, window)
        self.population = population or self.population
        self.bad, self.road = bad, None

    def server(self, running):
        self.road = running.enter_context(Between(self.control_plane, SEED + len(self.name)))
        return self.road.host, self.road.port

    def prepare(self):
        for key, value in self.bad.items():
            setattr(self.road, key, value)


class TokenExpired(Scene):
    """Its token has expired when the notice comes; five seconds later the kubelet rotates it."""

    def prepare(self):
        file = os.path.join(self.agent.account, "token")
        with open(file, encoding="utf-8") as text:
            self.token = text.read()
        self.put(self.control_plane.expired(self.token))

    def put(self, token):
        file = os.path.join(self.agent.account, "token")
        with open(file + ".new", "w", encoding="utf-8") as text:
            text.write(token)
        os.rename(file + ".new", file)

    def during(self):
        self.until(lambda: time.time() - self.shown.wall >= 5, 10, "five seconds with an expired token")
        assert not self.node_now()["spec"].get("unschedulable")
        self.put(self.token)
        self.rotated = time.time()


class Withdrawn(Scene):
    """The notice is withdrawn; another comes, and the machine is another when the agent starts next."""

    population = Population.only(web=2, daemons=1)

    def __init__(self, name, cordoned_by_person):
        super().__init__(name)
        self.cordoned_by_person = cordoned_by_person
        self.between = self.after = None

    def prepare(self):
        if self.cordoned_by_person:
            self.control_plane.kubectl("cordon", self.node)

    def tainted(self):
        return any(taint["key"] == OUR_TAINT for taint in self.node_now()["spec"].get("taints", []))

    def unmarked(self):
        node = self.node_now()
        return node if not self.tainted() and ANNOTATION not in node["metadata"]["annotations"] else None

    def during(self):
        self.until(self.tainted, 10, "the taint")
        self.imds.withdraw()
        self.between = self.until(self.unmarked, 15, "the marks to be taken away")
        self.imds.set_notice(window=30)
        self.until(self.tainted, 10, "the taint again")
        self.agent.kill()
        self.imds.withdraw()
        self.agent.state_file.unlink()
        annotation = self.node_now()["metadata"]["annotations"][ANNOTATION]
        boot = annotation[annotation.index('"boot":"') + 8:].partition('"')[0]
        other = annotation.replace(boot, "00000000-1111-2222-3333-444444444444")
        self.control_plane.api.patch(f"/api/v1/nodes/{self.node}", {"metadata": {"annotations": {ANNOTATION: other}}})
        self.agent.start()
        self.after = self.until(self.unmarked, 20, "what an earlier boot left to be taken away")


class Joined(Scene):
    """Another has begun already: Karpenter's taint is there, and half of the pods were evicted just before the notice."""

    population = Population.only(web=8, slow=4, guarded=2, daemons=1, guarded_grace=8)

    def prepare(self):
        self.control_plane.api.patch(f"/api/v1/nodes/{self.node}", [{"op": "add", "path": "/spec/taints/-", "value": KARPENTER}], "json")

    def notice(self):
        for pod in self.pods.slow():
            code, said = self.control_plane.evict(self.pods.namespace, pod["metadata"]["name"])
            assert code == 201, said
        super().notice()


class Idle(Scene):
    """No notice: nothing is asked after the check at start."""

    population = Population.only(web=1)

    def notice(self):
        self.shown = FirstShown(self.imds)
        self.shown.at, self.shown.wall = time.monotonic(), time.time()
        self.given = type("None", (), {"ends_wall": 0})
        self.began, self.cpu = time.monotonic(), cpu_seconds(self.agent.process.pid)

    def wait(self):
        self.until(lambda: time.monotonic() - self.began >= STEADY, STEADY + 5, "steady state")
        self.asked = time.monotonic() - self.began
        self.cpu = cpu_seconds(self.agent.process.pid) - self.cpu


SCENES = [*(Crowded(f"window-{window}", window) for window in WINDOWS), Rotating("one-by-one"),
          *(Killed(phase) for phase in ("noticed", "cordoned", "evicting", "waiting", "deleting", "told")), NodeAway("node-away"),
          Road("five-percent", population=Population.only(web=30, guarded=5, daemons=1, guarded_grace=8), failing=0.05),
          Road("two-seconds-late", 40.0, Population.only(web=18, guarded=3, daemons=1, guarded_grace=8), latency=2.0), TokenExpired("expired"),
          Joined("joined"), Withdrawn("withdrawn", False), Withdrawn("withdrawn-person", True), Idle("idle")]


@pytest.fixture(scope="module")
def runs(control_plane, shipped, agent_binary, coredns_factory, tmp_path_factory):  # pylint: disable=unused-argument
    upstream = coredns_factory(site(".", answer("203.0.113.7", ttl=1)))
    return Stage(control_plane, agent_binary, upstream.port, tmp_path_factory.mktemp("scenes")).play(SCENES)


@pytest.fixture
def played(runs):  # pylint: disable=redefined-outer-name
    def the(name):
        if not isinstance(runs[name], Drained):
            raise runs[name]
        return runs[name]
    return the


def show(capsys, name, text, nth):
    with capsys.disabled():
        print(f"\n{name}: {text} (NTH: {nth}; seed {SEED})")


def unanswered(run):
    """Names of pods for which the agent gave a request up: the server may have done it all the same, so that it had to ask again."""
    return {each.name for each in run.evictions(None) + run.deletions() if each.code == 504 or each.finished - each.received >= REQUEST_TIMEOUT}


def rules(run, node_writes=3):
    """What holds in any weather."""
    staying = {pod["metadata"]["name"] for pod in run.work.untouchable()}
    assert staying and not [each for each in run.requests if each.resource == "pods" and each.name in staying]
    assert all(each.body["gracePeriodSeconds"] >= 1 and each.body["preconditions"]["uid"] for each in run.deletions())
    assert all(each.body["deleteOptions"]["gracePeriodSeconds"] >= 1 and each.body["deleteOptions"]["preconditions"]["uid"]
               for each in run.evictions(None))
    assert {each.name for each in run.markings()} <= {each.name for each in run.deletions()}
    assert len(run.node_writes()) <= node_writes, by_verb(run.requests)
    assert FOREIGN in run.node["spec"]["taints"]


def check_told(run, at_least=1, answers=True):
    """Every pod that can be told was, in time, with a grace, and its grace once given was never cut; unless no answer came in time."""
    told, twice = run.told(), unanswered(run)
    for pod in run.work.evictable():
        name, grace = pod["metadata"]["name"], pod["spec"]["terminationGracePeriodSeconds"]
        event = told.get(uid_of(pod))
        assert event is not None and event.wall < run.ends, name
        given = event.object["metadata"]["deletionGracePeriodSeconds"]
        assert min(grace, at_least) <= given <= max(1, grace), (name, given)
        later = [each.object["metadata"] for each in run.seen if each.kind == "Pod" and uid_of(each.object) == uid_of(pod) and each.wall > event.wall]
        assert not answers or name in twice or {each["deletionTimestamp"] for each in later if each["deletionGracePeriodSeconds"] > 0} <= {
            event.object["metadata"]["deletionTimestamp"]}, name
    return told


def granted(run):
    """{pod's name: the request that told it}; nothing is granted twice, but after one that the agent had to give up."""
    found, twice = {}, unanswered(run)
    for each in [*run.evictions(201), *run.deletions(), *run.evictions(504)]:
        if each.code in (200, 201, 504):
            assert found.setdefault(each.name, each) is each or each.name in twice, f"{each.name} was asked twice"
    names, untouchable = ({pod["metadata"]["name"] for pod in pods} for pods in (run.work.evictable(), run.work.untouchable()))
    # A scheduler that has not heard of the cordon yet may bind a replacement to the node: it is evicted as well.
    late = {event.name for event in run.seen if event.kind == "Pod" and event.object["spec"].get("nodeName") == run.work.node} - names - untouchable
    assert names <= set(found) <= names | late
    return found


def check_evicted(run, pods):
    """Not deleted: no budget refuses these."""
    by, twice = granted(run), unanswered(run)
    assert {by[pod["metadata"]["name"]].verb for pod in pods if pod["metadata"]["name"] not in twice} <= {"create"}
    return by


def epoch(stamp):
    return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone


@pytest.mark.parametrize("window", WINDOWS)
def test_every_window_gives_110_pods_what_fits(played, window, agent_binary, capsys):  # pylint: disable=redefined-outer-name
    run = played(f"window-{window}")
    rules(run)
    told, by = check_told(run), check_evicted(run, run.work.free())
    assert not {uid_of(pod) for pod in run.work.untouchable()} & set(told)
    assert len(run.work.evictable()) + len(run.work.untouchable()) == 110
    slack, twice = run.delay + 0.1, unanswered(run)
    for pod in run.work.evictable():
        grace, request = pod["spec"]["terminationGracePeriodSeconds"], by[pod["metadata"]["name"]]
        given = told[uid_of(pod)].object["metadata"]
        left = run.ends - MARGIN - request.received
        if pod["metadata"]["name"] in twice:
            continue
        assert min(grace, math.floor(left - slack)) <= given["deletionGracePeriodSeconds"] <= max(1, min(grace, math.ceil(left + slack)))
        if request.received < run.ends - 4:
            assert epoch(given["deletionTimestamp"]) <= run.ends - 2 + slack, (grace, given)
    # Evicted, and at once, is what no budget refuses; the rest is deleted at its last safe instant.
    free, guarded = ({pod["metadata"]["name"]: pod for pod in pods} for pods in (run.work.free(), run.work.guarded()))
    deleted = {name for name, request in by.items() if request.verb == "delete"}
    assert len(set(guarded) - deleted) <= 1 and deleted - twice <= set(guarded)  # the budget that allows one did
    cordon = run.cordon()
    last = max(by[name].received for name in free) - cordon.received
    assert last <= 1 + len(by) / IN_FLIGHT * slack  # each waits for a place
    late = [by[name].received - run.last_safe_instant(guarded[name]["spec"]["terminationGracePeriodSeconds"]) for name in deleted if name in guarded]
    # Before evictions that have time; those that are due at one instant, as most are in a short window, wait for a place.
    assert min(late) >= -0.5 - slack and max(late) <= 1 + (1 + len(late) / IN_FLIGHT) * slack, (late, slack, last)
    refused = [each for each in run.evictions(None) if each.code in (429, 500)]
    assert len(run.requests) <= len(run.work.evictable()) + 12 + len(refused) + 3 * len(guarded), by_verb(run.requests)
    if not sanitized(agent_binary):
        assert run.memory.anonymous < 10 * MIB
    show(capsys, f"110 pods{' of 12 kB' if window == 30 else ''}, {window} s",
         f"cordon after {cordon.received - run.shown.wall:.2f} s, last eviction {last:.2f} s later, {len(late)} of {len(late)} guarded pods told"
         f" {min(late):+.2f} to {max(late):+.2f} s from D, {len(run.requests)} requests of which {len(refused)} refused: {by_verb(run.requests)},"
         f" anonymous {run.memory.anonymous / MIB:.1f} MiB",
         "2.2 s, 11.8 s, 0 of 5 told, 210 requests")


@pytest.mark.parametrize("window", WINDOWS)
def test_an_endpoint_terminates_with_its_pod(played, window, capsys):  # pylint: disable=redefined-outer-name
    run = played(f"window-{window}")
    said = run.terminating_endpoints()
    assert set(said) >= {uid_of(pod) for pod in run.work.pods("web")}
    by = granted(run)
    evicted = max(by[pod["metadata"]["name"]].finished for pod in run.work.pods("web")) - run.shown.wall
    assert max(said.values()) <= evicted + 1.0 + run.delay, (said, evicted, run.delay)
    show(capsys, f"EndpointSlice, {window} s", f"all {len(said)} endpoints terminating {max(said.values()):.2f} s after the notice",
         "the last pod was evicted 14.0 s after it")


def test_a_budget_that_allows_one_lets_go_of_one_at_a_time(played, capsys):  # pylint: disable=redefined-outer-name
    run = played("one-by-one")
    check_told(run)
    told, gone = run.told(), run.gone()
    due = run.last_safe_instant(run.work.population.grace)
    before = sorted((told[uid_of(pod)].wall, gone[uid_of(pod)].wall) for pod in run.work.evictable() if told[uid_of(pod)].wall < due - 0.5)
    for (_, ended), (began, _) in zip(before, before[1:]):
        assert began >= ended, "two of its pods terminated together"
    assert len(before) >= 2, "the replacements were never waited for"
    check_evicted(run, [pod for pod in run.work.evictable() if told[uid_of(pod)].wall < due - 0.5])
    show(capsys, "one by one", f"{len(before)} of 5 pods were replaced before the next was evicted, two together never before D",
         "honours the budget, and loses what is left")


@pytest.mark.parametrize("phase", ["noticed", "cordoned", "evicting", "waiting", "deleting", "told"])
def test_a_killed_agent_goes_on(played, phase, capsys):  # pylint: disable=redefined-outer-name
    run = played(f"killed-{phase}")
    rules(run, node_writes=5)  # a new life says its marks once more
    slack = run.scene.away + run.delay
    check_told(run, at_least=run.work.population.guarded_grace - math.ceil(slack))
    by = check_evicted(run, run.work.free())
    late = [by[pod["metadata"]["name"]].received - run.last_safe_instant(8) for pod in run.work.guarded()]
    assert min(late) >= -0.5 - run.delay and max(late) <= 1 + slack, (late, slack)
    show(capsys, f"killed when {phase}", f"away {run.scene.away:.2f} s, {len(by)} of {len(by)} pods told, none twice, {len(run.requests)} requests",
         "not measured")


def check_marks(run):
    assert run.node["spec"].get("unschedulable") is True
    assert run.node["metadata"]["labels"][EXCLUDE] == "lastlight"
    assert OUR_TAINT in {taint["key"] for taint in run.node["spec"]["taints"]}


def test_a_node_object_that_goes_and_comes_is_marked_again(played, capsys):  # pylint: disable=redefined-outer-name
    run = played("node-away")
    rules(run, node_writes=40)  # it is asked for until it is there
    check_told(run, at_least=8)
    check_marks(run)
    granted(run)
    show(capsys, "the Node object was deleted", f"{len(run.told())} pods told with their grace, marked again; {by_verb(run.requests)}", "not measured")


def test_an_api_server_that_fails_now_and_then_costs_nobody_a_grace(played, capsys):  # pylint: disable=redefined-outer-name
    run = played("five-percent")
    rules(run)
    check_told(run, at_least=4)
    granted(run)
    check_marks(run)
    show(capsys, "5 % of the requests failed", f"{run.scene.road.failed} did; {len(run.told())} pods told; {by_verb(run.requests)}", "not measured")


def test_an_api_server_that_is_two_seconds_late(played, capsys):  # pylint: disable=redefined-outer-name
    run = played("two-seconds-late")
    rules(run)
    check_told(run, at_least=4, answers=False)
    check_marks(run)
    by = {each.name: each for each in run.evictions(201) + run.deletions()}
    last = max(by[pod["metadata"]["name"]].received for pod in run.work.free()) - run.shown.wall
    assert last <= 20 + run.delay  # a list and four rounds at least
    show(capsys, "each request two seconds late", f"last eviction {last:.1f} s after the notice, {len(run.told())} pods told; {by_verb(run.requests)}",
         "not measured")


def test_an_expired_token_is_read_again(played, capsys):  # pylint: disable=redefined-outer-name
    run = played("expired")
    rules(run)
    check_told(run, at_least=8)
    check_marks(run)
    after = run.cordon().received - run.scene.rotated
    assert 0 <= after <= 1.5 + run.delay
    show(capsys, "the token had expired", f"cordoned {after:.2f} s after the kubelet rotated it", "not measured")


def test_a_drain_that_others_have_begun_is_joined(played, capsys):  # pylint: disable=redefined-outer-name
    run = played("joined")
    rules(run)
    check_told(run, at_least=8)
    check_marks(run)
    theirs = {pod["metadata"]["name"] for pod in run.work.slow()}
    assert len(theirs) == 4 and not [each for each in run.requests if each.resource == "pods" and each.name in theirs]
    assert KARPENTER in run.node["spec"]["taints"]
    show(capsys, "another drains already", f"none of its {len(theirs)} pods was asked again, its taint stayed; {by_verb(run.requests)}", "fights it")


@pytest.mark.parametrize("name", ["withdrawn", "withdrawn-person"])
def test_marks_are_taken_back_but_a_persons_cordon_stays(played, name, capsys):  # pylint: disable=redefined-outer-name
    run = played(name)
    for node in (run.scene.between, run.scene.after):
        assert node["spec"].get("unschedulable", False) is run.scene.cordoned_by_person
        assert FOREIGN in node["spec"]["taints"] and EXCLUDE not in node["metadata"]["labels"]
    show(capsys, name, "our marks were taken back, by a withdrawal and after another boot; the foreign taint and cordon stayed", "not measured")


def test_nothing_is_asked_in_steady_state(played, capsys):  # pylint: disable=redefined-outer-name
    run = played("idle")
    assert not run.requests and run.scene.asked >= STEADY
    day = run.scene.cpu / run.scene.asked * 86400
    show(capsys, "steady state", f"0 requests in {run.scene.asked:.0f} s; all that it does at rest takes {day:.1f} s of CPU a day", "not measured")
