"""What the API server knows and the kubelet does: one node, its pods, their budgets; no HTTP in here.

Rules as kube-apiserver has them where a drain can notice: UID preconditions, a budget is asked only for running pods that are
not yet terminating, a second deletion can shorten a grace and never lengthen it, finished pods go at once. The kubelet ends a
terminating pod after min(what its containers need, the grace).
"""

import collections
import copy
import datetime
import threading
import time

from sandbox import pods as pod_kinds

_HISTORY = 10_000  # watch events kept; a watch from before them gets 410


class Refused(Exception):
    """An API error: becomes a Status."""

    def __init__(self, code, reason, message, details=None):
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}

    def status(self):
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
                "reason": self.reason, "details": self.details, "code": self.code}


def merge_patch(target, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target, operations):
    """The part of RFC 6902 that node agents use; a failed test, or a path that is not there, is a 422."""
    result = copy.deepcopy(target)
    for operation in operations:
        *way, last = [key.replace("~1", "/").replace("~0", "~") for key in operation["path"].split("/")[1:]]
        parent = result
        for key in way:
            parent = parent[int(key)] if isinstance(parent, list) else parent.get(key)
            if not isinstance(parent, (dict, list)):
                raise Refused(422, "Invalid", f"there is no {operation['path']}")
        if isinstance(parent, list):
            there = None if last == "-" else parent[int(last)]
        else:
            there = parent.get(last)
        if operation["op"] == "test" and there != operation["value"]:
            raise Refused(422, "Invalid", f"testing value {operation['path']} failed")
        if operation["op"] == "remove":
            parent.pop(int(last) if isinstance(parent, list) else last)
        if operation["op"] == "add" and isinstance(parent, list):
            parent.append(operation["value"])
        elif operation["op"] == "add":
            parent[last] = operation["value"]
    return result


class Fate:
    """What happened to one pod; instants are CLOCK_MONOTONIC seconds."""

    def __init__(self, kind, uid):
        self.kind, self.uid = kind, uid
        self.refusals = 0
        self.told = self.gone = self.grace = self.by = None  # by: "eviction" or "deletion"


class Cluster:
    def __init__(self, node="demo-node", kinds=pod_kinds.DOZEN, budgets=(pod_kinds.LEDGER_BUDGET,), taints=()):
        self.changed = threading.Condition(threading.RLock())
        self.version = 1000
        self.events = []
        self.services = {}
        self.fates = {}
        self.cordoned = None
        self.history = collections.deque(maxlen=_HISTORY)
        self._first = self.version
        self._pods = {}
        self._kinds = {}
        self._ended = False
        self.budgets = [dict(budget) for budget in budgets]
        self.node = {"apiVersion": "v1", "kind": "Node",
                     "metadata": {"name": node, "uid": f"uid-{node}", "labels": {}, "annotations": {},
                                  "resourceVersion": str(self.version)},
                     "spec": {"taints": [dict(taint) for taint in taints]},
                     "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        for kind in kinds:
            self.add(kind)

    def end(self):
        with self.changed:
            self._ended = True
            self.changed.notify_all()

    @property
    def ended(self):
        return self._ended

    # --- the node

    def get_node(self, name):
        with self.changed:
            if name != self.node["metadata"]["name"]:
                raise Refused(404, "NotFound", f'nodes "{name}" not found', {"name": name, "kind": "nodes"})
            return copy.deepcopy(self.node)

    def patch_node(self, name, patch, manager="unknown"):
        """A merge patch when it is a dict, a JSON Patch when it is a list. Who set spec.unschedulable is in managedFields."""
        with self.changed:
            self.get_node(name)
            wanted = patch.get("metadata", {}).get("resourceVersion") if isinstance(patch, dict) else None
            if wanted not in (None, self.node["metadata"]["resourceVersion"]):
                raise Refused(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
            self.node = merge_patch(self.node, patch) if isinstance(patch, dict) else json_patch(self.node, patch)
            self.version += 1
            self.node["metadata"]["resourceVersion"] = str(self.version)
            if self.node["spec"].get("unschedulable") and self.cordoned is None:
                self.cordoned = time.monotonic()
                self.node["metadata"]["managedFields"] = [{"manager": manager, "operation": "Update",
                                                           "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}]
            elif not self.node["spec"].get("unschedulable"):
                self.cordoned = None
                self.node["metadata"].pop("managedFields", None)
            self.changed.notify_all()
            return copy.deepcopy(self.node)

    # --- pods

    def add(self, kind):
        with self.changed:
            pod = pod_kinds.manifest(kind, self.node["metadata"]["name"])
            key = (kind.namespace, kind.name)
            self._pods[key], self._kinds[key] = pod, kind
            self.fates[key] = Fate(kind, pod["metadata"]["uid"])
            self._publish("ADDED", pod)
            return pod["metadata"]["uid"]

    def list_pods(self, keep):
        """(version, pods by key)"""
        with self.changed:
            return self.version, [copy.deepcopy(pod) for _, pod in sorted(self._pods.items()) if keep(pod)]

    def get_pod(self, namespace, name):
        with self.changed:
            return copy.deepcopy(self._find(namespace, name))

    def events_after(self, version):
        """Watch events newer than `version`; 410 when some are forgotten."""
        with self.changed:
            oldest = int(self.history[0][1]["metadata"]["resourceVersion"]) if self.history else self.version + 1
            if version < self._first or (len(self.history) == _HISTORY and version < oldest - 1):
                raise Refused(410, "Expired", f"too old resource version: {version} ({oldest})")
            return [event for event in self.history if int(event[1]["metadata"]["resourceVersion"]) > version]

    def forget_history(self):
        """Every resourceVersion handed out so far is too old for a watch."""
        with self.changed:
            self.history.clear()
            self.version += 1
            self._first = self.version

    def evict(self, namespace, name, options):
        with self.changed:
            pod = self._find(namespace, name)
            self._check_uid(pod, options)
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]:
                self._spend_budget(pod)
            self._delete(pod, options, "eviction")

    def delete(self, namespace, name, options):
        with self.changed:
            pod = self._find(namespace, name)
            self._check_uid(pod, options)
            self._delete(pod, options, "deletion")
            return copy.deepcopy(pod)

    def _find(self, namespace, name):
        try:
            return self._pods[namespace, name]
        except KeyError:
            raise Refused(404, "NotFound", f'pods "{name}" not found', {"name": name, "kind": "pods"}) from None

    @staticmethod
    def _check_uid(pod, options):
        wanted, have = ((options or {}).get("preconditions") or {}).get("uid"), pod["metadata"]["uid"]
        if wanted not in (None, have):
            raise Refused(409, "Conflict", "Operation cannot be fulfilled: Precondition failed: "
                          f"UID in precondition: {wanted}, UID in object meta: {have}")

    def _spend_budget(self, pod):
        metadata = pod["metadata"]
        matching = [budget for budget in self.budgets if budget["namespace"] == metadata["namespace"]
                    and budget["match"].items() <= metadata["labels"].items()]
        if len(matching) > 1:
            raise Refused(500, "InternalError", "This pod has more than one PodDisruptionBudget, which the eviction "
                          "subresource does not support.")
        for budget in matching:
            if budget["allowed"] <= 0:
                self.fates[metadata["namespace"], metadata["name"]].refusals += 1
                self.changed.notify_all()
                raise Refused(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.",
                              {"causes": [{"reason": "DisruptionBudget", "message":
                                           f"The disruption budget {budget['name']} allows {budget['allowed']} disruptions"}]})
            budget["allowed"] -= 1

    def _delete(self, pod, options, by):
        metadata = pod["metadata"]
        asked = (options or {}).get("gracePeriodSeconds")
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else int(asked)
        if pod["status"]["phase"] in ("Succeeded", "Failed"):
            grace = 0
        fate = self.fates[metadata["namespace"], metadata["name"]]
        now = time.monotonic()
        if "deletionTimestamp" in metadata:
            if asked is None or grace >= metadata["deletionGracePeriodSeconds"]:
                return
        else:
            fate.told, fate.by = now, by
        fate.grace = grace
        ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=grace)
        metadata["deletionTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["deletionGracePeriodSeconds"] = grace
        kind = self._kinds[metadata["namespace"], metadata["name"]]
        if grace == 0:
            self._remove(metadata["namespace"], metadata["name"], metadata["uid"])
            return
        self._publish("MODIFIED", pod)
        left = max(0.0, min(fate.told + kind.stops_in, now + grace) - now)
        timer = threading.Timer(left, self._remove, (metadata["namespace"], metadata["name"], metadata["uid"]))
        timer.daemon = True
        timer.start()

    def _remove(self, namespace, name, uid):
        with self.changed:
            pod = self._pods.get((namespace, name))
            if pod is None or pod["metadata"]["uid"] != uid:
                return  # a shortened grace got here first
            del self._pods[namespace, name]
            self.fates[namespace, name].gone = time.monotonic()
            self._publish("DELETED", pod)

    def _publish(self, what, pod):
        self.version += 1
        pod["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((what, copy.deepcopy(pod)))
        self.changed.notify_all()
