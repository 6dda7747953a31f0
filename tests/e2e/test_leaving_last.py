"""Leaving last: on a node that is being drained the agent, told to leave, answers until the last pod that needs names has left."""

import time

import pytest

from rig.agent import zone
from rig.coredns import answer, site
from rig.proc import wait_until
from sandbox import pods
from sandbox.apiserver import ApiServer
from sandbox.cluster import Cluster

NODE = "demo-node"
WEB = pods.Kind("web-1", "Deployment", ("apps/v1", "ReplicaSet", "web"), stops_in=1.0, grace=5)
DAEMON = pods.Kind("daemon-1", "DaemonSet", ("apps/v1", "DaemonSet", "daemon"))
MIRROR = pods.Kind("static-1", "mirror", ("v1", "Node", NODE), mirror=True)


@pytest.fixture
def api():
    served = ApiServer(Cluster(NODE, kinds=(WEB, DAEMON, MIRROR), budgets=()), token="t")
    yield served
    served.close()


@pytest.fixture
def agent(agent_factory, coredns_factory, api, tmp_path):  # pylint: disable=redefined-outer-name
    (tmp_path / "token").write_text("t")
    dns = coredns_factory(site(".", answer("192.0.2.7", ttl=1)))
    return agent_factory({"node-name": NODE, "leave-last": "1m", "dns": {"zones": [zone(".", dns)]},
                          "kubernetes": {"api-server": api.url, "token-file": str(tmp_path / "token"), "ca-file": ""}})


def answers(agent):  # pylint: disable=redefined-outer-name
    return agent.process.exit_code() is None and agent.query("web.example.org", timeout=1).answer


def cordon(api):  # pylint: disable=redefined-outer-name
    api.cluster.patch_node(NODE, {"spec": {"unschedulable": True}})


def test_on_a_drained_node_it_answers_until_the_last_pod_is_gone(agent, api):  # pylint: disable=redefined-outer-name
    cordon(api)
    agent.terminate()
    wait_until(lambda: "leaving.pods_left pods=1" in agent.process.output(), 5, "the pods to be counted", agent.process)
    for _ in range(20):
        assert answers(agent)
        time.sleep(0.05)  # the pods' questions, one after another
    api.cluster.delete("default", WEB.name, {})
    fate = api.cluster.fates["default", WEB.name]
    while fate.gone is None:
        assert answers(agent)
    assert agent.process.wait(5) == 0
    print(f"left {time.monotonic() - fate.gone:.2f} s after the last pod")
    assert time.monotonic() - fate.gone < 1.0 + 1.0  # a list twice a second, and what a busy machine adds


def test_a_pod_that_should_have_ended_long_ago_keeps_nobody(agent, api):  # pylint: disable=redefined-outer-name
    cordon(api)
    ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 61))  # its grace included
    with api.cluster.changed:
        api.cluster._pods["default", WEB.name]["metadata"].update(deletionTimestamp=ended, deletionGracePeriodSeconds=30)  # pylint: disable=protected-access
    agent.terminate()
    assert agent.process.wait(5) == 0
    assert "leaving.pods_left pods=0" in agent.process.output()


def test_on_a_node_that_stays_it_leaves_at_once(agent):  # pylint: disable=redefined-outer-name
    told = time.monotonic()
    agent.terminate()
    assert agent.process.wait(5) == 0
    print(f"left {time.monotonic() - told:.2f} s after SIGTERM")
    assert "leaving.pods_left" not in agent.process.output()


def test_when_nobody_can_tell_it_leaves_after_a_moment(agent, api):  # pylint: disable=redefined-outer-name
    cordon(api)
    api.close()
    told = time.monotonic()
    agent.terminate()
    assert agent.process.wait(8) == 0
    assert time.monotonic() - told < 2.0 + 2.0, agent.process.tail()


def test_a_second_signal_ends_it(agent, api):  # pylint: disable=redefined-outer-name
    cordon(api)
    agent.terminate()
    wait_until(lambda: "leaving.pods_left pods=1" in agent.process.output(), 5, "the pods to be counted", agent.process)
    agent.terminate()
    assert agent.process.wait(3) == 0
