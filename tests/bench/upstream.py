"""What a question costs that has to go upstream: the first part of `make bench-upstream`; cases.py is the rest.

The agent as shipped, on a processor of its own, toward bench_stub, over UDP and TCP: processor time per miss; p50 and p99 at 500 a second with
an upstream that takes 20 ms, and how many sockets a thousand concurrent misses take, toward one that answers out of order and one that is
strictly in order, as CoreDNS is. Ends by writing UPSTREAM.md.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:1] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "e2e")]  # not this folder: its dns.py is no dnspython

from bench import readings, report, servers  # noqa: E402  pylint: disable=wrong-import-position
from rig import ports  # noqa: E402  pylint: disable=wrong-import-position
from rig.agent import parse_metrics  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import Process  # noqa: E402  pylint: disable=wrong-import-position

DELAY = 20  # ms, of the upstream
RATE = 500
CONCURRENT = 1000
P99 = 3 * DELAY * 1000  # us; twice the delay is a hedge's answer
CONNECTIONS = {"out of order": 4, "in order": 32}


class Bench:
    def __init__(self, options, stack):
        self.options, self.stack = options, stack
        self.directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench"))

    def stub(self, *words):
        where = f"{ports.V4}:{ports.free_port()}"
        self.stack.enter_context(Process(f"stub-{where.rpartition(':')[2]}", ["taskset", "-c", self.options.load_core, servers.bench("stub"), where, *words],
                                         self.directory, kill_at_once=True))
        return where

    def agent(self, upstream, protocol):
        directory = tempfile.mkdtemp(dir=self.directory)
        server = self.stack.enter_context(servers.Server("lastlight", directory, upstream, self.options.core, protocol=protocol))
        with open(os.path.join(directory, "lastlight.yaml"), encoding="ascii") as config:
            server.http = json.load(config)["http"]["listen"]
        return server

    def load(self, server, *words):
        run = subprocess.run(["taskset", "-c", self.options.load_core, servers.bench("load"), server.listen, "miss", *[str(word) for word in words]],
                             capture_output=True, text=True, check=False, timeout=120)
        if not run.stdout:
            raise SystemExit(f"bench_load: {run.stderr.strip()}")
        said = json.loads(run.stdout)
        if said["failed"] > said["answered"] / 100:
            raise SystemExit(f"misses failed: {said}\n{server.tail()}")
        return said

    @staticmethod
    def metrics(server):
        with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=10) as reply:
            return parse_metrics(reply.read().decode())


def cost(bench, protocol):
    """us of processor time per miss of each round, and of the floor, which answers without asking anybody."""
    stub = bench.stub()
    server, floor = bench.agent(stub, protocol), bench.stack.enter_context(servers.Server("floor", bench.directory, stub, bench.options.core))
    taken = []
    for _ in range(bench.options.runs):
        per_query = []
        for each in (server, floor):
            before = readings.cpu_seconds(each.pid)
            answered = max(bench.load(each, "flood", bench.options.seconds)["answered"], 1)
            per_query.append((readings.cpu_seconds(each.pid) - before) / answered * 1e6)
        taken.append(per_query)
    server.stop()
    floor.stop()
    return taken


def waits(bench, protocol, *how):
    """(p50, p99 in us at RATE; sockets and TCP connections that CONCURRENT misses at a time took)"""
    server = bench.agent(bench.stub(str(DELAY), *how), protocol)
    bench.load(server, "paced", 2, RATE)  # it learns
    said = bench.load(server, "paced", 4, RATE)
    bench.load(server, "concurrent", 3, CONCURRENT)
    metrics = bench.metrics(server)
    connections = max(value for key, value in metrics.items() if key.startswith("lastlight_upstream_connections{"))
    server.stop()
    return said["p50_us"], said["p99_us"], metrics["lastlight_upstream_channels"], connections


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each flood")
    parser.add_argument("--core", default="0", help="the agent's processor")
    parser.add_argument("--load-core", default="1")
    parser.add_argument("--results", default=os.path.join(ROOT, "tests", "bench", "UPSTREAM.md"))
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("bench-upstream: two processors are needed, one for the agent and one for the load")
    out = ["# Benchmark of the way upstream", "", "Written by `make bench-upstream`; what is measured is said in `upstream.py`.", "",
           f"- Machine: {report.machine()}", f"- Medians of {options.runs}; floods of {options.seconds} s; an upstream that takes {DELAY} ms where times are given, "
           "give or take half of it unless it is in order", "",
           "| Protocol | Upstream | CPU per miss, us | of the floor | p50, us | p99, us | sockets | TCP connections |",
           "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    exceeded = []
    with contextlib.ExitStack() as stack:
        bench = Bench(options, stack)
        for protocol in ("udp", "tcp"):
            taken = cost(bench, protocol)
            cpu, ratio = statistics.median(each[0] for each in taken), statistics.median(each[0] / each[1] for each in taken)
            for how in ("out of order", "in order") if protocol == "tcp" else ("out of order",):
                p50, p99, sockets, connections = waits(bench, protocol, *["in-order"] * (how == "in order"))
                out.append(f"| {protocol} | {how} | {cpu:.2f} | {ratio:.2f} | {p50:,.0f} | {p99:,.0f} | {sockets:.0f} | {connections:.0f} |")
                print(out[-1], flush=True)
                exceeded += [f"{protocol}, {how}: p99 {p99:.0f} us"] * (p99 > P99) + [f"{protocol}, {how}: {connections:.0f} connections"] * (connections > CONNECTIONS[how])
    text = "\n".join(out) + "\n"
    print("\n" + text)
    with open(options.results, "w", encoding="utf-8") as file:
        file.write(text)
    for each in exceeded:
        print(f"EXCEEDED {each}")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
