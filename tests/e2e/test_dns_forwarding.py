"""What pods see: names by zone, over UDP and TCP, IPv4 and IPv6, from upstream and from the cache, in front of a real CoreDNS."""

import random
import socket
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from rig import ports
from rig.agent import zone
from rig.coredns import LOG, answer, erratic, records, site, zone_file
from rig.proc import wait_until

CLUSTER = "cluster.local"
HITS = "lastlight_cache_hits_total"


def values(message, rdtype="A"):
    """The addresses of the answer, whatever their order."""
    wanted = dns.rdatatype.from_text(rdtype)
    return sorted(item.to_text() for rrset in message.answer if rrset.rdtype == wanted for item in rrset)


def ttl(message):
    return message.answer[0].ttl


@pytest.fixture
def upstream(coredns_factory):
    return coredns_factory(site(CLUSTER, records("10.0.0.1 web.shop.svc.cluster.local"), LOG),
                           site("example.org", answer("203.0.113.7", "2001:db8::7", ttl=300), LOG))


@pytest.fixture
def agent(agent_factory, upstream):
    return agent_factory({"dns": {"zones": [zone(CLUSTER, upstream, protocol="tcp"), zone(".", upstream)]}})


ADDRESSES = [ports.V4] + ([ports.V6] if ports.has_ipv6() else [])


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_every_listener_answers(agent, address, tcp):
    reply = agent.query("web.shop.svc.cluster.local", tcp=tcp, address=address)
    assert (values(reply), reply.rcode()) == (["10.0.0.1"], dns.rcode.NOERROR)
    assert reply.flags & dns.flags.RA and not reply.flags & dns.flags.AA
    assert values(agent.query("www.example.org", "AAAA", tcp=tcp, address=address), "AAAA") == ["2001:db8::7"]


def test_zones_have_their_upstreams_and_protocols(agent_factory, coredns_factory):
    inner = coredns_factory(site(".", answer("10.1.1.1"), LOG))
    cluster = coredns_factory(site(".", answer("10.2.2.2"), LOG))
    rest = coredns_factory(site(".", answer("203.0.113.7"), LOG))
    agent = agent_factory({"dns": {"zones": [zone(".", rest), zone("inner.cluster.local", inner), zone(CLUSTER, cluster, protocol="tcp")]}})
    asked = [("a.inner.cluster.local", inner, "udp", "10.1.1.1"), ("inner.cluster.local", inner, "udp", "10.1.1.1"),
             ("web.Cluster.LOCAL", cluster, "tcp", "10.2.2.2"), ("xinner.cluster.local", cluster, "tcp", "10.2.2.2"),
             ("notcluster.local", rest, "udp", "203.0.113.7"), ("cluster.local.example.org", rest, "udp", "203.0.113.7")]
    for name, server, protocol, address in asked:
        assert values(agent.query(name)) == [address], name
        assert server.logged(1, name.lower()) == [f"{protocol} A {name.lower()}. NOERROR"]
    assert [len(each.queries()) for each in (inner, cluster, rest)] == [2, 2, 2]


def test_a_second_question_is_answered_from_the_cache_and_its_ttl_ages(agent, upstream):
    before = agent.metrics()
    first = agent.query("www.example.org")
    assert ttl(first) == 300
    aged = wait_until(lambda: (lambda reply: ttl(reply) < 300 and reply)(agent.query("WWW.example.org")), 5, "an aged TTL")
    assert values(aged) == values(first) and 290 < ttl(aged) < 300
    assert agent.query("www.example.org", tcp=True).answer, "the cache is shared by UDP and TCP"
    after = agent.metrics()
    assert after[HITS] - before[HITS] >= 2
    assert after["lastlight_upstream_queries_total"] - before["lastlight_upstream_queries_total"] == 1
    assert upstream.logged(1, "www.example.org") == ["udp A www.example.org. NOERROR"]


def test_an_entry_expires_with_its_ttl(agent_factory, coredns_factory):
    upstream = coredns_factory(site(".", answer("203.0.113.7", ttl=1), LOG))
    agent = agent_factory({"dns": {"prefetch": False, "zones": [zone(".", upstream)]}})
    began = time.monotonic()
    wait_until(lambda: agent.query("short.example.org").answer and len(upstream.queries("short.example.org")) == 2, 10, "a second upstream query")
    assert time.monotonic() - began >= 1
    wait_until(lambda: agent.metrics()['lastlight_cache_misses_total{reason="expired"}'] >= 1, 5, "an expired entry counted")


def test_the_smallest_ttl_limits_and_the_largest_is_cut(agent_factory, coredns_factory):
    upstream = coredns_factory(site("long.test", answer("203.0.113.7", ttl=86400)), site("short.test", answer("203.0.113.8", ttl=1)), site(".", answer()))
    agent = agent_factory({"dns": {"zones": [zone(".", upstream, min_ttl="20s", max_ttl="60s")]}})
    assert ttl(agent.query("a.long.test")) == 60
    assert ttl(agent.query("a.short.test")) == 20


@pytest.mark.parametrize("name,rdtype,code", [("none.example.org", "A", dns.rcode.NXDOMAIN), ("web.example.org", "MX", dns.rcode.NOERROR)],
                         ids=["NXDOMAIN", "NODATA"])
def test_negative_answers_are_cached_for_the_least_of_soa_and_limit(agent_factory, coredns_factory, tmp_path, name, rdtype, code):
    text = "@ 900 IN SOA ns.invalid. hostmaster.invalid. 1 7200 1800 86400 600\n@ 900 IN NS ns.invalid.\nweb 300 IN A 192.0.2.1"
    upstream = coredns_factory(site("example.org", zone_file(tmp_path, "example.org", text), LOG), site(".", answer()))
    for limit, expected in (("5s", 5), ("1h", 600)):
        agent = agent_factory({"dns": {"zones": [zone(".", upstream, max_negative_ttl=limit)]}})
        asked = len(upstream.queries(name))
        for _ in range(3):
            reply = agent.query(name, rdtype)
            assert (reply.rcode(), reply.answer, len(reply.authority)) == (code, [], 1)
            assert expected - 3 <= reply.authority[0].ttl <= expected
        assert agent.metrics()[HITS] >= 2
        assert len(upstream.logged(asked + 1, name)) == asked + 1


def test_a_negative_answer_expires(agent_factory, coredns_factory, tmp_path):
    upstream = coredns_factory(site("example.org", zone_file(tmp_path, "example.org", "web 300 IN A 192.0.2.1"), LOG), site(".", answer()))
    agent = agent_factory({"dns": {"zones": [zone(".", upstream, max_negative_ttl="1s")]}})
    wait_until(lambda: agent.query("none.example.org").rcode() == dns.rcode.NXDOMAIN and len(upstream.queries("none.example.org")) == 2, 10,
               "a second upstream query")


def test_a_zone_without_cache_asks_each_time(agent_factory, coredns_factory):
    upstream = coredns_factory(site(".", answer("203.0.113.7"), LOG))
    agent = agent_factory({"dns": {"zones": [zone(".", upstream, cache=False)]}})
    for _ in range(3):
        assert values(agent.query("www.example.org")) == ["203.0.113.7"]
    assert len(upstream.logged(3, "www.example.org")) == 3
    assert agent.metrics()[HITS] == 0


def test_the_clients_case_and_id_come_back(agent, upstream):
    for name in ("www.example.org", "WwW.eXaMpLe.OrG", "WWW.EXAMPLE.ORG"):
        for tcp in (False, True):
            question = dns.message.make_query(name, "A")
            question.id = random.randrange(65536)
            reply = dns.message.from_wire(_exchange(agent, question.to_wire(), tcp))
            assert reply.id == question.id
            assert reply.question[0].name.to_text() == name + "."
            assert reply.answer[0].name == question.question[0].name
    assert len(upstream.logged(1)) == 1


def _exchange(agent, wire, tcp):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((agent.address, agent.port))
        client.sendall(len(wire).to_bytes(2, "big") + wire if tcp else wire)
        if not tcp:
            return client.recv(65535)
        with client.makefile("rb") as stream:
            return stream.read(int.from_bytes(stream.read(2), "big"))


# --- coalescing


def _mixed_case(name):
    return "".join(random.choice((letter.lower(), letter.upper())) for letter in name)


def test_the_same_question_is_asked_once_however_many_ask_it(agent_factory, coredns_factory):
    upstream = coredns_factory(site("slow.test", erratic(delay="700ms")), site(".", answer("203.0.113.7")))
    agent = agent_factory({"dns": {"zones": [zone(".", upstream)]}})
    questions = {}
    while len(questions) < 50:
        message = dns.message.make_query(_mixed_case("one.slow.test"), "A")
        questions[message.id] = message
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((agent.address, agent.port))
        for message in questions.values():
            client.send(message.to_wire())
        while questions:
            reply = dns.message.from_wire(client.recv(4096))
            asked = questions.pop(reply.id)
            assert asked.is_response(reply) and reply.answer
            assert reply.question[0].name.to_text() == asked.question[0].name.to_text(), "its own case"
    metrics = agent.metrics()
    assert metrics["lastlight_dns_coalesced_queries_total"] == 49
    asked_again = metrics["lastlight_upstream_retries_total"]  # of an answer that a busy machine makes later than the turn of 800 ms
    assert metrics["lastlight_upstream_queries_total"] - asked_again == 1


def test_different_questions_do_not_wait_for_each_other(agent_factory, coredns_factory):
    upstream = coredns_factory(site("slow.test", erratic(delay="1500ms"), LOG), site(".", answer("203.0.113.7")))
    agent = agent_factory({"dns": {"zones": [zone("slow.test", upstream, protocol="tcp"), zone(".", upstream)]}})
    names = [f"{number}.slow.test" for number in range(20)]
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((agent.address, agent.port))
        for name in names:
            client.send(dns.message.make_query(name, "A").to_wire())
        assert values(agent.query("quick.example.org")) == ["203.0.113.7"]
        assert time.monotonic() - began < 1.4, "an answer that was ready waited"
        got = {dns.message.from_wire(client.recv(4096)).question[0].name.to_text(omit_final_dot=True) for _ in names}
    assert got == set(names)
    assert time.monotonic() - began < 5, "twenty answers, each 1.5 s late, came one after the other"


def test_waiters_beyond_the_bound_are_told_so(agent_factory, coredns_factory):
    upstream = coredns_factory(site("slow.test", erratic(delay="700ms")), site(".", answer("203.0.113.7")))
    agent = agent_factory({"dns": {"max-waiters": 4, "max-flights": 2, "zones": [zone(".", upstream)]}})

    def rcodes(names):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect((agent.address, agent.port))
            for name in names:
                client.send(dns.message.make_query(name, "A").to_wire())
            return sorted(dns.message.from_wire(client.recv(4096)).rcode() for _ in names)

    assert rcodes(["one.slow.test"] * 6) == [dns.rcode.NOERROR] * 4 + [dns.rcode.SERVFAIL] * 2
    assert rcodes(["two.slow.test", "three.slow.test", "four.slow.test"]) == [dns.rcode.NOERROR] * 2 + [dns.rcode.SERVFAIL]
    metrics = agent.metrics()
    assert metrics['lastlight_dns_overload_total{bound="waiters"}'] == 2
    assert metrics['lastlight_dns_overload_total{bound="flights"}'] == 1
