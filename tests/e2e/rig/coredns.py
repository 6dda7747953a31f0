"""A real CoreDNS on loopback, UDP and TCP, with any Corefile.

    with CoreDNS(binary, directory, site("cluster.local", records("10.0.0.1 web.shop.svc.cluster.local")),
                                    site(".", answer("203.0.113.7"))) as dns:      # or the fixture: coredns_factory(site(...), ...)
        dns.address, dns.address6, dns.port           # 127.0.0.1, ::1 (None without IPv6), the same port for UDP and TCP
        dns.query("web.shop.svc.cluster.local", "A")  # a dnspython message; tcp=True, address=dns.address6, dnssec=True, ...
        dns.stop(); dns.start()                       # an outage: gone, then back on the same port
        dns.queries()                                 # log lines of the queries that reached it, where a site has LOG
        dns.logged(3, "web.example.org")              # the same, waiting until there are as many

A site is a server block on 127.0.0.1 and ::1; in it go plugin lines, your own or these:

    records("ADDRESS NAME...", ..., ttl=30)    `hosts`: A and AAAA; SERVFAIL for other names, which is how CoreDNS' hosts is
    zone_file(directory, zone, text)           `file`: any RFC 1035 text, NXDOMAIN and NODATA; SOA and NS are put in front
                                               when it has no SOA
    answer(*addresses, ttl=30)                 `template`: the same A and AAAA for every name of the site, NODATA for other types
    rcode("SERVFAIL")                          `template`: that rcode for everything
    erratic(delay="2s"), erratic(drop=1)       `erratic`: every answer late; every DROP-th query lost, every TRUNCATE-th truncated
    cluster(control_plane)                     `kubernetes`: the control plane's Services and pods
    block(plugin, *lines)                      a plugin's own block
    node_cache(upstream)                       `cache` and `forward`, as NodeLocal DNSCache ships them for the cluster's zone
    LOG                                        `log`: a line per query

`ask` puts one question to any server: the agent too. Readiness is an answer over UDP and one over TCP, whatever its rcode.
"""

import os
import re

import dns.exception
import dns.flags
import dns.message
import dns.query

from . import ports
from .proc import Process, wait_until

LOG = "log . \"query {proto} {type} {name} {rcode}\""
_PROBE = re.compile(r" (ready\.invalid\.|[0-9a-f]{32}\..*?) ")


def ask(address, port, name, rdtype="A", tcp=False, timeout=2.0, dnssec=False, edns=True, rdclass="IN", flags=dns.flags.RD):
    """The reply to one question as a dns.message.Message; dns.exception.Timeout when there is none. No retry, no fallback to TCP."""
    question = dns.message.make_query(name, rdtype, rdclass, use_edns=0 if edns or dnssec else -1, want_dnssec=dnssec, payload=1232, flags=flags)
    return (dns.query.tcp if tcp else dns.query.udp)(question, address, timeout=timeout, port=port)


def site(zones, *plugins, bind=None):
    """A server block for `zones` (one, or several separated by spaces), on `bind` instead of 127.0.0.1 and ::1."""
    addresses = [bind] if bind else [ports.V4] + ([ports.V6] if ports.has_ipv6() else [])
    body = "\n".join(["bind " + " ".join(addresses), "errors", *plugins])
    return zones + " {\n" + body + "\n}\n"


def block(plugin, *lines):
    return plugin + " {\n" + "\n".join(lines) + "\n}"


def records(*lines, ttl=30):
    return block("hosts", *lines, f"ttl {ttl}")


def zone_file(directory, zone, text):
    path = os.path.join(str(directory), f"db.{zone.strip('.') or 'root'}")
    origin = zone if zone.endswith(".") else zone + "."
    head = f"$ORIGIN {origin}\n"
    if "SOA" not in text:
        head += "@ 30 IN SOA ns.invalid. hostmaster.invalid. 1 7200 1800 86400 30\n@ 30 IN NS ns.invalid.\n"
    with open(path, "w", encoding="utf-8") as out:
        out.write(head + text.strip() + "\n")
    return f"file {path} {origin}"


def answer(*addresses, ttl=30):
    lines = []
    for rdtype, mark in (("A", "."), ("AAAA", ":")):
        matching = [each for each in addresses if mark in each and (mark == ":" or ":" not in each)]
        if matching:
            lines.append(block(f"template IN {rdtype}", *[f'answer "{{{{ .Name }}}} {ttl} IN {rdtype} {each}"' for each in matching]))
    lines.append(block("template ANY ANY", "rcode NOERROR",
                        f'authority "{{{{ .Zone }}}} {ttl} IN SOA ns.invalid. hostmaster.invalid. 1 7200 1800 86400 {ttl}"'))
    return "\n".join(lines)


def rcode(name):
    return block("template ANY ANY", f"rcode {name}")


def erratic(delay=None, drop=0, truncate=0):
    lines = [f"drop {drop}", f"truncate {truncate}"] + ([f"delay 1 {delay}"] if delay else ["delay 0"])
    return block("erratic", *lines)


def cluster(control_plane, zone="cluster.local", ttl=5):
    return block(f"kubernetes {zone} in-addr.arpa ip6.arpa", f"kubeconfig {control_plane.kubeconfig} rig", "pods insecure", f"ttl {ttl}")


def node_cache(upstream, force_tcp=True):
    return "\n".join((block("cache", "success 9984 30", "denial 9984 5"),
                      block(f"forward . {upstream.address}:{upstream.port}", *["force_tcp"] if force_tcp else [])))


class CoreDNS:
    def __init__(self, binary, directory, *sites, env=None, address=None, port=None):
        """`address` is what its sites `bind`; `port` a fixed one, such as 53, instead of a free one."""
        self.address = address or ports.V4
        self.address6 = ports.V6 if ports.has_ipv6() and not address else None
        self.directory = str(directory)
        self.port = port
        self._binary, self._env = binary, env
        self._corefile = os.path.join(self.directory, "Corefile")
        self._process = None
        self.configure(*sites)

    def configure(self, *sites):
        """Replaces the Corefile; for the next start()."""
        with open(self._corefile, "w", encoding="utf-8") as out:
            out.write("".join(sites))

    def __enter__(self):
        if self.port is None:
            ports.with_fresh_ports(lambda: self._start(ports.free_port()))
        else:
            self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        """Again, on the port it had."""
        self._start(self.port)

    def _start(self, port):
        self.port = port
        self._process = Process("coredns", [self._binary, "-conf", self._corefile, "-dns.port", port], self.directory, self._env,
                                cwd=self.directory, kill_at_once=True)
        try:
            for tcp in (False, True):
                wait_until(lambda tcp=tcp: self._answers(tcp), 20, f"CoreDNS to answer over {'TCP' if tcp else 'UDP'}", self._process)
        except BaseException:
            self.stop()
            raise

    def _answers(self, tcp):
        try:
            return ask(self.address, self.port, "ready.invalid", "A", tcp, timeout=0.25)
        except dns.exception.Timeout:
            return None

    def stop(self):
        """Kills it: its ports refuse from now on."""
        if self._process:
            self._process.stop()

    @property
    def pid(self):
        return self._process.pid

    def signal(self, number):
        """SIGSTOP makes it silent while its ports stay open; SIGCONT wakes it."""
        self._process.signal(number)

    def query(self, name, rdtype="A", tcp=False, address=None, **options):
        return ask(address or self.address, self.port, name, rdtype, tcp, **options)

    def output(self):
        """All it has printed since it was started last."""
        return self._process.output()

    def queries(self, name=None):
        """Lines "PROTO TYPE NAME RCODE" of the queries that reached a site with LOG, but for those that looked for readiness and the
        agent's probes for loops, a second after it started."""
        lines = [line.split("query ", 1)[1] for line in self.output().splitlines() if "[INFO] query " in line]
        return [line for line in lines if not _PROBE.search(line) and (name is None or f" {name.rstrip('.')}. " in line)]

    def logged(self, count, name=None):
        """queries(), once there are `count` at least: CoreDNS logs after it has answered."""
        wait_until(lambda: len(self.queries(name)) >= count, 5, f"{count} queries for {name or 'any name'}", self._process)
        return self.queries(name)
