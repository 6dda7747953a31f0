"""Many at once: floods toward an upstream that never answers, beside pods that go on; thousands of pods that start together."""

import contextlib
import os
import resource
import select
import socket
import struct
import threading
import time

import dns.edns
import dns.message
import pytest

from rig.agent import zone
from rig.coredns import LOG, answer, site
from rig.load import Load, question
from rig.measure import Memory
from rig.ports import V4
from rig.proc import wait_until

FLOOD_RATE = int(os.environ.get("LASTLIGHT_FLOOD_RATE", "10000"))  # `make bench-upstream` takes 50,000
FLOOD_SECONDS = 3
PODS = 2000


@pytest.fixture
def black_hole():
    """Its port is open; nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((V4, 0))
        yield f"{V4}:{bound.getsockname()[1]}"


class Flood:
    """Names never asked before, as many a second, from each of the addresses in turn. Answers are read by nobody but for the first's."""

    def __init__(self, agent, sources):
        self.sent, self.refused, self._sockets = 0, None, []
        for source in sources:
            self._sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            self._sockets[-1].bind((source, 0))
            self._sockets[-1].connect((agent.address, agent.port))
            self._sockets[-1].setblocking(False)
        self._thread = threading.Thread(target=self._run)
        self.seconds = 0.0

    def _run(self):
        began = time.monotonic()
        while self.sent < FLOOD_RATE * FLOOD_SECONDS:
            while self.sent < min((time.monotonic() - began) * FLOOD_RATE, FLOOD_RATE * FLOOD_SECONDS):
                with contextlib.suppress(BlockingIOError):
                    self._sockets[self.sent % len(self._sockets)].send(question(f"n{self.sent}.flood.test", ident=self.sent % 65536))
                self.sent += 1
            time.sleep(0.001)  # the pace
        self.seconds = time.monotonic() - began

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._thread.join()
        for each in self._sockets:
            each.close()


def answered(agent, source, message):
    """Asked until it is, as the kernel may lose a datagram of a flood."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((source, 0))
        client.connect((agent.address, agent.port))
        client.setblocking(False)

        def reply():
            client.send(message.to_wire())
            readable, _, _ = select.select([client], [], [], 0.5)
            return readable and dns.message.from_wire(client.recv(4096))
        return wait_until(reply, 10, "an answer amid the flood")


@pytest.mark.parametrize("pods", [1, 8])
def test_a_flood_toward_a_black_hole_costs_its_senders_alone(pods, agent_factory, coredns_factory, black_hole):
    """Unique names whose upstream never answers: memory stays bounded, other pods' names are answered, known and new."""
    cluster = coredns_factory(site(".", answer("10.0.0.1", ttl=2)))
    agent = agent_factory({"log": {"level": "info"}, "dns": {"zones": [zone("cluster.local", cluster, protocol="tcp"), zone(".", black_hole)]}})
    before = Memory(agent.pid)
    before.sample()
    with Memory(agent.pid) as memory, Load(agent, lambda number: f"n{number % 50 if number % 2 else number}.cluster.local", 100) as neighbour:
        with Flood(agent, [f"127.0.7.{1 + pod}" for pod in range(pods)]) as flood:
            while flood.sent < FLOOD_RATE:
                time.sleep(0.01)
            told = answered(agent, "127.0.7.1", dns.message.make_query("late.flood.test", "A", use_edns=0))
    metrics = agent.metrics()
    over = {bound: metrics[f'lastlight_dns_overload_total{{bound="{bound}"}}'] for bound in ("flights", "waiters", "client")}
    print(f"{pods} flooding: {flood.sent / flood.seconds:.0f} names/s, {memory.anonymous - before.anonymous} KiB more anonymous memory; "
          f"neighbour: {len(neighbour.failed())} of {len(neighbour.asked)} failed, worst {neighbour.worst() * 1000:.0f} ms; over: {over}")
    assert not neighbour.failed()
    assert told.rcode() == dns.rcode.REFUSED and [option.otype for option in told.options] == [dns.edns.OptionType.EDE]
    assert memory.anonymous - before.anonymous < 16 << 10, "KiB"
    assert over["client"] > flood.sent / 4 and not over["waiters"]


def test_thousands_of_pods_start_in_the_same_second(agent_factory, coredns_factory):
    """Each asks for three names that all ask for and one of its own, A and AAAA: each is answered, and CoreDNS is asked once for each."""
    cluster = coredns_factory(site(".", answer("10.0.0.1", "2001:db8::1", ttl=60), LOG))
    agent = agent_factory({"log": {"level": "info"}, "dns": {"zones": [zone(".", cluster, protocol="tcp")]}})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, PODS + soft), hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        poll, left = select.epoll(), {}
        for pod in range(PODS):
            made = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            made.bind((f"127.9.{pod // 250}.{1 + pod % 250}", 0))
            made.connect((agent.address, agent.port))
            poll.register(made, select.EPOLLIN)
            names = ["kubernetes.default", "config.shop", "db.shop", f"own-{pod}.shop"]
            left[made.fileno()] = (made, {ident: question(f"{names[ident // 2]}.svc.cluster.local", ("A", "AAAA")[ident % 2], ident) for ident in range(8)})
        began = time.monotonic()
        for made, questions in left.values():
            for octets in questions.values():
                made.send(octets)
        sent, waiting = time.monotonic() - began, 8 * PODS
        while waiting and time.monotonic() < began + 15:
            for descriptor, _ in poll.poll(0.1):
                made, questions = left[descriptor]
                wire = made.recv(4096)
                asked = questions.pop(struct.unpack_from(">H", wire)[0])  # answered once, with its own ID
                assert wire[3] & 15 == 0 and wire[7] == 1 and wire[12:].startswith(asked[12:]), (wire, asked)
                waiting -= 1
    print(f"{8 * PODS} questions of {PODS} pods sent in {sent:.2f} s, answered after {time.monotonic() - began:.2f} s")
    assert not waiting
    metrics = agent.metrics()
    assert metrics["lastlight_upstream_queries_total"] - metrics["lastlight_upstream_retries_total"] == 2 * (PODS + 3), "asked once for each"
    # Hedges are a quarter and fifty at most (dnscache/upstream_pool.h); what a busy machine answers later than a turn is asked again, too.
    assert metrics["lastlight_upstream_hedges_total"] <= 2 * 0.25 * (PODS + 3) + 50
