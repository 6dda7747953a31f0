"""DNS over TCP as RFC 7766 wants it: several queries on a connection, answers as they become ready, idle connections closed."""

import contextlib
import os
import resource
import socket
import threading
import time

import dns.message
import dns.rcode
import pytest

from rig.agent import zone
from rig.coredns import LOG, answer, erratic, site
from rig.proc import wait_until

SLOW = "late.slow.test"


class Connection:
    """One TCP connection; messages go and come with their length in front."""

    def __init__(self, agent, receive_buffer=None):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(10)
        if receive_buffer:  # before connecting: a window that shrinks later can stall both sides
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((agent.address, agent.port))
        self.stream = self.socket.makefile("rb")

    def send(self, *names):
        """All of them in one segment."""
        messages = [dns.message.make_query(name, "A").to_wire() for name in names]
        self.socket.sendall(b"".join(len(wire).to_bytes(2, "big") + wire for wire in messages))

    def receive(self):
        """The next message, None at the end of the stream."""
        prefix = self.stream.read(2)
        return dns.message.from_wire(self.stream.read(int.from_bytes(prefix, "big"))) if prefix else None

    def receive_name(self):
        message = self.receive()
        assert message and message.rcode() == dns.rcode.NOERROR and message.answer
        return message.question[0].name.to_text(omit_final_dot=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stream.close()
        self.socket.close()


@pytest.fixture
def start(agent_factory, coredns_factory):
    """start(key=value, ...) -> an agent with these keys of `dns`, in front of a CoreDNS that is slow for one zone."""
    upstream = coredns_factory(site("slow.test", erratic(delay="500ms"), LOG), site(".", answer("203.0.113.7"), LOG))

    def run(**keys):
        dns_keys = {key.replace("_", "-"): value for key, value in keys.items()}
        return agent_factory({"dns": {"zones": [zone(".", upstream)], **dns_keys}})

    run.upstream = upstream
    return run


def closed(agent, reason):
    return agent.metrics()[f'lastlight_dns_tcp_closed_total{{reason="{reason}"}}']


def test_queries_on_a_connection_are_answered_as_they_become_ready(start):
    with Connection(start()) as client:
        client.send(SLOW, "a.example.org", "b.example.org")
        assert {client.receive_name(), client.receive_name()} == {"a.example.org", "b.example.org"}
        client.send("a.example.org")
        assert client.receive_name() == "a.example.org", "from the cache, while another is on its way"
        assert client.receive_name() == SLOW


def test_a_hundred_queries_in_one_segment(start):
    names = [f"n{number}.example.org" for number in range(100)]
    with Connection(start()) as client:
        client.send(*names)
        assert sorted(client.receive_name() for _ in names) == sorted(names)


def test_more_queries_than_may_wait_are_read_later(start):
    """Nothing is lost: the connection is read again as answers go out."""
    agent = start(tcp_idle_timeout="5s")
    names = [f"n{number}.slow.test" for number in range(250)]
    with Connection(agent) as client:
        client.send(*names)
        assert sorted(client.receive_name() for _ in names) == sorted(names)


def test_a_query_may_come_in_pieces(start):
    with Connection(start()) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = dns.message.make_query("www.example.org", "A").to_wire()
        for octet in len(wire).to_bytes(2, "big") + wire:
            client.socket.sendall(bytes([octet]))
        assert client.receive_name() == "www.example.org"


def test_a_client_that_has_said_all_still_gets_its_answers(start):
    with Connection(start()) as client:
        client.send(SLOW, "www.example.org")
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.receive_name(), client.receive_name()] == ["www.example.org", SLOW]
        assert client.receive() is None


def test_an_idle_connection_is_closed(start):
    agent = start(tcp_idle_timeout="300ms")
    began = time.monotonic()
    with Connection(agent) as silent, Connection(agent) as half, Connection(agent) as served:
        half.socket.sendall(b"\x00\x40abc")
        served.send("www.example.org")
        assert served.receive_name() == "www.example.org"
        for each in (silent, half, served):
            assert each.receive() is None
    assert time.monotonic() - began >= 0.29
    wait_until(lambda: closed(agent, "idle") == 3, 5, "three idle connections counted")
    assert agent.metrics()["lastlight_dns_tcp_connections"] == 0


@pytest.mark.parametrize("frame", [b"\x00\x00", b"\x00\x05hello"], ids=["empty", "shorter than a header"])
def test_a_frame_that_cannot_be_dns_ends_the_connection(start, frame):
    agent = start()
    with Connection(agent) as client:
        client.socket.sendall(frame)
        assert client.receive() is None
    wait_until(lambda: closed(agent, "malformed") == 1, 5, "a malformed connection counted")


def test_connections_are_bounded_and_others_served(start):
    agent = start(tcp_max_per_client=3, tcp_max_connections=5)
    with contextlib.ExitStack() as held:
        kept = [held.enter_context(Connection(agent)) for _ in range(3)]
        for each in kept:
            each.send("www.example.org")
            assert each.receive_name() == "www.example.org"
        refused = held.enter_context(Connection(agent))
        with contextlib.suppress(ConnectionError):
            assert refused.receive() is None
        assert closed(agent, "client_full") == 1
        assert agent.query("www.example.org").answer, "UDP goes on"
        kept.pop().__exit__()
        wait_until(lambda: agent.metrics()["lastlight_dns_tcp_connections"] == 2, 5, "a connection less")
        again = held.enter_context(Connection(agent))
        again.send("www.example.org")
        assert again.receive_name() == "www.example.org"


def test_a_client_that_vanishes_harms_nobody(start):
    agent = start()
    for _ in range(20):
        with Connection(agent) as client:
            client.send(SLOW, "www.example.org")
            assert client.receive_name() == "www.example.org"  # it has read them: a reset takes along what was not
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # RST
    assert start.upstream.logged(1, SLOW)
    assert agent.query(SLOW, tcp=True).answer and agent.query("www.example.org", tcp=True).answer
    wait_until(lambda: agent.metrics()["lastlight_dns_tcp_connections"] == 0, 5, "no connection left")


def test_a_client_that_does_not_read_is_closed_and_costs_no_more_than_its_queue(start):
    agent = start()
    with Connection(agent, receive_buffer=4096) as client:
        wire = dns.message.make_query("www.example.org", "A").to_wire()
        with contextlib.suppress(ConnectionError):
            while closed(agent, "not_reading") == 0:
                client.socket.sendall((len(wire).to_bytes(2, "big") + wire) * 2000)
    wait_until(lambda: closed(agent, "not_reading") == 1, 5, "a connection closed for not reading")
    assert agent.query("www.example.org", tcp=True).answer


def test_a_message_has_a_time_to_end_in(start):
    """An octet now and then keeps no connection open."""
    agent = start(tcp_message_timeout="400ms")
    with Connection(agent) as trickling, Connection(agent) as whole:
        wire = dns.message.make_query("www.example.org", "A").to_wire()
        with contextlib.suppress(ConnectionError):
            for octet in len(wire).to_bytes(2, "big") + wire[:-1]:
                if closed(agent, "message_timeout"):
                    break
                trickling.socket.sendall(bytes([octet]))
                time.sleep(0.05)  # the client's pace: 31 octets take four times as long as it has
        wait_until(lambda: closed(agent, "message_timeout") == 1, 5, "a trickling connection closed")
        whole.send("www.example.org")
        assert whole.receive_name() == "www.example.org", "silence before a message is no part of it"


def test_a_client_that_stops_reading_is_closed_in_time(start):
    """Less waits for it than the queue holds, and it goes on asking."""
    agent = start(tcp_write_timeout="300ms", tcp_idle_timeout="60s")
    assert agent.query("www.example.org").answer
    with Connection(agent, receive_buffer=4096) as client:
        wire = dns.message.make_query("www.example.org", "A").to_wire()
        with contextlib.suppress(ConnectionError):
            client.socket.sendall((len(wire).to_bytes(2, "big") + wire) * 4200)  # some 250 KB of answers
        wait_until(lambda: closed(agent, "write_timeout") == 1, 5, "a stalled connection closed")
    assert closed(agent, "not_reading") == closed(agent, "idle") == 0
    assert agent.metrics()["lastlight_dns_tcp_buffered_bytes"] == 0


def test_an_urgent_octet_is_nothing_special(start):
    with Connection(start()) as client:
        client.socket.send(b"!", socket.MSG_OOB)
        client.send("www.example.org")
        assert client.receive_name() == "www.example.org"


def test_ten_thousand_connections_are_refused_and_udp_does_not_notice(start):
    agent = start(tcp_max_connections=8, tcp_max_per_client=8)
    assert agent.query("www.example.org").answer
    wire, answered, over = dns.message.make_query("www.example.org", "A").to_wire(), [], threading.Event()

    def ask_on():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect((agent.address, agent.port))
            while not over.is_set():
                client.send(wire)
                answered.append(len(client.recv(4096)))
                time.sleep(0.002)

    asker = threading.Thread(target=ask_on)
    with contextlib.ExitStack() as held:
        kept = [held.enter_context(Connection(agent)) for _ in range(8)]
        for each in kept:
            each.send("www.example.org")
            assert each.receive_name() == "www.example.org"
        asker.start()
        try:
            for _ in range(10000):
                with socket.create_connection((agent.address, agent.port), timeout=10) as refused:
                    assert refused.recv(1) == b""
        finally:
            over.set()
            asker.join()
        assert closed(agent, "full") == 10000
        assert len(answered) > 100 and len(set(answered)) == 1
        for each in kept:
            each.send("www.example.org")
            assert each.receive_name() == "www.example.org"


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_udp_goes_on_and_tcp_comes_back(start):
    """RLIMIT_NOFILE is reached: accepting rests, it does not spin; what is in the cache is served."""
    agent = start()
    assert agent.query("www.example.org").answer
    limits = resource.prlimit(agent.worker, resource.RLIMIT_NOFILE)
    few = len(os.listdir(f"/proc/{agent.worker}/fd")) + 4
    resource.prlimit(agent.worker, resource.RLIMIT_NOFILE, (few, limits[1]))
    with contextlib.ExitStack() as held:
        for _ in range(30):
            held.enter_context(Connection(agent))
        before, ends = cpu_seconds(agent.worker), time.monotonic() + 1
        while time.monotonic() < ends:
            assert agent.query("www.example.org").answer
            time.sleep(0.01)
        assert cpu_seconds(agent.worker) - before < 0.4, "it spins"
    resource.prlimit(agent.worker, resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: agent.query("www.example.org", tcp=True).answer, 10, "TCP to be served again")
    assert agent.metrics()["lastlight_dns_tcp_accept_rests_total"] >= 1
