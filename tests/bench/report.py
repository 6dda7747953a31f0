"""RESULTS.md: the machine, the figures, and what the limits say of them."""

import os
import platform
import re
import statistics

# server, workload: of the floor's processor time per query
CPU_LIMITS = {("lastlight", "hot"): 1.10, ("lastlight", "k8s"): 1.10, ("lastlight", "wide"): 1.25, ("lastlight", "miss"): 2.6}
ANONYMOUS_LIMITS = {"idle": 4.0, "filled": 10.0}  # MiB
P99_LIMIT = 1.10  # of dnsdist's: a second dnsdist reads 0.99, a bare forwarder on epoll 1.02, and a pause of the machine is in every figure
FULL_SHARE = 1.5  # of the peak with everything full, in the shipped memory limit
LAG = 0.005  # seconds
LAG_SHARE = 0.99  # of the timers that were due while the server was flooded: the machine itself is late now and then


def machine():
    model = memory = "?"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = f"{int(file.readline().split()[1]) / 2 ** 20:.0f} GiB"
    return f"{model}, {os.cpu_count()} processors, {memory}, Linux {platform.release().split('-')[0]}, load {os.getloadavg()[1]:.1f}"


def shipped_limit():
    """MiB, of the DaemonSet."""
    with open(os.path.join(os.path.dirname(__file__), "..", "..", "manifests", "base", "daemonset.yaml"), encoding="utf-8") as file:
        return int(re.search(r"limits:\s+memory: (\d+)Mi", file.read())[1])


def _median(samples, field):
    return statistics.median(getattr(sample, field) for sample in samples)


def _quiet_p99(waits):
    """Of the slices that the machine disturbed least: their first quartile."""
    return statistics.quantiles((wait.p99_us for wait in waits), n=4)[0]


def memory_gates(rest):
    found = [(f"anonymous memory, {what}, MiB", rest[what][0], limit) for what, limit in ANONYMOUS_LIMITS.items()]
    if "full" in rest:
        found.append((f"{FULL_SHARE} times the peak with all full, of the shipped limit, MiB", rest["full"][2] * FULL_SHARE, shipped_limit()))
    return [(what, value, limit, value <= limit) for what, value, limit in found]


def gates(waits, ratios, rest, lag):
    """(what, value, limit, kept) of each."""
    found = [(f"processor time per query, {workload}, of the floor's", ratios[server, workload], limit)
             for (server, workload), limit in CPU_LIMITS.items() if (server, workload) in ratios]
    if ("lastlight-tcp", "miss") in ratios:
        found.append(("miss over TCP, of the same over UDP", ratios["lastlight-tcp", "miss"] / ratios["lastlight", "miss"], 1.0))
    if ("dnsdist", "hot") in waits:
        found += [(f"p99 at 5,000 qps, {workload}, quiet slices, of dnsdist's", _quiet_p99(waits["lastlight", workload]) / _quiet_p99(waits["dnsdist", workload]),
                   P99_LIMIT) for workload in ("hot", "wide", "k8s", "miss")]
    rows = memory_gates(rest) + [(what, value, limit, value <= limit) for what, value, limit in found]
    total = lag.get("+Inf", 0)
    share = max((count for bound, count in lag.items() if float(bound) <= LAG), default=0) / total if total else 0
    rows.append((f"timers at most 5 ms late when flooded ({total} of them), at least", share, LAG_SHARE, share >= LAG_SHARE))
    return rows


def limits(rows):
    return ["", "| Limit | Measured | Limit | |", "| --- | ---: | ---: | --- |",
            *[f"| {what} | {value:.2f} | {limit:.2f} | {'kept' if kept else 'EXCEEDED'} |" for what, value, limit, kept in rows]]


def at_rest(options, rest):
    names = {"idle": f"{options.rest:.0f} s after it was ready", "filled": "with 10,000 entries",
             "full": "with cache, questions in flight, 1,024 TCP connections and the UDP socket's buffer full at once"}
    out = ["", "| lastlight alone | Anonymous MiB | Resident MiB | Control group's peak MiB, socket buffers included |", "| --- | ---: | ---: | ---: |"]
    out += [f"| {names[what]} | {anonymous:.1f} | {resident:.1f} | {'-' if peak is None else f'{peak:.1f}'} |" for what, (anonymous, resident, peak) in rest.items()]
    return out if "full" in rest else [*out, "", "No memory control group could be made: what a full agent takes was not measured."]


def memory(options, rest):
    """What `--memory` prints, and whether a limit is exceeded."""
    rows = memory_gates(rest)
    return at_rest(options, rest) + limits(rows), any(not kept for *_, kept in rows)


def render(options, floods, waits, ratios, rest, memory, lag, versions):  # pylint: disable=too-many-arguments,too-many-positional-arguments
    """The text, and whether a limit is exceeded."""
    peers = ", ".join(f"{name} {version}" for name, version in versions.items())
    out = ["# Benchmark of the DNS path", "", "Written by `make bench-dns`; what is measured is said in `dns.py`.", "",
           f"- Machine: {machine()}", f"- Peers: {peers}", f"- Medians of {options.runs}; floods of {options.seconds} s; waits in {options.runs * options.slices} slices of 0.3 s", "",
           "| Server | Workload | qps at saturation | CPU per query, us | of the floor | p50 at 5,000 qps, us | p99, us |",
           "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for (server, workload), each in sorted(floods.items(), key=lambda item: (["hot", "wide", "k8s", "miss"].index(item[0][1]), "veth" in item[0][0])):
        out.append(f"| {server} | {workload} | {_median(each, 'qps'):,.0f} | {_median(each, 'cpu_us'):.2f} | {ratios[server, workload]:.2f} | "
                   f"{_median(waits[server, workload], 'p50_us'):.0f} | {_median(waits[server, workload], 'p99_us'):.0f} |")
    out += ["", "| Server | Anonymous MiB after the runs | Resident MiB | Control group's peak MiB |", "| --- | ---: | ---: | ---: |"]
    out += [f"| {server} | {anonymous:.1f} | {resident:.1f} | {'-' if peak is None else f'{peak:.1f}'} |" for server, (anonymous, resident, peak) in memory.items()]
    out += [*at_rest(options, rest), "", "How late timers of the loop were while it was flooded:", ""]
    out += [f"- within {bound} s: {lag[bound]}" for bound in sorted(lag, key=float)]
    rows = gates(waits, ratios, rest, lag)
    out += limits(rows)
    return "\n".join(out) + "\n", any(not kept for *_, kept in rows)
