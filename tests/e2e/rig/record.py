"""What the API server itself recorded: the evidence that drain tests assert on.

    with control_plane.record() as record:                      # watches pods and nodes from now on
        record.wait(lambda seen: seen.kind == "Node" and seen.object["spec"].get("unschedulable"), timeout=5)
        record.of("Pod", name="web-1")                          -> [Seen(type="MODIFIED", at=..., wall=..., object=...), ...]

    start = control_plane.audit.now()
    control_plane.audit.requests(user="system:serviceaccount:kube-system:lastlight", since=start)
    control_plane.audit.wait(timeout=5, verb="create", resource="pods", subresource="eviction", name="web-1")
        -> AuditRequest(received=..., code=201, body={...}, ...)

Instants: `at` is time.monotonic() at arrival, `wall` and the audit log's `received`/`finished` are time.time().
"""

import dataclasses
import datetime
import http.client
import json
import socket
import threading
import time

from .proc import RigFailure, wait_until

_AWAY = 60  # seconds that a server may be gone before a record counts as broken


@dataclasses.dataclass(frozen=True)
class Seen:
    """One event of a watch. Type LISTED marks what existed when the record began."""

    at: float
    wall: float
    type: str
    object: dict

    @property
    def kind(self):
        return self.object["kind"]

    @property
    def name(self):
        return self.object["metadata"]["name"]


class _Expired(Exception):
    """The server no longer has the version that a watch was to continue from (410)."""


def _items(listed):
    """The objects of a list, each with the kind that the list alone names."""
    return [item | {"kind": listed["kind"].removesuffix("List")} for item in listed["items"]]


def _uid(thing):
    return thing["metadata"]["uid"]


class Record:
    """Watches collections, each in its own thread, and keeps every event in order of arrival."""

    def __init__(self, api, paths):
        self._api, self._paths = api, paths
        self._changed = threading.Condition()
        self._seen = []
        self.gone = set()  # UIDs
        self._failure = None
        self._connections = []
        self._ending = False
        self._threads = []

    def __enter__(self):
        for path in self._paths:
            listed = self._api.get(path)
            for item in _items(listed):
                self._add("LISTED", item)
            thread = threading.Thread(target=self._watch, args=(path, listed["metadata"]["resourceVersion"]), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *exc):
        with self._changed:
            self._ending = True
        for connection in self._connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)  # ends the thread's read
            except (OSError, AttributeError):
                pass
        for thread in self._threads:
            thread.join(5)

    def _add(self, kind, thing):
        with self._changed:
            self._seen.append(Seen(time.monotonic(), time.time(), kind, thing))
            if kind == "DELETED":
                self.gone.add(_uid(thing))
            self._changed.notify_all()

    def _watch(self, path, version):
        try:
            lost = None
            while not self._ending:
                try:
                    for event in self._stream(path, version):
                        lost = None
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            self._add(event["type"], event["object"])
                except _Expired:
                    version = self._list_again(path)
                except (OSError, http.client.HTTPException):
                    # A server that is away: the same version continues without a gap, or it says that it is too old.
                    lost = lost or time.monotonic()
                    if time.monotonic() - lost > _AWAY:
                        raise
                    time.sleep(0.05)
        except (OSError, ValueError, http.client.HTTPException, RigFailure, AttributeError) as error:
            with self._changed:
                self._failure = self._failure or error
                self._changed.notify_all()

    def _list_again(self, path):
        """After a restart of the server its watch cache begins anew: what differs from the last event of each object is told now."""
        listed = self._api.get(path)
        kind = listed["kind"].removesuffix("List")
        with self._changed:
            known = {_uid(each.object): each for each in self._seen if each.kind == kind}
        for item in _items(listed):
            before = known.pop(_uid(item), None)
            if before is None or before.type == "DELETED":
                self._add("ADDED", item)
            elif before.object["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self._add("MODIFIED", item)
        for gone in known.values():
            if gone.type != "DELETED":
                self._add("DELETED", gone.object)
        return listed["metadata"]["resourceVersion"]

    def _stream(self, path, version):
        connection = self._api.connect(timeout=3600)
        self._connections.append(connection)
        connection.request("GET", f"{path}?watch=1&allowWatchBookmarks=true&resourceVersion={version}", headers=self._api.headers())
        response = connection.getresponse()
        if response.status >= 500 or response.status == 429:
            raise ConnectionError(f"watch of {path}: {response.status} {response.read(500)!r}")  # it is starting
        if response.status == 410:
            raise _Expired
        if response.status != 200:
            raise RigFailure(f"watch of {path}: {response.status} {response.read(500)!r}")
        for line in response:
            event = json.loads(line)
            if event["type"] == "ERROR" and event["object"].get("code") == 410:
                raise _Expired
            if event["type"] == "ERROR":
                raise RigFailure(f"watch of {path}: {event['object']}")
            yield event

    def all(self):
        """Every event so far; fails when a watch broke, because silence would look like "nothing happened"."""
        with self._changed:
            if self._failure and not self._ending:
                raise RigFailure(f"the record is incomplete: {self._failure}")
            return list(self._seen)

    def of(self, kind, name=None, namespace=None, type=None):  # pylint: disable=redefined-builtin
        return [each for each in self.all() if each.kind == kind and name in (None, each.name) and type in (None, each.type)
                and namespace in (None, each.object["metadata"].get("namespace"))]

    def wait(self, predicate, timeout, what="the expected event"):
        """The first event, seen already or to come, that `predicate` accepts."""
        deadline = time.monotonic() + timeout
        looked_at = 0
        while True:
            seen = self.all()
            for each in seen[looked_at:]:
                if predicate(each):
                    return each
            looked_at = len(seen)
            with self._changed:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise RigFailure(f"no {what} within {timeout} s among {looked_at} events")
                self._changed.wait_for(lambda: len(self._seen) > looked_at or self._failure, left)


@dataclasses.dataclass(frozen=True)
class AuditRequest:
    """One request to the API server. `code` is None while a watch is still open."""

    id: str
    user: str
    pod: str  # that the user's token is bound to
    user_agent: str
    verb: str
    uri: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    received: float
    finished: float
    body: dict
    response: dict
    message: str


def _epoch(stamp):
    return datetime.datetime.fromisoformat(stamp).timestamp()


def _request_of(event):
    target = event.get("objectRef", {})
    status = event.get("responseStatus", {})
    complete = event["stage"] != "ResponseStarted"
    bound_to = event["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", [""])
    return AuditRequest(
        id=event["auditID"], user=event["user"].get("username", ""), pod=bound_to[0], user_agent=event.get("userAgent", ""), verb=event["verb"],
        uri=event["requestURI"], resource=target.get("resource", ""), subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""), name=target.get("name", ""), code=status.get("code") if complete else None,
        received=_epoch(event["requestReceivedTimestamp"]), finished=_epoch(event["stageTimestamp"]),
        body=event.get("requestObject", {}), response=event.get("responseObject", {}), message=status.get("message", ""))


class AuditLog:
    """Reads the API server's audit log; which bodies it holds is said in control_plane.AUDIT_POLICY."""

    def __init__(self, path):
        self.path = path
        self._offset = 0
        self._requests = {}

    @staticmethod
    def now():
        """An instant for `since=`."""
        return time.time()

    def forget(self):
        """What was recorded up to now is not read any more: of a crowd that is made it is much."""
        self._requests.clear()
        with open(self.path, "rb") as log:
            log.seek(self._offset)
            self._offset += sum(len(line) for line in log if line.endswith(b"\n"))

    def _read(self):
        with open(self.path, "rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break  # being written
                self._offset += len(line)
                request = _request_of(json.loads(line))
                self._requests[request.id] = request  # a watch is logged when it opens and again when it ends

    def requests(self, since=0.0, **fields):
        """Requests received at or after `since` whose fields equal the given ones, in order of receipt."""
        self._read()
        found = [each for each in self._requests.values()
                 if each.received >= since and all(getattr(each, field) == value for field, value in fields.items())]
        return sorted(found, key=lambda each: each.received)

    def wait(self, timeout=10, since=0.0, **fields):
        """The first such request; the server writes the entry just after it has sent the answer."""
        return wait_until(lambda: self.requests(since, **fields), timeout, f"audit log entry with {fields}")[0]
