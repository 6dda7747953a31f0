"""What a policy does to the node short of a drain, and that it is undone; and each half of the agent without the other.

Mocks stand for the metadata service and the API server (tests/sandbox); the marks' every turn is in tests/scenarios/marks_test.cpp.
"""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.agent import zone  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.names import Names, ORIGIN  # noqa: E402  pylint: disable=wrong-import-position

EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
SOFT = {"key": "lastlight.io/lastlight-interruption", "effect": "PreferNoSchedule"}


@pytest.fixture
def cloud(tmp_path):
    (tmp_path / "token").write_text("demo-token")
    with Imds() as imds, ApiServer() as api:
        yield imds, api, {
            "node-name": "demo-node", "dns": {"zones": [zone(".", "127.0.0.1:9")]},
            "interruption": {"source": "aws", "metadata-url": imds.url, "poll": "200ms", "poll-slow": "5s",
                             "policy": {"rebalance": "taint", "rebalance-minimum-age": "0s"}},
            "kubernetes": {"api-server": api.url, "token-file": str(tmp_path / "token"), "ca-file": ""}}


def taints(api):
    return [{key: each[key] for key in ("key", "effect")} for each in api.cluster.node["spec"].get("taints", [])]


def reasons(api):
    return {event["reason"] for event in list(api.cluster.events) if event["involvedObject"]["kind"] == "Node"}


def test_advice_taints_a_stop_cordons_and_both_are_undone(cloud, agent_factory):  # pylint: disable=redefined-outer-name
    imds, api, config = cloud
    agent = agent_factory(config)
    imds.configure({"rebalance": True})
    wait_until(lambda: taints(api) == [SOFT], 20, "the soft taint", agent.process)
    wait_until(lambda: "RebalanceRecommendation" in reasons(api), 10, "its Event", agent.process)
    assert api.cluster.cordoned is None
    imds.set_notice(window=3600, action="stop")
    wait_until(lambda: api.cluster.cordoned, 10, "the cordon", agent.process)
    wait_until(lambda: {"SpotInterruption", "Cordon"} <= reasons(api), 10, "its Events", agent.process)
    requests = imds.stats()["requests"].get("PUT /latest/api/token", 0)
    os.kill(agent.worker, signal.SIGKILL)
    wait_until(lambda: imds.stats()["requests"].get("PUT /latest/api/token", 0) > requests, 20, "the next worker", agent.process)
    assert api.cluster.cordoned
    imds.configure({"notice": None})
    wait_until(lambda: api.cluster.cordoned is None, 20, "the cordon's end", agent.process)
    wait_until(lambda: taints(api) == [SOFT], 20, "what the advice, which stands, is worth", agent.process)
    assert EXCLUDE not in api.cluster.node["metadata"]["labels"], "the pods stay and are served"
    imds.configure({"rebalance": None})
    wait_until(lambda: not taints(api) and not api.cluster.node["metadata"]["annotations"], 30, "the taint's end", agent.process)
    assert "Uncordon" in reasons(api)
    assert all(fate.told is None for fate in api.cluster.fates.values()), "no pod was sent away"


def test_the_interruption_half_alone(cloud, agent_factory):  # pylint: disable=redefined-outer-name
    imds, api, config = cloud
    agent = agent_factory({**config, "dns": {**config["dns"], "listen": []}})
    assert agent.get("/readyz") == (200, "ready\ndns: off\n")
    imds.set_notice(window=60)
    wait_until(lambda: api.cluster.cordoned, 10, "the cordon", agent.process)
    wait_until(lambda: any(fate.told for fate in api.cluster.fates.values()), 10, "the first pod to be told", agent.process)


def test_the_dns_half_alone_asks_nobody_about_the_node(agent_factory):
    with Imds() as imds, Names() as names:
        agent = agent_factory({"interruption": {"source": "none", "metadata-url": imds.url}, "dns": {"zones": [zone(".", names.address)]}})
        assert agent.query(f"www.{ORIGIN}").answer
        metrics = agent.metrics()
        assert not [key for key in metrics if key.startswith("lastlight_metadata") or key.startswith("lastlight_drain")]
        assert not imds.stats()["requests"]
