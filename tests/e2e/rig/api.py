"""A small JSON client of the Kubernetes API: the rig's own hands, never the thing under test.

    api.get("/api/v1/nodes/spot-1")                         -> object; ApiError for anything but 2xx
    api.post("/api/v1/namespaces", {...})                   put, delete(path, body), patch(path, body, kind="merge")
    api.request("POST", path, body)                         -> (status code, object), never raises for a status
    api.items("/api/v1/pods", fieldSelector="spec.nodeName=spot-1")
    api.path_of(object)                                     -> its path, by discovery

Connections are kept per thread; TLS is verified against the control plane's own CA.
"""

import http.client
import json
import ssl
import threading
import urllib.parse

_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiError(Exception):
    """An answer outside 2xx: `code`, and the Status object as `status`."""

    def __init__(self, method, path, code, status):
        super().__init__(f"{method} {path}: {code} {status.get('reason', '')}: {status.get('message', '')}")
        self.code = code
        self.status = status

    def causes(self):
        """The reasons of status.details.causes; an eviction that a budget refuses has "DisruptionBudget"."""
        return [cause.get("reason") for cause in self.status.get("details", {}).get("causes", [])]


class Api:
    def __init__(self, host, port, ca_file, token, timeout=30):
        self.host, self.port, self.ca_file, self.token, self.timeout = host, port, ca_file, token, timeout
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._thread = threading.local()
        self._resources = {}

    def as_token(self, token):
        """The same server asked with another bearer token."""
        return Api(self.host, self.port, self.ca_file, token, self.timeout)

    def connect(self, timeout=None):
        """A connection of the caller's own, for watches."""
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout or self.timeout, context=self._tls)

    def headers(self):
        return {"Authorization": f"Bearer {self.token}", "Accept": "application/json", "User-Agent": "lastlight-rig"}

    def request(self, method, path, body=None, content_type="application/json"):
        headers = self.headers()
        payload = None
        if body is not None:
            payload = json.dumps(body)
            headers["Content-Type"] = content_type
        reused = getattr(self._thread, "connection", None)
        try:
            return self._exchange(reused or self.connect(), method, path, payload, headers)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            if not reused:
                raise
            return self._exchange(self.connect(), method, path, payload, headers)  # the kept connection had gone stale

    def _exchange(self, connection, method, path, payload, headers):
        self._thread.connection = None
        connection.request(method, path, payload, headers)
        response = connection.getresponse()
        raw = response.read()
        self._thread.connection = connection
        try:
            return response.status, json.loads(raw) if raw else {}
        except ValueError:
            return response.status, {"message": raw.decode(errors="replace")}

    def _must(self, method, path, body=None, content_type="application/json"):
        code, answer = self.request(method, path, body, content_type)
        if not 200 <= code < 300:
            raise ApiError(method, path, code, answer)
        return answer

    def get(self, path):
        return self._must("GET", path)

    def post(self, path, body):
        return self._must("POST", path, body)

    def put(self, path, body):
        return self._must("PUT", path, body)

    def delete(self, path, body=None):
        return self._must("DELETE", path, body)

    def patch(self, path, body, kind="merge"):
        """`kind`: merge, strategic, json or apply."""
        return self._must("PATCH", path, body, _PATCH_TYPES[kind])

    def exists(self, path):
        code, answer = self.request("GET", path)
        if code == 404:
            return False
        if code == 200:
            return True
        raise ApiError("GET", path, code, answer)

    def items(self, path, **query):
        """The items of a list; query parameters as keywords (fieldSelector, labelSelector)."""
        return self.get(path + ("?" + urllib.parse.urlencode(query) if query else "")).get("items", [])

    def path_of(self, thing):
        """The path of an object given as a dict with apiVersion, kind and metadata."""
        version = thing["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if root not in self._resources:
            self._resources[root] = {each["kind"]: each for each in self.get(root)["resources"] if "/" not in each["name"]}
        resource = self._resources[root][thing["kind"]]
        where = f"/namespaces/{thing['metadata'].get('namespace', 'default')}" if resource["namespaced"] else ""
        return f"{root}{where}/{resource['name']}/{thing['metadata']['name']}"
