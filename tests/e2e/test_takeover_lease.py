"""The node's DNS comes to the agent while it serves and is kube-proxy's when it does not: a pod and a node client in namespaces,
a kube-proxy-like DNAT to a CoreDNS on another node, and the agent killed, stopped and told to leave."""

import contextlib
import http.client
import os
import signal
import sys
import time

import pytest

from rig import peers
from rig.agent import parse_metrics, write_config, zone
from rig.asking import Asker
from rig.coredns import CoreDNS, answer, site
from rig.netns import CLUSTER_IP, CLUSTER_IP6, COREDNS, COREDNS6, FALLBACK, LINK_LOCAL, NODE
from rig.measure import SchedulingDelay
from rig.proc import Process, wait_until
from rig.steady import LONG

US, KUBE_DNS = "192.0.2.1", "192.0.2.2"
LEASE = 1.5  # seconds
BATCH = 64  # datagrams that the worker takes off a socket at once
IN_HAND = 0.05 if LONG else 0.5  # seconds before its end in which a question may have come that a busy machine kept it from answering


class Node:
    """The agent on the node, and the CoreDNS that kube-proxy knows on the other."""

    def __init__(self, net, binary, directory, more=None, **takeover):
        self.net = net
        self.config = write_config(directory, {
            "http": {"listen": "127.0.0.1:9253", "status": ""}, "interruption": {"source": "none"},
            "dns": {"listen": [CLUSTER_IP, CLUSTER_IP6], "zones": [zone(".", f"{COREDNS}:5300")]},
            "takeover": {"mode": "intercept", **takeover}, **(more or {})})
        with net.node:
            self.supervisor = Process("lastlight", [binary, "run", "--config", self.config], directory, pass_fds=())
        self.held()

    def get(self, path):
        with self.net.node:
            connection = http.client.HTTPConnection("127.0.0.1", 9253, timeout=5)
            connection.connect()
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()

    def metrics(self):
        return parse_metrics(self.get("/metrics")[1])

    def held(self):
        wait_until(lambda: CLUSTER_IP in self.net.node.run("nft", "list", "ruleset") and self.lease(), 20, "the lease", self.supervisor)

    def lease(self):
        listed = self.net.node.run("nft", "list", "set", "inet", "lastlight", "live4", check=False).stdout
        return CLUSTER_IP in listed

    def kill(self):
        """The supervisor, whose worker goes with it: when that was, and when the sockets had closed."""
        killed = time.monotonic()
        os.kill(self.supervisor.pid, signal.SIGKILL)
        self.supervisor.wait(10)
        wait_until(lambda: not self.net.node.bound(53), 10, "the sockets to close", interval=0.001)
        return killed, time.monotonic()

    @property
    def worker(self):
        """None between the end of one and the start of another."""
        with open(f"/proc/{self.supervisor.pid}/task/{self.supervisor.pid}/children", encoding="ascii") as children:
            for pid in children.read().split():
                with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="ascii") as name:
                    if name.read() == "lastlight-agent\n":
                        return int(pid)
        return None


def start_coredns(net, directory, request):
    """What kube-proxy knows, and what the agent asks, on the other node."""
    with net.other:
        dns = CoreDNS(peers.paths("coredns")["coredns"], directory, site(".:53", answer(KUBE_DNS, ttl=30), bind=f"{COREDNS} {COREDNS6}"),
                      site(".:5300", answer(US, ttl=30), bind=COREDNS), address=COREDNS, port=53)
        dns.start()
    request.addfinalizer(dns.stop)


@pytest.fixture
def node_factory(cluster_net, coredns_factory, agent_binary, tmp_path, request):
    del coredns_factory  # skips when there is none
    cluster_net.proxy()
    start_coredns(cluster_net, tmp_path, request)

    def start(**takeover):
        made = Node(cluster_net, agent_binary, str(tmp_path), **takeover)
        request.addfinalizer(lambda: made.supervisor.stop())  # pylint: disable=unnecessary-lambda
        return made
    return start


def test_a_killed_agent_costs_pods_nothing(node_factory, cluster_net):
    node = node_factory()
    with Asker(cluster_net.pod, CLUSTER_IP) as pod, Asker(cluster_net.node, CLUSTER_IP) as local, Asker(cluster_net.pod, CLUSTER_IP6, tcp=False) as six:
        wait_until(lambda: all(US in each.answered_by() for each in (pod, local, six)), 5, "answers")
        served = time.monotonic()
        time.sleep(0.5)  # load under which nothing may be tracked
        assert pod.answered_by(served) == local.answered_by(served) == six.answered_by(served) == {US}
        assert cluster_net.dns_entries() == []
        killed, gone = node.kill()
        wait_until(lambda: KUBE_DNS in local.answered_by(killed), 5, "kube-proxy to have the node's clients")
        back = min(one.sent for one in local.answers(killed) if one.by == KUBE_DNS)
        for each in (pod, local, six):
            wait_until(lambda each=each: len(each.answers(killed + LEASE + 0.3)) > 20, 10, "more answers")
    # What its sockets held when the kernel closed them.
    lost = pod.lost(since=served) + six.lost(since=served)
    stuck = local.lost(since=gone + LEASE + 0.3)
    print(f"pods lost {len(lost)} of {len(pod.asked) + len(six.asked)} in the {(gone - killed) * 1000:.0f} ms of the kill, node clients were back after "
          f"{back - killed:.2f} s, {len(stuck)} stuck")
    assert all(killed - IN_HAND < one.sent < gone for one in lost), (gone - killed, pod.told(served, killed), six.told(served, killed))
    assert pod.answered_by(gone) == six.answered_by(gone) == {KUBE_DNS}
    assert back < gone + LEASE + 0.3 and not stuck and local.lost(until=killed - IN_HAND) == []


def test_a_hung_agent_loses_the_queries_when_its_lease_ends_and_has_them_back_when_it_wakes(node_factory, cluster_net):
    node = node_factory()
    with Asker(cluster_net.pod, CLUSTER_IP) as pod, SchedulingDelay() as delay:
        wait_until(lambda: US in pod.answered_by(), 5, "answers")
        stopped = time.monotonic()
        os.kill(node.worker, signal.SIGSTOP)
        wait_until(lambda: KUBE_DNS in pod.answered_by(stopped), 5, "kube-proxy to answer")
        over = min(one.sent for one in pod.answers(stopped) if one.by == KUBE_DNS) - stopped
        wait_until(lambda: len(pod.answers(stopped + over)) > 20, 5, "more of them")
        woken = time.monotonic()
        os.kill(node.worker, signal.SIGCONT)
        wait_until(lambda: {one.kind for one in pod.answers(woken) if one.by == US} >= {"fresh", "tcp"}, 5, "the agent to answer again")
        again = time.monotonic()
        wait_until(lambda: len(pod.answers(again)) > 20, 5, "more answers")
    limit = LEASE + 0.3 + delay.worst(stopped, woken)
    print(f"at kube-proxy {over:.2f} s after the hang")
    assert over < limit
    # A connection that is open when its address changes hands is reset.
    assert pod.lost(since=stopped + limit, kinds=("kept", "fresh")) == pod.lost(since=again) == []
    assert node.metrics()['lastlight_takeover_state{state="held"}'] == 1


def test_leaving_loses_nothing_and_leaves_nothing(node_factory, cluster_net):
    node = node_factory()
    with Asker(cluster_net.pod, CLUSTER_IP) as pod:
        wait_until(lambda: US in pod.answered_by(), 5, "answers")
        left = time.monotonic()
        assert node.supervisor.stop() == 0
        gone = time.monotonic()
        wait_until(lambda: len(pod.answers(gone)) > 20, 5, "answers from kube-proxy")
    print(f"gone in {gone - left:.2f} s, {len(pod.lost())} lost of {len(pod.asked)}")
    assert pod.lost(kinds=("kept", "fresh")) == []
    assert pod.answered_by(gone) == {KUBE_DNS} and pod.lost(since=gone) == []
    assert "lastlight" not in cluster_net.node.run("nft", "list", "tables") and not cluster_net.node.addresses() & {CLUSTER_IP, CLUSTER_IP6}


def test_a_crashed_worker_is_replaced_and_its_queries_wait(node_factory, cluster_net):
    node = node_factory()
    with Asker(cluster_net.pod, CLUSTER_IP) as pod:
        wait_until(lambda: US in pod.answered_by(), 5, "answers")
        first = node.worker
        time.sleep(1.1)  # a life of a second: no crash loop
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: node.worker not in (None, first), 5, "another worker", node.supervisor)
        born = time.monotonic()
        wait_until(lambda: len(pod.answers(born)) > 20, 5, "its answers")
    print(f"lost {len(pod.lost())} of {len(pod.asked)}, longest wait {pod.worst() * 1000:.0f} ms")
    assert len(pod.lost(kinds=("kept", "fresh"))) <= BATCH, pod.lost()
    assert pod.answered_by() == {US}


def test_a_crash_loop_ends_loudly_and_leaves_dns_to_kube_proxy(node_factory, cluster_net):
    node, killed = node_factory(), set()

    def ended():
        """Kills each worker as soon as it is there, until none comes any more."""
        worker = node.worker if node.supervisor.exit_code() is None else None
        if worker and worker not in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            killed.add(worker)
        return node.supervisor.exit_code() is not None

    with Asker(cluster_net.pod, CLUSTER_IP) as pod:
        wait_until(lambda: US in pod.answered_by(), 5, "answers")
        wait_until(ended, 30, "the supervisor to give up", interval=0.005)
        gone = time.monotonic()
        wait_until(lambda: len(pod.answers(gone)) > 20, 5, "answers from kube-proxy")
    assert node.supervisor.exit_code() == 1 and "error supervisor.gave_up" in node.supervisor.output()
    assert len(killed) >= 5 and pod.answered_by(gone) == {KUBE_DNS} and pod.lost(since=gone) == []
    assert "lastlight" not in cluster_net.node.run("nft", "list", "tables") and not cluster_net.node.addresses() & {CLUSTER_IP, CLUSTER_IP6}


def test_rules_that_somebody_else_removes_are_put_back(node_factory, cluster_net):
    node = node_factory()
    cluster_net.node.run("nft", "delete", "table", "inet", "lastlight")
    node.held()


# A link that is there already is used as it is: a kernel without dummy links has one of our own to lose as well.
LINKS = {"a link of our own": ["link add lastlight type veth peer name ours", "link set ours up"], "lo": []}
FAULTS = {"the address is removed": ("address del {address}/32 dev {link}",), "the link is set down": ("link set {link} down",)}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_happens_to_the_link_is_undone_within_a_second(node_factory, cluster_net, fault, link):
    """Without the link's route a query would leave the node again; IPv6 addresses go with the link."""
    cluster_net.node.ip(*LINKS[link])
    node = node_factory()
    interface = "lastlight" if cluster_net.node.run("ip", "link", "show", "lastlight", check=False).returncode == 0 else "lo"

    def whole():
        local = [cluster_net.node.run("ip", "route", "get", each, check=False).stdout for each in (CLUSTER_IP, CLUSTER_IP6)]
        return all(each.startswith("local ") for each in local) and {CLUSTER_IP, CLUSTER_IP6} <= cluster_net.node.addresses(interface)

    wait_until(whole, 5, "link, addresses and routes", node.supervisor)
    with Asker(cluster_net.pod, CLUSTER_IP) as pod, Asker(cluster_net.pod, CLUSTER_IP6, tcp=False) as six, SchedulingDelay() as delay:
        wait_until(lambda: US in pod.answered_by() and US in six.answered_by(), 5, "answers")
        time.sleep(0.6)  # the back-off of the child that has just raised it
        broken = time.monotonic()
        cluster_net.node.ip(*(each.format(address=CLUSTER_IP, link=interface) for each in FAULTS[fault]))
        wait_until(whole, 10, "link, addresses and routes", node.supervisor, interval=0.01)
        back = time.monotonic()
        wait_until(lambda: len(pod.answers(back)) > 20 and len(six.answers(back)) > 20, 5, "answers again")
    print(f"back after {(back - broken) * 1000:.0f} ms, lost {len(pod.lost())} of {len(pod.asked)}")
    assert back - broken < 1.0 + delay.worst(broken, back)
    assert "state=lost" in node.supervisor.output() and pod.lost(since=back, kinds=("kept", "fresh")) == [] and US in pod.answered_by(back)


def test_link_local_clients_are_led_to_the_fallback_service(node_factory, cluster_net):
    node = node_factory(**{"link-local": [LINK_LOCAL], "fallback": [FALLBACK]})
    with Asker(cluster_net.pod, LINK_LOCAL) as pod, Asker(cluster_net.node, LINK_LOCAL) as local:
        wait_until(lambda: US in pod.answered_by() and US in local.answered_by(), 5, "answers")
        killed, gone = node.kill()
        for each in (pod, local):
            wait_until(lambda each=each: {one.kind for one in each.answers(gone + LEASE + 0.3) if one.by == KUBE_DNS} == {"kept", "fresh", "tcp"}, 10, "the fallback's answers")
        after = time.monotonic()
        wait_until(lambda: len(local.answers(after)) > 20, 5, "more of them")
    assert all(killed - IN_HAND < one.sent < gone for one in pod.lost()), (killed, gone, pod.lost())
    assert pod.answered_by(gone) == {KUBE_DNS} and local.lost(since=gone + LEASE + 0.3) == []


_NOTICE = f"import urllib.request as r; print(r.urlopen('http://{LINK_LOCAL}:9255/interruption', timeout=5).status)"


def test_pods_ask_for_the_nodes_end_at_the_link_local_address(node_factory, cluster_net):
    node = node_factory(more={"interruption": {"source": "aws", "metadata-url": "http://127.0.0.1:9"}, "node-name": "n", "node-ip": NODE},
                        **{"link-local": [LINK_LOCAL], "fallback": [FALLBACK]})
    wait_until(lambda: f"notice_endpoint.listening address={LINK_LOCAL}:9255" in node.supervisor.output(), 10, "it to listen there", node.supervisor)
    assert cluster_net.pod.run(sys.executable, "-c", _NOTICE).strip() == "204"
