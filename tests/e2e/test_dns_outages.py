"""Upstreams that do not answer, come back, or are changed under way: clients are told what is wrong, and probes stay green."""

import itertools
import os
import signal
import socket
import time

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from rig import needs
from rig.agent import zone
from rig.coredns import LOG, answer, erratic, site
from rig.proc import wait_until

QUICK = {"query-timeout": "600ms", "attempt-timeout": "300ms"}


@pytest.fixture
def upstream(coredns_factory):
    return coredns_factory(site(".", answer("203.0.113.7", ttl=1), LOG))


def ask(agent, name, tcp=False):
    """(rcode, codes of the extended errors, addresses)"""
    message = dns.message.make_query(name, "A", use_edns=0)
    reply = (dns.query.tcp if tcp else dns.query.udp)(message, agent.address, port=agent.port, timeout=10)
    errors = [int(option.code) for option in reply.options if option.otype == dns.edns.OptionType.EDE]
    return reply.rcode(), errors, [item.to_text() for rrset in reply.answer for item in rrset]


def silence(server):
    """Stopped: its ports are open and nothing answers. The signal reaches its threads a little later than we go on."""
    def silent():
        try:
            return not server.query("ready.invalid", timeout=0.2)
        except dns.exception.Timeout:
            return True
    server.signal(signal.SIGSTOP)
    wait_until(silent, 10, "a silent CoreDNS")


def body(agent):
    status, text = agent.get("/readyz")
    assert status == 200, "an upstream's outage must not make every agent of the cluster unready"
    return text


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_dead_upstream_is_servfail_with_its_reason_and_recovers(agent_factory, upstream, protocol):
    agent = agent_factory({"dns": {**QUICK, "zones": [zone(".", upstream, protocol=protocol)]}})
    assert ask(agent, "before.example.org") == (dns.rcode.NOERROR, [], ["203.0.113.7"])
    assert f"upstream 127.0.0.1:{upstream.port}: answering" in body(agent)
    upstream.stop()
    began = time.monotonic()
    for tcp in (False, True):
        code, errors, _ = ask(agent, f"during-{tcp}.example.org", tcp)
        assert code == dns.rcode.SERVFAIL and errors and set(errors) <= {22, 23}, "No Reachable Authority, or Network Error"
    assert time.monotonic() - began < 2 * 0.6 + 1
    assert ask(agent, "during-True.example.org")[:2] == (dns.rcode.SERVFAIL, [13]), "remembered"
    wait_until(lambda: f"upstream 127.0.0.1:{upstream.port}: not answering" in body(agent), 10, "the outage in /readyz")
    assert agent.get("/healthz")[0] == 200
    upstream.start()
    names = iter(f"after-{number}.example.org" for number in range(1000))
    wait_until(lambda: ask(agent, next(names))[2] == ["203.0.113.7"], 10, "an answer after the outage")
    wait_until(lambda: f"upstream 127.0.0.1:{upstream.port}: answering" in body(agent), 10, "the recovery in /readyz")


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_silent_upstream_is_given_up_in_time(agent_factory, upstream, protocol):
    """Case 1, with nothing kept."""
    agent = agent_factory({"dns": {**QUICK, "zones": [zone(".", upstream, protocol=protocol)]}})
    silence(upstream)
    began = time.monotonic()
    assert ask(agent, "www.example.org")[:2] == (dns.rcode.SERVFAIL, [22])
    assert 0.5 < time.monotonic() - began < 3
    assert agent.metrics()['lastlight_upstream_failures_total{reason="timeout"}'] >= 1
    upstream.signal(signal.SIGCONT)
    names = iter(f"after-{number}.example.org" for number in range(1000))
    wait_until(lambda: ask(agent, next(names))[2] == ["203.0.113.7"], 10, "an answer from the woken upstream")


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_the_next_upstream_is_asked(agent_factory, coredns_factory, upstream, protocol):
    other = coredns_factory(site(".", answer("203.0.113.8", ttl=1), LOG))
    agent = agent_factory({"dns": {"attempt-timeout": "200ms", "query-timeout": "2s", "zones": [zone(".", upstream, other, protocol=protocol)]}})
    for how, stop in (("silent", lambda: silence(upstream)), ("dead", upstream.stop)):
        stop()
        for number in range(5):
            assert ask(agent, f"{how}-{number}.example.org")[2] == ["203.0.113.8"]
    assert agent.metrics()["lastlight_upstream_retries_total"] >= 1


def test_a_lost_query_is_asked_again(agent_factory, coredns_factory):
    upstream = coredns_factory(site("lossy.test", erratic(drop=2)), site(".", answer("203.0.113.7")))
    agent = agent_factory({"dns": {"attempt-timeout": "200ms", "query-timeout": "3s", "zones": [zone(".", upstream)]}})
    for number in range(4):
        assert ask(agent, f"{number}.lossy.test")[2] == ["192.0.2.53"]
    assert agent.metrics()["lastlight_upstream_retries_total"] >= 1


def test_one_zone_without_upstreams_leaves_the_others_alone(agent_factory, coredns_factory, upstream):
    cluster = coredns_factory(site(".", answer("10.0.0.1")))
    agent = agent_factory({"dns": {**QUICK, "zones": [zone("cluster.local", cluster, protocol="tcp"), zone(".", upstream)]}})
    cluster.stop()
    assert ask(agent, "web.cluster.local")[0] == dns.rcode.SERVFAIL
    assert ask(agent, "www.example.org")[2] == ["203.0.113.7"]


# --- resolv.conf


NUMBERS = itertools.count(1)


@pytest.fixture
def resolver(coredns_factory):
    """resolver(address) -> a CoreDNS on port 53, of an address of loopback that is its alone; it answers with `address`."""
    def start(says):
        address = f"127.{53 + os.getpid() // 200 % 150}.{os.getpid() % 200}.{next(NUMBERS)}"
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((address, 53))
        except OSError as error:
            needs.missing(f"{address}:53, where resolv.conf's nameservers are asked, cannot be bound: {error}")
        return coredns_factory(site(".", answer(says, ttl=0), LOG, bind=address), address=address, port=53)
    return start


def replace(path, text):
    with open(f"{path}.new", "w", encoding="ascii") as out:
        out.write(text)
    os.rename(f"{path}.new", path)


def rewrite(path, text):
    with open(path, "w", encoding="ascii") as out:
        out.write(text)


@pytest.fixture
def following(agent_factory, coredns_factory, tmp_path):
    """following(text) -> (an agent that follows a file with that text, the file)"""
    def start(text):
        path = str(tmp_path / "resolv.conf")
        rewrite(path, text)
        cluster = coredns_factory(site(".", answer("10.0.0.1")))
        zones = [zone("cluster.local", cluster, protocol="tcp"), {"name": ".", "upstreams": "resolv.conf"}]
        return agent_factory({"dns": {**QUICK, "resolv-conf": path, "zones": zones}}), path
    return start


def answered_by(agent, address, names=iter(f"n{number}.example.org" for number in range(10**6))):
    wait_until(lambda: ask(agent, next(names))[2] == [address], 10, f"answers by {address}", agent.process)


@pytest.mark.parametrize("change", [replace, rewrite], ids=["renamed", "written in place"])
def test_resolv_conf_is_followed(following, resolver, change):
    first, second = resolver("203.0.113.1"), resolver("203.0.113.2")
    agent, path = following(f"search shop.svc.cluster.local\nnameserver {first.address}\noptions ndots:5 edns0\n")
    answered_by(agent, "203.0.113.1")
    assert ask(agent, "web.cluster.local")[2] == ["10.0.0.1"]
    change(path, f"# changed\nnameserver {second.address}\n")
    answered_by(agent, "203.0.113.2")
    for number in range(5):
        assert ask(agent, f"last{number}.example.org")[2] == ["203.0.113.2"]
    assert second.logged(1, "last4.example.org") and not any(" last" in line for line in first.queries()), "the old one is asked no more"
    change(path, f"nameserver {first.address}\n")
    answered_by(agent, "203.0.113.1")


def test_a_resolv_conf_that_comes_later_or_goes(following, resolver):
    first = resolver("203.0.113.3")
    agent, path = following("")
    assert ask(agent, "www.example.org")[:2] == (dns.rcode.SERVFAIL, [22]), "nobody to ask yet"
    replace(path, f"nameserver {first.address}\n")
    answered_by(agent, "203.0.113.3")
    os.unlink(path)
    wait_until(lambda: "resolv_conf.unreadable" in agent.process.output(), 10, "the missing file in the log", agent.process)
    assert ask(agent, "still.example.org")[2] == ["203.0.113.3"], "those read before stay"
    replace(path, f"nameserver {first.address}\n")
    answered_by(agent, "203.0.113.3")


def test_the_second_nameserver_of_resolv_conf_is_asked(following, resolver):
    first, second = resolver("203.0.113.4"), resolver("203.0.113.5")
    agent, _ = following(f"nameserver {first.address}\nnameserver {second.address}\n")
    first.stop()
    answered_by(agent, "203.0.113.5")


def test_what_resolv_conf_says_wrongly_is_told(following, resolver):
    first = resolver("203.0.113.6")
    agent, _ = following(f"nameserver nowhere\nnameserver 0.0.0.0\nnameserver {first.address}\noptions rotate\n")
    answered_by(agent, "203.0.113.6")
    log = agent.process.output()
    assert "resolv_conf.problem" in log and "nowhere" in log and "rotate" in log
