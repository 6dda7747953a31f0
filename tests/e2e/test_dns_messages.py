"""The messages themselves: EDNS, truncation, what is refused and how, and packets that are no DNS at all."""

import contextlib
import os
import random
import socket
import threading

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.update
import pytest

from rig.agent import zone
from rig.coredns import LOG, answer, rcode, site, zone_file
from rig.proc import wait_until

EDNS_LOG = 'log . "query {proto} {type} {name} {rcode} {>bufsize} {>do}"'
WEB = "www.example.org"


@pytest.fixture
def upstream(coredns_factory, tmp_path):
    many = "\n".join(f"{name} 60 IN A 192.0.2.{last}" for name, count in (("a28", 28), ("a60", 60), ("a200", 200)) for last in range(1, count + 1))
    servers = "\n".join(f"@ 30 IN NS a-name-server-with-a-rather-long-name-{number}.invalid." for number in range(6))
    text = "@ 30 IN SOA ns.invalid. hostmaster.invalid. 1 7200 1800 86400 30\n" + servers + "\n" + many + '\ntext 60 IN TXT "' + "x" * 200 + '"'
    return coredns_factory(site("big.test", zone_file(tmp_path, "big.test", text), LOG), site("bad.test", rcode("SERVFAIL"), LOG),
                           site("refused.test", rcode("REFUSED"), LOG), site(".", answer("203.0.113.7", "2001:db8::7"), EDNS_LOG))


@pytest.fixture
def agent(agent_factory, upstream):
    return agent_factory({"dns": {"zones": [zone(".", upstream)]}})


def send(agent, message, tcp=False, timeout=5):
    """A message or octets there, a message back; as it came, no retry."""
    if isinstance(message, bytes):
        return dns.message.from_wire(exchange(agent, message, tcp, timeout))
    return (dns.query.tcp if tcp else dns.query.udp)(message, agent.address, port=agent.port, timeout=timeout)


def exchange(agent, message, tcp=False, timeout=5):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.connect((agent.address, agent.port))
        client.sendall(len(message).to_bytes(2, "big") + message if tcp else message)
        if not tcp:
            return client.recv(65535)
        with client.makefile("rb") as stream:
            return stream.read(int.from_bytes(stream.read(2), "big"))


def extended_errors(message):
    return [int(option.code) for option in message.options if option.otype == dns.edns.OptionType.EDE]


# --- EDNS


def test_edns_is_answered_when_it_is_spoken(agent):
    plain = send(agent, dns.message.make_query(WEB, "A", use_edns=-1))
    assert plain.edns == -1 and plain.answer
    spoken = send(agent, dns.message.make_query(WEB, "A", use_edns=0, payload=4096))
    assert (spoken.edns, spoken.payload, spoken.options) == (0, 1232, ()) and spoken.answer


def test_edns_is_hop_by_hop(agent, upstream):
    """Neither the client's size nor its options reach the upstream; only DO does, and answers with and without it are kept apart."""
    options = [dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678"), dns.edns.GenericOption(dns.edns.OptionType.NSID, b""),
               dns.edns.ECSOption("198.51.100.0", 24), dns.edns.GenericOption(65001, b"any")]
    reply = send(agent, dns.message.make_query(WEB, "A", use_edns=0, payload=4096, options=options))
    assert reply.answer and [option.otype for option in reply.options] == [dns.edns.OptionType.COOKIE], "a cookie is answered by us"
    assert upstream.logged(1, WEB) == [f"udp A {WEB}. NOERROR 1232 false"]
    reply = send(agent, dns.message.make_query(WEB, "A", want_dnssec=True, payload=512))
    assert reply.answer and reply.ednsflags & dns.flags.DO
    assert upstream.logged(2, WEB)[1] == f"udp A {WEB}. NOERROR 1232 true"


def test_every_type_is_forwarded(agent, upstream):
    for rdtype in ("TXT", "SRV", "HTTPS", "SVCB", "CAA", "TYPE65280"):
        reply = send(agent, dns.message.make_query(WEB, rdtype))
        assert reply.rcode() == dns.rcode.NOERROR and not reply.answer
    assert len(upstream.logged(6, WEB)) == 6


# --- truncation


def test_a_small_client_gets_what_fits_and_the_rest_over_tcp(agent):
    question = dns.message.make_query("a60.big.test", "A", use_edns=-1)
    cut = send(agent, question)
    assert cut.flags & dns.flags.TC and len(cut.to_wire()) <= 512
    assert 25 <= len(cut.answer[0]) < 60 and not cut.authority and not cut.additional
    whole = send(agent, question, tcp=True)
    assert not whole.flags & dns.flags.TC and len(whole.answer[0]) == 60
    reply, retried = dns.query.udp_with_fallback(question, agent.address, port=agent.port, timeout=5)
    assert retried and len(reply.answer[0]) == 60
    assert agent.metrics()["lastlight_dns_truncated_answers_total"] == 2


def test_authority_goes_first_and_does_not_truncate(agent):
    """musl before 1.2.4 takes TC=1 for an answer: it is not said where all answer records fit."""
    small = send(agent, dns.message.make_query("a28.big.test", "A", use_edns=-1))
    assert not small.flags & dns.flags.TC and len(small.answer[0]) == 28 and not small.authority
    roomy = send(agent, dns.message.make_query("a28.big.test", "A", use_edns=0, payload=1232))
    assert len(roomy.answer[0]) == 28 and roomy.authority


def test_what_is_too_big_for_udp_upstream_is_fetched_over_tcp(agent, upstream):
    question = dns.message.make_query("a200.big.test", "A", use_edns=0, payload=4096)
    cut = send(agent, question)
    assert cut.flags & dns.flags.TC and len(cut.to_wire()) <= 1232 and len(cut.answer[0]) > 60
    assert len(send(agent, question, tcp=True).answer[0]) == 200
    # CoreDNS writes a line once it has answered: two of them may change places.
    assert sorted(line.split()[0] for line in upstream.logged(2, "a200.big.test")) == ["tcp", "udp"], "and asked once"
    assert agent.metrics()["lastlight_upstream_tcp_fallbacks_total"] == 1


@pytest.mark.parametrize("payload,limit", [(0, 512), (100, 512), (512, 512), (700, 700), (1232, 1232), (4096, 1232), (65535, 1232)])
def test_no_datagram_is_larger_than_was_agreed(agent, payload, limit):
    question = dns.message.make_query("a200.big.test", "A", use_edns=0, payload=payload)
    reply = send(agent, question)
    assert reply.flags & dns.flags.TC
    assert limit - 32 < len(reply.to_wire()) <= limit, "as many records as fit"


# --- what is answered here


def test_any_is_answered_by_rfc8482(agent, upstream):
    for tcp in (False, True):
        reply = send(agent, dns.message.make_query(WEB, "ANY"), tcp)
        assert reply.rcode() == dns.rcode.NOERROR
        assert [(each.rdtype, each[0].to_text()) for each in reply.answer] == [(dns.rdatatype.HINFO, '"RFC8482" ""')]
    assert not upstream.queries(WEB)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR"])
def test_transfers_are_refused(agent, upstream, rdtype, tcp):
    question = dns.message.make_query("big.test", rdtype, use_edns=0)
    if rdtype == "IXFR":
        question.authority.append(dns.rrset.from_text("big.test.", 0, "IN", "SOA", "ns.invalid. hostmaster.invalid. 1 2 3 4 5"))
    reply = send(agent, question.to_wire(), tcp)
    assert reply.rcode() == dns.rcode.REFUSED and extended_errors(reply) == [21]
    assert not upstream.queries("big.test")


def _update(name):
    message = dns.update.UpdateMessage(name)
    message.add("host", 60, "A", "192.0.2.1")
    return message


def _notify(name):
    message = dns.message.make_query(name, "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    return message


@contextlib.contextmanager
def mirror():
    """Says yes to everything, over UDP: CoreDNS knows neither UPDATE nor NOTIFY. Yields (its address, what it was sent)."""
    seen = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve():
            while (packet := server.recvfrom(65535))[0]:
                seen.append(packet[0])
                server.sendto(packet[0][:2] + bytes([packet[0][2] | 0x80]) + packet[0][3:], packet[1])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", seen
        server.sendto(b"", server.getsockname())
        thread.join()


@pytest.mark.parametrize("make", [_update, _notify])
def test_updates_and_notifies_are_refused_unless_the_zone_relays_them(agent_factory, make):
    with mirror() as (address, seen):
        agent = agent_factory({"dns": {"zones": [zone(".", address), zone("relayed.test", address, relay_updates=True)]}})
        message = make("big.test")
        message.use_edns(0)
        reply = send(agent, message)
        assert (reply.rcode(), reply.opcode(), extended_errors(reply)) == (dns.rcode.REFUSED, message.opcode(), [21])
        assert not seen
        message = make("relayed.test")
        reply = send(agent, message)
        assert (reply.id, reply.opcode(), reply.rcode()) == (message.id, message.opcode(), dns.rcode.NOERROR)
        assert [packet[2:] for packet in seen] == [message.to_wire()[2:]], "as it came, for a signature covers it"


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("opcode", [1, 2, 3, 6, 7, 15])
def test_other_opcodes_are_not_implemented(agent, opcode, tcp):
    reply = exchange(agent, header(flags=opcode << 11) + QUESTION, tcp)
    assert reply[:2] == b"\x12\x34" and reply[2] >> 3 == 16 + opcode and reply[3] & 15 == dns.rcode.NOTIMP


def test_other_versions_of_edns_are_told_ours(agent):
    for version in (1, 255):
        question = dns.message.make_query(WEB, "A")
        question.use_edns(version)
        reply = send(agent, question)
        assert (reply.rcode(), reply.edns, reply.answer) == (dns.rcode.BADVERS, 0, [])


def test_localhost_is_never_asked_upstream(agent, upstream):
    assert send(agent, dns.message.make_query("localhost", "A")).answer[0][0].to_text() == "127.0.0.1"
    assert send(agent, dns.message.make_query("x.LocalHost", "AAAA")).answer[0][0].to_text() == "::1"
    assert not upstream.queries("localhost") and not upstream.queries("x.localhost")


def test_rcodes_of_the_upstream(agent, upstream):
    assert send(agent, dns.message.make_query("www.bad.test", "A")).rcode() == dns.rcode.SERVFAIL
    again = send(agent, dns.message.make_query("www.bad.test", "A", use_edns=0))
    assert (again.rcode(), extended_errors(again)) == (dns.rcode.SERVFAIL, [13]), "RFC 9520: a failure is remembered, and said to be"
    assert send(agent, dns.message.make_query("www.refused.test", "A")).rcode() == dns.rcode.REFUSED
    assert upstream.logged(1, "www.bad.test")


def test_names_at_the_limits(agent):
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(dns.name.from_text(longest).to_wire()) == 255
    assert send(agent, dns.message.make_query(longest, "A")).answer
    assert send(agent, dns.message.make_query(dns.name.Name((b"\x00\xff.\\", b"test", b"")), "A")).answer
    assert send(agent, dns.message.make_query(".", "NS")).rcode() == dns.rcode.NOERROR


def test_classes_are_kept_apart(agent):
    assert send(agent, dns.message.make_query(WEB, "A")).answer
    reply = send(agent, dns.message.make_query(WEB, "A", rdclass="CH"))
    assert not reply.answer or reply.answer[0].rdclass == dns.rdataclass.CH


# --- malformed


def header(ident=0x1234, flags=0x0100, questions=1, answers=0, authority=0, additional=0):
    return b"".join(value.to_bytes(2, "big") for value in (ident, flags, questions, answers, authority, additional))


QUESTION = b"\x03www\x07example\x03org\x00\x00\x01\x00\x01"
OPT = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
FORMERR = {
    "no question": header(questions=0),
    "two questions": header(questions=2) + QUESTION * 2,
    "a count without a question": header(),
    "a name cut short": header() + QUESTION[:6],
    "a question cut short": header() + QUESTION[:-1],
    "a label of 64": header() + b"\x40" + b"a" * 64 + b"\x00\x00\x01\x00\x01",
    "a label of type 10": header() + b"\x80\x00\x00\x01\x00\x01",
    "a name of 256": header() + b"\x3f" + b"a" * 63 + (b"\x3f" + b"a" * 63) * 2 + b"\x3f" + b"a" * 63 + b"\x00\x00\x01\x00\x01",
    "a pointer to itself": header() + b"\xc0\x0c\x00\x01\x00\x01",
    "a pointer forward": header() + b"\xc0\x20\x00\x01\x00\x01" + QUESTION * 2,
    "a pointer into the header": header() + b"\xc0\x00\x00\x01\x00\x01",
    "two OPT": header(additional=2) + QUESTION + OPT * 2,
    "an OPT with an owner": header(additional=1) + QUESTION + b"\x01a" + OPT,
    "an OPT among the answers": header(answers=1) + QUESTION + OPT,
    "an OPT cut short": header(additional=1) + QUESTION + OPT[:-1],
    "an option cut short": header(additional=1) + QUESTION + OPT[:-1] + b"\x05\x00\x0a\x00\xff\x00",
    "records that are not there": header(additional=65535) + QUESTION + OPT,
    "an RDATA beyond the end": header(additional=1) + QUESTION + b"\x00\x00\x01\x00\x01\x00\x00\x00\x00\xff\xff\x00",
}


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_malformed_queries_are_format_errors(agent, upstream, tcp):
    for what, wire in FORMERR.items():
        reply = send(agent, wire, tcp)
        assert (reply.rcode(), reply.id, bool(reply.flags & dns.flags.QR)) == (dns.rcode.FORMERR, 0x1234, True), what
    assert agent.metrics()['lastlight_dns_refused_total{rcode="FORMERR"}'] == len(FORMERR)
    assert not upstream.queries(WEB)


def test_what_is_no_query_is_dropped(agent):
    """Never an answer to an answer, or two servers could be made to talk to each other for ever."""
    before = agent.metrics()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((agent.address, agent.port))
        client.settimeout(5)
        client.send(b"")
        client.send(header()[:11])
        client.send(header(flags=0x8180) + QUESTION)
        client.send(header(ident=0x4321) + QUESTION)
        assert client.recv(4096)[:2] == b"\x43\x21", "the first answer is that of the last packet"
    after = agent.metrics()
    grown = {name: after[name] - before[name] for name in after if name.startswith("lastlight_dns_dropped_total") and after[name] > before[name]}
    assert grown == {'lastlight_dns_dropped_total{reason="short"}': 2, 'lastlight_dns_dropped_total{reason="response"}': 1}


def test_a_datagram_that_is_longer_than_we_read_is_answered(agent):
    """RFC 8906 s3: by what can be read of it, or by FORMERR where the end is missed."""
    assert send(agent, header() + QUESTION + bytes(5000)).answer
    padded = b"\x00\x00\x10\x00\x01\x00\x00\x00\x3c\x13\x88" + bytes(5000)  # a TXT record of 5,000 octets, and then an OPT
    assert send(agent, header(additional=2) + QUESTION + padded + OPT).rcode() == dns.rcode.FORMERR
    assert agent.metrics()["lastlight_dns_oversize_queries_total"] == 2


def _mutated(generator, seeds):
    wire = bytearray(generator.choice(seeds))
    for _ in range(generator.randrange(8)):
        at = generator.randrange(len(wire) + 1)
        change = generator.randrange(5)
        if change == 0:
            wire[at:at + 1] = bytes([generator.randrange(256)])
        elif change == 1:
            del wire[at:at + generator.randrange(1, 20)]
        elif change == 2:
            wire[at:at] = generator.randbytes(generator.randrange(1, 20))
        elif change == 3:
            wire[at:at + 2] = bytes([0xC0 | generator.randrange(64), generator.randrange(256)])
        else:
            wire[at:at] = wire[generator.randrange(len(wire) + 1):][:40]
    return bytes(wire)


def test_random_packets_never_kill_it(agent, upstream):
    seed = int(os.environ.get("LASTLIGHT_SEED") or random.randrange(2**32))
    print(f"LASTLIGHT_SEED={seed}")
    generator = random.Random(seed)
    seeds = [*FORMERR.values(), header() + QUESTION, header(additional=1) + QUESTION + OPT, _update("big.test").to_wire(), _notify("big.test").to_wire(),
             send(agent, dns.message.make_query("a28.big.test", "A")).to_wire()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((agent.address, agent.port))
        for number in range(4000):
            client.send(generator.randbytes(generator.randrange(600)) if number % 4 == 0 else _mutated(generator, seeds))
            if number % 64 == 63:  # no more than the receive buffer holds: all of them are read
                wait_until(lambda number=number: agent.metrics()['lastlight_dns_queries_total{protocol="udp"}'] > number, 10, "them to be read", agent.process,
                           interval=0.001)
    for _ in range(100):
        with socket.create_connection((agent.address, agent.port), timeout=5) as client:
            for _ in range(generator.randrange(1, 5)):
                wire = _mutated(generator, seeds)
                claimed = len(wire) if generator.randrange(4) else generator.randrange(65536)
                try:
                    client.sendall(claimed.to_bytes(2, "big") + wire)
                except OSError:
                    break  # it has closed the connection, which it may
    assert send(agent, dns.message.make_query(WEB, "A")).answer
    assert send(agent, dns.message.make_query(WEB, "A"), tcp=True).answer
    assert agent.get("/healthz")[0] == 200 and agent.process.exit_code() is None
    assert upstream.query(WEB).answer, "nor the upstream"
