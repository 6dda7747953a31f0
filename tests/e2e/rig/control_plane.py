"""A real control plane on loopback: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and kwok for the nodes.

    with ControlPlane(directory, peers.paths(*PEERS)) as cp:          # the fixture `control_plane` does this once per session
        cp.create_namespace("shop")
        cp.create_node("spot-1", labels={"pool": "a"}, taints=[...])  # Ready when it returns
        cp.apply({...}, {...})                                        # server-side apply
        cp.kubectl("get", "pods", "-A")                               # its stdout; raises with its stderr
        cp.api.get("/api/v1/nodes/spot-1")                            # the admin's JSON client, see api.py
        cp.pods(node="spot-1"); cp.wait_pods("shop", 42)              # until 42 are Running (or finished)
        cp.service_account_token("kube-system", "lastlight", node="spot-1")
        cp.service_account_files("kube-system", "lastlight", some_dir)    # token, ca.crt, namespace as a pod has them
        with cp.record() as record: ...                               # what the watch says, see record.py
        cp.audit.requests(user="system:serviceaccount:kube-system:lastlight", since=...)

An agent is pointed at it with KUBERNETES_SERVICE_HOST=cp.host (127.0.0.1; ::1 answers as well) and KUBERNETES_SERVICE_PORT=cp.port,
or with cp.url / cp.url6. TLS, the Node and RBAC authorizers, ServiceAccount tokens (bound to node or pod), admission and API
priority and fairness are the real ones. cp.stop_server()/cp.start_server() make the API server go away and come back.

What is not real: the nodes (kwok answers for their kubelets, stages.yaml says how), no kube-proxy, no network. The components'
users are all in system:masters; only the agent under test is limited, by the RBAC that a test applies.
"""

import os
import secrets
import shutil
import subprocess
import time

import yaml

from . import ports
from .api import Api, ApiError
from .pki import Authority, resigned, signing_key_pair
from .proc import Process, RigFailure, wait_until
from .record import AuditLog, Record

PEERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok")

# The first rule that matches decides. Requests of interest keep their bodies; leases and probes are left out; of everything
# else who asked what and the outcome. No RequestReceived stage: a request is one entry, a watch is one more when it opens.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "omitManagedFields": True,
    "rules": [
        {"level": "None", "resources": [{"group": "coordination.k8s.io"}]},
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*"]},
        {"level": "Request", "verbs": ["create"], "resources": [{"group": "", "resources": ["pods/eviction"]}]},
        {"level": "RequestResponse", "users": ["kwok"], "verbs": ["delete"], "resources": [{"group": "", "resources": ["pods"]}]},
        {"level": "Request", "verbs": ["delete", "deletecollection"], "resources": [{"group": "", "resources": ["pods"]}]},
        {"level": "RequestResponse", "verbs": ["patch", "update"], "resources": [{"group": "", "resources": ["nodes"]}]},
        {"level": "Request", "userGroups": ["system:serviceaccounts"], "verbs": ["create", "patch", "update"]},
        {"level": "Metadata"},
    ],
}

_USERS = ("admin", "system:kube-controller-manager", "system:kube-scheduler", "kwok")
_SERVICE_ADDRESSES = "10.96.0.0/16,fd00:96::/112"
_ISSUER = "https://kubernetes.default.svc.cluster.local"


class ControlPlane:
    host, host6 = ports.V4, ports.V6

    def __init__(self, directory, binaries, controller_flags=()):
        self._controller_flags = controller_flags
        self.directory = str(directory)
        self._binaries = binaries
        self._processes = {}
        self.logs = self._folder("logs")
        pki = self._folder("pki")
        hosts = [ports.V4, ports.V6, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                 "kubernetes.default.svc.cluster.local", "10.96.0.1"]
        authority = self.authority = Authority("lastlight-test", pki)
        self.ca_file = authority.ca_file
        self._serving = authority.issue("kube-apiserver", hosts)
        self._signing = signing_key_pair(pki, "service-account")
        self._tokens = {user: secrets.token_hex(16) for user in _USERS}
        self.audit = AuditLog(os.path.join(self.directory, "audit.log"))
        self.started_in = None

    def _folder(self, name):
        path = os.path.join(self.directory, name)
        os.makedirs(path, exist_ok=True)
        return path

    def _file(self, name, content):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(content)
        return path

    @property
    def server_pid(self):
        """Of kube-apiserver."""
        return self._processes["kube-apiserver"].pid

    # --- starting and ending

    def __enter__(self):
        began = time.monotonic()
        try:
            ports.with_fresh_ports(self._start_store_and_server)
            self._start_components()
        except BaseException:
            self.stop()
            raise
        self.started_in = time.monotonic() - began
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        """Ends everything at once, the readers of the store first: its content is thrown away, so nobody needs time to say goodbye."""
        for name in reversed(list(self._processes)):
            self._processes.pop(name).stop()

    def _run(self, name, *flags, env=None):
        argv = [self._binaries[name], *flags]
        self._processes[name] = Process(name, argv, self.logs, env, cwd=self.directory, kill_at_once=True)
        return self._processes[name]

    def _start_store_and_server(self):
        self.stop()  # of an earlier attempt, whose ports were taken
        shutil.rmtree(os.path.join(self.directory, "etcd"), ignore_errors=True)
        clients, members, self.port = ports.free_ports(3)
        self.url = f"https://{self.host}:{self.port}"
        self.url6 = f"https://[{self.host6}]:{self.port}"
        self._store_url = f"http://{ports.V4}:{clients}"
        member_url = f"http://{ports.V4}:{members}"
        self._run("etcd", "--unsafe-no-fsync", f"--data-dir={self.directory}/etcd", "--name=rig", "--log-level=warn",
                  f"--listen-client-urls={self._store_url}", f"--advertise-client-urls={self._store_url}",
                  f"--listen-peer-urls={member_url}", f"--initial-advertise-peer-urls={member_url}", f"--initial-cluster=rig={member_url}")
        self.api = Api(self.host, self.port, self.ca_file, self._tokens["admin"])
        self.kubeconfig = self._write_kubeconfig("admin")
        self.start_server()

    def start_server(self):
        """Starts kube-apiserver on the same port and waits until it is ready; for a test that had called stop_server(), its clients too."""
        tokens = "".join(f'{token},{user},{user},"system:masters"\n' for user, token in self._tokens.items())
        certificate, key = self._serving
        private, public = self._signing
        self._run("kube-apiserver", f"--etcd-servers={self._store_url}", f"--secure-port={self.port}",
                  f"--bind-address={'::' if ports.has_ipv6() else ports.V4}", f"--advertise-address={ports.V4}",
                  "--endpoint-reconciler-type=none", f"--service-cluster-ip-range={_SERVICE_ADDRESSES}",
                  f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", f"--client-ca-file={self.ca_file}",
                  f"--token-auth-file={self._file('tokens.csv', tokens)}", "--authorization-mode=Node,RBAC",
                  "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", f"--service-account-issuer={_ISSUER}",
                  f"--service-account-signing-key-file={private}", f"--service-account-key-file={public}",
                  f"--audit-policy-file={self._file('audit-policy.yaml', yaml.safe_dump(AUDIT_POLICY))}",
                  f"--audit-log-path={self.audit.path}", "--audit-log-mode=blocking-strict", "--audit-log-maxsize=4096", "--profiling=false", "--v=1")
        wait_until(lambda: self.api.request("GET", "/readyz")[0] == 200, 60, "kube-apiserver to be ready", *self._processes.values())
        if self.started_in is not None:  # it comes back
            self._start_components()

    def stop_server(self):
        """Kills kube-apiserver and its clients until start_server(). They would keep trying, but each of their watches waits out a
        back-off of its own, half a minute and more: a new namespace stays without a default ServiceAccount as long, a test later."""
        for name in ("kwok", "kube-scheduler", "kube-controller-manager", "kube-apiserver"):
            self._processes.pop(name).stop()

    def _start_components(self):
        self._run("kube-controller-manager", f"--kubeconfig={self._write_kubeconfig('system:kube-controller-manager')}",
                  "--leader-elect=false", "--secure-port=0", *self._controller_flags, f"--root-ca-file={self.ca_file}",
                  f"--service-account-private-key-file={self._signing[0]}", "--kube-api-qps=200", "--kube-api-burst=400", "--v=1")
        self._run("kube-scheduler", f"--kubeconfig={self._write_kubeconfig('system:kube-scheduler')}", "--leader-elect=false",
                  "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400", "--v=1")
        stages = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stages.yaml")
        self._run("kwok", f"--kubeconfig={self._write_kubeconfig('kwok')}", f"--config={stages}", "--manage-all-nodes=true",
                  "--node-lease-duration-seconds=40", "--cidr=10.244.0.0/16", f"--node-ip={ports.V4}", env={"HOME": self.directory})
        # Proof that the controllers run: this account is made by one of them.
        self._wait_for_default_account("default")

    def _write_kubeconfig(self, user):
        def named(kind, value):
            return [{"name": "rig", kind: value}]
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "rig",
                  "clusters": named("cluster", {"server": self.url, "certificate-authority": self.ca_file}),
                  "users": named("user", {"token": self._tokens[user]}),
                  "contexts": named("context", {"cluster": "rig", "user": "rig"})}
        return self._file(f"{user.replace(':', '_')}.kubeconfig", yaml.safe_dump(config))

    def _wait(self, condition, timeout, what):
        return wait_until(condition, timeout, what, *self._processes.values())

    # --- making things

    def kubectl(self, *args, stdin=None, timeout=60):
        """Runs the real kubectl as admin; returns its stdout."""
        run = subprocess.run([self._binaries["kubectl"], f"--kubeconfig={self.kubeconfig}", *map(str, args)], input=stdin, text=True,
                             capture_output=True, timeout=timeout, check=False, env={**os.environ, "HOME": self.directory})
        if run.returncode != 0:
            raise RigFailure(f"kubectl {' '.join(map(str, args))} exited with {run.returncode}\n{run.stdout}{run.stderr}")
        return run.stdout

    def apply(self, *things):
        """Server-side apply of objects given as dicts; returns them as the server has them now."""
        return [self.api.patch(self.api.path_of(thing) + "?fieldManager=rig&force=true", thing, "apply") for thing in things]

    def create_namespace(self, name):
        """The namespace, once pods can be created in it (its default ServiceAccount exists)."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self._wait_for_default_account(name)

    def _wait_for_default_account(self, namespace):
        self._wait(lambda: self.api.exists(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"), 30,
                   f"the default ServiceAccount of {namespace}")

    def create_node(self, name, labels=None, taints=None, annotations=None, pods=250):
        """A kwok node with room for `pods` pods; returns when it is Ready and the scheduler may use it, but for a cordon."""
        room = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": str(pods)}
        self.api.post("/api/v1/nodes", {
            "apiVersion": "v1", "kind": "Node", "spec": {"taints": taints or []}, "status": {"capacity": room, "allocatable": room},
            "metadata": {"name": name, "annotations": annotations or {},
                         "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", **(labels or {})}}})

        def usable():
            node = self.node(name)
            ready = any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", []))
            taints = {taint["key"] for taint in node["spec"].get("taints", [])} - {"node.kubernetes.io/unschedulable"}  # somebody's cordon
            return ready and not any(key.startswith("node.kubernetes.io/") for key in taints)
        self._wait(usable, 30, f"node {name} to be Ready")

    def delete_node(self, name):
        code, answer = self.api.request("DELETE", f"/api/v1/nodes/{name}")
        if code not in (200, 404):
            raise ApiError("DELETE", name, code, answer)

    def delete_namespace(self, name):
        """Starts the deletion and force-deletes the pods in it; does not wait for the namespace to be gone."""
        self.api.delete(f"/api/v1/namespaces/{name}")
        self.api.delete(f"/api/v1/namespaces/{name}/pods", {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})

    # --- asking

    def node(self, name):
        return self.api.get(f"/api/v1/nodes/{name}")

    def pods(self, namespace=None, node=None, labels=None):
        """Pods as dicts, of one namespace, of one node, with a label selector, or all."""
        query = {}
        if node:
            query["fieldSelector"] = f"spec.nodeName={node}"
        if labels:
            query["labelSelector"] = labels
        return self.api.items(f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods", **query)

    def wait_pods(self, namespace, count, timeout=90):
        """The namespace's pods, once there are `count` of them and each is Running or has finished."""
        def settled():
            pods = self.pods(namespace)
            running = [pod for pod in pods if pod["status"]["phase"] in ("Running", "Succeeded", "Failed")]
            return pods if len(pods) == len(running) == count else None
        return self._wait(settled, timeout, f"{count} pods of {namespace} to run")

    def evict(self, namespace, name, grace=None, uid=None):
        """(status code, answer) of an eviction by the admin."""
        options = {"gracePeriodSeconds": grace} if grace is not None else {}
        if uid:
            options["preconditions"] = {"uid": uid}
        return self.api.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", {
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}, "deleteOptions": options})

    def service_account_token(self, namespace, name, node=None, pod=None, seconds=3600):
        """A token of an existing ServiceAccount as the kubelet would get it; bound to a node or a pod when one is named."""
        spec = {"expirationSeconds": seconds}
        bound = ("Pod", f"/api/v1/namespaces/{namespace}/pods/{pod}", pod) if pod else ("Node", f"/api/v1/nodes/{node}", node)
        if bound[2]:
            uid = self.api.get(bound[1])["metadata"]["uid"]
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": bound[0], "name": bound[2], "uid": uid}
        answer = self.api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
        return answer["status"]["token"]

    def expired(self, token):
        """The same token, but that it expired a minute ago: signed as the API server signs."""
        now = int(time.time())
        return resigned(token, self._signing[0], iat=now - 700, nbf=now - 700, exp=now - 60)

    def service_account_files(self, namespace, name, directory, **bound):
        """Writes token, ca.crt and namespace into `directory`, as /var/run/secrets/kubernetes.io/serviceaccount has them."""
        os.makedirs(directory, exist_ok=True)
        shutil.copyfile(self.ca_file, os.path.join(directory, "ca.crt"))
        for file, content in (("token", self.service_account_token(namespace, name, **bound)), ("namespace", namespace)):
            with open(os.path.join(directory, file), "w", encoding="utf-8") as out:
                out.write(content)
        return str(directory)

    def allowed(self, user, verb, resource, namespace="", name="", group="", subresource=""):
        """What the authorizers say about `user` (a SubjectAccessReview)."""
        groups = ["system:authenticated"]
        if user.startswith("system:serviceaccount:"):
            groups += ["system:serviceaccounts", "system:serviceaccounts:" + user.split(":")[2]]
        answer = self.api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups, "resourceAttributes": {
                "verb": verb, "resource": resource, "subresource": subresource, "group": group, "namespace": namespace, "name": name}}})
        return answer["status"]["allowed"]

    def record(self, *paths):
        """A Record of these collections (pods and nodes by default), to be used as a context manager."""
        return Record(self.api, paths or ("/api/v1/pods", "/api/v1/nodes"))

    def describe(self):
        """Where everything is, one line per thing: for a person who keeps a control plane running."""
        return "\n".join((f"API server  {self.url} and {self.url6}", f"kubeconfig  {self.kubeconfig}", f"CA          {self.ca_file}",
                          f"audit log   {self.audit.path}", f"logs        {self.logs}", f"ready in    {self.started_in:.1f} s"))
