"""What is measured: the floor, the agent and the peers, each as a node would run it, on one processor.

    with start("unbound", directory, upstream, address, core) as server: server.port, server.pid, ...

The agent is measured as it is shipped; a peer's configuration is its own but for addresses, the upstream, one thread, and a cache
that holds 100,000 names.
"""

import json
import os
import re
import shutil
import subprocess

from rig import peers, ports
from rig.proc import Process, wait_until

RELEASE = os.path.join(peers.ROOT, "build", "release")


def bench(name):
    return os.path.join(RELEASE, "tests", f"bench_{name}")


def _write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="ascii") as out:
        out.write(text)
    return path


def _floor(_directory, listen, _upstream):
    return [bench("echo"), listen]


def _lastlight(directory, listen, upstream, protocol="udp"):
    zones = [{"name": name, "upstreams": [upstream], "protocol": protocol, **keys}
             for name, keys in (("cluster.local", {"max-negative-ttl": "5s"}), ("in-addr.arpa", {}), ("ip6.arpa", {}), (".", {}))]
    config = {"http": {"listen": f"{listen.partition(':')[0]}:{ports.free_port()}"}, "interruption": {"source": "none"},
              "dns": {"listen": [listen], "zones": zones}}
    return [os.path.join(RELEASE, "agent", "lastlight"), "run", "--config", _write(directory, "lastlight.yaml", json.dumps(config))]


def _coredns(directory, listen, upstream):
    address, _, port = listen.partition(":")
    return [peers.paths("coredns")["coredns"], "-dns.port", port, "-conf",
            _write(directory, "Corefile", f". {{\n bind {address}\n forward . {upstream}\n cache 3600 {{\n  success 200000\n  denial 20000 30\n }}\n errors\n}}\n")]


def _unbound(directory, listen, upstream):
    address, _, port = listen.partition(":")
    return ["/usr/sbin/unbound", "-d", "-p", "-c", _write(directory, "unbound.conf", f"""server:
    interface: {address}
    port: {port}
    access-control: 0.0.0.0/0 allow
    num-threads: 1
    msg-cache-size: 32m
    rrset-cache-size: 64m
    do-daemonize: no
    chroot: ""
    username: ""
    directory: "{directory}"
    use-syslog: no
    do-not-query-localhost: no
    module-config: "iterator"
    local-zone: "local." nodefault
forward-zone:
    name: "."
    forward-addr: {upstream.replace(":", "@")}
""")]


def _dnsdist(directory, listen, upstream):
    return ["/usr/bin/dnsdist", "--supervised", "--disable-syslog", "-C", _write(directory, "dnsdist.conf", f"""setLocal("{listen}")
setACL({{"0.0.0.0/0"}})
newServer({{address="{upstream}", name="upstream"}})
getPool(""):setCache(newPacketCache(200000))
setSecurityPollSuffix("")
""")]


_COMMANDS = {"floor": _floor, "lastlight": _lastlight, "coredns": _coredns, "unbound": _unbound, "dnsdist": _dnsdist}


def _versions():
    yield "coredns", peers.paths("coredns")["coredns"], "-version"
    yield "unbound", "/usr/sbin/unbound", "-V"
    yield "dnsdist", "/usr/bin/dnsdist", "--version"


def versions():
    """{peer: version} of those that are here."""
    found = {}
    for name, program, flag in _versions():
        if shutil.which(program):
            out = subprocess.run([program, flag], capture_output=True, text=True, check=False)
            number = re.search(r"\d+\.\d+(\.\d+)?", out.stdout + out.stderr)
            found[name] = number[0] if number else "?"
    return found


class Server(Process):
    """A context manager; answers when it is entered."""

    def __init__(self, name, directory, upstream, core, address=ports.V4, group=None, **options):
        self.port = ports.free_port()
        self.listen = f"{address}:{self.port}"
        os.makedirs(directory, exist_ok=True)
        command = _COMMANDS[name](directory, self.listen, upstream, **options)
        command = group.command(command) if group else command
        super().__init__(name, ["taskset", "-c", core, *command], directory, kill_at_once=name != "lastlight")
        try:
            wait_until(self._answers, 20, f"{name} to answer", self)
        except BaseException:
            self.stop()
            raise

    def _answers(self):
        return json.loads(subprocess.run([bench("load"), self.listen, "hot", "paced", "1", "5"], capture_output=True, text=True, check=True).stdout)["answered"]
