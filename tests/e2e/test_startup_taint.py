"""A start-up taint on a real control plane: no pod starts on the node before its DNS works, upstream included, and nobody else's taint goes with it."""

import dns.rcode
import pytest

from rig.drains import ShippedAgent
from rig.proc import wait_until
from rig.scripted import reply

OURS = {"key": "startup-taint.cluster-autoscaler.kubernetes.io/lastlight", "effect": "NoSchedule"}
THEIRS = [{"key": "example.com/reserved", "value": "batch", "effect": "NoSchedule"}, {"key": "startup-taint.example.com/lastlight-too", "effect": "PreferNoSchedule"}]
NODE, NAMESPACE = "starting", "startup"


@pytest.fixture
def waiting(control_plane, shipped):  # pylint: disable=unused-argument
    """A node that has just been made, and a pod that only its start-up taint keeps away."""
    control_plane.create_namespace(NAMESPACE)
    control_plane.create_node(NODE, taints=[THEIRS[0], OURS, THEIRS[1]])
    control_plane.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": NAMESPACE}, "spec": {
        "nodeSelector": {"kubernetes.io/hostname": NODE}, "tolerations": [{"key": "example.com/reserved", "operator": "Exists"}],
        "containers": [{"name": "c", "image": "x"}]}})
    yield
    control_plane.delete_namespace(NAMESPACE)
    control_plane.delete_node(NODE)


def test_no_pod_starts_before_its_dns(control_plane, waiting, agent_binary, scripted_factory, tmp_path):  # pylint: disable=redefined-outer-name,unused-argument
    living = []
    upstream = scripted_factory(lambda query, tcp: reply(query, code=dns.rcode.NXDOMAIN, authority=["cluster.local. 5 IN SOA ns. h. 1 1 1 1 5"]) if living else None)

    def pod():
        return control_plane.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods/web")

    def taints():
        return control_plane.node(NODE)["spec"].get("taints", [])

    def unschedulable():
        return any(each["type"] == "PodScheduled" and each["reason"] == "Unschedulable" for each in pod()["status"].get("conditions", []))

    timeouts = {"query-timeout": "300ms", "attempt-timeout": "200ms"}
    more = {"startup-taint": {"remove": True}, "interruption": {"source": "none"}}
    with ShippedAgent(agent_binary, control_plane, NODE, tmp_path, "http://127.0.0.1:1", upstream.port, more=more, dns=timeouts) as agent:
        wait_until(lambda: "startup_taint.waits" in agent.process.output(), 20, "the agent to wait for its upstream", agent.process)
        wait_until(lambda: len({each for each in upstream.queries if each.endswith(".cluster.local")}) >= 4, 20, "more questions", agent.process)
        wait_until(unschedulable, 20, "the scheduler to leave the pod", agent.process)
        assert OURS in taints() and "nodeName" not in pod()["spec"]
        living.append(True)
        wait_until(lambda: pod()["spec"].get("nodeName") == NODE, 30, "the pod to be put on its node", agent.process)
        assert taints() == THEIRS
        wait_until(lambda: "startup_taint.removed" in agent.process.output(), 5, "the agent to say so", agent.process)
        own = [each for each in control_plane.audit.requests(user="system:serviceaccount:kube-system:lastlight") if (each.verb, each.resource, each.name) == ("patch", "nodes", NODE)]
        assert [each.code for each in own] == [200]
