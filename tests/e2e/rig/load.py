"""Questions in quantity over UDP, and what became of each.

    with Load(agent, lambda number: f"n{number % 300}.test", rate=300) as load: ...   # ends when every question has, or PATIENCE later
    load.failed(), load.slow(limit(0.35)), load.worst(), load.since(instant)

    replies = ask_all(agent, [("web.test", "A"), ...])     # octets, in the order of the questions; WINDOW on their way at a time

`server` is anything with an address and a port. Nobody asks twice: a question that is lost has failed. `slow` allows for how late
this process itself was woken meanwhile. Names are ASCII, without escapes.

`make bench-upstream` sets LASTLIGHT_GATED: only there, on a machine that does nothing else, waits below two seconds are limits.
"""

import collections
import os
import select
import socket
import struct
import threading
import time

import dns.rdatatype

from .measure import SchedulingDelay

GATED = "LASTLIGHT_GATED" in os.environ
PATIENCE = 6.0
WINDOW = 64


def limit(seconds):
    """Of a wait: as given where it is a limit, else what only a failure takes."""
    return seconds if GATED else max(seconds, 2.0)


def question(name, rdtype="A", ident=0):
    """As a stub resolver sends it, without EDNS."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b".") if label)
    return struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">xHH", int(dns.rdatatype.from_text(rdtype)), 1)


class Asked:
    __slots__ = ("name", "sent", "answered", "wire")

    def __init__(self, name, sent):
        self.name, self.sent, self.answered, self.wire = name, sent, None, None

    @property
    def waited(self):
        return self.answered - self.sent if self.answered else PATIENCE

    @property
    def rcode(self):
        return self.wire[3] & 15 if self.wire else None

    @property
    def failed(self):
        """Neither an answer nor a denial that has one."""
        return self.rcode != 0 or self.wire[6:8] == b"\0\0"

    def __repr__(self):
        return f"{self.name} rcode {self.rcode} in {self.waited * 1000:.0f} ms"


def _socket(server, source=None):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    if source:
        made.bind((source, 0))
    made.connect((server.address, server.port))
    return made


class Load:
    """`name` says which name the n-th question has. The socket belongs to the namespace this is made in."""

    def __init__(self, server, name, rate, source=None):
        self._name, self._rate, self.asked, self.strays = name, rate, [], 0
        self._socket = _socket(server, source)
        self._socket.setblocking(False)
        self._waiting, self._ending = {}, threading.Event()
        self._delay = SchedulingDelay()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._delay.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._ending.set()
        self._thread.join()
        self._delay.__exit__(*exc)
        self._socket.close()

    def _run(self):
        began, until = time.monotonic(), None
        while until is None or (self._waiting and time.monotonic() < until):
            now = time.monotonic()
            while until is None and len(self.asked) < (now - began) * self._rate:
                self._ask()
            if until is None and self._ending.is_set():
                until = now + PATIENCE
            select.select([self._socket], [], [], 0.002)
            self._receive()

    def _ask(self):
        number = len(self.asked)
        one = Asked(self._name(number), time.monotonic())
        self.asked.append(one)
        self._waiting[number % 65536] = one
        try:
            self._socket.send(question(one.name, ident=number % 65536))
        except OSError:
            pass  # an ICMP error of an earlier one

    def _receive(self):
        while True:
            try:
                wire = self._socket.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                continue
            one = self._waiting.pop(struct.unpack_from(">H", wire)[0], None)
            if one:
                one.answered, one.wire = time.monotonic(), wire
            else:
                self.strays += 1  # a second answer

    def since(self, instant):
        return [one for one in self.asked if one.sent >= instant]

    def failed(self, since=0.0):
        return [one for one in self.since(since) if one.failed]

    def slow(self, most, since=0.0):
        """Those that waited longer than `most` and what this process lost to others meanwhile."""
        return [one for one in self.since(since) if one.waited > most
                and one.waited > most + self._delay.worst(one.sent - 0.05, one.sent + one.waited + 0.05)]

    def worst(self, since=0.0):
        return max((one.waited for one in self.since(since)), default=0.0)

    def quantile(self, share, since=0.0):
        times = sorted(one.waited for one in self.since(since))
        return times[min(int(len(times) * share), len(times) - 1)]


def ask_all(server, questions, window=WINDOW, timeout=10.0):
    """A dictionary would lose those asked twice: a list, by position. What is lost on the way is asked for once more."""
    replies, todo, again = [None] * len(questions), collections.deque(range(len(questions))), set()
    with _socket(server) as client:
        client.settimeout(timeout / 2)
        waiting = set()
        while todo or waiting:
            while todo and len(waiting) < window and all(todo[0] % 65536 != each % 65536 for each in waiting):
                number = todo.popleft()
                waiting.add(number)
                client.send(question(*questions[number], ident=number % 65536))
            try:
                wire = client.recv(65535)
            except TimeoutError:
                assert not again & waiting, f"no answer to {[questions[number] for number in again & waiting]}"
                again |= waiting
                todo.extendleft(waiting)
                waiting = set()
                continue
            ident = struct.unpack_from(">H", wire)[0]
            number = next((each for each in waiting if each % 65536 == ident), None)
            if number is not None:
                waiting.discard(number)
                replies[number] = wire
    return replies
