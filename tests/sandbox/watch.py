"""A watch of pods: one JSON event a line, in chunks, until the client goes, `timeoutSeconds` pass or the mock is told to end it.

With sendInitialEvents (KEP-3157) the pods there are come first as ADDED, then a BOOKMARK annotated k8s.io/initial-events-end.
"""

import json
import time

from sandbox.cluster import Refused

_BOOKMARK_EVERY = 10.0  # seconds; kube-apiserver takes a minute


def serve(exchange, server, keep):
    query = exchange.query
    streaming_list = query.get("sendInitialEvents") in ("1", "true")
    if streaming_list and query.get("resourceVersionMatch") != "NotOlderThan":
        raise Refused(422, "Invalid", "sendInitialEvents requires resourceVersionMatch to be NotOlderThan")
    bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
    timeout = float(query.get("timeoutSeconds") or 3600)
    from_list = int(query.get("resourceVersion") or 0)
    stream = _Stream(exchange)
    try:
        if streaming_list or from_list == 0:
            version, pods = server.cluster.list_pods(keep)
            for pod in pods:
                stream.event("ADDED", pod)
            if streaming_list and bookmarks:
                stream.event("BOOKMARK", _bookmark(version, {"k8s.io/initial-events-end": "true"}))
        else:
            version = from_list
        _follow(stream, server, keep, version, timeout, bookmarks)
    except OSError:
        exchange.close_connection = True  # the client has gone


def serve_node(exchange, server):
    """The one node as it is, then every change."""
    stream, cluster, epoch, sent = _Stream(exchange), server.cluster, server.watch_epoch, None
    try:
        while not cluster.ended and server.watch_epoch == epoch:
            with cluster.changed:
                if cluster.node["metadata"]["resourceVersion"] == sent:
                    cluster.changed.wait(0.5)
                node = cluster.get_node(cluster.node["metadata"]["name"])
            if node["metadata"]["resourceVersion"] != sent:
                stream.event("MODIFIED" if sent else "ADDED", node)
                sent = node["metadata"]["resourceVersion"]
        stream.cut()
    except OSError:
        exchange.close_connection = True  # the client has gone


def _follow(stream, server, keep, version, timeout, bookmarks):
    epoch, cluster = server.watch_epoch, server.cluster
    ends = time.monotonic() + timeout
    next_bookmark = time.monotonic() + _BOOKMARK_EVERY
    while time.monotonic() < ends:
        try:
            with cluster.changed:
                events = cluster.events_after(version)
                if not events and not cluster.ended and server.watch_epoch == epoch:
                    cluster.changed.wait(min(0.5, max(0.0, ends - time.monotonic())))
                    events = cluster.events_after(version)
        except Refused as refused:
            stream.event("ERROR", refused.status())
            break
        for what, pod in events:
            version = int(pod["metadata"]["resourceVersion"])
            if keep(pod):
                stream.event(what, pod)
        if cluster.ended or server.watch_epoch != epoch:
            stream.cut()
            return
        if bookmarks and time.monotonic() >= next_bookmark:
            next_bookmark += _BOOKMARK_EVERY
            stream.event("BOOKMARK", _bookmark(version, {}))
    stream.end()


def _bookmark(version, annotations):
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": str(version), "creationTimestamp": None,
                                                            "annotations": annotations},
            "spec": {"containers": None}, "status": {}}


class _Stream:
    def __init__(self, exchange):
        self._exchange = exchange
        exchange.wfile.write(exchange.head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked",
                                                 "Date": exchange.date_time_string()}))

    def event(self, what, value):
        line = json.dumps({"type": what, "object": value}).encode() + b"\n"
        self._exchange.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))

    def end(self):
        self._exchange.wfile.write(b"0\r\n\r\n")

    def cut(self):
        self._exchange.close_connection = True
