"""An upgrade as a DaemonSet's surge does it: the new agent takes the sockets over while the old one reads them; the old one waits
silently until it is told to leave. Nothing is lost, and an older container that is started again takes nothing back."""

import os
import signal
import time

import pytest

from rig import peers
from rig.agent import parse_metrics, write_config, zone
from rig.asking import Asker
from rig.coredns import CoreDNS, answer, site
from rig.netns import CLUSTER_IP, CLUSTER_IP6, COREDNS, COREDNS6
from rig.proc import Process, wait_until
from test_takeover_lease import KUBE_DNS, US

_SCRAPE = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9253/metrics', timeout=2).read().decode(), end='')"


@pytest.fixture
def start(cluster_net, coredns_factory, agent_binary, tmp_path, request):
    """start(pod): an agent of that pod, once it serves or waits."""
    del coredns_factory  # skips when there is none
    cluster_net.proxy()
    with cluster_net.other:
        dns = CoreDNS(peers.paths("coredns")["coredns"], tmp_path, site(".:53", answer(KUBE_DNS), bind=f"{COREDNS} {COREDNS6}"),
                      site(".:5300", answer(US), bind=COREDNS), address=COREDNS, port=53)
        dns.start()
    request.addfinalizer(dns.stop)
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    config = write_config(tmp_path, {"http": {"listen": "127.0.0.1:9253", "status": ""}, "interruption": {"source": "none"}, "takeover": {"mode": "intercept"},
                                     "dns": {"listen": [CLUSTER_IP, CLUSTER_IP6], "zones": [zone(".", f"{COREDNS}:5300")]}})

    def started(pod, until="state=held"):
        with cluster_net.node:
            made = Process(f"lastlight-{pod}", [agent_binary, "run", "--config", config], str(tmp_path), env={"POD_UID": pod, "LASTLIGHT_RUN_DIR": str(run)})
        request.addfinalizer(made.stop)
        wait_until(lambda: until in made.output(), 20, until, made)
        return made
    return started


def scrape(net):
    return parse_metrics(net.node.run("python3", "-c", _SCRAPE))


def test_surge_upgrades_lose_nothing(start, cluster_net):
    old = start("pod-a")
    began = time.monotonic()
    with Asker(cluster_net.pod, CLUSTER_IP, every=0.002) as pod, Asker(cluster_net.node, CLUSTER_IP) as local:
        wait_until(lambda: US in pod.answered_by() and US in local.answered_by(), 5, "answers")
        for upgrade in ("pod-b", "pod-c"):
            new = start(upgrade)
            wait_until(lambda old=old: "agent.standby waiting=true" in old.output(), 5, "the old one to wait", old, new)
            sent = scrape(cluster_net)['lastlight_dns_queries_total{protocol="udp"}']
            wait_until(lambda sent=sent: scrape(cluster_net)['lastlight_dns_queries_total{protocol="udp"}'] > sent, 5, "the new one to be asked", new)
            assert old.stop() == 0
            old = new
        last = time.monotonic()
        wait_until(lambda: len(pod.answers(last)) > 50, 5, "more answers")
    lost = pod.lost(since=began + 0.2) + local.lost(since=began + 0.2)
    print(f"2 upgrades: lost {len(lost)} of {len(pod.asked) + len(local.asked)}, longest wait {max(pod.worst(), local.worst()) * 1000:.0f} ms")
    assert lost == []
    assert pod.answered_by() == local.answered_by() == {US}
    assert cluster_net.dns_entries() == []  # the lease was never without its owner
    assert scrape(cluster_net)['lastlight_takeover_state{state="held"}'] == 1


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
    assert len(pod.lost(kinds=("kept", "fresh"))) <= 2 and pod.answered_by() == {US}  # what the killed one had in its hand


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
