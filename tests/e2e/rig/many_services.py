"""An API server that has thousands of Services when it starts, for a real kube-proxy in a namespace: their objects are put into etcd before
there is a server, forty requests instead of ten thousand.

    with net.node, ManyServices(tmp_path, binaries, count=5000) as server:
        server.service("kube-dns", "10.96.0.10", "fd00:96::a"); server.endpoints("kube-dns", "10.244.2.2")
        server.move(round_number)      # the endpoints of fifty of them: kube-proxy syncs
"""

import base64
import http.client
import json
import uuid

from .control_plane import ControlPlane
from .proc import wait_until

_PORTS = [{"name": protocol.lower(), "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
_AT_ONCE = 100  # objects in a transaction; etcd's limit is 128


def _service(name, addresses):
    families = ["IPv6" if ":" in each else "IPv4" for each in addresses]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "ClusterIP", "clusterIP": addresses[0], "clusterIPs": addresses, "ipFamilies": families, "sessionAffinity": "None",
                     "ipFamilyPolicy": "SingleStack" if len(addresses) == 1 else "RequireDualStack", "internalTrafficPolicy": "Cluster",
                     "ports": [{**each, "targetPort": 53} for each in _PORTS]}}


def _slice(name, addresses, family="IPv4"):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family, "ports": _PORTS,
            "metadata": {"name": f"{name}-{family.lower()}", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in addresses]}


class ManyServices(ControlPlane):
    """etcd and kube-apiserver alone."""

    def __init__(self, directory, binaries, count):
        super().__init__(directory, binaries)
        self.count = count

    def _start_components(self):
        pass

    def start_server(self):
        self._fill()
        super().start_server()

    def _fill(self):
        host, port = self._store_url.removeprefix("http://").split(":")

        def post(path, body):
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            try:
                connection.request("POST", path, json.dumps(body))
                return connection.getresponse().status
            except OSError:
                return 0
            finally:
                connection.close()

        def puts():
            for number in range(self.count):
                for key, thing in (("services/specs", _service(*self._other(number))), ("endpointslices", _slice(self._other(number)[0], [self._endpoint(number, 0)]))):
                    thing["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": "2026-01-01T00:00:00Z"}
                    yield {"requestPut": {"key": _b64(f"/registry/{key}/default/{thing['metadata']['name']}"), "value": _b64(json.dumps(thing))}}

        wait_until(lambda: post("/v3/kv/range", {"key": _b64("x")}) == 200, 30, "etcd to answer", *self._processes.values())
        waiting = list(puts())
        for first in range(0, len(waiting), _AT_ONCE):
            assert post("/v3/kv/txn", {"success": waiting[first:first + _AT_ONCE]}) == 200

    @staticmethod
    def _other(number):
        return f"other-{number}", [f"10.96.{1 + number // 250}.{1 + number % 250}"]

    @staticmethod
    def _endpoint(number, round_number):
        return f"10.244.{3 + round_number % 200}.{1 + number % 250}"

    def service(self, name, *addresses):
        self.api.post("/api/v1/namespaces/default/services", _service(name, list(addresses)))

    def endpoints(self, name, *addresses, family="IPv4"):
        self.apply(_slice(name, addresses, family))

    def move(self, round_number, each=50):
        for number in range(each):
            self.endpoints(self._other(number)[0], self._endpoint(number, round_number))


def _b64(text):
    return base64.b64encode(text.encode()).decode()
