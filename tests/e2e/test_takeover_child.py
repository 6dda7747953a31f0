"""`lastlight takeover`: the child that changes the node's network, on real nftables and netlink, in a namespace of its own."""

import os
import subprocess
import time

import pytest

from rig.measure import SchedulingDelay
from rig.netns import CLUSTER_IP, CLUSTER_IP6, FALLBACK, LINK_LOCAL, Namespace

CLUSTER_IPS = ["--cluster-ip", CLUSTER_IP, "--cluster-ip", CLUSTER_IP6]
LINK_LOCALS = ["--link-local", f"{LINK_LOCAL}={FALLBACK}"]


@pytest.fixture
def node(namespaces):  # pylint: disable=unused-argument
    made = Namespace()
    made.ip("link set lo up")
    yield made
    made.close()


@pytest.fixture
def child(node, agent_binary):  # pylint: disable=redefined-outer-name
    def run(*words):
        return node.run(agent_binary, "takeover", *words, check=False)
    return run


def done(run):
    assert run.returncode == 0, run.stderr
    return run.stdout


def link_of(node):
    """`lastlight`, or `lo` where the kernel has no dummy links."""
    return "lastlight" if node.run("ip", "link", "show", "lastlight", check=False).returncode == 0 else "lo"


def ours(node):
    return {each for each in node.addresses(link_of(node)) if not each.startswith("fe80")}


def rules(node):
    return node.run("nft", "list", "ruleset")


def test_up_and_down_are_repeatable_and_leave_nothing(node, child):
    took = []
    with SchedulingDelay() as delay:
        for _ in range(3):
            for _ in range(2):
                done(child("up", *CLUSTER_IPS))
                assert ours(node) == {CLUSTER_IP, CLUSTER_IP6}
                assert rules(node).count("notrack") == 12, rules(node)
                assert "tentative" not in node.run("ip", "address")
            began = time.monotonic()
            done(child("down", *CLUSTER_IPS))
            ended = time.monotonic()
            took.append((ended - began, delay.worst(began, ended)))
    print(f"teardown took {', '.join(f'{each * 1000:.0f} ms (this process late by {late * 1000:.0f})' for each, late in took)}")
    assert any(each < 0.5 + late for each, late in took)
    done(child("down", *CLUSTER_IPS))
    assert rules(node) == "" and ours(node) == set()
    assert node.run("ip", "link", "show", "lastlight", check=False).returncode != 0


def test_up_again_keeps_a_running_lease(node, child):
    done(child("up", *CLUSTER_IPS))
    node.run("nft", "add", "element", "inet", "lastlight", "live4", f"{{ {CLUSTER_IP} timeout 60s }}")
    done(child("repair", *CLUSTER_IPS))
    assert CLUSTER_IP in node.run("nft", "list", "set", "inet", "lastlight", "live4")


def test_a_table_of_another_shape_is_replaced(node, child):
    node.nft("table inet lastlight { set live4 {\ntype ipv4_addr\nflags interval\n}\n}")
    done(child("up", *CLUSTER_IPS))
    assert "dynamic,timeout" in rules(node)


def test_repair_puts_back_what_was_lost(node, child):
    done(child("up", *CLUSTER_IPS))
    before = rules(node)
    node.ip(f"address del {CLUSTER_IP}/32 dev {link_of(node)}")
    node.nft("flush ruleset")
    done(child("repair", *CLUSTER_IPS))
    assert rules(node) == before and ours(node) == {CLUSTER_IP, CLUSTER_IP6}


def test_leaving_keeps_the_link_local_way(node, child):
    done(child("up", *CLUSTER_IPS, *LINK_LOCALS))
    done(child("down", *CLUSTER_IPS, *LINK_LOCALS))
    assert ours(node) == {LINK_LOCAL}
    assert f"ip daddr {LINK_LOCAL} udp dport 53 ip daddr set {FALLBACK}" in rules(node) and CLUSTER_IP not in rules(node)


@pytest.mark.parametrize("holder, told", [("nodelocaldns", f"{CLUSTER_IP} is on nodelocaldns already"),
                                          ("kube-ipvs0", "kube-proxy runs in IPVS mode, beside which only link-local addresses can be taken over")])
def test_an_address_that_another_interface_has_is_told_by_its_name(node, child, holder, told):
    node.ip(f"link add {holder} type veth peer name peer", f"address add {CLUSTER_IP}/32 dev {holder}")
    run = child("up", *CLUSTER_IPS)
    assert run.returncode == 1 and told in run.stderr
    assert rules(node) == ""
    done(child("up", *LINK_LOCALS))


def test_without_the_right_it_says_so(node, agent_binary):
    run = node.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", agent_binary, "takeover", "up", *CLUSTER_IPS, check=False)
    assert run.returncode == 1 and "ermission" in run.stderr + run.stdout or "ermitted" in run.stderr, run.stderr


def test_words_that_are_no_plan_are_refused(node, child):
    for words in ([], ["sideways"], ["up", "--cluster-ip", "10.0.0.1; flush ruleset"], ["up", "--port"]):
        run = child(*words)
        assert run.returncode == 2 and "lastlight takeover" in run.stderr, words
    assert rules(node) == ""


def test_the_agent_itself_links_none_of_it(agent_binary):
    needed = subprocess.run(["readelf", "-d", agent_binary], text=True, capture_output=True, check=True).stdout
    assert "libnftables" not in needed and "libnl" not in needed
    assert os.access(os.path.join(os.path.dirname(agent_binary), "lastlight-takeover"), os.X_OK)
