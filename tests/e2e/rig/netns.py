"""Network namespaces of a test's own: a node, a pod on it and another node that runs CoreDNS, wired as a cluster is.

    with Cluster() as net:                    # or the fixture `cluster_net`
        with net.node: Process(...)           # what starts in a `with` block lives in that namespace; sockets opened there too
        net.node.run("nft", "list", "ruleset")
        net.node.nft(text)

          pod 10.244.1.2 -- node 192.168.50.1 -- other 192.168.50.2, where CoreDNS has 10.244.2.2; fd00:: alike

Needs the right to make namespaces (root, or the root of a user namespace). A namespace is held by its open file alone, so
nothing is left behind, whatever happens.
"""

import contextlib
import ctypes
import os
import subprocess
import threading

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

CLUSTER_IP, CLUSTER_IP6 = "10.96.0.10", "fd00:96::a"
FALLBACK, FALLBACK6 = "10.96.0.11", "fd00:96::b"
LINK_LOCAL = "169.254.20.10"
POD, NODE = "10.244.1.2", "192.168.50.1"
COREDNS, COREDNS6 = "10.244.2.2", "fd00:244:2::2"


def _check(code, what):
    if code != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def possible():
    """None, or why namespaces cannot be made here."""
    try:
        Namespace().close()
        return None
    except OSError as error:
        return f"no network namespaces here ({error}); run as root or under `unshare --user --map-root-user`"


class Namespace:
    """`with namespace:` moves the calling thread there, and back at the end."""

    def __init__(self):
        self._back = []
        made = []

        def make():
            try:
                _check(_libc.unshare(_CLONE_NEWNET), "unshare")
                made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        self.file = made[0]

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.file}"

    def __enter__(self):
        self._back.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        _check(_libc.setns(self.file, _CLONE_NEWNET), "setns")
        return self

    def __exit__(self, *exc):
        back = self._back.pop()
        _check(_libc.setns(back, _CLONE_NEWNET), "setns")
        os.close(back)

    def run(self, *argv, check=True, stdin=None):
        """Its standard output."""
        with self:
            done = subprocess.run([str(word) for word in argv], input=stdin, text=True, capture_output=True, check=False, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, argv))} exited with {done.returncode}: {done.stderr.strip()[:500]}")
        return done.stdout if check else done

    def ip(self, *lines):
        """Lines of `ip -batch`."""
        self.run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def nft(self, text):
        self.run("nft", "-f", "-", stdin=text)

    def set(self, key, value):
        # /proc/sys/net shows the namespace of the thread that opens it.
        with self, open("/proc/sys/net/" + key, "w", encoding="ascii") as out:
            out.write(str(value))

    def addresses(self, interface="lo"):
        """The addresses of an interface, but for those the kernel gives."""
        words = self.run("ip", "-o", "address", "show", "dev", interface).split()
        found = {words[i + 1].partition("/")[0] for i, word in enumerate(words) if word in ("inet", "inet6")}
        return found - {"127.0.0.1", "::1"}

    def bound(self, port):
        """Whether somebody has a socket with this port of its own, over UDP or listening over TCP."""
        with self:
            for name in ("udp", "udp6", "tcp", "tcp6"):
                with open(f"/proc/thread-self/net/{name}", encoding="ascii") as table:
                    for _, local, _, state, *_ in map(str.split, list(table)[1:]):
                        if int(local.rpartition(":")[2], 16) == port and (name.startswith("udp") or state == "0A"):
                            return True
        return False

    def close(self):
        os.close(self.file)


def _wire(left, left_name, left_addresses, right, right_name, right_addresses):
    left.ip(f"link add {left_name} type veth peer name {right_name} netns {right.path}")
    for side, name, addresses in ((left, left_name, left_addresses), (right, right_name, right_addresses)):
        side.ip(*[f"address add {each} dev {name}" + (" nodad" if ":" in each else "") for each in addresses], f"link set {name} up")


class Cluster:
    def __init__(self):
        self.pod, self.node, self.other = Namespace(), Namespace(), Namespace()
        for each in (self.pod, self.node, self.other):
            each.ip("link set lo up")
        for each in (self.node, self.other):
            each.set("ipv4/ip_forward", 1)
            each.set("ipv6/conf/all/forwarding", 1)
        _wire(self.pod, "eth0", [f"{POD}/24", "fd00:244:1::2/64"], self.node, "pod", ["10.244.1.1/24", "fd00:244:1::1/64"])
        _wire(self.node, "eth0", [f"{NODE}/24", "fd00:50::1/64"], self.other, "eth0", ["192.168.50.2/24", "fd00:50::2/64"])
        self.pod.ip("route add default via 10.244.1.1", "route add default via fd00:244:1::1")
        self.node.ip("route add default via 192.168.50.2", "route add default via fd00:50::2")
        # The other node has the taken-over address as well, as every node does.
        self.other.ip(f"address add {COREDNS}/32 dev lo", f"address add {COREDNS6}/128 dev lo nodad", f"address add {CLUSTER_IP}/32 dev lo",
                      f"address add {CLUSTER_IP6}/128 dev lo nodad", f"route add 10.244.1.0/24 via {NODE}", "route add fd00:244:1::/64 via fd00:50::1")

    def proxy(self, port=53):
        """What kube-proxy does with the two Services: DNAT to CoreDNS, once per connection tracked."""
        rules = "\n".join(f"{ip} daddr {{ {', '.join(services)} }} {protocol} dport {port} dnat to {target}"
                          for ip, services, target in (("ip", (CLUSTER_IP, FALLBACK), f"{COREDNS}:53"),
                                                       ("ip6", (CLUSTER_IP6, FALLBACK6), f"[{COREDNS6}]:53"))
                          for protocol in ("udp", "tcp"))
        rules = rules.replace("dnat to", "dnat ip to").replace("dnat ip to [", "dnat ip6 to [")
        self.node.nft(f"""table inet proxy {{
            chain prerouting {{ type nat hook prerouting priority dstnat
                {rules}
            }}
            chain output {{ type nat hook output priority -100
                {rules}
            }}
        }}""")

    def dns_entries(self):
        """Lines of the node's connection tracking table that are about DNS to a taken-over address."""
        with self.node, open("/proc/thread-self/net/nf_conntrack", encoding="ascii") as table:
            return [line for line in table if f"dst={CLUSTER_IP} " in line and "dport=53 " in line]

    def close(self):
        for each in (self.pod, self.node, self.other):
            each.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


@contextlib.contextmanager
def in_thread(namespace, target):
    """Runs `target` in a thread inside `namespace` until the block ends and target returns."""
    def body():
        with namespace:
            target()

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
