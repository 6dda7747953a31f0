"""The takeover beside the real kube-proxy with 5,000 Services: in its iptables and its nftables mode, with local-traffic detection on and off,
while it writes its whole table and while it syncs, with kube-dns having endpoints and having none, IPv4 and IPv6. kube-proxy's rules for
the kube-dns Service are there all the time, and decide only when the agent does not.

`make bench-takeover` does it for every pair of mode and detection, with a minute of syncs each, and holds the longest wait to its limit
over what an echo takes beside it, which needs a quiet machine."""

import contextlib
import http.client
import itertools
import os
import socket
import time

import pytest

from rig import needs, netns, ports, steady
from rig.asking import Asker, question
from rig.coredns import CoreDNS, answer, site
from rig.many_services import ManyServices
from rig.measure import SchedulingDelay
from rig.netns import CLUSTER_IP, CLUSTER_IP6, COREDNS, COREDNS6, FALLBACK, FALLBACK6, LINK_LOCAL, NODE
from rig.proc import Process, wait_until
from test_takeover_lease import IN_HAND, KUBE_DNS, LEASE, US, Node

LONG = os.environ.get("LASTLIGHT_TAKEOVER_LONG") == "1"
# Each mode with and without endpoints and in both families; detection on in the one and off in the other. The bench has all of them.
MATRIX = [("nftables", True), ("iptables", False)] + [("nftables", False), ("iptables", True)] * LONG
SERVICES = 5000
SYNCING = 60.0 if LONG else 2.0  # seconds
pytestmark = pytest.mark.xdist_group("kube-proxy")  # one API server with 5,000 Services is enough
SHOWN = ("10.96.0.12", "fd00:96::c")
PORTS = itertools.count(20000)  # below those that the kernel gives
EVERY = 0.05  # seconds between two questions of a kind
# Seconds because of it. The kernel holds a processor for a whole transaction (0.2 s where it is built without preemption), whoever else is
# to run there: what an echo and a sleeping thread wait in the same minute is the machine's. A gate of the bench alone.
LONGEST_WAIT = 0.05


class Node1:
    """The node's namespace with the API server in it, and kube-proxy when it is asked for; CoreDNS on the other node."""

    def __init__(self, net, server, binary, folder):
        self.net, self.server, self.binary, self.folder = net, server, binary, folder
        self.proxy = None

    def start_proxy(self, mode, local):
        """Until it has written its whole table, once for each family."""
        detect = ("--cluster-cidr=10.244.0.0/16,fd00:244::/32",) if local else ()
        with self.net.node:
            self.proxy = Process("kube-proxy", [
                self.binary, f"--kubeconfig={self.server.kubeconfig}", f"--proxy-mode={mode}", *detect, "--hostname-override=n1", "--healthz-bind-address=127.0.0.1:10256",
                "--metrics-bind-address=127.0.0.1:10249", "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0",
                "--conntrack-tcp-timeout-close-wait=0"], str(self.folder), kill_at_once=True)
        wait_until(lambda: self.syncs() >= 2, 120, "kube-proxy to sync", self.proxy)

    def syncs(self):
        """How often it has written its rules since it started, over both families."""
        with self.net.node:
            connection = http.client.HTTPConnection("127.0.0.1", 10249, timeout=5)
            try:
                connection.connect()
            except OSError:
                return 0
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("kubeproxy_sync_proxy_rules_duration_seconds_count"))

    def kube_dns(self, there):
        """Its endpoints, or none; of the Service that shows what kube-proxy knows too."""
        for name in ("kube-dns", "shown"):
            self.server.endpoints(name, *[COREDNS] * there)
            self.server.endpoints(name, *[COREDNS6] * there, family="IPv6")

    def wait_led(self, there):
        """Until kube-proxy leads a pod to CoreDNS, or knows that it cannot; asked of a Service that nobody takes over."""
        def led(address):
            """None for silence, which is a busy machine's: kube-proxy refuses what has no endpoints. From a port that nobody had: what was
            tracked once goes where it went then."""
            with self.net.pod, socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as via:
                via.settimeout(1)
                via.bind(("", next(PORTS)))
                via.connect((address, 53))
                try:
                    via.send(question(1))
                    return bool(via.recv(512))
                except ConnectionRefusedError:
                    return False
                except TimeoutError:
                    return None
        wait_until(lambda: [led(each) for each in SHOWN] == [there, there], 60, "kube-proxy to follow the endpoints", self.proxy)

    def stop(self):
        if self.proxy:
            self.proxy.stop()
            self.proxy = None
        self.net.node.run("nft", "flush", "ruleset")
        self.kube_dns(True)


@pytest.fixture(scope="module")
def node1(namespaces, tmp_path_factory):  # pylint: disable=unused-argument
    binaries = needs.peers_or_skip("etcd", "kube-apiserver", "kube-proxy", "coredns")
    folder = tmp_path_factory.mktemp("kube-proxy")
    with contextlib.ExitStack() as running:
        net = running.enter_context(netns.Cluster())
        for key in ("ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"):
            net.node.set(key, 0)  # each refusal is told
        with net.node:
            server = running.enter_context(ManyServices(folder, binaries, SERVICES))
            server.api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
                                              "spec": {"podCIDRs": ["10.244.1.0/24", "fd00:244:1::/64"]},
                                              "status": {"addresses": [{"type": "InternalIP", "address": NODE}, {"type": "InternalIP", "address": "fd00:50::1"}]}})
            for name, addresses in (("kube-dns", (CLUSTER_IP, CLUSTER_IP6)), ("lastlight-upstream", (FALLBACK, FALLBACK6)), ("shown", SHOWN)):
                server.service(name, *addresses)
                server.endpoints(name, COREDNS)
                server.endpoints(name, COREDNS6, family="IPv6")
        with net.other:
            dns = CoreDNS(binaries["coredns"], folder, site(".:53", answer(KUBE_DNS), bind=f"{COREDNS} {COREDNS6}"),
                          site(".:5300", answer(US), bind=COREDNS), address=COREDNS, port=53)
            dns.start()
        running.callback(dns.stop)
        yield Node1(net, server, binaries["kube-proxy"], folder)


@contextlib.contextmanager
def floor(net, folder):
    """What the machine alone costs a question: an echo in the node's namespace, asked as the others are, that no rule of kube-proxy's concerns."""
    port = ports.free_port()
    ways = {"prerouting": f"ip daddr {steady.GATEWAY} udp dport {port}", "output": f"ip saddr {steady.GATEWAY} udp sport {port}"}
    net.node.nft("table ip floor {\n" + "\n".join(f"chain {hook} {{ type filter hook {hook} priority raw; {way} notrack; }}" for hook, way in ways.items()) + "\n}")
    with net.node:
        echo = Process("echo", [steady.program("echo"), f"{steady.GATEWAY}:{port}"], str(folder), kill_at_once=True)
    with echo, Asker(net.pod, steady.GATEWAY, port=port, every=EVERY, tcp=False) as bare:
        yield bare


def flows(net):
    """The tracked DNS flows to the taken-over address, as (source, its port)."""
    return {tuple(word for word in line.split() if word.startswith(("src=", "sport=")))[:2] for line in net.dns_entries()}


@pytest.mark.parametrize("mode, local", MATRIX)
def test_beside_kube_proxy(node1, agent_binary, tmp_path, mode, local):  # pylint: disable=redefined-outer-name
    net, began = node1.net, time.monotonic()
    node = Node(net, agent_binary, str(tmp_path), **{"link-local": [LINK_LOCAL], "fallback": [FALLBACK]})
    try:
        with Asker(net.pod, CLUSTER_IP, every=EVERY) as pod, Asker(net.pod, LINK_LOCAL, every=EVERY) as linked, Asker(net.node, CLUSTER_IP, every=EVERY) as near, \
                Asker(net.pod, CLUSTER_IP6, every=EVERY, tcp=False) as six, Asker(net.node, CLUSTER_IP6, every=EVERY, tcp=False) as near6, floor(net, tmp_path) as bare, SchedulingDelay() as delay:
            everybody = (pod, linked, near, six, near6)
            wait_until(lambda: all(US in each.answered_by() for each in everybody), 20, "answers", node.supervisor)
            time.sleep(0.3)
            served, before = time.monotonic(), flows(net)

            def ours(while_):
                assert all(each.answered_by(served) == {US} for each in everybody), (while_, [each.answered_by(served) for each in everybody])
                assert flows(net) <= before, while_  # what an earlier test left

            node1.start_proxy(mode, local)
            ours("it wrote its whole table")
            started, number = time.monotonic(), 0
            first = node1.syncs()
            while time.monotonic() < started + SYNCING or node1.syncs() <= first:
                number += 1
                node1.server.move(number)
            synced, ended = node1.syncs() - first, time.monotonic()
            ours("it synced")
            for there in (False, True):
                node1.kube_dns(there)
                node1.wait_led(there)
                ours(f"kube-dns had endpoints: {there}")
            worst, echoed, late = max(each.worst(served) for each in everybody), bare.worst(served), delay.worst(served, time.monotonic())
            killed, gone = node.kill()
            wait_until(lambda: all(len(each.answers(killed + LEASE + 0.3)) > 20 for each in everybody), 30, "answers of kube-proxy's", node1.proxy)
        lost = [one for each in (pod, linked, six) for one in each.lost(since=served)]
        stuck = {name: each.told(gone, killed) for name, each in (("pod", pod), ("linked", linked), ("six", six)) if each.lost(since=gone)}
        print(f"{SERVICES} Services written in {started - served:.1f} s, then {synced:.0f} syncs in {ended - started:.0f} s: longest wait {worst * 1000:.0f} ms, for an echo {echoed * 1000:.0f} ms, to be woken {late * 1000:.0f} ms;"
              f" the kill took {(gone - killed) * 1000:.0f} ms and cost pods {len(lost)} of {sum(len(each.asked) for each in everybody)}; {time.monotonic() - began:.1f} s in all {stuck or ''}")
        assert not LONG or worst < max(echoed, late) + LONGEST_WAIT
        assert not stuck and all(killed - IN_HAND < one.sent for one in lost), (gone - killed, lost)
        assert all(each.answered_by(gone) == {KUBE_DNS} for each in (pod, linked, six))
        back = gone + LEASE + 0.3
        assert near.lost(since=back) == near6.lost(since=back) == [] and near.answered_by(back) == near6.answered_by(back) == {KUBE_DNS}
    finally:
        node.supervisor.stop()
        node1.stop()
