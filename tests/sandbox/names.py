"""An authoritative DNS server for one embedded zone, over UDP and TCP on loopback: what the demo asks when there is no internet.

    python3 tests/sandbox/names.py --port 5300 && dig @127.0.0.1 -p 5300 www.example.test
"""

import argparse
import os
import socketserver
import struct
import sys
import threading

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

ORIGIN = "example.test."
ZONE = """
$TTL 30
@      IN SOA   ns hostmaster 1 3600 600 86400 5
@      IN NS    ns
ns     IN A     127.0.0.1
www    IN A     192.0.2.10
www    IN AAAA  2001:db8::10
api    IN CNAME www
db     IN A     192.0.2.20
db     IN A     192.0.2.21
mail   IN MX    10 www
text   IN TXT   "an embedded zone"
short  2 IN A   192.0.2.30
"""
NAMES = tuple(f"{label}.{ORIGIN.rstrip('.')}" for label in ("www", "api", "db", "short"))
_MAX_CNAMES = 8


class Zone:
    """Answers queries; no sockets."""

    def __init__(self, text=ZONE, origin=ORIGIN):
        self.origin = dns.name.from_text(origin)
        self._zone = dns.zone.from_text(text, origin=self.origin, relativize=False)

    def answer(self, wire, limit=65535):
        """The reply's bytes, truncated to `limit`; None for what deserves none."""
        try:
            query = dns.message.from_wire(wire)
            if query.flags & dns.flags.QR or len(query.question) != 1:
                return None
            reply = dns.message.make_response(query)
        except Exception:  # pylint: disable=broad-except  # dnspython raises many kinds for malformed packets
            return None
        question = query.question[0]
        if not question.name.is_subdomain(self.origin) or question.rdclass != dns.rdataclass.IN:
            reply.set_rcode(dns.rcode.REFUSED)
        else:
            reply.flags |= dns.flags.AA
            self._fill(reply, question.name, question.rdtype)
        wire = reply.to_wire(max_size=65535)
        if len(wire) > limit:
            reply.answer, reply.authority = [], []
            reply.flags |= dns.flags.TC
            wire = reply.to_wire()
        return wire

    def _fill(self, reply, name, rdtype):
        for _ in range(_MAX_CNAMES):
            found = self._zone.get_rrset(name, rdtype) or self._zone.get_rrset(name, dns.rdatatype.CNAME)
            if found is None:
                break
            reply.answer.append(found)
            if found.rdtype == rdtype or rdtype == dns.rdatatype.CNAME:
                return
            name = found[0].target
        exists = any(owner.is_subdomain(name) for owner in self._zone.nodes)
        reply.set_rcode(dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN)
        reply.authority.append(self._zone.get_rrset(self.origin, dns.rdatatype.SOA))


class _Udp(socketserver.BaseRequestHandler):
    def handle(self):
        wire, sock = self.request
        try:
            limit = max(512, dns.message.from_wire(wire).payload or 512)
        except Exception:  # pylint: disable=broad-except
            return
        reply = self.server.zone.answer(wire, limit)
        if reply is not None:
            sock.sendto(reply, self.client_address)


class _Tcp(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        while len(head := self.rfile.read(2)) == 2:
            reply = self.server.zone.answer(self.rfile.read(struct.unpack("!H", head)[0]))
            if reply is None:
                return
            self.wfile.write(struct.pack("!H", len(reply)) + reply)


class _TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass  # a client that resets its connection is no news


class Names:
    """The zone on one port, UDP and TCP. A context manager."""

    def __init__(self, port=0, zone=None):
        zone = zone or Zone()
        for attempt in range(20):
            self._udp = socketserver.ThreadingUDPServer(("127.0.0.1", port), _Udp)
            self._udp.daemon_threads = True
            self._udp.block_on_close = False
            self.port = self._udp.server_address[1]
            try:
                self._tcp = _TcpServer(("127.0.0.1", self.port), _Tcp)
                break
            except OSError:  # free for UDP, taken for TCP
                self._udp.server_close()
                if port or attempt == 19:
                    raise
        for server in (self._udp, self._tcp):
            server.zone = zone
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=0)
    with Names(options.parse_args().port) as served:
        print(f"DNS for {ORIGIN} on {served.address}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
