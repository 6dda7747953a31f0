"""The admission policy on a real API server: an agent's token is good for its own node, in the ways a drain uses it, and for nothing else.

That the agent's own drain passes is shown by test_drain_control_plane.py, which applies all of the manifests.
"""

import os

import pytest
import yaml

from rig import peers
from rig.proc import wait_until

MANIFESTS = os.path.join(peers.ROOT, "manifests")
OURS, OTHER = "confined-a", "confined-b"
TAINT = {"key": "status-taint.cluster-autoscaler.kubernetes.io/lastlight-interruption", "effect": "NoSchedule"}
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"


def pod_on(name, node):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "confined", "annotations": {}},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "x"}]}}


@pytest.fixture(scope="module")
def cluster(control_plane):
    rendered = [each for each in yaml.safe_load_all(control_plane.kubectl("kustomize", MANIFESTS)) if each]
    kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    wanted = [each for each in rendered if each["kind"] in kinds]
    assert len(wanted) == len(kinds)
    control_plane.create_namespace("confined")
    for node in (OURS, OTHER):
        control_plane.create_node(node, labels={"pool": "a"})
    control_plane.api.patch(f"/api/v1/nodes/{OURS}", {"spec": {"taints": [{"key": "theirs", "value": "v", "effect": "NoSchedule"}]}}, "merge")
    control_plane.apply(*wanted)
    yield control_plane
    for each in wanted:
        control_plane.api.request("DELETE", control_plane.api.path_of(each))
    control_plane.delete_namespace("confined")
    for node in (OURS, OTHER):
        control_plane.delete_node(node)


@pytest.fixture(scope="module")
def agent(cluster):  # pylint: disable=redefined-outer-name
    """What the agent of the first node may ask with: the token of its pod."""
    pod = {**pod_on("lastlight-x", OURS), "metadata": {"name": "lastlight-x", "namespace": "kube-system"}}
    pod["spec"]["serviceAccountName"] = "lastlight"
    cluster.apply(pod)
    api = cluster.api.as_token(cluster.service_account_token("kube-system", "lastlight", pod="lastlight-x"))
    # A policy is in force some time after it was written. A request that only the policy can refuse says when.
    wait_until(lambda: patch(api, OTHER, {"metadata": {"annotations": {"lastlight.io/probe": "1"}}}, dry_run=True)[0] == 422, 30, "the policy to be in force")
    yield api
    cluster.api.request("DELETE", "/api/v1/namespaces/kube-system/pods/lastlight-x?gracePeriodSeconds=0")


def patch(api, node, change, content_type="application/merge-patch+json", dry_run=False):
    return api.request("PATCH", f"/api/v1/nodes/{node}" + ("?dryRun=All" if dry_run else ""), change, content_type)


def refused(answer, part):
    code, said = answer
    assert code == 422 and "ValidatingAdmissionPolicy 'lastlight-own-node'" in said["message"], answer
    assert part in said["message"], said["message"]


CORDON = {"spec": {"unschedulable": True}, "metadata": {"labels": {EXCLUDE: "lastlight"}, "annotations": {"lastlight.io/interruption": "{}"}}}
UNDO = {"spec": {"unschedulable": None}, "metadata": {"labels": {EXCLUDE: None}, "annotations": {"lastlight.io/interruption": None}}}


def test_it_may_mark_its_own_node_and_take_that_back(agent, cluster):  # pylint: disable=redefined-outer-name
    assert patch(agent, OURS, CORDON)[0] == 200
    # As the cluster does after a cordon; the agent's next patch must pass with it there.
    wait_until(lambda: any(each["key"] == "node.kubernetes.io/unschedulable" for each in cluster.node(OURS)["spec"]["taints"]), 30, "the cluster's taint")
    assert patch(agent, OURS, [{"op": "add", "path": "/spec/taints/-", "value": TAINT}], "application/json-patch+json")[0] == 200
    taints = cluster.node(OURS)["spec"]["taints"]
    assert {each["key"] for each in taints} == {"theirs", "node.kubernetes.io/unschedulable", TAINT["key"]}
    index = next(number for number, each in enumerate(taints) if each["key"] == TAINT["key"])
    assert patch(agent, OURS, [{"op": "remove", "path": f"/spec/taints/{index}"}], "application/json-patch+json")[0] == 200
    assert patch(agent, OURS, UNDO)[0] == 200
    assert not cluster.node(OURS)["spec"].get("unschedulable")


def test_it_may_delete_a_pod_of_its_own_node(agent, cluster):  # pylint: disable=redefined-outer-name
    cluster.apply(pod_on("here", OURS))
    assert agent.request("DELETE", "/api/v1/namespaces/confined/pods/here", {"gracePeriodSeconds": 1})[0] in (200, 202)


def test_a_stolen_token_does_nothing_to_another_node(agent, cluster):  # pylint: disable=redefined-outer-name
    cluster.apply(pod_on("there", OTHER))
    part = f'an agent of node "{OURS}" may not touch node "{OTHER}"'
    refused(patch(agent, OTHER, CORDON), part)
    refused(patch(agent, OTHER, [{"op": "add", "path": "/spec/taints", "value": [TAINT]}], "application/json-patch+json"), part)
    refused(agent.request("DELETE", "/api/v1/namespaces/confined/pods/there", {"gracePeriodSeconds": 1}), part)
    refused(agent.request("DELETE", "/api/v1/namespaces/confined/pods/there?gracePeriodSeconds=0"), part)
    assert not cluster.node(OTHER)["spec"].get("unschedulable")
    assert "deletionTimestamp" not in cluster.api.get("/api/v1/namespaces/confined/pods/there")["metadata"]


def test_what_no_policy_can_confine(agent, cluster):  # pylint: disable=redefined-outer-name
    """SECURITY.md says so; when this fails, say there that it is confined now."""
    cluster.apply(pod_on("evicted", OTHER))
    cluster.wait_pods("confined", len(cluster.pods("confined")))
    code, _ = agent.request("POST", "/api/v1/namespaces/confined/pods/evicted/eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted", "namespace": "confined"}})
    assert code == 201


@pytest.mark.parametrize("change", [
    {"metadata": {"labels": {"pool": "b"}}}, {"metadata": {"labels": {"pool": None}}}, {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "1"}}},
], ids=str)
def test_its_own_nodes_labels_are_not_its_to_change(agent, change):  # pylint: disable=redefined-outer-name
    refused(patch(agent, OURS, change), "of a node's labels")


@pytest.mark.parametrize("change, part", [
    ({"metadata": {"annotations": {"node.alpha.kubernetes.io/ttl": "9"}}}, "of a node's annotations"),
    ({"spec": {"taints": None}}, "of a node's taints"),
    ({"spec": {"taints": [{"key": "mine", "effect": "NoExecute"}, {"key": "theirs", "value": "v", "effect": "NoSchedule"}]}}, "of a node's taints"),
    ({"spec": {"providerID": "aws:///x"}}, "and nothing else"),
    ({"metadata": {"finalizers": ["example.com/x"]}}, "and nothing else"),
], ids=str)
def test_nor_is_the_rest_of_it(agent, change, part):  # pylint: disable=redefined-outer-name
    refused(patch(agent, OURS, change), part)


def test_a_token_without_a_node_does_nothing(agent, cluster):  # pylint: disable=redefined-outer-name,unused-argument
    unbound = cluster.api.as_token(cluster.service_account_token("kube-system", "lastlight"))
    refused(patch(unbound, OURS, CORDON), "the token names no node")


def test_others_are_not_meant(agent, cluster):  # pylint: disable=redefined-outer-name,unused-argument
    assert patch(cluster.api, OTHER, {"metadata": {"labels": {"pool": "c"}}})[0] == 200
