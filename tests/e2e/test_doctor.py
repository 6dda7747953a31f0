"""`lastlight doctor` and `lastlight uninstall` on a node: what they find is what was planted, and what they say to do helps."""

import json
import os
import shlex
import socket
import subprocess

import pytest

from rig.agent import write_config, zone
from rig.netns import CLUSTER_IP, CLUSTER_IP6, FALLBACK, LINK_LOCAL, Namespace
from rig.proc import Process, wait_until
from test_takeover_lease import node_factory  # noqa: F401  pylint: disable=unused-import

LINK_LOCALS = {"link-local": [LINK_LOCAL], "fallback": [FALLBACK]}


@pytest.fixture
def run_directory(monkeypatch, tmp_path):
    made = tmp_path / "run"
    made.mkdir(mode=0o700)
    monkeypatch.setenv("LASTLIGHT_RUN_DIR", str(made))
    return made


class Doctor:
    """`problems` and `says` are of the run before."""

    def __init__(self, net, binary, pid):
        self.net, self.binary, self.pid = net, binary, pid
        self.findings = []

    def __call__(self, *words, stdin=None, pod=True):
        with self.net.node:
            done = subprocess.run([self.binary, "doctor", "-o", "json", *(("--pid", str(self.pid)) if pod else ()), *words], input=stdin, text=True,
                                  capture_output=True, timeout=120, check=False)
        assert done.returncode in (0, 1), done.stderr
        said = json.loads(done.stdout)
        self.findings = said["findings"]
        assert said["ok"] == (done.returncode == 0) == (not self.problems()), done.stdout
        assert "lastlight doctor" not in self.net.node.run("nft", "list", "ruleset")  # its exemptions are over
        return done.returncode

    def problems(self):
        return [each for each in self.findings if each["severity"] == "problem"]

    def says(self, text, severity="fine"):
        return [each["what"] for each in self.findings if each["severity"] == severity and text in each["what"]]


@pytest.fixture
def doctor(run_directory, node_factory, cluster_net, agent_binary, tmp_path):  # noqa: F811  pylint: disable=redefined-outer-name,unused-argument
    """The doctor, on a node whose agent is up, with a process in the pod's namespace."""
    with cluster_net.pod:
        pod = Process("pod", ["sleep", "600"], str(tmp_path), kill_at_once=True)
    with pod:
        node = node_factory(**LINK_LOCALS)
        wait_until(lambda: node.get("/readyz")[0] == 200, 10, "readiness", node.supervisor)
        yield Doctor(cluster_net, agent_binary, pod.pid)


def test_it_proves_both_ways_from_a_pod_and_from_the_node(doctor, cluster_net, agent_binary):  # pylint: disable=redefined-outer-name
    assert doctor() == 0, doctor.problems()
    came, past = doctor.says("comes to the agent"), doctor.says("past the lease is answered without the agent")
    for address in (f"{CLUSTER_IP}:53", f"[{CLUSTER_IP6}]:53", f"{LINK_LOCAL}:53"):
        for protocol in ("UDP", "TCP"):
            assert [each for each in came if each.startswith(f"a {protocol} query from a pod (10.244.1.2") and address in each], (address, came)
            assert [each for each in came if each.startswith(f"a {protocol} query from this node to {address}")], (address, came)
            assert [each for each in past if each.startswith(f"a {protocol} query from a pod") and address in each], (address, doctor.findings)
    assert doctor.says("the agent holds the lease") and doctor.says(f"{CLUSTER_IP} is on ") and doctor.says("the kernel has the socket expression")
    assert doctor.says("no kube-proxy was found", "note")
    # In a pod there is no other's network to look from.
    with cluster_net.node:
        done = subprocess.run([agent_binary, "doctor"], text=True, capture_output=True, timeout=60, check=False, env={**os.environ, "KUBERNETES_SERVICE_HOST": "10.96.0.1"})
    assert done.returncode == 0 and "-> kubectl run lastlight-doctor " in done.stdout and "from a pod (" not in done.stdout, done.stdout + done.stderr


def test_a_chain_that_drops_is_named_and_its_rule_helps(doctor, cluster_net):  # pylint: disable=redefined-outer-name
    node = cluster_net.node
    node.nft("""table inet host {
        chain in { type filter hook input priority 0; policy drop
            iifname "lo" accept
            ct state established,related accept
            meta l4proto ipv6-icmp accept
        }
    }""")
    node.run("iptables", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
    node.run("iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")
    node.run("iptables", "-P", "INPUT", "DROP")
    assert doctor() == 1
    named = [each for each in doctor.problems() if each["what"].startswith("the chain ")]
    assert [each["what"].split(" drops ")[0] for each in named] == ["the chain in of the table inet host", "the chain INPUT of the table ip filter"]
    for each in named:
        for line in each["toDo"].splitlines():
            node.run(*shlex.split(line))
    assert doctor() == 0, doctor.problems()


def test_policies_and_what_somebody_else_took_are_told(doctor, cluster_net):  # pylint: disable=redefined-outer-name
    policies = {"items": [{"metadata": {"namespace": "shop", "name": "web"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": []}}]}
    cluster_net.node.run("nft", "delete", "chain", "inet", "proxy", "prerouting")  # nothing behind the lease any more
    assert doctor("--network-policies", "-", stdin=json.dumps(policies)) == 1
    told = [each["what"] for each in doctor.problems()]
    assert any(each.startswith(f"the NetworkPolicy shop/web lets no DNS query to {CLUSTER_IP}, {CLUSTER_IP6}, {LINK_LOCAL} through") for each in told), told
    assert any("without the agent this node has no DNS" in each for each in told), told
    with cluster_net.node:
        bad = subprocess.run([doctor.binary, "doctor", "--network-policies", "/nowhere"], text=True, capture_output=True, timeout=60, check=False)
    assert bad.returncode == 2 and "/nowhere" in bad.stderr


# --- uninstall

NODE_LOCAL = [("raw", "PREROUTING", "-d", "--dport", "CT --notrack", "skip conntrack"), ("raw", "OUTPUT", "-s", "--sport", "CT --notrack", "skip conntrack"),
              ("raw", "OUTPUT", "-d", "--dport", "CT --notrack", "skip conntrack"), ("filter", "INPUT", "-d", "--dport", "ACCEPT", "allow DNS traffic"),
              ("filter", "OUTPUT", "-s", "--sport", "ACCEPT", "allow DNS traffic")]


def node_local(node):
    """What NodeLocal DNSCache leaves behind, and a rule of somebody else's."""
    node.ip(f"link add nodelocaldns type veth peer name peer", f"address add {LINK_LOCAL}/32 dev nodelocaldns", "address add fd00:20::10/128 dev nodelocaldns nodad")
    for program, address in (("iptables", LINK_LOCAL), ("ip6tables", "fd00:20::10")):
        for table, chain, direction, port, target, comment in NODE_LOCAL:
            for protocol in ("tcp", "udp"):
                node.run(program, "-t", table, "-I", chain, "-p", protocol, direction, address, port, "53", "-j", *target.split(), "-m", "comment",
                         "--comment", f"NodeLocal DNS Cache: {comment}")
        node.run(program, "-I", "INPUT", "-p", "udp", "--dport", "53", "-j", "ACCEPT", "-m", "comment", "--comment", "not NodeLocal DNS Cache: ours")


@pytest.fixture
def bare(namespaces, run_directory, agent_binary):  # pylint: disable=unused-argument,redefined-outer-name
    node = Namespace()
    node.ip("link set lo up")
    node.lastlight = lambda *words: node.run(agent_binary, *words, check=False)
    yield node
    node.close()


def saved(node):
    return node.run("iptables-save") + node.run("ip6tables-save")


def test_uninstall_leaves_nothing_of_ours_and_on_request_nothing_of_nodelocals(bare, run_directory):  # pylint: disable=redefined-outer-name
    node_local(bare)
    words = ("--cluster-ip", CLUSTER_IP, "--link-local", "169.254.20.11=10.96.0.11")
    assert bare.lastlight("takeover", "up", *words).returncode == 0 and bare.lastlight("takeover", "down", *words).returncode == 0
    assert "169.254.20.11" in bare.run("nft", "list", "ruleset")  # kept, since pods hold it
    (run_directory / "drain.json").write_text("{}")
    told = bare.lastlight("doctor")
    assert told.returncode == 1 and "NodeLocal DNSCache left the link nodelocaldns" in told.stdout and "20 iptables rules" in told.stdout, told.stdout
    assert "lastlight uninstall" in told.stdout
    for words in ((), ("--output", "json")):
        done = bare.lastlight("uninstall", *words)
        assert done.returncode == 0, done.stderr
        assert "lastlight" not in bare.run("nft", "list", "tables") and "169.254.20.11" not in bare.run("ip", "address")
        assert not run_directory.exists()
    told = json.loads(done.stdout)
    assert told["done"] and "no rules: the table inet lastlight is gone" in told["lines"] and not told["problem"]
    assert saved(bare).count("NodeLocal DNS Cache: ") == 22 and LINK_LOCAL in bare.run("ip", "address")
    for _ in range(2):
        done = bare.lastlight("uninstall", "--node-local")
        assert done.returncode == 0, done.stderr
        left = saved(bare)
        assert left.count("NodeLocal DNS Cache: ") == left.count("not NodeLocal DNS Cache: ours") == 2, left
        assert bare.run("ip", "link", "show", "nodelocaldns", check=False).returncode != 0
    assert "not seen here" not in done.stdout


def test_a_port_that_nodelocal_has_is_told_by_its_name(bare, agent_binary, tmp_path):  # pylint: disable=redefined-outer-name
    node_local(bare)
    config = write_config(str(tmp_path), {"dns": {"listen": [f"{LINK_LOCAL}:53"], "zones": [zone(".", "192.0.2.1:53")]}, "interruption": {"source": "none"},
                                          "http": {"listen": "", "status": ""}})
    with bare, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.bind((LINK_LOCAL, 53))
        done = subprocess.run([agent_binary, "run", "--config", config], text=True, capture_output=True, timeout=60, check=False)
        refused = bare.lastlight("uninstall", "--node-local")
    assert done.returncode != 0 and f"{LINK_LOCAL}:53: Address already in use (the address is on nodelocaldns: NodeLocal DNSCache serves there)" in done.stderr
    assert refused.returncode == 1 and "NodeLocal DNSCache still serves on nodelocaldns" in refused.stderr


def test_uninstall_refuses_what_would_come_back(bare, run_directory, doctor, cluster_net):  # pylint: disable=redefined-outer-name,unused-argument
    done = cluster_net.node.run(doctor.binary, "uninstall", check=False)
    assert done.returncode == 1 and "an agent runs on this node" in done.stderr
    told = json.loads(cluster_net.node.run(doctor.binary, "uninstall", "-o", "json", check=False).stdout)
    assert not told["done"] and not told["lines"] and "an agent runs on this node" in told["problem"]
    assert CLUSTER_IP in cluster_net.node.run("ip", "address")
    for words in (["--whatever"], ["--address", "x"], ["--interface", "lo"], ["--output", "xml"]):
        assert bare.lastlight("uninstall", *words).returncode == 2
    assert "--node-local" in bare.lastlight("uninstall", "--help").stdout
