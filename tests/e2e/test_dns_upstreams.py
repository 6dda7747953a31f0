"""What happens between the agent and real upstreams: slow names, outages, broken connections, loops. Gates are outcomes, not speed."""

import random
import signal
import socket
import struct
import threading
import time

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from rig import ports
from rig.agent import zone
from rig.coredns import LOG, answer, ask, erratic, site
from rig.proc import wait_until


class Load:
    """Questions for names never asked before, `rate` a second, all from one socket; .stop() -> {name: (rcode or None, seconds)}."""

    def __init__(self, agent, suffix, rate, source="127.0.0.1"):
        self._suffix, self._rate = suffix, rate
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))
        self._socket.connect((agent.address, agent.port))
        self._socket.settimeout(0.2)
        self._asked, self.ended, self._stopping = {}, {}, threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._ask, self._listen)]
        for each in self._threads:
            each.start()

    def _ask(self):
        began, number = time.monotonic(), 0
        while not self._stopping.is_set():
            while number < (time.monotonic() - began) * self._rate:
                name = f"n{number}-{random.getrandbits(32):08x}.{self._suffix}"
                message = dns.message.make_query(name, "A", id=number % 65536)
                self._asked[number % 65536] = (name, time.monotonic())
                self._socket.send(message.to_wire())
                number += 1
            self._stopping.wait(0.002)

    def _listen(self):
        while not self._stopping.is_set() or len(self.ended) < len(self._asked):
            try:
                wire = self._socket.recv(4096)
            except TimeoutError:
                if self._stopping.is_set() and time.monotonic() > self._until:
                    return
                continue
            name, asked = self._asked[struct.unpack("!H", wire[:2])[0]]
            self.ended[name] = (wire[3] & 15, time.monotonic() - asked)

    def stop(self, patience=7):
        self._until = time.monotonic() + patience  # pylint: disable=attribute-defined-outside-init
        self._stopping.set()
        for each in self._threads:
            each.join()
        self._socket.close()
        return {name: self.ended.get(name, (None, patience)) for name, _ in self._asked.values()}


def failed(results):
    return {name: end for name, end in results.items() if end[0] != dns.rcode.NOERROR}


def test_one_slow_name_does_not_slow_the_zone(agent_factory, coredns_factory):
    """CoreDNS answers one TCP connection strictly in order; 50 names a second that take it 2 s must not hold up the others."""
    upstream = coredns_factory(site("slow.test", erratic(delay="2s")), site(".", answer("10.0.0.1")))
    agent = agent_factory({"dns": {"zones": [zone(".", upstream, protocol="tcp")]}})
    fast = Load(agent, "cluster.test", 200)
    wait_until(lambda: len(fast.ended) >= 100, 10, "answers before the slow names come")
    slow = Load(agent, "slow.test", 50, source="127.0.0.2")
    time.sleep(5)  # the load's length
    beside, slowed = fast.stop(), slow.stop()
    assert not failed(beside) and not failed(slowed)
    waited = [seconds for _, seconds in beside.values() if seconds > 1]
    assert not waited, f"{len(waited)} of {len(beside)} waited behind a slow one, up to {max(waited):.2f} s"
    metrics = agent.metrics()
    assert metrics[f'lastlight_upstream_in_order{{upstream="127.0.0.1:{upstream.port}"}}'] == 1, "CoreDNS is strictly in order"
    assert metrics[f'lastlight_upstream_connections{{upstream="127.0.0.1:{upstream.port}"}}'] <= 32


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_upstreams_may_die_one_by_one(agent_factory, coredns_factory, protocol):
    """One of three is killed (its connections are reset), another falls silent; no client notices."""
    upstreams = [coredns_factory(site(".", answer("10.0.0.1"))) for _ in range(3)]
    agent = agent_factory({"dns": {"zones": [zone(".", *upstreams, protocol=protocol)]}})
    load = Load(agent, "rollout.test", 100)
    wait_until(lambda: len(load.ended) >= 50, 10, "answers while all are well")
    upstreams[0].signal(signal.SIGSTOP)
    time.sleep(1.5)  # of load
    upstreams[1].stop()
    time.sleep(1.5)
    upstreams[0].signal(signal.SIGCONT)
    upstreams[1].start()
    results = load.stop()
    assert len(results) > 200 and not failed(results)
    assert max(seconds for _, seconds in results.values()) < 2.5
    names = iter(f"after-{number}.test" for number in range(10**6))

    def all_well():
        agent.query(next(names))
        return [agent.metrics()[f'lastlight_upstream_healthy{{upstream="127.0.0.1:{each.port}"}}'] for each in upstreams] == [1, 1, 1]
    wait_until(all_well, 15, "the probes to find them again", agent.process)


def test_a_rollout_of_the_only_upstream_fails_nobody(agent_factory, coredns_factory):
    upstream = coredns_factory(site(".", answer("10.0.0.1")))
    agent = agent_factory({"dns": {"zones": [zone(".", upstream, protocol="tcp")]}})
    load = Load(agent, "rollout.test", 20)
    wait_until(lambda: len(load.ended) >= 20, 10, "answers before")
    before = agent.metrics()["lastlight_upstream_queries_total"]
    upstream.signal(signal.SIGSTOP)
    time.sleep(2)  # of load
    storm = agent.metrics()["lastlight_upstream_queries_total"] - before
    upstream.signal(signal.SIGCONT)
    results = load.stop()
    assert not failed(results), "the questions of two silent seconds waited, and were asked when it was back"
    assert storm < 60, "questions wait for a probe, they do not storm"


class Misbehaving:
    """A TCP and UDP upstream whose first connections go wrong in a given way; later ones are well."""

    def __init__(self, how, times=1):
        self._how, self._left = how, times
        self.connections = 0
        while True:
            self._tcp, self._udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._tcp.bind((ports.V4, 0))
            try:
                self._udp.bind(self._tcp.getsockname())
                break
            except OSError:
                self._tcp.close()
        self.address, self.port = self._tcp.getsockname()
        self._tcp.listen()
        for each in (self._accept, self._datagrams):
            threading.Thread(target=each, daemon=True).start()

    @staticmethod
    def reply(wire):
        message = dns.message.make_response(dns.message.from_wire(wire))
        message.answer.append(dns.rrset.from_text(message.question[0].name, 30, "IN", "A", "192.0.2.77"))
        return message.to_wire()

    def _datagrams(self):
        while True:
            wire, peer = self._udp.recvfrom(4096)
            self._udp.sendto(self.reply(wire), peer)

    def _accept(self):
        while True:
            connection, _ = self._tcp.accept()
            self.connections += 1
            wrong, self._left = self._left > 0, self._left - 1
            threading.Thread(target=self._serve, args=(connection, wrong), daemon=True).start()

    def _serve(self, connection, wrong):
        stream = connection.makefile("rb")
        while True:
            try:
                prefix = stream.read(2)
            except ConnectionResetError:
                return  # the agent has had enough of it
            if len(prefix) < 2:
                return
            reply = self.reply(stream.read(struct.unpack("!H", prefix)[0]))
            framed = struct.pack("!H", len(reply)) + reply
            if not wrong:
                connection.sendall(framed)
                continue
            match self._how:
                case "reset":
                    connection.sendall(framed[:10])
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    stream.close()
                    return connection.close()
                case "finish":
                    stream.close()
                    return connection.close()
                case "length 0":
                    connection.sendall(b"\0\0" + framed)
                case "stall":
                    connection.sendall(b"\xff\xff" + reply)
                case "twice":
                    connection.sendall(framed + framed)
                case "byte by byte":
                    for octet in framed:
                        connection.sendall(bytes([octet]))
                        time.sleep(0.01)
                case "wrong id":
                    connection.sendall(framed[:2] + bytes([framed[2] ^ 255]) + framed[3:] + framed)


@pytest.mark.parametrize("how", ["reset", "finish", "length 0", "stall", "twice", "byte by byte", "wrong id"])
def test_a_broken_connection_is_replaced(agent_factory, how):
    upstream = Misbehaving(how)
    agent = agent_factory({"dns": {"zones": [zone(".", upstream, protocol="tcp")]}})
    for number in range(3):
        reply = agent.query(f"n{number}.test", timeout=5)
        assert [item.to_text() for rrset in reply.answer for item in rrset] == ["192.0.2.77"]
    assert agent.metrics()["lastlight_upstream_in_flight"] == 0
    assert upstream.connections <= 3


def test_a_loop_is_found_and_the_rest_serves(agent_factory, coredns_factory):
    """CoreDNS forwards to us what we forward to it."""
    port, cluster = ports.free_port(), coredns_factory(site(".", answer("10.0.0.1")))
    round_trip = coredns_factory(site("looping.test", f"forward . 127.0.0.1:{port}", LOG), site(".", answer("203.0.113.7")))
    zones = [zone("cluster.test", cluster), zone("looping.test", round_trip), zone(".", round_trip)]
    agent = agent_factory({"dns": {"listen": [f"127.0.0.1:{port}"], "zones": zones}})
    wait_until(lambda: "dns.upstream_loop" in agent.process.output(), 10, "the loop in the log", agent.process)
    assert ask("127.0.0.1", port, "web.cluster.test").answer and ask("127.0.0.1", port, "www.example.org").answer
    before = len(round_trip.queries())
    assert ask("127.0.0.1", port, "a.looping.test").rcode() == dns.rcode.SERVFAIL
    assert len(round_trip.queries()) == before, "asked no more"
    assert agent.metrics()["lastlight_upstreams_refused"] == 1
