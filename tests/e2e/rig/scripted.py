"""An upstream that answers as the test says, octet by octet, over UDP and TCP on one port of loopback.

    with Scripted(lambda query, tcp: reply(query, "192.0.2.1")) as upstream:   # or the fixture: scripted_factory(answer)
        zone(".", upstream)                      # it has an address and a port, as CoreDNS has
        upstream.asked("web.example.org")        # how many queries for it came

The function is given the query as a dns.message.Message and whether it came over TCP, and returns a message, octets, a list of
either (sent one after the other; a number in it is a pause in seconds), or None for silence. `reply` makes the usual message.
"""

import contextlib
import socket
import threading
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from . import ports


def reply(query, *records, authority=(), additional=(), code=dns.rcode.NOERROR):
    """Records are lines of a zone file, of an owner, a TTL, a class, a type and the rest; "@" is the name that was asked.
    A line that is just an address is an A record of 60 s."""
    message = dns.message.make_response(query)
    message.flags |= dns.flags.RA
    message.set_rcode(code)
    for section, lines in ((message.answer, records), (message.authority, authority), (message.additional, additional)):
        for line in lines:
            owner, ttl, rdclass, rdtype, rest = (line if " " in line else f"@ 60 IN A {line}").split(maxsplit=4)
            owner = query.question[0].name.to_text() if owner == "@" else owner
            section.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rest))
    return message


def _paced(answers):
    for each in answers:
        if isinstance(each, (int, float)):
            time.sleep(each)
        else:
            yield each


def _octets(answer):
    return answer if isinstance(answer, bytes) else answer.to_wire(max_size=65535)


class Scripted:
    """A context manager."""

    address = ports.V4

    def __init__(self, answer):
        self.answer = answer
        self.queries = []
        self._over = threading.Event()

    def refuse_tcp(self):
        with contextlib.suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        self._tcp.close()

    def asked(self, name=None):
        return len([each for each in self.queries if name in (None, each)])

    def _answers(self, octets, tcp):
        query = dns.message.from_wire(octets)
        self.queries.append(query.question[0].name.to_text(omit_final_dot=True).lower())
        answers = self.answer(query, tcp)
        return [each if isinstance(each, (int, float)) else _octets(each) for each in (answers if isinstance(answers, list) else [answers]) if each is not None]

    def _serve_udp(self):
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                octets, peer = self._udp.recvfrom(65535)
                if self._over.is_set():
                    return  # woken by the end
                for each in _paced(self._answers(octets, False)):
                    self._udp.sendto(each, peer)

    def _serve_connection(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while len(prefix := stream.read(2)) == 2:
                for each in _paced(self._answers(stream.read(int.from_bytes(prefix, "big")), True)):
                    connection.sendall(len(each).to_bytes(2, "big") + each)

    def _serve_tcp(self):
        while not self._over.is_set() and self._tcp.fileno() >= 0:
            with contextlib.suppress(OSError):
                connection, _ = self._tcp.accept()
                threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def __enter__(self):
        def start():
            self.port = ports.free_port()
            with contextlib.ExitStack() as bound:
                self._udp = bound.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                self._udp.bind((self.address, self.port))
                self._tcp = bound.enter_context(socket.create_server((self.address, self.port), backlog=128))
                self._sockets = bound.pop_all()

        ports.with_fresh_ports(start)
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._serve_udp, self._serve_tcp)]
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *exc):
        self._over.set()
        for each in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
        self._sockets.close()
        for each in self._threads:
            each.join(5)
