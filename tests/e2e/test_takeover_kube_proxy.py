"""The takeover beside the real kube-proxy, in its iptables and its nftables mode, while it syncs: kube-proxy's rules for the
kube-dns Service are there all the time, and decide only when the agent does not."""

import contextlib
import os
import signal
import time

import pytest

from rig import needs
from rig.asking import Asker
from rig.control_plane import ControlPlane
from rig.coredns import CoreDNS, answer, site
from rig.netns import CLUSTER_IP, CLUSTER_IP6, COREDNS, COREDNS6, FALLBACK, FALLBACK6, LINK_LOCAL, NODE
from rig.proc import Process, wait_until
from test_takeover_lease import KUBE_DNS, LEASE, US, Node

SERVICES = 300  # beside the two that matter: tables worth a sync


class ApiServer(ControlPlane):
    """etcd and kube-apiserver alone; started in the node's namespace, so that kube-proxy there reaches it on loopback."""

    def _start_components(self):
        pass

    def service(self, name, address, address6=None):
        families = {"clusterIPs": [address, address6], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"} if address6 else {}
        ports = [{"name": protocol.lower(), "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
        self.api.post("/api/v1/namespaces/default/services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                                                              "spec": {"clusterIP": address, "ports": ports, **families}})

    def endpoints(self, name, address, family="IPv4"):
        ports = [{"name": protocol.lower(), "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
        self.apply({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family, "ports": ports,
                    "metadata": {"name": f"{name}-{family.lower()}", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
                    "endpoints": [{"addresses": [address], "conditions": {"ready": True}}]})


@pytest.fixture(params=["nftables", "iptables"])
def proxied(request, cluster_net, tmp_path):
    """(net, api server) with kube-proxy running in the node's namespace, and CoreDNS on the other node."""
    binaries = needs.peers_or_skip("etcd", "kube-apiserver", "kube-proxy", "coredns")
    net = cluster_net
    with contextlib.ExitStack() as running:
        running.enter_context(net.node)
        server = running.enter_context(ApiServer(tmp_path, binaries))
        server.api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"podCIDRs": ["10.244.1.0/24", "fd00:244:1::/64"]},
                                          "status": {"addresses": [{"type": "InternalIP", "address": NODE}, {"type": "InternalIP", "address": "fd00:50::1"}]}})
        for name, address, address6 in (("kube-dns", CLUSTER_IP, CLUSTER_IP6), ("lastlight-upstream", FALLBACK, FALLBACK6)):
            server.service(name, address, address6)
            server.endpoints(name, COREDNS)
            server.endpoints(name, COREDNS6, "IPv6")
        for number in range(SERVICES):
            server.service(f"other-{number}", f"10.96.{1 + number // 250}.{1 + number % 250}")
            server.endpoints(f"other-{number}", f"10.244.3.{1 + number % 250}")
        proxy = running.enter_context(Process("kube-proxy", [
            binaries["kube-proxy"], f"--kubeconfig={server.kubeconfig}", f"--proxy-mode={request.param}", "--hostname-override=n1",
            "--cluster-cidr=10.244.0.0/16,fd00:244::/32", "--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249",
            "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"], str(tmp_path), kill_at_once=True))
        with net.other:
            dns = CoreDNS(binaries["coredns"], tmp_path, site(".:53", answer(KUBE_DNS), bind=f"{COREDNS} {COREDNS6}"),
                          site(".:5300", answer(US), bind=COREDNS), address=COREDNS, port=53)
            dns.start()
        running.callback(dns.stop)
        with Asker(net.pod, CLUSTER_IP) as pod:
            wait_until(lambda: {one.kind for one in pod.answers()} == {"kept", "fresh", "tcp"}, 60, "kube-proxy to lead to CoreDNS", proxy)
        yield net, server


def flows(net):
    """The tracked DNS flows to the taken-over address, as (source, its port)."""
    return {tuple(word for word in line.split() if word.startswith(("src=", "sport=")))[:2] for line in net.dns_entries()}


def churn(server, round_number):
    """Endpoints that move: kube-proxy syncs."""
    server.endpoints("other-0", f"10.244.4.{1 + round_number % 250}")


def test_beside_kube_proxy(proxied, agent_binary, tmp_path):
    net, server = proxied
    node = Node(net, agent_binary, str(tmp_path), **{"link-local": [LINK_LOCAL], "fallback": [FALLBACK]})
    try:
        with Asker(net.pod, CLUSTER_IP) as pod, Asker(net.pod, LINK_LOCAL) as linked, Asker(net.node, CLUSTER_IP) as local, Asker(net.pod, CLUSTER_IP6, tcp=False) as six:
            everybody = (pod, linked, local, six)
            wait_until(lambda: all(US in each.answered_by() for each in everybody), 10, "answers")
            time.sleep(0.3)
            served, before = time.monotonic(), flows(net)
            for number in range(20):  # syncs, during which the lease must hold
                churn(server, number)
                time.sleep(0.1)
            assert all(each.answered_by(served) == {US} for each in everybody), [each.answered_by(served) for each in everybody]
            worst = max(each.worst(served) for each in everybody)
            assert flows(net) <= before  # those of the questions before there was an agent
            killed = time.monotonic()
            os.kill(node.supervisor.pid, signal.SIGKILL)
            wait_until(lambda: KUBE_DNS in local.answered_by(killed), 5, "kube-proxy to have the node's clients")
            wait_until(lambda: len(local.answers(killed + LEASE + 0.3)) > 20, 5, "more answers")
        lost = [one for each in (pod, linked, six) for one in each.lost(since=served)]
        print(f"longest wait during syncs {worst * 1000:.0f} ms; the kill cost pods {len(lost)} of {sum(len(each.asked) for each in everybody)}")
        assert all(killed - 0.05 < one.sent < killed + 0.15 for one in lost), (killed, lost)
        assert all(each.answered_by(killed + 0.15) == {KUBE_DNS} for each in (pod, linked, six))
        assert local.lost(since=killed + LEASE + 0.3) == []
    finally:
        node.supervisor.stop()
