"""A node's last minutes, as its pods live them: hot and cold names from a pod's namespace while a notice comes, CoreDNS on the node is
gone with it, pods leave one after another, and the agent is told to leave in the middle. No question fails before the last pod is gone."""

import time

from rig import peers
from rig.agent import write_config, zone
from rig.coredns import CoreDNS, answer, site
from rig.load import Load
from rig.measure import SchedulingDelay
from rig.netns import CLUSTER_IP, CLUSTER_IP6, COREDNS, NODE as NODE_IP
from rig.proc import Process, wait_until
from sandbox import pods
from sandbox.apiserver import ApiServer
from sandbox.cluster import Cluster
from sandbox.imds import Imds
from test_takeover_lease import US, start_coredns

NODE = "demo-node"
PODS = [pods.Kind(f"web-{stops}", "Deployment", ("apps/v1", "ReplicaSet", "web"), stops_in=stops, grace=30) for stops in (1.0, 2.5, 5.0)]
OTHERS = [pods.Kind("daemon-1", "DaemonSet", ("apps/v1", "DaemonSet", "daemon")), pods.Kind("static-1", "mirror", ("v1", "Node", NODE), mirror=True)]
RATE = 100


class Service:
    address, port = CLUSTER_IP, 53


def name(number):
    """Every other question is for one of fifty names; the others were never asked before."""
    return f"hot-{number // 2 % 50}.example.org" if number % 2 else f"cold-{number}.example.org"


def test_no_question_fails_before_the_last_pod_is_gone(cluster_net, coredns_factory, agent_binary, tmp_path, request):
    del coredns_factory
    net = cluster_net
    net.proxy()
    start_coredns(net, tmp_path, request)
    (tmp_path / "token").write_text("t")
    with net.node:
        api = ApiServer(Cluster(NODE, kinds=(*PODS, *OTHERS), budgets=()), token="t")
        metadata = Imds()
        near = CoreDNS(peers.paths("coredns")["coredns"], tmp_path, site(".:5301", answer(US, ttl=5), bind=NODE_IP), address=NODE_IP, port=5301)
        near.start()
        config = write_config(tmp_path, {
            "node-name": NODE, "node-ip": NODE_IP, "leave-last": "1m", "http": {"listen": "", "status": ""}, "takeover": {"mode": "intercept"},
            "dns": {"listen": [CLUSTER_IP, CLUSTER_IP6], "zones": [zone(".", near, f"{COREDNS}:5300")]},
            "interruption": {"source": "aws", "metadata-url": metadata.url, "poll": "200ms"}, "drain": {"state-file": str(tmp_path / "drain.json")},
            "kubernetes": {"api-server": api.url, "token-file": str(tmp_path / "token"), "ca-file": ""}})
        agent = Process("lastlight", [agent_binary, "run", "--config", config], str(tmp_path))
    for each in (near.stop, api.close, metadata.close, agent.stop):
        request.addfinalizer(each)
    wait_until(lambda: "state=held" in agent.output(), 20, "the lease", agent)
    fates = [api.cluster.fates["default", pod.name] for pod in PODS]
    with net.pod:
        load = Load(Service, name, RATE)
    with SchedulingDelay() as delay, load:
        wait_until(lambda: len([one for one in load.asked if one.answered]) > RATE, 10, "answers", agent)
        metadata.set_notice(window=120)
        wait_until(lambda: "interruption.notice" in agent.output(), 10, "the notice", agent)
        near.stop()
        wait_until(lambda: any(fate.gone for fate in fates), 20, "the first pod to be gone", agent)
        assert not all(fate.gone for fate in fates)
        agent.popen.terminate()
        wait_until(lambda: agent.exit_code() is not None, 30, "the agent's end", interval=0.01)
        left = time.monotonic()
    gone = max(fate.gone for fate in fates)
    failed = [one for one in load.asked if one.failed and one.sent < gone]
    print(f"{len([one for one in load.asked if one.sent < gone])} questions until the last pod was gone: {len(failed)} failed, longest wait "
          f"{load.worst() * 1000:.0f} ms; the agent was gone {left - gone:.2f} s after it")
    assert agent.exit_code() == 0 and failed == []
    assert left > gone and left - gone < 1.0 + delay.worst(gone, left)
    assert [one for one in load.asked if one.failed] == []  # nor after it: kube-proxy has them
    assert "lastlight" not in net.node.run("nft", "list", "tables")
