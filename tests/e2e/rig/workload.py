"""A node with the pods that a drain meets there.

    with Workload(control_plane, "spot-1") as work:              # 42 pods to evict, 7 to leave alone; all Running when it returns
        ... drain spot-1 ...
        work.evictable(), work.guarded(), work.slow(), work.untouchable()     # pods (dicts) as they were when it was ready
        work.left()                                              # names of the evictable ones, by UID, that are still there

    Workload(control_plane, "spot-2", Population.only(web=4, slow=1), spare=False)     # a smaller one

What is on the node, by the label lastlight.test/kind of its pods:

    web       two Deployments, the quicker one behind a Service; Population.slow of the pods take slow_stop seconds to stop, the others 1
    guarded   a Deployment under a PodDisruptionBudget that never allows a disruption; grace period guarded_grace
    set       a StatefulSet                      bare     a pod without a controller
    scratch   a pod with an emptyDir             batch    pods of a Job that still runs
    daemon    one pod each of several DaemonSets mirror   a static pod's mirror (owner Node, kubernetes.io/config.mirror)
    finished  a Job's pod that has Succeeded

evictable() is web, guarded, set, bare, scratch and batch; untouchable() is daemon, mirror and finished.
Names and the namespace begin with the node's name, so that several workloads share one control plane. The pods can run on
nodes of this workload only; with `spare=True` a second node appears once all run, where their replacements find room.
"""

import dataclasses

from .proc import wait_until

KIND = "lastlight.test/kind"
POOL = "lastlight.test/pool"
STOP_DELAY = "pod-delete.stage.kwok.x-k8s.io/delay"
READY_DELAY = "pod-ready.stage.kwok.x-k8s.io/delay"
_EVICTABLE = ("web", "guarded", "set", "bare", "scratch", "batch")
_UNTOUCHABLE = ("daemon", "mirror", "finished")


@dataclasses.dataclass(frozen=True)
class Population:
    """How many pods of each kind. The defaults are the test population: 42 evictable, 5 of them guarded."""

    web: int = 30
    slow: int = 6  # of `web`
    guarded: int = 5
    set: int = 3
    bare: int = 1
    scratch: int = 1
    batch: int = 2
    daemons: int = 5
    mirror: int = 1
    finished: int = 1
    grace: int = 30  # seconds, of all but the guarded ones
    guarded_grace: int = 15
    slow_stop: int = 10  # seconds a slow pod takes to stop; the others take 1

    @classmethod
    def only(cls, **counts):
        """Nothing but what is named: Population.only(bare=1)."""
        kinds = dict.fromkeys(("web", "slow", "guarded", "set", "bare", "scratch", "batch", "daemons", "mirror", "finished"), 0)
        return cls(**{**kinds, **counts})

    @property
    def evictable(self):
        return sum(getattr(self, kind) for kind in _EVICTABLE)

    @property
    def total(self):
        return self.evictable + self.daemons + self.mirror + self.finished


class Workload:
    def __init__(self, control_plane, node, population=Population(), spare=True, node_taints=None):
        self.node = node
        self.spare = f"{node}-spare" if spare else None
        self.namespace = f"{node}-shop"
        self.population = population
        self._cp = control_plane
        self._taints = node_taints
        self._pods = []
        self._guards = {}

    def __enter__(self):
        try:
            return self._start()
        except BaseException:
            self.__exit__()
            raise

    def _start(self):
        cp, count = self._cp, self.population
        cp.create_node(self.node, labels={POOL: self.node}, taints=self._taints)
        cp.create_namespace(self.namespace)
        things = [thing for thing in self._things() if thing]
        cp.apply(*things)
        self._guards = {each["metadata"]["name"]: self._sheltered(each) for each in things if each["kind"] == "PodDisruptionBudget"}
        wait_until(self._settled, 120, f"{count.total} pods on {self.node} to run and the budgets to be reckoned", interval=0.25)
        self._pods = cp.pods(self.namespace)
        if self.spare:
            cp.create_node(self.spare, labels={POOL: self.node}, taints=self._taints)
        return self

    def _things(self):
        count = self.population
        slow = min(count.slow, count.web)
        things = [self._deployment("web", count.web - slow), self._deployment("web", slow, stop=count.slow_stop, name="web-slow"),
                  self._deployment("guarded", count.guarded, grace=count.guarded_grace, stop=min(3, count.guarded_grace)),
                  self._stateful_set(count.set), self._job("batch", count.batch), self._job("finished", count.finished)]
        things += [self._daemon_set(number) for number in range(count.daemons)]
        things += [self._bare("bare", number) for number in range(count.bare)]
        things += [self._bare("scratch", number, {"volumes": [{"name": "scratch", "emptyDir": {}}]}) for number in range(count.scratch)]
        things += [self._mirror(number) for number in range(count.mirror)]
        things.append(self._thing("v1", "Service", "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80}]}))
        return things + ([self._budget("guarded", maxUnavailable=0)] if count.guarded else [])

    def _sheltered(self, budget):
        """How many pods it is about."""
        return getattr(self.population, budget["spec"]["selector"]["matchLabels"][KIND])

    def __exit__(self, *exc):
        if self._cp.api.exists(f"/api/v1/namespaces/{self.namespace}"):
            self._cp.delete_namespace(self.namespace)
        for node in filter(None, (self.node, self.spare)):
            self._cp.delete_node(node)

    def _settled(self):
        """All pods run on the node (Pending ones have no budget), the Jobs' pods that shall finish have, and the budgets count them."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        if self._cp.api.items(path, fieldSelector="status.phase=Pending"):  # the whole list only when it may do: pods can be large
            return False
        pods = self._cp.pods(self.namespace)
        placed = [pod for pod in pods if pod["spec"].get("nodeName") == self.node
                  and pod["status"]["phase"] == ("Succeeded" if self.kind_of(pod) == "finished" else "Running")]
        if not len(pods) == len(placed) == self.population.total:
            return False
        budgets = self._cp.api.items(f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets")
        return {each["metadata"]["name"]: each.get("status", {}).get("currentHealthy") for each in budgets
                if each.get("status", {}).get("observedGeneration") == each["metadata"]["generation"]} == self._guards

    # --- what is there

    @staticmethod
    def kind_of(pod):
        return pod["metadata"].get("labels", {}).get(KIND)

    def pods(self, *kinds):
        """The pods of these kinds as they were before the drain."""
        return [pod for pod in self._pods if self.kind_of(pod) in kinds]

    def evictable(self):
        return self.pods(*_EVICTABLE)

    def free(self):
        """Those that no budget refuses."""
        guarded = {pod["metadata"]["uid"] for pod in self.guarded()}
        return [pod for pod in self.evictable() if pod["metadata"]["uid"] not in guarded]

    def guarded(self):
        return self.pods("guarded")

    def slow(self):
        """Those of `web` that take slow_stop seconds to stop."""
        return [pod for pod in self.pods("web") if STOP_DELAY in pod["metadata"].get("annotations", {})]

    def untouchable(self):
        return self.pods(*_UNTOUCHABLE)

    def left(self):
        """Names of the evictable pods that still exist; a replacement of the same name (a StatefulSet's) is not one of them."""
        there = {pod["metadata"]["uid"] for pod in self._cp.pods(self.namespace)}
        return sorted(pod["metadata"]["name"] for pod in self.evictable() if pod["metadata"]["uid"] in there)

    def wait_gone(self, timeout):
        """Until none of the evictable pods is left."""
        wait_until(lambda: not self.left(), timeout, f"the pods of {self.node} to be gone", interval=0.2)

    # --- the objects

    def _template(self, kind, grace=None, stop=None, restart="Always", spec=None, labels=None, annotations=None):
        pod_spec = {
            "nodeSelector": {POOL: self.node}, "terminationGracePeriodSeconds": self.population.grace if grace is None else grace,
            "restartPolicy": restart, "tolerations": [{"operator": "Exists"}] if kind == "daemon" else
            [{"key": taint["key"], "operator": "Exists"} for taint in self._taints or []],
            "containers": [{"name": "main", "image": "registry.example/main:1", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}],
            **(spec or {})}
        return {"metadata": {"labels": {KIND: kind, **(labels or {})},
                             "annotations": {**({STOP_DELAY: f"{stop}s"} if stop else {}), **(annotations or {})}}, "spec": pod_spec}

    def _thing(self, api_version, kind, name, **body):
        return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": self.namespace}, **body}

    def _controller(self, kind, name, template, **spec):
        template["metadata"]["labels"]["app"] = name
        return self._thing("apps/v1", kind, name, spec={"selector": {"matchLabels": {"app": name}}, "template": template, **spec})

    def _deployment(self, kind, replicas, name=None, **template):
        return self._controller("Deployment", name or kind, self._template(kind, **template), replicas=replicas)

    def _stateful_set(self, replicas):
        return self._controller("StatefulSet", "set", self._template("set"), replicas=replicas, serviceName="set", podManagementPolicy="Parallel")

    def _daemon_set(self, number):
        return self._controller("DaemonSet", f"daemon-{number}", self._template("daemon"))

    def _job(self, kind, pods):
        if not pods:
            return None
        labels = {"lastlight.test/finishes": "true"} if kind == "finished" else {}
        return self._thing("batch/v1", "Job", kind, spec={
            "parallelism": pods, "completions": pods, "backoffLimit": 10, "template": self._template(kind, restart="Never", labels=labels)})

    def _bare(self, kind, number, spec=None, **template):
        template = self._template(kind, spec=spec, **template)
        pod = self._thing("v1", "Pod", f"{kind}-{number}", spec=template["spec"])
        pod["metadata"].update(template["metadata"])
        return pod

    def _mirror(self, number):
        """As the kubelet makes it: bound to the node, owned by it, without a ServiceAccount."""
        pod = self._bare("mirror", number, {"nodeName": self.node})
        owner = {"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": self._cp.node(self.node)["metadata"]["uid"], "controller": True}
        checksum = f"{number:032x}"
        pod["metadata"]["ownerReferences"] = [owner]
        pod["metadata"]["annotations"].update({"kubernetes.io/config.mirror": checksum, "kubernetes.io/config.hash": checksum,
                                               "kubernetes.io/config.source": "file"})
        return pod

    def _budget(self, kind, name=None, **spec):
        return self._thing("policy/v1", "PodDisruptionBudget", name or kind, spec={**spec, "selector": {"matchLabels": {KIND: kind}}})
