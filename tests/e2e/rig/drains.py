"""A drain on the real control plane: the agent as its DaemonSet's pod has it, and what the API server recorded of one run.

    with ShippedAgent(binary, control_plane, "spot-1", folder, imds.url, upstream.port) as agent:
        agent.wait_ready(); agent.kill(); agent.start()
    run = Drained(...); run.told(), run.evictions(), run.deletions(), run.last_safe_instant(grace)

The agent runs outside of the shipped manifests, as their pod would: the shipped configuration but for the addresses of this machine, a
token of the shipped ServiceAccount bound to the DaemonSet's pod of that node, real TLS, real RBAC. The bound pod is how its requests are
told from those of other nodes' agents.
"""

import collections
import dataclasses
import os
import signal
import sys

import yaml

from . import peers, ports
from .measure import FirstShown, Memory, family
from .proc import Process, wait_until

sys.path.insert(0, os.path.join(peers.ROOT, "tests"))

from sandbox import lookups  # noqa: E402  pylint: disable=wrong-import-position

MANIFESTS = os.path.join(peers.ROOT, "manifests")
USER = "system:serviceaccount:kube-system:lastlight"
LABEL = "app.kubernetes.io/name=lastlight"
OUR_TAINT = "status-taint.cluster-autoscaler.kubernetes.io/lastlight-interruption"
MARGIN, PATIENCE = 3.0, 1 / 6
RECORDED = ("/api/v1/pods", "/api/v1/nodes", "/apis/discovery.k8s.io/v1/endpointslices")


class ShippedAgent:
    """On ports of its own. `server` stands between it and the API server: (host, port). `run_directory`: it has a control socket there.
    `more` and `dns` are keys of its configuration."""

    def __init__(self, binary, control_plane, node, folder, metadata, upstream_port, server=None, run_directory=None, more=None, dns=None):
        self.pod = wait_until(lambda: control_plane.api.items("/api/v1/namespaces/kube-system/pods", labelSelector=LABEL,
                                                              fieldSelector=f"spec.nodeName={node}"), 30, "the DaemonSet's pod")[0]
        self.account = control_plane.service_account_files("kube-system", "lastlight", folder / "account", pod=self.pod["metadata"]["name"])
        self.dns_port, self.http_port = ports.free_ports(2)
        with open(os.path.join(MANIFESTS, "base", "configmap.yaml"), encoding="utf-8") as text:
            config = yaml.safe_load(next(iter(yaml.safe_load(text)["data"].values())))
        config["http"] |= {"listen": f"127.0.0.1:{self.http_port}", "status": ""}
        config["dns"].update({"listen": [f"127.0.0.1:{self.dns_port}"],
                              "zones": [{"name": ".", "upstreams": [f"127.0.0.1:{upstream_port}"], "protocol": "udp"}]})
        config["interruption"]["metadata-url"] = metadata
        self.state_file = folder / "drain.json"
        config["drain"] = {"state-file": str(self.state_file)}
        config["kubernetes"] = {"token-file": f"{self.account}/token", "ca-file": f"{self.account}/ca.crt"}
        config.update(more or {})
        config["dns"].update(dns or {})
        self.config = folder / "lastlight.yaml"
        self.config.write_text(yaml.safe_dump(config))
        self.binary, self._folder = binary, folder
        host, port = server or (control_plane.host, control_plane.port)
        self.environment = {"NODE_NAME": node, "NODE_IP": "127.0.0.1", "POD_NAMESPACE": "kube-system",
                            "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
        if run_directory:
            os.makedirs(run_directory, mode=0o700)
            self.environment["LASTLIGHT_RUN_DIR"] = str(run_directory)
        self.start()

    def start(self):
        self.process = Process("lastlight", [self.binary, "run", "--config", self.config], str(self._folder), self.environment)

    def kill(self):
        """SIGKILL to all of it."""
        pids = family(self.process.pid)
        self.process.signal(signal.SIGKILL)
        self.process.wait(10)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 10, "the killed agent to be gone")

    def wait_ready(self):
        wait_until(lambda: lookups.ask("ready.example", "127.0.0.1", self.dns_port, 1.0) == 0, 20, "the agent to answer", self.process)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stop()


def of_self_check(request):
    """At start and each hour: may we? Nothing of the drain."""
    return "dryRun" in request.uri or request.resource == "selfsubjectaccessreviews" or (request.verb, request.resource) == ("get", "nodes")


def marks(request):
    return "gracePeriodSeconds" not in request.body.get("deleteOptions", {})


def uid_of(thing):
    return thing["metadata"]["uid"]


def slowest_answer(audit, since, until):
    """Seconds: the worst that the API server made anybody but agents wait. On a busy machine that is not the agents' doing."""
    return max((each.finished - each.received for each in audit.requests(since=since) if each.received <= until and each.user != USER
                and each.verb != "watch"), default=0.0)


def by_verb(requests):
    """{"create eviction": 42, ...}"""
    return dict(collections.Counter(each.verb + (" eviction" if each.subresource else "") + (" event" if each.resource == "events" else "")
                                    for each in requests))


@dataclasses.dataclass
class Drained:
    """One run: what there was, what the API server recorded, what was measured."""

    work: object
    agent: ShippedAgent
    shown: FirstShown
    ends: float  # T on the wall clock: what the notice says, not what was meant
    requests: list
    seen: list
    asker: lookups.Asker = None
    memory: Memory = None
    delay: float = 0.0  # the machine's: of a thread that only sleeps, and of the API server towards others
    scene: object = None  # of scenes.py
    since: float = 0.0
    until: float = 0.0
    node: dict = None  # as it was at the end
    log: str = ""

    def told(self):
        """When each pod that was there before got its SIGTERM: {uid: the first event with a deletionTimestamp}."""
        first = {}
        for event in self.seen:
            if event.kind == "Pod" and "deletionTimestamp" in event.object["metadata"]:
                first.setdefault(uid_of(event.object), event)
        return first

    def gone(self):
        """{uid: the event of its end}."""
        return {uid_of(event.object): event for event in self.seen if event.kind == "Pod" and event.type == "DELETED"}

    def terminating_endpoints(self):
        """{uid of a pod behind a Service: seconds from the notice until an EndpointSlice said that it terminates}"""
        said = {}
        for event in self.seen:
            for endpoint in event.object.get("endpoints") or [] if event.kind == "EndpointSlice" else []:
                if endpoint["conditions"].get("terminating"):
                    said.setdefault(endpoint["targetRef"]["uid"], event.wall - self.shown.wall)
        return said

    def cordon(self):
        """The first that was not denied."""
        return next(each for each in self.requests if each.verb == "patch" and each.resource == "nodes" and each.code != 403)

    def node_writes(self):
        return [each for each in self.requests if each.verb == "patch" and each.resource == "nodes" and each.code != 403]

    def evictions(self, code=201):
        """Those that ask a pod to go; any code: None."""
        return [each for each in self.requests if each.subresource == "eviction" and code in (None, each.code) and not marks(each)]

    def markings(self):
        """Those after our own deletion, which only set the condition DisruptionTarget."""
        return [each for each in self.requests if each.subresource == "eviction" and marks(each)]

    def deletions(self):
        return [each for each in self.requests if each.verb == "delete" and each.resource == "pods"]

    def last_safe_instant(self, grace):
        return max(self.ends - MARGIN - grace, self.shown.wall + (self.ends - self.shown.wall) * PATIENCE)
