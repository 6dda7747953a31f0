"""What happens between the agent and real upstreams: slow names, outages, broken connections, loops. Gates are outcomes, not speed."""

import contextlib
import os
import random
import signal
import socket
import statistics
import struct
import threading
import time

import dns.message
import dns.rcode
import pytest

from rig import ports
from rig.agent import zone
from rig.coredns import LOG, answer, ask, erratic, site
from rig.coredns import cluster as kubernetes
from rig.load import GATED, Load, limit
from rig.measure import measured_first
from rig.proc import wait_until


NAMESPACE = "slow-names"
EXTERNAL_NAMES = 150  # of which each is answered before it is asked for again
RATE = int(os.environ.get("LASTLIGHT_RATE", "500"))  # `make bench-upstream` takes 2,000 and gates the ratio,
ROUNDS = 10 if GATED else 1  # of so many rounds
SETTLE = 2.2 if GATED else 1  # seconds


def fresh(suffix):
    """Names never asked before."""
    run = random.getrandbits(32)
    return lambda number: f"n{number}-{run:08x}.{suffix}"


@pytest.fixture(scope="module")
def external_names(control_plane):
    """The domain of ExternalNames `away-0` and so on."""
    control_plane.create_namespace(NAMESPACE)
    control_plane.apply(*[{"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"away-{number}", "namespace": NAMESPACE},
                           "spec": {"type": "ExternalName", "externalName": "www.example.com"}} for number in range(EXTERNAL_NAMES)])
    yield f"{NAMESPACE}.svc.cluster.local"
    control_plane.delete_namespace(NAMESPACE)


def pods(first):
    """Names that are there for every address."""
    return lambda number: f"{first}-{number >> 16}-{number >> 8 & 255}-{number & 255}.default.pod.cluster.local"


def beside_slow_names(server, external_names, rounds):
    """([(p99 of the zone's other names alone, p99 beside 50 slow ones a second) of each round], the loads)"""
    spans, loads = [], []
    with Load(server, pods(10), RATE) as fast:
        for name in (pods(11), lambda number: f"away-{number % EXTERNAL_NAMES}.{external_names}") * rounds:  # what asking takes of this process is the same
            with Load(server, name, 50, source="127.0.0.2") as other:
                settled = len(fast.asked) + SETTLE * RATE
                wait_until(lambda most=settled: len(fast.asked) >= most, 20, "as many slow names under way as stay, or none")
                since = time.monotonic()
                time.sleep(3)  # the load's length
                spans.append((since, time.monotonic()))
            loads.append(other)
    times = [sorted(one.waited for one in fast.asked if since <= one.sent < until) for since, until in spans]
    p99 = [each[len(each) * 99 // 100] for each in times]
    return list(zip(p99[::2], p99[1::2])), [fast, *loads]


def ratio(rounds):
    return statistics.median(beside / alone for alone, beside in rounds)


def told(rounds):
    pairs = ", ".join(f"{1000 * alone:.2f} and {1000 * beside:.2f} ms" for alone, beside in rounds)
    return f"{ratio(rounds):.2f} (alone and beside: {pairs})"


def test_one_slow_name_does_not_slow_the_zone(agent_factory, coredns_factory, control_plane, external_names):
    """CoreDNS answers one TCP connection strictly in order; 50 ExternalNames a second whose target takes 2 s must not hold up the others.

    Its `forward` waits 2 s for the target and no longer: hence a tenth less, and less still on a machine that may be busy.

    The gate is the median of pairs, each measured within ten seconds, and all that is measured goes before whatever else runs: with two processors
    for the load, the agent, two CoreDNSs and a control plane, most of the slowest hundredth were behind none of these but one another's time slices
    and Python's garbage. From one minute to the next that moved either p99 between 0.7 and 2 ms and a single ratio between 0.5 and 2.7, on a quiet
    machine and with nobody behind a slow name; within a pair it is the same on both sides."""
    target = coredns_factory(site("example.com", erratic(delay="1900ms" if GATED else "1500ms")), site(".", answer("203.0.113.7")))
    upstream = coredns_factory(site("cluster.local", kubernetes(control_plane, ttl=0)), site(".", f"forward . {target.address}:{target.port}"))
    wait_until(lambda: upstream.query(f"away-{EXTERNAL_NAMES - 1}.{external_names}", timeout=5).answer, 20, "CoreDNS to know the Services")
    agent = agent_factory({"dns": {"zones": [zone("cluster.local", upstream, protocol="tcp"), zone(".", target)]}})
    with measured_first(agent.pid, upstream.pid, target.pid) if GATED else contextlib.nullcontext():
        rounds, loads = beside_slow_names(agent, external_names, ROUNDS)
        metrics = agent.metrics()
        print(f"p99 at {RATE} a second, beside 50 slow names a second to alone: {told(rounds)}")
        if GATED:
            print(f"{metrics['lastlight_upstream_moved_total']:.0f} questions were asked again since they were behind a slow one, of {len(loads[0].asked)}")
            print(f"the same asked of CoreDNS itself, over UDP: {told(beside_slow_names(upstream, external_names, 1)[0])}")
    assert not any(load.failed() for load in loads)
    assert not loads[0].slow(limit(1.0)), "waited behind a slow one"
    assert not GATED or ratio(rounds) <= 2
    assert metrics[f'lastlight_upstream_in_order{{upstream="127.0.0.1:{upstream.port}"}}'] == 1, "CoreDNS is strictly in order"
    assert metrics[f'lastlight_upstream_connections{{upstream="127.0.0.1:{upstream.port}"}}'] <= 32


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_upstreams_may_die_one_by_one(agent_factory, coredns_factory, protocol):
    """Case 10: one of three is killed (its connections are reset), another falls silent; no client notices."""
    upstreams = [coredns_factory(site(".", answer("10.0.0.1"))) for _ in range(3)]
    agent = agent_factory({"dns": {"zones": [zone(".", *upstreams, protocol=protocol)]}})
    with Load(agent, fresh("rollout.test"), 100) as load:
        wait_until(lambda: len(load.asked) >= 100, 10, "answers while all are well")
        upstreams[0].signal(signal.SIGSTOP)
        time.sleep(1.5)  # of load
        upstreams[1].stop()
        time.sleep(1.5)
        upstreams[0].signal(signal.SIGCONT)
        upstreams[1].start()
    assert len(load.asked) > 200 and not load.failed()
    assert not load.slow(2.5)
    names = iter(f"after-{number}.test" for number in range(10**6))

    def all_well():
        agent.query(next(names))
        return [agent.metrics()[f'lastlight_upstream_healthy{{upstream="127.0.0.1:{each.port}"}}'] for each in upstreams] == [1, 1, 1]
    wait_until(all_well, 15, "the probes to find them again", agent.process)


def test_a_rollout_of_the_only_upstream_fails_nobody(agent_factory, coredns_factory):
    upstream = coredns_factory(site(".", answer("10.0.0.1")))
    agent = agent_factory({"dns": {"zones": [zone(".", upstream, protocol="tcp")]}})
    with Load(agent, fresh("rollout.test"), 20) as load:
        wait_until(lambda: len(load.asked) >= 20, 10, "answers before")
        before = agent.metrics()["lastlight_upstream_queries_total"]
        upstream.signal(signal.SIGSTOP)
        time.sleep(2)  # of load
        storm = agent.metrics()["lastlight_upstream_queries_total"] - before
        upstream.signal(signal.SIGCONT)
    assert not load.failed(), "the questions of two silent seconds waited, and were asked when it was back"
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
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as stream:  # the agent may have had enough of it
            self._answer(connection, stream, wrong)

    def _answer(self, connection, stream, wrong):
        while len(prefix := stream.read(2)) == 2:
            reply = self.reply(stream.read(struct.unpack("!H", prefix)[0]))
            framed = struct.pack("!H", len(reply)) + reply
            if not wrong:
                connection.sendall(framed)
                continue
            match self._how:
                case "reset":
                    connection.sendall(framed[:10])
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                case "finish":
                    return
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
    """Case 8."""
    upstream = Misbehaving(how)
    agent = agent_factory({"dns": {"zones": [zone(".", upstream, protocol="tcp")]}})
    for number in range(3):
        reply = agent.query(f"n{number}.test", timeout=5)
        assert [item.to_text() for rrset in reply.answer for item in rrset] == ["192.0.2.77"]
    assert agent.metrics()["lastlight_upstream_in_flight"] == 0
    assert upstream.connections <= 2 * 3, "at most two of a question's attempts go over TCP"


def test_a_loop_is_found_and_the_rest_serves(agent_factory, coredns_factory):
    """Case 26: CoreDNS forwards to us what we forward to it."""
    port, cluster = ports.free_port(), coredns_factory(site(".", answer("10.0.0.1")))
    round_trip = coredns_factory(site("looping.test", f"forward . 127.0.0.1:{port}", LOG), site(".", answer("203.0.113.7")))
    zones = [zone("cluster.test", cluster), zone("looping.test", round_trip), zone(".", round_trip)]
    agent = agent_factory({"dns": {"listen": [f"127.0.0.1:{port}"], "zones": zones}})
    wait_until(lambda: "dns.upstream_loop" in agent.process.output(), 10, "the loop in the log", agent.process)
    assert ask("127.0.0.1", port, "web.cluster.test").answer and ask("127.0.0.1", port, "www.example.org").answer
    assert ask("127.0.0.1", port, "a.looping.test").rcode() == dns.rcode.SERVFAIL
    round_trip.query("after.looping.test")
    assert round_trip.logged(1, "after.looping.test") and not round_trip.queries("a.looping.test"), "asked no more"
    assert agent.metrics()["lastlight_upstreams_refused"] == 1


def test_two_agents_that_point_at_each_other_ask_little(agent_factory, coredns_factory):
    """Case 26: what neither knows is a failure, soon and for few questions; the rest serves."""
    cluster, own = coredns_factory(site(".", answer("10.0.0.1"))), ports.free_ports(2)
    agents = [agent_factory({"dns": {"listen": [f"127.0.0.1:{port}"], "zones": [zone("cluster.test", cluster), zone(".", f"127.0.0.1:{other}")]}})
              for port, other in zip(own, reversed(own))]
    wait_until(lambda: any("dns.upstream_loop" in each.process.output() for each in agents), 10, "the loop in a log", *[each.process for each in agents])
    before = sum(each.metrics()["lastlight_upstream_queries_total"] for each in agents)
    for number in range(10):
        assert ask("127.0.0.1", own[number % 2], f"n{number}.example.org", timeout=6).rcode() == dns.rcode.SERVFAIL
    assert sum(each.metrics()["lastlight_upstream_queries_total"] for each in agents) - before <= 3 * 10
    assert all(ask("127.0.0.1", port, "web.cluster.test").answer for port in own)
