"""The agent beside the floor and its peers: `make bench-dns`, `make bench-dns ARGS="--runs 1 --seconds 1 --gate"`.

Each server has one processor and its load the other. A round floods every server with every workload once, so that what the
machine does meanwhile falls on all of them; medians over rounds, and ratios to the floor within a round. Processor time is the
kernel's own account of the server's threads, so that a busy machine blurs it less than it does times.

Waits at 5,000 qps are looked at in short slices that go round the servers, and compared by those that the machine left in peace: a
pause of ten milliseconds is one in a hundred of a second's questions, and once a second there is one, for the floor as well. Ends
by writing RESULTS.md.
"""

import argparse
import collections
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "e2e")]

from bench import crowd, readings, report, servers  # noqa: E402  pylint: disable=wrong-import-position
from rig import netns, ports  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import Process  # noqa: E402  pylint: disable=wrong-import-position

CACHED = ("hot", "wide", "k8s")
RATE = 5000
SLICE = 0.3  # seconds
POD_GATEWAY = "10.244.1.1"

Flood = collections.namedtuple("Flood", "qps cpu_us")
Wait = collections.namedtuple("Wait", "p50_us p99_us")


class Bench:
    def __init__(self, options, stack):
        self.options = options
        self.stack = stack
        self.directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench"))
        self.floods = collections.defaultdict(list)  # (server, workload): of each round
        self.waits = collections.defaultdict(list)  # likewise, of each slice
        self.lag = collections.Counter()
        self.groups = {}

    def load(self, server, *words, namespace=None):
        with namespace or contextlib.nullcontext():
            run = subprocess.run(["taskset", "-c", self.options.load_core, servers.bench("load"), server.listen, *[str(word) for word in words]],
                                 capture_output=True, text=True, check=False, timeout=120)
        if run.returncode not in (0, 1) or not run.stdout:
            raise SystemExit(f"bench_load: {run.stderr.strip()}")
        return json.loads(run.stdout)

    def warm(self, server, workload, namespace=None):
        for _ in range(10):
            said = self.load(server, workload, "warm", namespace=namespace)
            if said["lost"] == said["failed"] == 0:
                return
        raise SystemExit(f"{server.name} does not answer all of {workload}: {said}\n{server.tail()}")

    def measure(self, workload, servers_, namespace=None):
        for key, server in servers_.items():
            self.flood(key, server, workload, namespace)
        for _ in range(self.options.slices):
            for key, server in servers_.items():
                said = self.load(server, workload, "paced", SLICE, RATE, namespace=namespace)
                self.waits[key, workload].append(Wait(said["p50_us"], said["p99_us"]))

    def flood(self, key, server, workload, namespace):
        if workload != "miss":
            self.warm(server, workload, namespace)
        lag = self.lag_of(server) if key == "lastlight" else None
        before = readings.cpu_seconds(server.pid)
        said = self.load(server, workload, "flood", self.options.seconds, namespace=namespace)
        cpu = readings.cpu_seconds(server.pid) - before
        if lag is not None:
            self.lag += self.lag_of(server) - lag
        answered = max(said["answered"], 1)
        if said["failed"] > answered / 100:
            raise SystemExit(f"{key} failed at {workload}: {said}\n{server.tail()}")
        self.floods[key, workload].append(Flood(answered / said["seconds"], cpu / answered * 1e6))
        print(f"  {key:16} {workload:5} {answered / said['seconds']:9.0f} qps {cpu / answered * 1e6:7.2f} us", flush=True)

    def start(self, key, name, upstream, **options):
        server = self.stack.enter_context(servers.Server(name, os.path.join(self.directory, key), upstream, self.options.core, **options))
        return server

    def stub(self):
        return self.stub_process()[0]

    def stub_process(self):
        where = f"{ports.V4}:{ports.free_port()}"
        return where, self.stack.enter_context(Process("stub", ["taskset", "-c", self.options.load_core, servers.bench("stub"), where], self.directory, kill_at_once=True))

    def metrics(self, key, server):
        with open(os.path.join(self.directory, key, "lastlight.yaml"), encoding="ascii") as config:
            where = json.load(config)["http"]["listen"]
        with urllib.request.urlopen(f"http://{where}/metrics", timeout=10) as reply:
            lines = [line.rsplit(" ", 1) for line in reply.read().decode().splitlines() if not line.startswith("#")]
        assert server.exit_code() is None
        return {name: float(value) for name, value in lines}

    def lag_of(self, server):
        return collections.Counter({name.split('le="')[1].split('"')[0]: int(value) for name, value in self.metrics("lastlight", server).items()
                                    if name.startswith("lastlight_loop_lag_seconds_bucket")})

    def on_loopback(self):
        stub = self.stub()
        running = {name: self.start(name, name, stub) for name in ("floor", *servers.versions(), "lastlight")}  # it comes right after dnsdist
        over_tcp = self.start("lastlight-tcp", "lastlight", stub, protocol="tcp")
        for name, server in running.items():
            self.groups[name] = readings.ControlGroup(name)
            self.groups[name].add(server.pid)
        for number in range(self.options.runs):
            print(f"round {number + 1} of {self.options.runs}", flush=True)
            for workload in CACHED:
                self.measure(workload, running)
            self.measure("miss", running | {"lastlight-tcp": over_tcp})
        memory = {name: (*readings.memory(server.pid), self.groups[name].peak()) for name, server in running.items()}
        return memory

    def over_veth(self):
        """The load in a pod's namespace, the server in its node's."""
        if netns.possible():
            return print(f"veth: {netns.possible()}")
        net = self.stack.enter_context(netns.Cluster())
        with net.node:
            stub = self.stub()
            running = {f"{name}-veth": self.start(f"{name}-veth", name, stub, address=POD_GATEWAY) for name in ("floor", "lastlight")}
        for _ in range(self.options.runs):
            self.measure("hot", running, net.pod)

    def at_rest(self):
        """An agent of its own: (anonymous, resident, its control group's peak) MiB when idle, with 10,000 entries, and with all full that may be."""
        group = readings.ControlGroup("rest")
        where, stub = self.stub_process()
        server = self.start("rest", "lastlight", where, group=group)
        found = {}

        def look(name):
            found[name] = (*readings.memory(server.pid), group.peak())

        time.sleep(self.options.rest)
        look("idle")
        self.warm(server, "10k")
        look("filled")
        if group.peak() is not None:
            crowd.fill(server, stub, lambda: self.load(server, "miss", "flood", 2), group.usage,
                       lambda: self.metrics("rest", server)["lastlight_dns_tcp_buffered_bytes"] / 2 ** 20)
            look("full")
        server.stop()
        group.close()
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=int(os.environ.get("BENCH_RUNS", "7")))
    parser.add_argument("--seconds", type=int, default=2, help="of each flood")
    parser.add_argument("--slices", type=int, default=5, help="of 0.3 s, a round, for each server's waits")
    parser.add_argument("--rest", type=float, default=60, help="seconds before memory is looked at")
    parser.add_argument("--core", default="0", help="the servers' processor")
    parser.add_argument("--load-core", default="1")
    parser.add_argument("--memory", action="store_true", help="an agent's memory alone: idle, filled, and with all full that may be")
    parser.add_argument("--gate", action="store_true", help="fail when a limit is exceeded")
    parser.add_argument("--results", default=os.path.join(ROOT, "tests", "bench", "RESULTS.md"))
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("bench-dns: two processors are needed, one for the server and one for the load")
    os.sched_setaffinity(0, {int(options.load_core)})  # what is done here disturbs no server
    with contextlib.ExitStack() as stack:
        bench = Bench(options, stack)
        rest = bench.at_rest()
        if options.memory:
            lines, failed = report.memory(options, rest)
            print("\n".join(lines))
            return 1 if failed and options.gate else 0
        memory = bench.on_loopback()
        bench.over_veth()
    for group in bench.groups.values():
        group.close()
    ratios = {key: statistics.median(a.cpu_us / b.cpu_us for a, b in zip(floods, bench.floods[floor_of(*key)]))
              for key, floods in bench.floods.items()}
    text, failed = report.render(options, bench.floods, bench.waits, ratios, rest, memory, bench.lag, servers.versions())
    print("\n" + text)
    with open(options.results, "w", encoding="utf-8") as out:
        out.write(text)
    return 1 if failed and options.gate else 0


def floor_of(server, workload):
    return ("floor-veth" if server.endswith("-veth") else "floor", workload)


if __name__ == "__main__":
    sys.exit(main())
