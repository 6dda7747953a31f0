"""Many nodes taken at once: `make bench-scale`, `make bench-scale ARGS="--nodes 100 --pods 1200 --interrupted 20"`.

A real control plane whose nodes kwok plays; of 3,200 nodes with 40,000 pods 200 are given a spot notice within 10 s. Each of them has an
agent of its own, a process (supervisor and worker) with the shipped configuration, permissions, admission policy and flow schema, but
without DNS, told by its control socket as `lastlight drain --for-real` does. Then as many other nodes of the same kind are drained by a
`kubectl drain` each, started within the same time. What is counted is the API server's own record, its audit log; aws-node-termination-handler
stands beside it by arithmetic, from its documented client limit.

All run on this machine's processors, so latencies are those of a crowded machine: requests, 429s, memory and who was told are not.
Ends by writing SCALE.md, and with 1 where a promise does not hold.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import datetime
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:] = [each for each in sys.path if os.path.abspath(each or ".") != HERE]  # its dns.py is not the library
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "e2e")]

from rig import peers  # noqa: E402  pylint: disable=wrong-import-position
from rig.control_plane import PEERS, ControlPlane  # noqa: E402  pylint: disable=wrong-import-position
from rig.drains import LABEL, MANIFESTS, MARGIN, PATIENCE, USER, by_verb, of_self_check  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import Sampler, family  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import Process, wait_until  # noqa: E402  pylint: disable=wrong-import-position

AGENT = os.environ.get("LASTLIGHT_AGENT") or os.path.join(ROOT, "build", "release", "agent", "lastlight")
MIB = 1024  # KiB
AGENT_LABEL = "lastlight.io/agent"
NAMESPACE = "crowd"
GRACE, GUARDED_GRACE = 30, 15
LARGE_POD, LARGE_NODE = 12_000, 110  # bytes of padding; pods
LATE = 1.0  # seconds after D that a request may still be under way
REVIEWS = 6  # of an agent's check at start, its last requests
# kwok's are late on a crowded machine, and it never makes a pod ready again that was marked for it.
LATE_HEARTBEATS = ("--node-monitor-grace-period=10m",)
NTH_QPS, NTH_BURST, NTH_SERIAL = 5, 10, 5  # its client; its calls before the first eviction


@dataclasses.dataclass(frozen=True)
class Size:
    nodes: int = 3200
    pods: int = 40_000
    interrupted: int = 200
    large: int = 4  # of those
    per_node: int = 12  # pods of the others that are interrupted, one of them under a budget that never allows
    window: float = 60.0
    within: float = 10.0
    kubectl: int = 200  # nodes that it drains


def node_names(size):
    """(of agents, of kubectl, the rest)"""
    names = [f"crowd-{number:04d}" for number in range(size.nodes)]
    return names[:size.interrupted], names[size.interrupted:size.interrupted + size.kubectl], names[size.interrupted + size.kubectl:]


def node_object(name, has_agent):
    room = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "250"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **({AGENT_LABEL: "yes"} if has_agent else {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": {"capacity": room, "allocatable": room}}


def pod_object(node, number, app, padding=0):
    """Bound already, and nobody's: 40,000 by way of controllers and the scheduler would take the night."""
    annotations = {"example.com/padding": "x" * padding} if padding else {}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": f"{node}-{number}", "namespace": NAMESPACE, "labels": {"app": app}, "annotations": annotations},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": GRACE if app == "web" else GUARDED_GRACE, "automountServiceAccountToken": False,
                     "containers": [{"name": "main", "image": "registry.example/main:1"}]}}


def populate(size):
    """All pods: those of nodes that end first, the rest spread over the others."""
    agents, kubectl, rest = node_names(size)
    pods = []
    for number, node in enumerate([*agents, *kubectl]):
        large = number % len(agents or [None]) < size.large
        count = LARGE_NODE if large else size.per_node
        pods += [pod_object(node, each, "web", LARGE_POD if large else 0) for each in range(count - 1)]
        pods.append(pod_object(node, count - 1, f"guarded-{number // 4}", LARGE_POD if large else 0))
    for number in range(size.pods - len(pods) if rest else 0):
        pods.append(pod_object(rest[number % len(rest)], number // len(rest), "web"))
    budgets = [{"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app, "namespace": NAMESPACE},
                "spec": {"minAvailable": 1000, "selector": {"matchLabels": {"app": app}}}}
               for app in sorted({pod["metadata"]["labels"]["app"] for pod in pods} - {"web"})]
    return pods, budgets


def post_all(control_plane, path, things, threads=12):
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda thing: control_plane.api.post(path, thing), things))


class Fast:
    """How long each step took, said as it ends."""

    def __init__(self):
        self._began = time.monotonic()

    def done(self, what):
        print(f"  {time.monotonic() - self._began:6.1f} s  {what}", flush=True)


def settled(control_plane):
    """No pod is Pending and no budget of ours uncounted: the server ignores budgets for pods that do not run."""
    if control_plane.api.get("/api/v1/pods?fieldSelector=status.phase%3DPending&limit=1")["items"]:
        return False
    budgets = control_plane.api.items(f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets")
    return all(each.get("status", {}).get("currentHealthy", 0) > 0 for each in budgets)


@contextlib.contextmanager
def crowd(control_plane, size, steps):
    """The nodes and pods; cleared away afterwards."""
    agents, kubectl, rest = node_names(size)
    pods, budgets = populate(size)
    try:
        control_plane.create_namespace(NAMESPACE)
        post_all(control_plane, "/api/v1/nodes", [node_object(name, name in agents) for name in [*agents, *kubectl, *rest]])
        steps.done(f"{size.nodes} nodes")
        control_plane.apply(*budgets)
        post_all(control_plane, f"/api/v1/namespaces/{NAMESPACE}/pods", pods)
        steps.done(f"{len(pods)} pods")
        wait_until(lambda: settled(control_plane), 300, "every pod to run and the budgets to be reckoned", interval=min(3.0, size.pods / 500))
        steps.done("all of them running")
        yield pods
    finally:
        if size.nodes <= 100:  # else the control plane goes with them
            control_plane.delete_namespace(NAMESPACE)
            for name in [*agents, *kubectl, *rest]:
                control_plane.delete_node(name)


class ScaleAgent:
    """One node's agent, as rig/drains.ShippedAgent but without DNS and ports: a person's notice is all it hears."""

    def __init__(self, binary, control_plane, node, pod, folder):
        self.node, self.pod = node, pod["metadata"]["name"]
        os.makedirs(os.path.join(folder, "run"), mode=0o700)
        self._socket = os.path.join(folder, "run", "control.sock")
        account = control_plane.service_account_files("kube-system", "lastlight", os.path.join(folder, "account"), pod=self.pod)
        with open(os.path.join(MANIFESTS, "base", "configmap.yaml"), encoding="utf-8") as text:
            config = yaml.safe_load(next(iter(yaml.safe_load(text)["data"].values())))
        config["http"] |= {"listen": "", "status": ""}
        config["dns"]["listen"] = []
        config["hooks"] = {"listen": []}
        config["interruption"] |= {"source": "aws", "metadata-url": "http://127.0.0.1:1"}
        config["drain"] = {"state-file": os.path.join(folder, "drain.json")}
        config["kubernetes"] = {"token-file": f"{account}/token", "ca-file": f"{account}/ca.crt"}
        with open(os.path.join(folder, "lastlight.yaml"), "w", encoding="utf-8") as out:
            yaml.safe_dump(config, out)
        self.process = Process("lastlight", [binary, "run", "--config", os.path.join(folder, "lastlight.yaml")], folder, {
            "NODE_NAME": node, "NODE_IP": "127.0.0.1", "POD_NAMESPACE": "kube-system", "LASTLIGHT_RUN_DIR": os.path.join(folder, "run"),
            "KUBERNETES_SERVICE_HOST": control_plane.host, "KUBERNETES_SERVICE_PORT": str(control_plane.port)})
        self.noticed = self.pids = None

    def ready(self):
        return os.path.exists(self._socket)

    def notice(self, window):
        connection = http.client.HTTPConnection("lastlight", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self._socket)
        self.noticed = time.time()
        connection.request("POST", f"/drain?kind=spot-terminate&milliseconds={int(window * 1000)}", body=b"")
        reply = connection.getresponse()
        said = json.loads(reply.read())
        assert reply.status == 200 and said["treatment"] == "drain", said
        connection.close()


class Peaks(Sampler):
    """{node: the most anonymous memory (RssAnon) of supervisor and worker, KiB}"""

    def __init__(self, agents):
        super().__init__(1.0)
        self._pids = {agent.node: agent.pids for agent in agents}
        self.anonymous = dict.fromkeys(self._pids, 0)

    def sample(self):
        for node, pids in self._pids.items():
            total = 0
            for pid in pids:
                with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii") as status:
                    total += next((int(line.split()[1]) for line in status if line.startswith("RssAnon:")), 0)
            self.anonymous[node] = max(self.anonymous[node], total)


class Probe(Sampler):
    """How long the server takes at each moment for a small question that passes priority and fairness by: (asked, answered) on the wall clock."""

    def __init__(self, api):
        super().__init__(0.25)
        self._api, self.answers = api, []

    def sample(self):
        asked = time.time()
        self._api.get("/api/v1/namespaces/kube-system")
        self.answers.append((asked, time.time()))

    def worst(self, since, until):
        return max((answered - asked for asked, answered in self.answers if answered >= since and asked <= until), default=0.0)


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def staggered(doers, within):
    """Calls each at its place in `within` seconds; none waits for another."""
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        calls = []
        for number, do in enumerate(doers):
            time.sleep(max(0.0, began + within * number / len(doers) - time.monotonic()))
            calls.append(pool.submit(do))
        for call in calls:
            call.result()


def flow_counts(control_plane):
    """{"dispatched": n, "rejected": n, "rejected: time-out": n, ...} of our priority level, by our flow schema."""
    _, answer = control_plane.api.request("GET", "/metrics")
    out = collections.Counter(dispatched=0, rejected=0)
    for line in answer["message"].splitlines():
        counted = re.match(r"apiserver_flowcontrol_(dispatched|rejected)_requests_total\{(.*)\} (\S+)$", line)
        if not counted or 'flow_schema="lastlight"' not in counted[2] or 'priority_level="lastlight"' not in counted[2]:
            continue
        out[counted[1]] += int(float(counted[3]))
        for reason in re.findall(r'reason="([^"]*)"', counted[2]):
            out[f"{counted[1]}: {reason}"] += int(float(counted[3]))
    return out


@dataclasses.dataclass
class Drained:
    """What one way of draining came to, by the audit log."""

    nodes: int
    requests: list
    told: dict  # {pod's name: when the request that told it was answered}
    processor: float  # seconds of kube-apiserver
    seconds: float  # in which that was

    def waits(self):
        """Of what tells pods to stop: to read is cheaper, and kubectl mostly reads."""
        return sorted(each.finished - each.received for each in self.requests if each.subresource == "eviction" or each.verb == "delete")

    def throttled(self):
        """429s that are no budget's: API Priority and Fairness."""
        return [each for each in self.requests if each.code == 429 and "disruption budget" not in each.message]

    def refused(self):
        return [each for each in self.requests if each.code == 429 and "disruption budget" in each.message]


def read_requests(control_plane, since, wanted):
    return [each for each in control_plane.audit.requests(since=since) if wanted(each)]


def deletions_of(control_plane, since):
    """{pod's name: when its deletion was asked for}, by the object that kwok, as the kubelet does, removed in the end; a second late at most"""
    found = {}
    for each in control_plane.audit.requests(since=since, user="kwok", verb="delete", resource="pods"):
        ends = each.response.get("metadata", {}).get("deletionTimestamp")
        if ends:  # the grace is 0 by then, and the instant without it
            found[each.name] = datetime.datetime.fromisoformat(ends).timestamp() + 1 - each.response["metadata"].get("deletionGracePeriodSeconds", 0)
    return found


def told_of(requests, deletions):
    """An eviction that its sender gave up may be granted all the same: then the pod itself says when."""
    told = {}
    for each in requests:
        evicts = each.subresource == "eviction" and each.code in (200, 201)  # a marking one comes after the DELETE that told
        if evicts or (each.verb == "delete" and each.resource == "pods" and each.code in (200, 202)):
            told.setdefault(each.name, each.finished)
    for each in requests:
        if each.subresource == "eviction" and each.code == 504 and each.name in deletions:
            told.setdefault(each.name, deletions[each.name])
    return told


@dataclasses.dataclass
class Telling:
    """When a pod was to be told at the latest and when it was; None: never."""

    pod: str
    due: float  # D
    told: float


def telling_of(pod, noticed, told, size):
    name, grace = pod["metadata"]["name"], pod["spec"]["terminationGracePeriodSeconds"]
    due = noticed[pod["spec"]["nodeName"]] + max(size.window - MARGIN - grace, size.window * PATIENCE)
    return Telling(name, due, told.get(name))


def story(telling, requests):
    """A late pod's requests as the server recorded them, in seconds from its D."""
    mine = [each for each in requests if each.name == telling.pod and each.resource == "pods"]
    said = [f"{'eviction' if each.subresource else each.verb} {each.received - telling.due:+.2f} to {each.finished - telling.due:+.2f}: {each.code}" for each in mine]
    return f"{telling.pod}, told {telling.told - telling.due:+.2f}: {', '.join(said)}"


def drain_by_agents(control_plane, binary, folder, size, steps):
    """(Drained, the agents, their memory, our flow schema's counts, the probe)"""
    names, _, _ = node_names(size)
    found = {}

    def daemon_pods():
        pods = control_plane.api.items("/api/v1/namespaces/kube-system/pods", labelSelector=LABEL)
        found.update({pod["spec"]["nodeName"]: pod for pod in pods if pod["spec"].get("nodeName") in names and pod["status"]["phase"] == "Running"})
        return len(found) == len(names)
    wait_until(daemon_pods, 120, "the DaemonSet's pods", interval=0.5)
    steps.done(f"the DaemonSet's pods on {len(names)} nodes")
    with contextlib.ExitStack() as running:
        agents = []
        for name in names:
            where = os.path.join(folder, name)
            os.makedirs(where)
            agents.append(ScaleAgent(binary, control_plane, name, found[name], where))
            running.callback(agents[-1].process.popen.kill)
        for agent in agents:
            wait_until(agent.ready, 120, f"the agent of {agent.node} to be ready", agent.process)
        wait_until(lambda: len(control_plane.audit.requests(user=USER, resource="selfsubjectaccessreviews")) >= REVIEWS * len(agents), 120,
                   "the agents' checks at start to end", interval=0.5)
        for agent in agents:
            agent.pids = family(agent.process.pid)
        steps.done(f"{len(agents)} agents ready")
        server = control_plane.server_pid
        with Peaks(agents) as peaks, Probe(control_plane.api) as probe:
            before, since, flow = processor_seconds(server), time.time(), flow_counts(control_plane)
            staggered([lambda agent=agent: agent.notice(size.window) for agent in agents], size.within)
            ends = max(agent.noticed for agent in agents) + size.window
            wait_until(lambda: time.time() > ends + 1, size.window + 30, "the windows to end", interval=0.5)
            used, took = processor_seconds(server) - before, time.time() - since
        flow = flow_counts(control_plane) - flow  # without what is none
        steps.done("drained by the agents")
    requests = read_requests(control_plane, since, lambda each: each.user == USER and not of_self_check(each))
    return Drained(len(agents), requests, told_of(requests, deletions_of(control_plane, since)), used, took), agents, peaks.anonymous, flow, probe


def drain_by_kubectl(control_plane, size, steps):
    _, names, _ = node_names(size)
    kubectl = [peers.paths("kubectl")["kubectl"], f"--kubeconfig={control_plane.kubeconfig}", "drain", "--force", "--ignore-daemonsets",
               "--delete-emptydir-data", f"--timeout={int(size.window)}s"]
    server, running = control_plane.server_pid, []
    before, since = processor_seconds(server), time.time()
    staggered([lambda name=name: running.append(subprocess.Popen([*kubectl, name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
               for name in names], size.within)
    for process in running:
        process.wait(size.window + 60)
    used, took = processor_seconds(server) - before, time.time() - since
    steps.done("drained by kubectl")
    requests = read_requests(control_plane, since, lambda each: each.user_agent.startswith("kubectl/"))
    return Drained(len(names), requests, told_of(requests, deletions_of(control_plane, since)), used, took)


def play(control_plane, binary, folder, size):
    """The manifests are applied. {what: figures}"""
    steps = Fast()
    with crowd(control_plane, size, steps) as pods:
        control_plane.audit.forget()
        by_agents, agents, anonymous, flow, probe = drain_by_agents(control_plane, binary, folder, size, steps)
        by_kubectl = drain_by_kubectl(control_plane, size, steps)
    noticed = {agent.node: agent.noticed for agent in agents}
    tellings = [telling_of(pod, noticed, by_agents.told, size) for pod in pods if pod["spec"]["nodeName"] in noticed]
    late = [each for each in tellings if each.told is not None and each.told > each.due + LATE + probe.worst(each.due, each.told)]
    untold = [each.pod for each in tellings if each.told is None]
    latest = max((each.told - each.due for each in tellings if each.told is not None), default=0.0)
    large = {node: peak for node, peak in anonymous.items() if node in set(node_names(size)[0][:size.large])}
    mine = [pod for pod in pods if pod["spec"]["nodeName"] in set(node_names(size)[1])]
    return {"size": size, "agents": by_agents, "kubectl": by_kubectl, "late": late, "untold": untold, "latest": latest, "flow": flow,
            "noticed": noticed, "probe": probe, "stories": [story(each, by_agents.requests) for each in late], "pods": len(tellings), "all_pods": len(pods), "anonymous": anonymous, "large": large,
            "kubectl_pods": len(mine), "kubectl_untold": sum(1 for pod in mine if pod["metadata"]["name"] not in by_kubectl.told)}


def nth(pods, stops=1.0):
    """(requests, seconds to the last eviction) of a node at least: five calls, then an eviction and a poll each second for each pod, at five
    requests a second after a burst of ten; the notice is seen after 1.5 s on average."""
    before = NTH_SERIAL + pods
    return int(NTH_SERIAL + pods * (1 + stops)), 1.5 + max(0.0, (before - NTH_BURST) / NTH_QPS)


def quantile(sorted_values, q):
    return sorted_values[min(len(sorted_values) - 1, int(q * len(sorted_values)))] if sorted_values else 0.0


def column(drained):
    waits = drained.waits()
    return [f"{len(drained.requests) / max(1, drained.nodes):.1f}", f"{quantile(waits, 0.5) * 1000:.0f} / {quantile(waits, 0.99) * 1000:.0f} / {quantile(waits, 1) * 1000:.0f} ms",
            f"{drained.processor:.1f} s in {drained.seconds:.0f} s", str(len(drained.throttled())), str(len(drained.refused()))]


def reasons(flow):
    """" (time-out 3)": why requests were rejected, in the server's words: time-out also where an agent gave one up that was still in the queue."""
    said = [f"{what.partition(': ')[2]} {count}" for what, count in sorted(flow.items()) if what.startswith("rejected: ")]
    return f" ({', '.join(said)})" if said else ""


def report(found):
    size, agents, kubectl = found["size"], found["agents"], found["kubectl"]
    nth_requests, nth_last = nth(size.per_node)
    large_requests, large_last = nth(LARGE_NODE)
    rows = [("requests a node", f"at least {nth_requests}"), ("wait for an eviction or deletion, median / 99th percentile / worst", f"throttles itself to {NTH_QPS} a second"),
            ("kube-apiserver's processor time", "-"), ("429 by priority and fairness", "-"), ("429 by a budget", "-")]
    lines = ["| | lastlight | kubectl drain | NTH, by arithmetic |", "| --- | --- | --- | --- |"]
    lines += [f"| {what} | {ours} | {theirs} | {arithmetic} |" for (what, arithmetic), ours, theirs in zip(rows, column(agents), column(kubectl))]
    lines += [f"| pods never told | {len(found['untold'])} of {found['pods']} | {found['kubectl_untold']} of {found['kubectl_pods']} |"
              " those that a budget refuses |",
              f"| pods told later than D + {LATE:.0f} s and the server's delay | {len(found['late'])} (the latest {found['latest']:+.2f} s from D) | - |"
              f" last eviction {nth_last:.1f} s after the notice with {size.per_node} pods, {large_last:.1f} s with {LARGE_NODE} |"]
    ours = sorted(found["anonymous"].values())
    large = max(found["large"].values(), default=0)
    delays = sorted(answered - asked for asked, answered in found["probe"].answers)
    return "\n".join([
        f"{size.nodes} nodes, {found['all_pods']} pods; {size.interrupted} nodes told within {size.within:.0f} s, {size.window:.0f} s each; {os.cpu_count()} processors"
        f" for everything; agents as processes.", "", *lines, "",
        f"By verb, of all {agents.nodes} agents: {by_verb(agents.requests)}.",
        f"Anonymous memory (RssAnon of supervisor and worker) at its peak: median {quantile(ours, 0.5) / MIB:.1f} MiB, most {ours[-1] / MIB:.1f} MiB;"
        f" with {LARGE_NODE} pods of {LARGE_POD // 1000} kB {large / MIB:.1f} MiB.",
        f"The server's delay, a GET that passes priority and fairness by, four times a second: median {quantile(delays, 0.5) * 1000:.0f} ms, longest"
        f" {quantile(delays, 1) * 1000:.0f} ms; {len([each for each in agents.requests if each.code == 504])} requests of agents given up.",
        f"Flow schema and priority level `lastlight`: {found['flow']['dispatched']} requests dispatched by it, {found['flow']['rejected']} rejected"
        f"{reasons(found['flow'])}."])


def broken(found):
    """The promises that do not hold. A request that is rejected is no broken one: what comes of it is when its pod is told."""
    checks = {"a pod was told later than D": found["late"], "a pod was never told": found["untold"],
              "an agent needed 10 MiB": [peak for peak in found["anonymous"].values() if peak >= 10 * MIB],
              "the flow schema was not in force": not found["flow"]["dispatched"]}
    return [what for what, wrong in checks.items() if wrong]


def write_record(path, found):
    """What it takes to see why somebody was late: requests without their bodies, then the probe's."""
    with open(path, "w", encoding="utf-8") as out:
        for each in found["agents"].requests:
            row = dataclasses.asdict(each)
            out.write(json.dumps({key: row[key] for key in ("pod", "verb", "resource", "subresource", "name", "uri", "code", "received", "finished")}) + "\n")
        out.writelines(json.dumps({"verb": "probe", "received": asked, "finished": answered}) + "\n" for asked, answered in found["probe"].answers)
        out.writelines(json.dumps({"verb": "notice", "name": node, "received": at}) + "\n" for node, at in found["noticed"].items())


@contextlib.contextmanager
def watchable(agents):
    """Each agent takes two inotify instances; Linux gives a user 128. A node has one agent, this machine all of them."""
    path = "/proc/sys/fs/inotify/max_user_instances"
    with open(path, encoding="ascii") as text:
        before = int(text.read())
    wanted = 2 * agents + 128
    if before >= wanted:
        yield
        return
    try:
        with open(path, "w", encoding="ascii") as out:
            out.write(str(wanted))
    except OSError as error:
        raise SystemExit(f"{agents} agents need more than the {before} of {path}: {error}") from error
    try:
        yield
    finally:
        with open(path, "w", encoding="ascii") as out:
            out.write(str(before))


def shipped_for_some(folder):
    """The manifests, on nodes with the agents' label alone (components/moving)."""
    relative = os.path.relpath(MANIFESTS, folder)
    with open(os.path.join(folder, "kustomization.yaml"), "w", encoding="utf-8") as out:
        yaml.safe_dump({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [f"{relative}/base"],
                        "components": [f"{relative}/components/moving"]}, out)
    return folder


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for field in dataclasses.fields(Size):
        options.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    options.add_argument("--record", help="a file for all of the agents' requests, a JSON object a line")
    options.add_argument("--results", default=os.path.join(ROOT, "tests", "bench", "SCALE.md"))
    given = vars(options.parse_args())
    results, record = given.pop("results"), given.pop("record")
    size = Size(**given)
    with watchable(size.interrupted), tempfile.TemporaryDirectory(prefix="lastlight-scale-") as folder, \
            ControlPlane(os.path.join(folder, "plane"), peers.paths(*PEERS), LATE_HEARTBEATS) as control_plane:
        os.makedirs(os.path.join(folder, "agents"))
        control_plane.kubectl("apply", "-k", shipped_for_some(folder))
        found = play(control_plane, AGENT, os.path.join(folder, "agents"), size)
    if record:
        write_record(record, found)
    text = report(found)
    print(text)
    print(*found["stories"], sep="\n")
    with open(results, "w", encoding="utf-8") as out:
        out.write(f"# Many nodes at once\n\nWritten by `make bench-scale` (tests/bench/scale.py says what is real and what is not).\n\n{text}\n")
    wrong = broken(found)
    print(*(f"BROKEN: {each}" for each in wrong), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
