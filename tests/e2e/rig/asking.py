"""Load from inside a namespace, and who answered what.

    with Asker(net.pod, CLUSTER_IP) as asker: ...; asker.lost(), asker.answered_by(since), asker.worst()

Each tick one question leaves from a source port that is kept and one from a fresh one, both over UDP, and one over a TCP
connection of its own. Nobody asks again: what is not answered after PATIENCE was lost, not late. Answers are told apart by their A record.
"""

import contextlib
import select
import socket
import struct
import threading
import time

PATIENCE, TCP_PATIENCE, LAST_PATIENCE = 5.0, 2.0, 1.0  # seconds; the last when the block ends
NAME = b"\x03hot\x07example\x03org\x00\x00\x01\x00\x01"


def question(ident):
    return struct.pack("!6H", ident, 0x0100, 1, 0, 0, 0) + NAME


class Asked:
    def __init__(self, kind, sent):
        self.kind, self.sent, self.answered, self.by = kind, sent, None, None

    def answer(self, message):
        self.answered = time.monotonic()
        # The last record is the A record, or an OPT behind it: ours ask without EDNS.
        self.by = socket.inet_ntoa(message[-4:]) if message[3] & 15 == 0 and message[7] else f"rcode {message[3] & 15}"

    def __repr__(self):
        return f"{self.kind} sent {self.sent:.3f} by {self.by}"


class Asker:
    def __init__(self, namespace, address, port=53, every=0.01, tcp=True):
        self._namespace, self._to, self._every, self._tcp = namespace, (address, port), every, tcp
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._inside, args=(body,), daemon=True) for body in ([self._udp, self._over_tcp] if tcp else [self._udp])]
        self.asked = []

    def _inside(self, body):
        with self._namespace:
            body()

    def _socket(self):
        made = socket.socket(self._family, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.connect(self._to)
        return made

    def _udp(self):
        kept, waiting, ident = self._socket(), {}, 0
        due = time.monotonic()
        while not self._ending.is_set() or (waiting and time.monotonic() < due + LAST_PATIENCE):
            now = time.monotonic()
            if now >= due and not self._ending.is_set():
                due += self._every
                for kind, via in (("kept", kept), ("fresh", self._socket())):
                    ident = (ident + 1) & 0xffff
                    one = Asked(kind, time.monotonic())
                    self.asked.append(one)
                    waiting[ident] = (one, via)
                    self._send(via, question(ident))
            ready, _, _ = select.select({via for _, via in waiting.values()} | {kept}, [], [], max(0, min(due - time.monotonic(), 0.01)))
            for via in ready:
                self._receive(via, waiting)
            for key in [key for key, (one, _) in waiting.items() if one.answered or now > one.sent + PATIENCE]:
                _, via = waiting.pop(key)
                if via is not kept:
                    via.close()

    @staticmethod
    def _send(via, message):
        for _ in range(2):  # the first may say what ICMP said of an earlier one, and send nothing
            with contextlib.suppress(OSError):
                return via.send(message)
        return 0  # lost

    @staticmethod
    def _receive(via, waiting):
        while True:
            try:
                message = via.recv(4096)
            except OSError:
                return
            one = waiting.get(struct.unpack("!H", message[:2])[0])
            if one and not one[0].answered:
                one[0].answer(message)

    def _over_tcp(self):
        while not self._ending.is_set():
            one = Asked("tcp", time.monotonic())
            self.asked.append(one)
            try:
                with socket.create_connection(self._to, TCP_PATIENCE) as via:
                    via.settimeout(TCP_PATIENCE)
                    query = question(7)
                    via.sendall(struct.pack("!H", len(query)) + query)
                    message = b""
                    while len(message) < 2 or len(message) < 2 + struct.unpack("!H", message[:2])[0]:
                        part = via.recv(4096)
                        if not part:
                            raise OSError("closed")
                        message += part
                    one.answer(message[2:])
            except OSError:
                pass
            self._ending.wait(self._every * 5)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self._ending.set()
        for thread in self._threads:
            thread.join(10)

    def lost(self, since=0.0, until=float("inf"), kinds=("kept", "fresh", "tcp")):
        """Those not answered; end the block before asking about the recent past."""
        return [one for one in self.asked if not one.answered and since <= one.sent < until and one.kind in kinds]

    def told(self, since, instant):
        """Those lost since then, for a failure to show: (kind, when it was sent, in seconds from an instant)."""
        return [(one.kind, round(one.sent - instant, 3)) for one in self.lost(since=since)]

    def answers(self, since=0.0):
        return [one for one in list(self.asked) if one.by and one.sent >= since]

    def answered_by(self, since=0.0):
        return {one.by for one in self.answers(since)}

    def worst(self, since=0.0):
        return max((one.answered - one.sent for one in self.answers(since)), default=None)
