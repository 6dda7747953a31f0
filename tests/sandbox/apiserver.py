"""The Kubernetes API as a node agent uses it, over plain HTTP on loopback.

    python3 tests/sandbox/apiserver.py --port 8001 --token secret
    curl -d '{"fault": {"kind": "status", "status": 500, "seconds": 20, "path": "/api/v1/pods"}}' .../admin/state   faults.py
    curl -d '{"token": "next"}' ...        the token that is valid from now on: every other is answered 401
    curl -d '{"budget": {"name": "ledger", "allowed": 1}}' ...
    curl -d '{"forget_history": true}' ... running watches get 410 Gone, and so does every older resourceVersion
    curl -d '{"end_watches": true}' ...    running watches are ended in the middle of their stream
"""

import argparse
import base64
import json
import os
import re
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sandbox.cluster import Cluster, Refused  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.serving import Served  # noqa: E402  pylint: disable=wrong-import-position
from sandbox import watch  # noqa: E402  pylint: disable=wrong-import-position

_MAX_PAGES = 16  # unfinished paged lists; the oldest expires
_ROUTES = (
    ("GET", r"/api/v1/nodes/([^/]+)", "get_node"),
    ("PATCH", r"/api/v1/nodes/([^/]+)", "patch_node"),
    ("GET", r"/api/v1/nodes", "watch_node"),
    ("POST", r"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "review"),
    ("GET", r"/api/v1/pods", "pods"),
    ("GET", r"/api/v1/namespaces/([^/]+)/pods", "pods"),
    ("GET", r"/api/v1/namespaces/([^/]+)/pods/([^/]+)", "get_pod"),
    ("DELETE", r"/api/v1/namespaces/([^/]+)/pods/([^/]+)", "delete_pod"),
    ("POST", r"/api/v1/namespaces/([^/]+)/pods/([^/]+)/eviction", "evict"),
    ("POST", r"/api/v1/namespaces/([^/]+)/events", "event"),
    ("POST", r"/apis/events.k8s.io/v1/namespaces/([^/]+)/events", "event"),
    ("GET", r"/api/v1/namespaces/([^/]+)/services/([^/]+)", "service"),
    ("GET", r"/readyz", "readyz"),
)
_FIELDS = {"spec.nodeName": lambda pod: pod["spec"].get("nodeName", ""),
           "metadata.name": lambda pod: pod["metadata"]["name"],
           "metadata.namespace": lambda pod: pod["metadata"]["namespace"],
           "status.phase": lambda pod: pod["status"]["phase"]}


def field_filter(selector):
    """A predicate over pods; the terms the API server knows for them, joined by commas."""
    terms = []
    for term in filter(None, (selector or "").split(",")):
        field, negated, value = re.fullmatch(r"([^!=]+)(!?)==?(.*)", term).groups() if "=" in term else (term, "", None)
        if field not in _FIELDS or value is None:
            raise Refused(400, "BadRequest", f"field label not supported: {term}")
        terms.append((_FIELDS[field], value, bool(negated)))
    return lambda pod: all((read(pod) == value) != negated for read, value, negated in terms)


class ApiServer(Served):
    def __init__(self, cluster=None, token="demo-token", port=0):
        self.cluster = cluster or Cluster()
        self.token = token
        self.watch_epoch = 0
        self._pages = {}
        super().__init__(port)

    def close(self):
        self.cluster.end()
        super().close()

    def configure(self, wanted):
        self.token = str(wanted.pop("token", self.token))
        budget = wanted.pop("budget", None)
        with self.cluster.changed:
            if budget is not None:
                found = [each for each in self.cluster.budgets if each["name"] == budget["name"]]
                if not found:
                    raise ValueError(f"no such budget: {budget['name']}")
                found[0]["allowed"] = int(budget["allowed"])
            if wanted.pop("forget_history", False):
                self.cluster.forget_history()
            if wanted.pop("end_watches", False):
                self.watch_epoch += 1
            self.cluster.changed.notify_all()
        super().configure(wanted)

    def answer(self, exchange):
        try:
            if exchange.headers.get("Authorization") != f"Bearer {self.token}":
                raise Refused(401, "Unauthorized", "Unauthorized")
            for method, pattern, name in _ROUTES:
                match = re.fullmatch(pattern, exchange.route)
                if match and method == exchange.command:
                    getattr(self, "_" + name)(exchange, *match.groups())
                    return
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        except Refused as refused:
            exchange.reply_json(refused.code, refused.status())
        except (ValueError, AttributeError, TypeError) as error:  # a body that is not what the endpoint takes
            refused = Refused(400, "BadRequest", str(error))
            exchange.reply_json(400, refused.status())

    def _readyz(self, exchange):
        exchange.reply(200, "ok")

    def _get_node(self, exchange, name):
        exchange.reply_json(200, self.cluster.get_node(name))

    def _patch_node(self, exchange, name):
        kind, patch = exchange.headers.get("Content-Type", "").partition(";")[0], json.loads(exchange.body)
        if kind != {dict: "application/merge-patch+json", list: "application/json-patch+json"}.get(type(patch)):
            raise Refused(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {kind}")
        if exchange.query.get("dryRun") == "All":
            exchange.reply_json(200, self.cluster.get_node(name))
        else:
            exchange.reply_json(200, self.cluster.patch_node(name, patch, exchange.query.get("fieldManager", "unknown")))

    def _watch_node(self, exchange):
        if exchange.query.get("watch") not in ("1", "true"):
            raise Refused(403, "Forbidden", "nodes is forbidden: cannot list resource")
        watch.serve_node(exchange, self)

    def _review(self, exchange):
        exchange.reply_json(201, {**exchange.json(), "status": {"allowed": True}})

    def _get_pod(self, exchange, namespace, name):
        exchange.reply_json(200, self.cluster.get_pod(namespace, name))

    def _delete_pod(self, exchange, namespace, name):
        options = exchange.json()
        if "gracePeriodSeconds" in exchange.query:
            options.setdefault("gracePeriodSeconds", int(exchange.query["gracePeriodSeconds"]))
        exchange.reply_json(200, self.cluster.delete(namespace, name, options))

    def _evict(self, exchange, namespace, name):
        eviction = exchange.json()
        if eviction.get("kind", "Eviction") != "Eviction" or eviction.get("metadata", {}).get("name", name) != name:
            raise Refused(400, "BadRequest", "the name in the body does not match the name on the URL, or it is no Eviction")
        self.cluster.evict(namespace, name, eviction.get("deleteOptions"))
        exchange.reply_json(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})

    def _event(self, exchange, namespace):
        event = exchange.json()
        if event.get("metadata", {}).get("namespace", namespace) != namespace:
            raise Refused(400, "BadRequest", "the namespace of the event does not match the request")
        with self.cluster.changed:
            self.cluster.events.append(event)
        exchange.reply_json(201, event)

    def _service(self, exchange, namespace, name):
        service = self.cluster.services.get((namespace, name))
        if service is None:
            raise Refused(404, "NotFound", f'services "{name}" not found', {"name": name, "kind": "services"})
        exchange.reply_json(200, service)

    def _pods(self, exchange, namespace=None):
        chosen = field_filter(exchange.query.get("fieldSelector"))
        keep = chosen if namespace is None else lambda pod: pod["metadata"]["namespace"] == namespace and chosen(pod)
        if exchange.query.get("watch") in ("1", "true"):
            watch.serve(exchange, self, keep)
        else:
            exchange.reply_json(200, self._page(exchange.query, keep))

    def _page(self, query, keep):
        """A list, or one page of it: all pages are of the version that the first one had."""
        limit = int(query.get("limit") or 0)
        with self.lock:
            if query.get("continue"):
                number, start = json.loads(base64.b64decode(query["continue"]))
                if number not in self._pages:
                    raise Refused(410, "Expired", "The provided continue parameter is too old to display a consistent list")
                version, pods = self._pages[number]
            else:
                (version, pods), start = self.cluster.list_pods(keep), 0
                number = time.monotonic_ns()
                if limit and len(pods) > limit:
                    self._pages[number] = version, pods
                    while len(self._pages) > _MAX_PAGES:
                        self._pages.pop(next(iter(self._pages)))
        end = start + limit if limit else len(pods)
        metadata = {"resourceVersion": str(version)}
        if end < len(pods):
            metadata["continue"] = base64.b64encode(json.dumps([number, end]).encode()).decode()
            metadata["remainingItemCount"] = len(pods) - end
        return {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": pods[start:end]}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--token", default="demo-token")
    chosen = options.parse_args()
    with ApiServer(token=chosen.token, port=chosen.port) as served:
        print(f"Kubernetes API on {served.url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
