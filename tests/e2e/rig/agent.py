"""The agent under test, as a process on loopback with any configuration.

    agent_factory({"dns": {"zones": [zone(".", coredns)]}})         # the fixture; ready to serve when it returns
    agent.address, agent.address6, agent.port, agent.http_port      # 127.0.0.1, ::1 (None without IPv6), free ports
    agent.query("web.example.org", "A", tcp=True)                   # as CoreDNS.query of rig/coredns.py
    agent.metrics()["lastlight_cache_hits_total"]                   # every series of /metrics, parsed strictly
    agent.get("/readyz"), agent.process, agent.threads(), agent.stop()

The configuration is a dict with the file's keys, merged over what a test on loopback needs (`base`): no interruption source, so
no API server either. The binary is LASTLIGHT_AGENT, else that of the preset `release`.
"""

import copy
import json
import os
import re
import signal
import subprocess
import sys

from . import peers, ports
from .coredns import ask
from .measure import family
from .proc import wait_until

sys.path.insert(0, os.path.join(peers.ROOT, "tests"))

from sandbox import agent as sandbox  # noqa: E402  pylint: disable=wrong-import-position

_SERIES = re.compile(r'([a-zA-Z_:][\w:]*)(\{(?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (NaN|[+-]?Inf|[+-]?[0-9][0-9.eE+-]*)')
_COMMENT = re.compile(r"# (?:HELP [a-zA-Z_:][\w:]* .*|TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary|untyped))")


class AgentMissing(Exception):
    """There is no binary to test."""


def binary():
    path = os.environ.get("LASTLIGHT_AGENT") or os.path.join(peers.ROOT, "build", "release", "agent", "lastlight")
    if not os.access(path, os.X_OK):
        raise AgentMissing(f"no agent at {path}: `cmake --preset release && cmake --build --preset release` builds it")
    return path


def zone(name, *upstreams, protocol="udp", **keys):
    """A zone of the configuration; an upstream is a CoreDNS or an address as the file has it. max_ttl=... sets `max-ttl`."""
    addresses = [each if isinstance(each, str) else f"{each.address}:{each.port}" for each in upstreams]
    return {"name": name, "upstreams": addresses, "protocol": protocol, **{key.replace("_", "-"): value for key, value in keys.items()}}


def parse_metrics(text):
    """{'name{label="value"}': number}; AssertionError for anything that text format 0.0.4 does not allow."""
    series, types = {}, {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("#"):
            comment = _COMMENT.fullmatch(line)
            assert comment, f"no comment of the format: {line!r}"
            if comment[1]:
                assert comment[1] not in types, f"a second TYPE of {comment[1]}"
                types[comment[1]] = comment[2]
            continue
        match = _SERIES.fullmatch(line)
        assert match, f"no sample of the format: {line!r}"
        key = match[1] + (match[2] or "")
        family = match[1] if match[1] in types else re.sub(r"_(bucket|sum|count)$", "", match[1])
        assert family in types, f"{key} has no TYPE"
        assert key not in series, f"{key} twice"
        series[key] = float(match[3])
    return series


def merged(base, over):
    out = copy.deepcopy(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else copy.deepcopy(value)
    return out


def write_config(directory, config, name="lastlight.yaml"):
    """JSON is YAML, a key per line."""
    path = os.path.join(str(directory), name)
    with open(path, "w", encoding="utf-8") as out:
        json.dump(config, out, indent=1)
    return path


def command(*words, env=None, timeout=20):
    """Runs the program to its end: .returncode, .stdout, .stderr."""
    return subprocess.run([binary(), *[str(word) for word in words]], capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
                          env={**os.environ, **(env or {})})


class Agent(sandbox.Agent):
    """A context manager, started and ready; see above. `listen` are the addresses of the DNS port, `metrics` that of http.listen; `env` is added
    to ours."""

    address = ports.V4

    def __init__(self, directory, config, listen=None, metrics=ports.V4, env=None):
        self.directory = str(directory)
        self.address6 = ports.V6 if ports.has_ipv6() else None
        addresses = listen or [each for each in (self.address, self.address6) if each]

        def start():
            port, http_port = ports.free_ports(2)
            base = {"http": {"listen": f"{metrics}:{http_port}", "status": ""}, "log": {"level": "debug"}, "interruption": {"source": "none"},
                    "drain": {"state-file": os.path.join(self.directory, "drain.json")},
                    "dns": {"listen": [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in addresses]}}
            self.config = merged(base, config)
            super(Agent, self).__init__(binary(), write_config(self.directory, self.config), self.directory, port, http_port, env)
            try:
                wait_until(lambda: self.get("/readyz")[0] == 200, 20, "the agent to be ready", self.process)
            except BaseException:
                self.process.stop()
                raise

        ports.with_fresh_ports(start)

    @property
    def port(self):
        return self.dns_port

    @property
    def pid(self):
        return self.process.pid

    @property
    def worker(self):
        """The process that serves; the supervisor's child."""
        (pid,) = family(self.pid) - {self.pid}
        return pid

    def query(self, name, rdtype="A", tcp=False, address=None, **options):
        return ask(address or self.address, self.port, name, rdtype, tcp, **options)

    def metrics(self):
        status, body = self.get("/metrics")
        assert status == 200, body
        return parse_metrics(body)

    def threads(self):
        """Of the worker: the supervisor's one is not counted."""
        return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in family(self.pid) - {self.pid})

    def terminate(self):
        self.process.signal(signal.SIGTERM)

    def stop(self, grace=10):
        """SIGTERM; the exit code."""
        return self.process.stop(grace)

    def __exit__(self, *exc):
        code = self.process.stop()
        if exc[0] is None:  # a crash or a sanitizer's report must not pass unseen
            assert code == 0, self.process.tail(60)
