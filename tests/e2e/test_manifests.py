"""The shipped manifests: accepted by a real API server, and RBAC that allows what the agent does and nothing else."""

import os
import subprocess

import pytest
import yaml
from rig import needs
from rig.proc import wait_until

MANIFESTS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "manifests")
USER = "system:serviceaccount:kube-system:lastlight"
CLUSTER_SCOPED = ("ClusterRole", "ClusterRoleBinding", "FlowSchema", "PriorityLevelConfiguration",
                  "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


@pytest.fixture(scope="module")
def rendered(control_plane):
    return [each for each in yaml.safe_load_all(control_plane.kubectl("kustomize", MANIFESTS)) if each]


@pytest.fixture(scope="module")
def rbac(control_plane, rendered):  # pylint: disable=redefined-outer-name
    kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    control_plane.apply(*(each for each in rendered if each["kind"] in kinds))
    return control_plane


def the(kind, rendered):  # pylint: disable=redefined-outer-name
    return next(each for each in rendered if each["kind"] == kind)


def test_the_server_accepts_them(control_plane):
    said = control_plane.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-k", MANIFESTS)
    for name in ("serviceaccount/", "clusterrole.rbac.authorization.k8s.io/", "role.rbac.authorization.k8s.io/", "configmap/", "daemonset.apps/",
                 "flowschema.flowcontrol.apiserver.k8s.io/", "prioritylevelconfiguration.flowcontrol.apiserver.k8s.io/"):
        assert f"{name}lastlight serverside-applied (server dry run)" in said.splitlines() or f"{name}lastlight serverside-applied" in said
    assert "service/lastlight-upstream" in said
    assert not control_plane.api.exists("/apis/apps/v1/namespaces/kube-system/daemonsets/lastlight")


def test_everything_namespaced_is_in_kube_system(rendered):  # pylint: disable=redefined-outer-name
    assert {each["metadata"].get("namespace") for each in rendered if each["kind"] not in CLUSTER_SCOPED} == {"kube-system"}


@pytest.mark.parametrize("asked", [
    {"verb": "get", "resource": "nodes"}, {"verb": "patch", "resource": "nodes"}, {"verb": "watch", "resource": "nodes"},
    {"verb": "list", "resource": "pods"}, {"verb": "watch", "resource": "pods"}, {"verb": "delete", "resource": "pods", "namespace": "shop"},
    {"verb": "create", "resource": "pods", "subresource": "eviction", "namespace": "shop"},
    {"verb": "create", "resource": "events", "namespace": "default"}, {"verb": "patch", "resource": "events", "namespace": "default"},
    {"verb": "get", "resource": "services", "namespace": "kube-system", "name": "kube-dns"},
    {"verb": "get", "resource": "services", "namespace": "kube-system", "name": "lastlight-upstream"},
], ids=lambda asked: " ".join(asked.values()))
def test_it_may(rbac, asked):  # pylint: disable=redefined-outer-name
    wait_until(lambda: rbac.allowed(USER, **asked), 20, "the server to have read the roles")


@pytest.mark.parametrize("asked", [
    {"verb": "get", "resource": "secrets", "namespace": "kube-system"}, {"verb": "list", "resource": "secrets"},
    {"verb": "list", "resource": "nodes"}, {"verb": "update", "resource": "nodes"}, {"verb": "delete", "resource": "nodes"},
    {"verb": "patch", "resource": "nodes", "subresource": "status"}, {"verb": "create", "resource": "nodes", "subresource": "proxy"},
    {"verb": "create", "resource": "pods"}, {"verb": "patch", "resource": "pods"}, {"verb": "deletecollection", "resource": "pods"},
    {"verb": "create", "resource": "pods", "subresource": "exec"}, {"verb": "get", "resource": "pods", "subresource": "log"},
    {"verb": "get", "resource": "services", "namespace": "kube-system", "name": "other"},
    {"verb": "get", "resource": "services", "namespace": "default", "name": "kube-dns"}, {"verb": "list", "resource": "services"},
    {"verb": "get", "resource": "configmaps", "namespace": "kube-system"}, {"verb": "list", "resource": "events"},
    {"verb": "create", "resource": "serviceaccounts", "subresource": "token", "namespace": "kube-system"},
    {"verb": "get", "resource": "poddisruptionbudgets", "group": "policy"}, {"verb": "*", "resource": "*", "group": "*"},
], ids=lambda asked: " ".join(asked.values()))
def test_it_may_not(rbac, asked):  # pylint: disable=redefined-outer-name
    assert not rbac.allowed(USER, **asked)


def test_its_requests_have_a_priority_level_of_their_own(rbac, rendered):  # pylint: disable=redefined-outer-name
    level, schema = rbac.apply(the("PriorityLevelConfiguration", rendered), the("FlowSchema", rendered))
    api = rbac.api.as_token(rbac.service_account_token("kube-system", "lastlight"))

    def served_by():
        connection = api.connect()
        connection.request("GET", "/api/v1/pods?limit=1", headers=api.headers())
        reply = connection.getresponse()
        reply.read()
        connection.close()
        assert reply.status == 200
        return reply.getheader("X-Kubernetes-PF-FlowSchema-UID"), reply.getheader("X-Kubernetes-PF-PriorityLevel-UID")

    wait_until(lambda: served_by() == (schema["metadata"]["uid"], level["metadata"]["uid"]), 20, "the server to read its flow schemas")


def test_the_pod_is_closed_and_declares_no_port(rendered):  # pylint: disable=redefined-outer-name
    pod = the("DaemonSet", rendered)["spec"]["template"]["spec"]
    container, = pod["containers"]
    assert pod["hostNetwork"] and pod["dnsPolicy"] == "Default" and pod["priorityClassName"] == "system-node-critical"
    assert pod["tolerations"] == [{"operator": "Exists"}] and pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert not {"hostPID", "hostIPC"} & pod.keys()
    assert "ports" not in container
    security = container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    assert security["readOnlyRootFilesystem"] and security["allowPrivilegeEscalation"] is False and not security.get("privileged")
    assert [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == ["/run/lastlight"]
    assert {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"]} == {
        "NODE_NAME": "spec.nodeName", "NODE_IP": "status.hostIP", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}
    for probe, flag in (("readinessProbe", "--ready"), ("livenessProbe", "--alive")):
        assert container[probe]["exec"]["command"][:3] == ["lastlight", "status", flag]


def test_a_pod_of_it_is_placed_on_every_node(rendered, control_plane):  # pylint: disable=redefined-outer-name
    control_plane.create_node("manifest-tainted", taints=[{"key": "pool", "value": "spot", "effect": "NoExecute"}])
    try:
        control_plane.apply(*rendered)
        pod, = control_plane._wait(lambda: [each for each in control_plane.pods("kube-system", node="manifest-tainted")  # pylint: disable=protected-access
                                            if each["metadata"]["name"].startswith("lastlight-")], 30, "the DaemonSet's pod")
        assert pod["spec"]["hostNetwork"] and pod["spec"]["priority"] == 2000001000
        assert "hostPort" not in str(pod["spec"])
    finally:
        control_plane.api.request("DELETE", "/apis/apps/v1/namespaces/kube-system/daemonsets/lastlight")
        control_plane.delete_node("manifest-tainted")


def test_the_upstream_service_selects_the_dns_pods_by_both_protocols(rendered):  # pylint: disable=redefined-outer-name
    service = the("Service", rendered)["spec"]
    assert service["selector"] == {"k8s-app": "kube-dns"}
    assert sorted((each["port"], each["protocol"]) for each in service["ports"]) == [(53, "TCP"), (53, "UDP")]
    assert service["type"] == "ClusterIP" and "clusterIP" not in service


@pytest.fixture
def lastlight(cache_dir):
    """The built agent, or a skip that says so."""
    del cache_dir
    root = os.path.dirname(MANIFESTS)
    for built in (os.environ.get("LASTLIGHT_BINARY"), os.path.join(root, "build", "release", "agent", "lastlight")):
        if built and os.access(built, os.X_OK):
            return built
    return needs.missing("build/release has no lastlight")


def test_the_agent_accepts_the_shipped_configuration(lastlight, tmp_path):  # pylint: disable=redefined-outer-name
    with open(os.path.join(MANIFESTS, "base", "configmap.yaml"), encoding="utf-8") as text:
        config, = yaml.safe_load(text)["data"].values()
    file = tmp_path / "lastlight.yaml"
    file.write_text(config)
    environment = {"PATH": os.environ["PATH"], "NODE_NAME": "spot-1", "NODE_IP": "192.0.2.10", "POD_NAMESPACE": "kube-system",
                   "KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": "443",
                   "LASTLIGHT_UPSTREAM_SERVICE_HOST": "192.0.2.2", "KUBE_DNS_SERVICE_HOST": "192.0.2.3"}
    run = subprocess.run([lastlight, "check", "--config", str(file)], env=environment, text=True, capture_output=True, timeout=30, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
