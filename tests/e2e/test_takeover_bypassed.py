"""A dataplane that translates the Service's address before our rules see a query, as eBPF at the socket does: DNS works, and is not
ours. The agent says so."""

import pytest

from rig.netns import CLUSTER_IP, CLUSTER_IP6, COREDNS, NODE
from rig.proc import wait_until
from sandbox.apiserver import ApiServer
from sandbox.cluster import Cluster
from test_takeover_lease import node_factory  # noqa: F401  pylint: disable=unused-import

NAME = "n1"
# Without connection tracking and before it, both ways.
ELSEWHERE = f"""table ip elsewhere {{
    chain out {{ type route hook output priority -400
        ip daddr {CLUSTER_IP} udp dport 53 ip daddr set {COREDNS} ip saddr set {NODE}
    }}
    chain back {{ type filter hook input priority -400
        ip saddr {COREDNS} udp sport 53 ip saddr set {CLUSTER_IP} ip daddr set {CLUSTER_IP}
    }}
}}"""


@pytest.fixture
def api(cluster_net):
    with cluster_net.node:
        served = ApiServer(Cluster(NAME), token="t")
    yield served
    served.close()


def test_a_bypassed_takeover_is_told_until_it_is_none(node_factory, cluster_net, api, tmp_path):  # noqa: F811  pylint: disable=redefined-outer-name
    (tmp_path / "token").write_text("t")
    node = node_factory(more={"node-name": NAME, "kubernetes": {"api-server": api.url, "token-file": str(tmp_path / "token"), "ca-file": ""}})
    held, bypassed = ('lastlight_takeover_state{state="%s"}' % state for state in ("held", "bypassed"))
    wait_until(lambda: node.get("/readyz")[0] == 200, 5, "readiness", node.supervisor)
    assert node.metrics()[held] == 1
    cluster_net.node.nft(ELSEWHERE)
    wait_until(lambda: node.metrics()[bypassed] == 1, 40, "the agent to say that it is bypassed", node.supervisor)
    assert "takeover.bypassed" in node.supervisor.output()
    (event,) = wait_until(lambda: api.cluster.events, 5, "the Event")
    assert event["reason"] == "DNSTakeoverBypassed" and event["involvedObject"]["name"] == NAME
    assert f"{CLUSTER_IP}:53 " in event["message"] and CLUSTER_IP6 not in event["message"] and "takeover.mode: none" in event["message"]
    cluster_net.node.run("nft", "delete", "table", "ip", "elsewhere")
    wait_until(lambda: node.metrics()[held] == 1 and node.get("/readyz")[0] == 200, 20, "its own queries", node.supervisor)
    assert len(api.cluster.events) == 1
