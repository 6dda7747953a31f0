"""An upgrade as a DaemonSet's surge does it: the new agent takes the sockets over while the old one reads them; the old one waits
silently until it is told to leave. Nothing is lost, and an older container that is started again takes nothing back."""

import os
import re
import signal
import socket
import time

import pytest

from rig import steady
from rig.agent import parse_metrics, write_config, zone
from rig.asking import Asker
from rig.measure import family
from rig.netns import CLUSTER_IP, CLUSTER_IP6, COREDNS
from rig.proc import Process, has_ended, wait_until
from rig.steady import Steady
from test_takeover_lease import BATCH, US, start_coredns

UPSTREAM_SOCKETS = 8  # that are open toward one upstream over UDP
CONFIG = {"http": {"listen": "127.0.0.1:9253", "status": ""}, "interruption": {"source": "none"}, "takeover": {"mode": "intercept"},
          "dns": {"listen": [CLUSTER_IP, CLUSTER_IP6], "zones": [zone(".", f"{COREDNS}:5300")]}}
_SCRAPE = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9253/metrics', timeout=2).read().decode(), end='')"


@pytest.fixture
def start(cluster_net, coredns_factory, agent_binary, tmp_path, request):
    """start(pod): an agent of that pod, once it serves or waits."""
    del coredns_factory  # skips when there is none
    cluster_net.proxy()
    start_coredns(cluster_net, tmp_path, request)
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    config = write_config(tmp_path, CONFIG)

    def started(pod, until="state=held", config=config):
        with cluster_net.node:
            made = Process(f"lastlight-{pod}", [agent_binary, "run", "--config", config], str(tmp_path), env={"POD_UID": pod, "LASTLIGHT_RUN_DIR": str(run)})
        request.addfinalizer(made.stop)
        wait_until(lambda: until in made.output(), 20, until, made)
        return made
    return started


def scrape(net):
    return parse_metrics(net.node.run("python3", "-c", _SCRAPE))


def hit_rate(metrics):
    hits, misses = metrics["lastlight_cache_hits_total"], sum(metrics[f'lastlight_cache_misses_total{{reason="{each}"}}'] for each in ("absent", "expired"))
    return hits / (hits + misses)


def held(net, process):
    """What an agent has and could leak: descriptors of the supervisor and the worker, rules, anonymous KiB."""
    supervisor, worker = process.pid, next(iter(family(process.pid) - {process.pid}))
    rules = re.sub(r" (timeout|expires) \w+", "", net.node.run("nft", "list", "table", "inet", "lastlight"))
    with open(f"/proc/{worker}/status", encoding="ascii") as status:
        anonymous = next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (supervisor, worker)], rules.count("\n"), anonymous


def started_again(start, old, pod):
    """What the kubelet does when a container ends that it did not end: the same pod, once more."""
    os.kill(old.pid, signal.SIGKILL)
    old.wait(10)
    return start(pod, until="handover.waiting")


def test_surge_upgrades_lose_nothing(start, cluster_net, tmp_path):
    rate, upgrades = steady.sustained(cluster_net, tmp_path), 10 if steady.LONG else 2
    enough = 1_000_000 if steady.LONG else rate * 2  # questions after each upgrade
    old = start("pod-0")
    steady.warm(cluster_net.pod, CLUSTER_IP, tmp_path)
    began, rates, has = [], [], []
    with Steady(cluster_net.pod, CLUSTER_IP, rate, tmp_path) as load, Asker(cluster_net.pod, CLUSTER_IP) as pod, Asker(cluster_net.node, CLUSTER_IP) as local:
        wait_until(lambda: US in pod.answered_by() and US in local.answered_by(), 5, "answers")
        for number in range(1, upgrades + 1):
            began.append(time.monotonic())
            new = start(f"pod-{number}")
            wait_until(lambda old=old: "agent.standby waiting=true" in old.output(), 5, "the old one to wait", old, new)
            # What the new one has been asked so far, and what it is in a second.
            assert "cache_image.restored" in new.output(), new.tail()
            served = time.monotonic()
            wait_until(lambda served=served: time.monotonic() > served + 1, 5, "its first second", load)
            rates.append(hit_rate(scrape(cluster_net)))
            if number == upgrades:
                old = started_again(start, old, f"pod-{number - 1}")
            wait_until(lambda: scrape(cluster_net)['lastlight_dns_queries_total{protocol="udp"}'] > enough, 60, "questions enough", new, load)
            assert old.stop() == 0
            has.append(held(cluster_net, new))
            old = new
        last = time.monotonic()
        wait_until(lambda: len(pod.answers(last)) > 20, 5, "more answers")
    said, lost = load.said, pod.lost() + local.lost()
    slow = [f"{waited * 1000:.0f} ms at {min((at - each for each in began), key=abs):+.2f} s" for at, waited in sorted(said.slow, key=lambda one: -one[1])[:200:40]]
    print(f"slowest, by the start of an upgrade: {', '.join(slow)}")
    print(f"{upgrades} upgrades at {rate} qps: lost {len(said.lost_at)} of {said.sent} and {len(lost)} of {len(pod.asked) + len(local.asked)}, longest wait "
          f"{said.longest * 1000:.0f} ms (the load itself late by {said.late * 1000:.0f} ms), hit rate at least {min(rates):.4%}, has {has[0]} and then {has[-1]}")
    assert said.lost_at == [] and lost == [] and said.failed == 0
    assert pod.answered_by() == local.answered_by() == {US}
    assert min(rates) > 0.99
    (first, last) = (has[0], has[-1])  # of the worker's descriptors, sockets to upstreams come and go
    assert first[0][0] == last[0][0] and abs(first[0][1] - last[0][1]) <= UPSTREAM_SOCKETS and first[1] == last[1] and last[2] < first[2] + 4096
    assert cluster_net.dns_entries() == []  # the lease was never without its owner
    assert scrape(cluster_net)['lastlight_takeover_state{state="held"}'] == 1
    assert not steady.LONG or said.longest < 0.05


def test_who_was_two_upgrades_ago_stays_silent_and_touches_nothing(start, cluster_net):
    """A rollout on the heels of another: the first agent still waits when the second, which it waits for, ends."""
    first, second, third = start("pod-a"), start("pod-b"), None
    wait_until(lambda: "agent.standby waiting=true" in first.output(), 5, "the first to wait", first)
    third = start("pod-c")
    wait_until(lambda: "agent.standby waiting=true" in second.output(), 5, "the second to wait", second)
    with Asker(cluster_net.pod, CLUSTER_IP) as pod:
        wait_until(lambda: US in pod.answered_by(), 5, "answers")
        assert second.stop() == 0
        assert first.stop() == 0
        gone = time.monotonic()
        wait_until(lambda: len(pod.answers(gone)) > 50, 5, "more answers")
    assert "handover.resumed" not in first.output()
    assert "state=lost" not in third.output() and "inet lastlight" in cluster_net.node.run("nft", "list", "tables")
    assert pod.lost() == [] and pod.answered_by() == {US}


def test_an_image_that_does_not_come_is_a_cold_start(start, cluster_net):
    """The old worker hangs: half a second later the new one serves without its cache, and a crashed worker never has one."""
    old = start("pod-a")
    (worker,) = family(old.pid) - {old.pid}
    os.kill(worker, signal.SIGSTOP)
    new = start("pod-b")
    assert "image=no" in new.output() and "cache_image" not in new.output()
    os.kill(worker, signal.SIGCONT)
    wait_until(lambda: "agent.standby waiting=true" in old.output(), 5, "the old one to wait", old)
    third = start("pod-c")
    assert "image=yes" in third.output() and third.output().count("cache_image.restored") == 1
    wait_until(lambda: scrape(cluster_net)['lastlight_takeover_state{state="held"}'] == 1, 5, "the lease", third)
    (worker,) = family(third.pid) - {third.pid}
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: third.output().count("agent.starting") == 2, 10, "another worker", third)
    wait_until(lambda: third.output().count("state=held") == 2, 10, "its lease", third)
    assert third.output().count("cache_image.restored") == 1 and new.stop() == 0


def test_the_old_one_serves_again_when_the_new_one_dies(start, cluster_net):
    old, new = start("pod-a"), start("pod-b")
    wait_until(lambda: "agent.standby waiting=true" in old.output(), 5, "the old one to wait", old)
    with Asker(cluster_net.pod, CLUSTER_IP) as pod:
        wait_until(lambda: US in pod.answered_by(), 5, "answers")
        killed = time.monotonic()
        os.kill(new.pid, signal.SIGKILL)
        wait_until(lambda: "agent.standby waiting=false" in old.output(), 5, "the old one to serve", old)
        wait_until(lambda: scrape(cluster_net)['lastlight_takeover_state{state="held"}'] == 1, 5, "its lease", old)
        again = time.monotonic()
        wait_until(lambda: len(pod.answers(again)) > 20, 5, "more answers")
    print(f"served again {again - killed:.2f} s after the kill, {len(pod.lost(kinds=('kept', 'fresh')))} lost")
    assert len(pod.lost(kinds=("kept", "fresh"))) <= BATCH and pod.answered_by() == {US}  # what the killed one had in its hand


@pytest.mark.parametrize("victim", ["supervisor", "worker"])
def test_the_old_one_serves_on_when_the_new_one_dies_before_it_is_ready(start, cluster_net, tmp_path, victim):
    """It has the sockets, and its worker waits for a configuration that nobody writes."""
    old = start("pod-a")
    os.mkfifo(tmp_path / "never.yaml")
    with Asker(cluster_net.pod, CLUSTER_IP) as pod, Asker(cluster_net.node, CLUSTER_IP) as local:
        wait_until(lambda: US in pod.answered_by() and US in local.answered_by(), 5, "answers")
        new = start("pod-b", until="handover.adopted", config=str(tmp_path / "never.yaml"))
        (worker,) = wait_until(lambda: family(new.pid) - {new.pid}, 5, "its worker", new)
        os.kill({"supervisor": new.pid, "worker": worker}[victim], signal.SIGKILL)
        wait_until(lambda: new.exit_code() is not None and has_ended(worker), 10, "its end")
        third = start("pod-c")  # the old one can still be succeeded
        wait_until(lambda: "agent.standby waiting=true" in old.output(), 5, "the old one to wait", old, third)
        last = time.monotonic()
        wait_until(lambda: len(pod.answers(last)) > 20 and len(local.answers(last)) > 20, 5, "more answers")
    assert pod.lost() + local.lost() == [] and pod.answered_by() == local.answered_by() == {US}
    assert "image=yes" in third.output() and "handover.resumed" not in old.output() and "state=lost" not in old.output()


def test_a_third_one_waits_while_the_second_hangs_before_it_is_ready(start, cluster_net, tmp_path):
    """It is turned away, asks again each second, and is served once whoever hung has ended."""
    old = start("pod-a")
    os.mkfifo(tmp_path / "never.yaml")
    with Asker(cluster_net.pod, CLUSTER_IP) as pod:
        wait_until(lambda: US in pod.answered_by(), 5, "answers")
        hangs = start("pod-b", until="handover.adopted", config=str(tmp_path / "never.yaml"))
        third = start("pod-c", until="handover.waiting")
        wait_until(lambda: third.output().count("handover.waiting") > 1, 10, "another try", third)
        os.kill(hangs.pid, signal.SIGKILL)
        wait_until(lambda: "agent.standby waiting=true" in old.output(), 15, "the old one to wait", old, third)
        last = time.monotonic()
        wait_until(lambda: len(pod.answers(last)) > 20, 5, "more answers")
    assert pod.lost() == [] and pod.answered_by() == {US} and "handover.adopted" in third.output()


def test_a_new_one_that_cannot_serve_takes_neither_lease_nor_link_along(start, cluster_net, tmp_path):
    """It has the takeover raised, and then its HTTP port is somebody else's: what it leaves behind is the old one's."""
    old = start("pod-a")
    with cluster_net.node, socket.create_server(("127.0.0.1", 0)) as taken:
        config = write_config(tmp_path, {**CONFIG, "http": {"listen": f"127.0.0.1:{taken.getsockname()[1]}", "status": ""}}, "taken.yaml")
        with Asker(cluster_net.pod, CLUSTER_IP) as pod, Asker(cluster_net.node, CLUSTER_IP) as local:
            wait_until(lambda: US in pod.answered_by() and US in local.answered_by(), 5, "answers")
            new = start("pod-b", until="handover.adopted", config=config)
            assert new.wait(10) != 0
            ended = time.monotonic()
            wait_until(lambda: len(pod.answers(ended)) > 50 and len(local.answers(ended)) > 50, 5, "more answers")
    assert pod.lost() + local.lost() == [] and pod.answered_by() == local.answered_by() == {US}
    assert "handover.standby" not in old.output() and "state=lost" not in old.output() and cluster_net.dns_entries() == []


def test_an_older_container_started_again_takes_nothing_back(start, cluster_net):
    old, new = start("pod-a"), start("pod-b")
    wait_until(lambda: "agent.standby waiting=true" in old.output(), 5, "the old one to wait", old)
    os.kill(old.pid, signal.SIGKILL)
    again = start("pod-a", until="handover.waiting")
    with Asker(cluster_net.pod, CLUSTER_IP) as pod:
        wait_until(lambda: len(pod.answers()) > 50, 5, "answers")
    assert "handover.standby" not in new.output() and pod.answered_by() == {US}
    assert again.stop() == 0 and new.stop() == 0
    assert "lastlight" not in cluster_net.node.run("nft", "list", "tables")


def test_the_directory_is_kept_private(start, tmp_path):
    (tmp_path / "run").chmod(0o755)  # narrowed by the agent, whose user owns it
    start("pod-a")
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert {each.name for each in (tmp_path / "run").iterdir()} == {"generation-pod-a", "handover.sock", "control.sock"}
