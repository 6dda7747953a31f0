"""Pods of every kind that a drain meets, and how each behaves when it is told to stop."""

import dataclasses
import uuid


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the demo says of a pod, and what its containers do on SIGTERM."""

    name: str
    label: str                     # for people
    owner: tuple | None = None     # (apiVersion, kind, name)
    grace: int = 30                # terminationGracePeriodSeconds
    stops_in: float = 1.0          # seconds from SIGTERM to the end, when nobody kills it first
    phase: str = "Running"
    namespace: str = "default"
    empty_dir: bool = False
    mirror: bool = False
    labels: dict = dataclasses.field(default_factory=dict)

    @property
    def stays(self):
        """Not to be touched by a drain: DaemonSet, mirror and finished pods."""
        return self.mirror or self.phase in ("Succeeded", "Failed") or bool(self.owner and self.owner[1] == "DaemonSet")


def _replica_set(name):
    return ("apps/v1", "ReplicaSet", name)


DOZEN = (
    Kind("web-7d4b9-x2x8k", "Deployment", _replica_set("web-7d4b9"), stops_in=1.5),
    Kind("web-7d4b9-p9qmz", "Deployment", _replica_set("web-7d4b9"), stops_in=2.5),
    Kind("api-5c6f8-lw4tn", "Deployment, emptyDir", _replica_set("api-5c6f8"), stops_in=3.0, empty_dir=True),
    Kind("db-0", "StatefulSet", ("apps/v1", "StatefulSet", "db"), grace=60, stops_in=4.0),
    Kind("report-28871-hq5vd", "Job, running", ("batch/v1", "Job", "report-28871"), stops_in=0.5),
    Kind("report-28870-c7zlk", "Job, finished", ("batch/v1", "Job", "report-28870"), phase="Succeeded"),
    Kind("debug", "bare", stops_in=0.2, grace=5),
    Kind("indexer-6b7c-tt2jx", "slow to stop", _replica_set("indexer-6b7c"), grace=600, stops_in=12.0),
    Kind("legacy-84d5-8kw6r", "ignores SIGTERM", _replica_set("legacy-84d5"), grace=10, stops_in=1e6),
    Kind("ledger-0", "PDB-protected", ("apps/v1", "StatefulSet", "ledger"), grace=10, stops_in=2.0, labels={"app": "ledger"}),
    Kind("ledger-1", "PDB-protected", ("apps/v1", "StatefulSet", "ledger"), grace=20, stops_in=2.0, labels={"app": "ledger"}),
    Kind("node-exporter-4vks9", "DaemonSet", ("apps/v1", "DaemonSet", "node-exporter"), namespace="kube-system"),
    Kind("lastlight-m2b7d", "DaemonSet", ("apps/v1", "DaemonSet", "lastlight"), namespace="kube-system"),
    Kind("kube-proxy-demo-node", "mirror", ("v1", "Node", "demo-node"), namespace="kube-system", mirror=True),
)

# Allows no disruption: both its pods are needed.
LEDGER_BUDGET = {"name": "ledger", "namespace": "default", "match": {"app": "ledger"}, "allowed": 0}


def manifest(kind, node):
    """The pod as the API server shows it."""
    metadata = {"name": kind.name, "namespace": kind.namespace, "uid": str(uuid.uuid4()), "labels": dict(kind.labels),
                "creationTimestamp": "2026-01-01T00:00:00Z"}
    if kind.owner:
        version, owner_kind, name = kind.owner
        metadata["ownerReferences"] = [{"apiVersion": version, "kind": owner_kind, "name": name, "uid": str(uuid.uuid4()),
                                        "controller": True}]
    if kind.mirror:
        metadata["annotations"] = {"kubernetes.io/config.mirror": uuid.uuid4().hex, "kubernetes.io/config.source": "file"}
    spec = {"nodeName": node, "terminationGracePeriodSeconds": kind.grace, "restartPolicy": "Always",
            "containers": [{"name": "main", "image": "registry.example/app:1"}]}
    if kind.empty_dir:
        spec["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec,
            "status": {"phase": kind.phase, "podIP": "10.0.0.9",
                       "conditions": [{"type": "Ready", "status": "True" if kind.phase == "Running" else "False"}]}}
