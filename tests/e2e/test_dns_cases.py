"""Fault cases of a forwarder, by number; those that have a place of their own stand there:

     1  the upstream is silent                        test_dns_silence.py, test_dns_outages.py (given up in time)
     8  TCP upstreams that misbehave                  test_dns_upstreams.py (a broken connection is replaced)
     9  a rollout                                     test_dns_rollout.py, test_dns_upstreams.py (the only upstream)
    10  one of several in a black hole                test_dns_upstreams.py (die one by one)
    26  loops                                         test_dns_upstreams.py (a loop is found)

2 to 7, 11, 21 and 25 are here.
"""

import contextlib
import random
import socket
import struct
import time

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import pytest

from rig.agent import zone
from rig.coredns import answer, block, site
from rig.load import Load, limit
from rig.node_cache import LEAST_TTL, wanted
from rig.proc import wait_until
from rig.scripted import reply

WEB = "www.example.org"
SOA = "@ 1 IN SOA ns.invalid. hostmaster.invalid. 1 2 3 4 1"


def addresses(message):
    return [item.to_text() for rrset in message.answer for item in rrset]


def extended_errors(message):
    return [int(option.code) for option in message.options]


@pytest.fixture
def changing(agent_factory, scripted_factory):
    """changing({...}) -> (agent, its upstream): the upstream answers `says[0]`; of a TTL of a second."""
    def start(says, **keys):
        upstream = scripted_factory(lambda query, tcp: says[0](query, tcp))
        return agent_factory({"dns": {"prefetch": False, **keys, "zones": [zone(".", upstream)]}}), upstream
    return start


def good(query, _tcp=False):
    return reply(query, "@ 1 IN A 192.0.2.1")


def expire():
    time.sleep((LEAST_TTL if wanted() else 1) + 0.2)  # the TTL


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_case_2_a_failure_never_replaces_an_answer_and_the_next_success_does(changing, code):
    says = [good]
    agent, _ = changing(says, **{"stale-recheck": "1s"})
    assert addresses(agent.query(WEB)) == ["192.0.2.1"]
    says[0] = lambda query, tcp: reply(query, code=code)
    expire()
    for _ in range(3):
        stale = agent.query(WEB)
        assert addresses(stale) == ["192.0.2.1"] and stale.answer[0].ttl == 30 and extended_errors(stale) == [3]
    says[0] = lambda query, tcp: reply(query, "@ 60 IN A 192.0.2.2")
    wait_until(lambda: addresses(agent.query(WEB)) == ["192.0.2.2"], 10, "the new answer", agent.process)


@pytest.mark.parametrize("code", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR])
def test_case_3_a_denial_replaces_an_expired_answer(changing, code):
    says = [good]
    agent, _ = changing(says)
    assert addresses(agent.query(WEB)) == ["192.0.2.1"]
    says[0] = lambda query, tcp: reply(query, authority=[SOA], code=code)
    expire()

    def denied():
        message = agent.query(WEB)
        return message.rcode() == code and not message.answer
    wait_until(denied, 10, "the denial", agent.process)  # what takes the upstream longer than `stale-after-hot` comes next time
    assert denied()


def test_case_4_an_answer_that_comes_after_the_client_has_gone_is_kept(changing):
    agent, upstream = changing([lambda query, tcp: [0.8, reply(query, "192.0.2.4")]])
    with pytest.raises(dns.exception.Timeout):
        agent.query(WEB, timeout=0.2)
    wait_until(lambda: upstream.asked(WEB), 10, "the question", agent.process)
    wait_until(lambda: agent.metrics()["lastlight_upstream_in_flight"] == 0, 10, "the late answer", agent.process)
    asked = upstream.asked(WEB)
    assert addresses(agent.query(WEB)) == ["192.0.2.4"] and upstream.asked(WEB) == asked


def wrong(how, query):
    """An answer that is not to this question."""
    message = reply(query, "192.0.2.66")
    octets = bytearray(message.to_wire())
    match how:
        case "id":
            octets[0] ^= 0x55
        case "name":
            octets[13] ^= 1
        case "type":
            octets[12 + len(query.question[0].name.to_wire()) + 1] = 28
        case "class":
            octets[12 + len(query.question[0].name.to_wire()) + 3] = 3
        case "QR":
            octets[2] &= 0x7F
        case "opcode":
            octets[2] |= dns.opcode.STATUS << 3
    return bytes(octets)


@pytest.mark.parametrize("how", ["id", "name", "type", "class", "QR", "opcode"])
def test_case_5_a_wrong_answer_before_the_right_one_is_nobodys(changing, how):
    agent, _ = changing([lambda query, tcp: [wrong(how, query), 0.05, reply(query, "192.0.2.5")]])
    for _ in range(2):
        assert addresses(agent.query(WEB, timeout=6)) == ["192.0.2.5"]


def test_case_6_a_flood_of_wrong_ids_changes_nothing(changing):
    """Thousands of guesses for each of fifty questions; names that are kept go on being answered."""
    def spoofed(query, _tcp):
        if "hot" in query.question[0].name.to_text():
            return reply(query, "@ 3600 IN A 192.0.2.1")
        octets = reply(query, "192.0.2.66").to_wire()
        guesses = [struct.pack(">H", query.id ^ random.randrange(1, 65536)) + octets[2:] for _ in range(2000)]
        return [*guesses, reply(query, "192.0.2.6")]

    agent, _ = changing([spoofed])
    for number in range(20):
        agent.query(f"hot{number}.test")
    with Load(agent, lambda number: f"hot{number % 20}.test", 200) as hot:
        for number in range(50):
            assert addresses(agent.query(f"aimed{number}.test", timeout=6)) == ["192.0.2.6"]
    assert not hot.failed() and not hot.slow(limit(0.35))
    assert addresses(agent.query("hot1.test")) == ["192.0.2.1"]
    wait_until(lambda: agent.query("hot1.test").answer[0].ttl < 3600, 5, "the one that was kept to age")


@pytest.mark.parametrize("over_tcp", ["whole", "truncated too", "refused"])
def test_case_7_truncated_answers(agent_factory, scripted_factory, over_tcp):
    """TC over UDP is asked again over TCP; TC over TCP is no answer, and neither is no TCP."""
    def cut(query, tcp):
        message = reply(query, *[f"192.0.2.{last}" for last in range(1, 100)] if tcp and over_tcp == "whole" else [])
        if not tcp or over_tcp == "truncated too":
            message.flags |= dns.flags.TC
        return message

    upstream = scripted_factory(cut)
    if over_tcp == "refused":
        upstream.refuse_tcp()
    agent = agent_factory({"dns": {"query-timeout": "2s", "zones": [zone(".", upstream)]}})
    message = agent.query(WEB, tcp=True, timeout=6)
    if over_tcp == "whole":
        assert len(addresses(message)) == 99
    else:
        assert message.rcode() == dns.rcode.SERVFAIL and extended_errors(message)
    assert agent.metrics()["lastlight_upstream_tcp_fallbacks_total"] >= 1


def test_case_11_port_unreachable_is_no_reason_to_wait(agent_factory, coredns_factory):
    """The first upstream's port is closed: the second is asked at once, and no socket is left behind."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{bound.getsockname()[1]}"
    agent = agent_factory({"dns": {"attempt-timeout": "2s", "zones": [zone(".", closed, coredns_factory(site(".", answer("192.0.2.11"))))]}})
    with Load(agent, lambda number: f"n{number}.test", 100) as load:
        wait_until(lambda: len(load.asked) >= 200, 10, "questions")
    assert not load.failed() and not load.slow(limit(0.2)), "ECONNREFUSED is an answer of its kind"
    assert agent.metrics()["lastlight_upstream_channels"] <= 64


def test_case_21_loss_delay_and_disorder_on_the_way(agent_factory, coredns_factory):
    """Every third question is lost and every second answer 100 ms late, so that they come in another order than they were asked."""
    upstream = coredns_factory(site("lossy.test", block("erratic", "drop 3", "truncate 0", "delay 2 100ms")), site(".", answer("192.0.2.1")))
    agent = agent_factory({"dns": {"attempt-timeout": "500ms", "zones": [zone(".", upstream)]}})
    with Load(agent, lambda number: f"n{number}.lossy.test", 100) as load:
        wait_until(lambda: len(load.asked) >= 300, 10, "questions")
    failed = load.failed()
    asked = agent.metrics()["lastlight_upstream_queries_total"]
    print(f"{len(failed)} of {len(load.asked)} failed, {asked:.0f} upstream questions, worst {load.worst() * 1000:.0f} ms")
    assert all(one.answered for one in load.asked) and load.strays == 0, "each is answered, once"
    assert len(failed) <= len(load.asked) / 8, "three in a row are lost of one in 27, one of two in nine, one alone in three"
    assert asked <= 3 * len(load.asked)


def test_case_25_a_stuck_metadata_service_and_api_server_slow_no_query(agent_factory, coredns_factory, tmp_path):
    """Both take connections and never say a word."""
    token = tmp_path / "token"
    token.write_text("t")
    with contextlib.ExitStack() as stack:
        stuck = []
        for _ in range(2):
            stuck.append(stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64)))
        metadata, api = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in stuck]
        agent = agent_factory({"interruption": {"source": "aws", "metadata-url": metadata}, "node-name": "n1",
                               "kubernetes": {"api-server": api, "token-file": str(token)},
                               "dns": {"zones": [zone(".", coredns_factory(site(".", answer("192.0.2.1", ttl=1))))]}})
        with Load(agent, lambda number: f"n{number % 50 if number % 2 else number}.test", 200) as load:
            wait_until(lambda: len(load.asked) >= 600, 20, "questions")
        assert not load.failed() and not load.slow(limit(0.35))

        def failed_polls():
            return sum(value for key, value in agent.metrics().items() if key.startswith("lastlight_metadata_polls_total") and "failed" in key)
        wait_until(lambda: failed_polls() >= 1, 10, "a poll that was given up")
