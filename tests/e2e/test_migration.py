"""MIGRATION.md, followed word by word on a real control plane: NodeLocal DNSCache and a termination handler give way node by node, come back
when asked to, and in the end nothing of lastlight is left."""

import os
import re
import shutil
import subprocess

import dns.message
import dns.query
import pytest
import yaml

from rig import needs, peers
from rig.agent import write_config
from rig.netns import CLUSTER_IP, FALLBACK, LINK_LOCAL, NODE
from rig.proc import Process, wait_until
from test_takeover_lease import KUBE_DNS, start_coredns

NODES = ("move-a", "move-b")
OTHERS = ("node-local-dns", "aws-node-termination-handler")
COREFILE = """__PILLAR__DNS__DOMAIN__:53 {
    cache 30
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__ {
        force_tcp
    }
}
.:53 {
    cache 30
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__UPSTREAM__SERVERS__
}
"""


def blocks():
    """{heading: the commands below it}"""
    with open(os.path.join(peers.ROOT, "MIGRATION.md"), encoding="utf-8") as text:
        page = text.read()
    found = {}
    for section in re.split(r"^#+ ", page, flags=re.MULTILINE)[1:]:
        heading = section.partition("\n")[0]
        found[heading] = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return {heading: each for heading, each in found.items() if each}


def other(name, env=()):
    label = {"k8s-app": name}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": "kube-system"}, "spec": {
        "selector": {"matchLabels": label}, "template": {"metadata": {"labels": label}, "spec": {
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "c", "image": "x", "env": [{"name": key, "value": value} for key, value in env]}]}}}}


@pytest.fixture(scope="module")
def typed(control_plane, tmp_path_factory):
    """Types a block into a shell, in a clone, with kubectl and lastlight at hand."""
    clone = tmp_path_factory.mktemp("clone")
    shutil.copytree(os.path.join(peers.ROOT, "manifests"), clone / "manifests")
    programs = clone / "bin"
    programs.mkdir()
    (programs / "kubectl").symlink_to(peers.paths("kubectl")["kubectl"])
    (programs / "lastlight").symlink_to(os.path.join(peers.ROOT, "build", "release", "agent", "lastlight"))

    def run(block):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=clone, text=True, capture_output=True, timeout=120, check=False, env={
            "PATH": f"{programs}:{os.environ['PATH']}", "KUBECONFIG": control_plane.kubeconfig, "HOME": str(clone), "NODE": NODES[0]})
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout

    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "node-local-dns", "namespace": "kube-system"}, "data": {"Corefile": COREFILE}}
    handler = other(OTHERS[1], (("ENABLE_SPOT_INTERRUPTION_DRAINING", "true"), ("LOG_LEVEL", "info")))
    for name in NODES:
        control_plane.create_node(name)
    control_plane.apply(config, other(OTHERS[0]), handler)
    run.folder = clone
    yield run
    for name in OTHERS:
        control_plane.api.request("DELETE", f"/apis/apps/v1/namespaces/kube-system/daemonsets/{name}")
    control_plane.api.request("DELETE", control_plane.api.path_of(config))
    for name in NODES:
        control_plane.delete_node(name)


def test_the_page_works_as_it_stands(control_plane, typed, agent_binary):  # pylint: disable=redefined-outer-name,unused-argument
    page = blocks()
    assert list(page) == ["1. What do they do now?", "2. Install, on no node yet", "3. Move a node, then the rest", "The way back",
                          "4. When every node is moved", "The way out"]

    def on(node):
        pods = [each for each in control_plane.pods("kube-system", node=node) if "deletionTimestamp" not in each["metadata"]]
        labels = [each["metadata"]["labels"] for each in pods]
        return sorted(each.get("app.kubernetes.io/name") or each.get("k8s-app") or "?" for each in labels)

    def converges(first, second, what):
        wait_until(lambda: (on(NODES[0]), on(NODES[1])) == (first, second), 90, f"{what}: {on(NODES[0])}, {on(NODES[1])}")

    both, ours = sorted(OTHERS), ["lastlight"]
    converges(both, both, "what was there before")
    for block in (*page["1. What do they do now?"], *page["2. Install, on no node yet"]):
        typed(block)
    converges(both, both, "installed on no node")
    data = control_plane.api.get("/api/v1/namespaces/kube-system/configmaps/lastlight")["data"]
    assert set(data) == {"lastlight.yaml", "overlay-cloud.yaml", "overlay-takeover.yaml", "site.yaml"} and "169.254.20.10" in data["site.yaml"]
    folder = typed.folder / "config"
    folder.mkdir()
    for name, text in data.items():
        (folder / name).write_text(text)
    checked = subprocess.run([agent_binary, "check", "--config", str(folder)], env={"NODE_NAME": "n", "NODE_IP": "192.0.2.1"}, text=True,
                             capture_output=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr

    for block in page["3. Move a node, then the rest"]:
        typed(block)
    converges(ours, both, "one node moved")
    back, undo = page["The way back"]
    typed(back)
    converges(both, both, "the node moved back")
    typed(page["3. Move a node, then the rest"][0])
    converges(ours, both, "moved again")
    typed(page["4. When every node is moved"][0])
    converges(ours, ours, "every node moved")
    typed(page["The way out"][0])
    converges([], [], "nobody left")
    ask = ("kubectl get all,controllerrevision,configmap,serviceaccount,role,rolebinding -n kube-system -l app.kubernetes.io/part-of=lastlight -o name; "
           "kubectl get clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,flowschema,"
           "prioritylevelconfiguration -l app.kubernetes.io/part-of=lastlight -o name")
    wait_until(lambda: not typed(ask).strip(), 60, "nothing of it to be left")
    # The same from the start, undone in the middle.
    control_plane.apply(other(OTHERS[0]), other(OTHERS[1]))
    typed(page["2. Install, on no node yet"][0])
    typed(page["3. Move a node, then the rest"][0])
    typed(undo)
    converges(both, both, "undone")


@pytest.fixture
def configured(agent_binary, tmp_path):
    """The configuration that the page's first two steps make, as files; in its own words, but printed instead of applied."""
    moving = tmp_path / "moving"
    moving.mkdir()
    (moving / "Corefile").write_text(COREFILE)
    (moving / "nth.env").write_text("ENABLE_SPOT_INTERRUPTION_DRAINING=true\n")
    (tmp_path / "manifests").symlink_to(os.path.join(peers.ROOT, "manifests"))
    page = blocks()
    convert = page["1. What do they do now?"][0].splitlines()[-1]
    script = convert + "\n" + page["2. Install, on no node yet"][0].replace("kubectl apply -k", "kubectl kustomize")
    programs = os.pathsep.join([os.path.dirname(agent_binary), os.path.dirname(needs.peers_or_skip("kubectl")["kubectl"]), os.environ["PATH"]])
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, text=True, capture_output=True, timeout=60, check=False,
                          env={**os.environ, "PATH": programs})
    assert done.returncode == 0, done.stderr
    data = next(each["data"] for each in yaml.safe_load_all(done.stdout) if (each["kind"], each["metadata"]["name"]) == ("ConfigMap", "lastlight"))
    folder = tmp_path / "config"
    folder.mkdir()
    for name, text in data.items():
        (folder / name).write_text(text)
    return folder


def asked_from_a_pod(net, address, name):
    with net.pod:
        reply = dns.query.udp(dns.message.make_query(name, "A"), address, timeout=10)
    return [each.address for rrset in reply.answer for each in rrset]


def test_an_agent_so_configured_converges_and_leaves_nothing(configured, cluster_net, coredns_factory, agent_binary, tmp_path, request):  # pylint: disable=redefined-outer-name
    """On a node with a kube-proxy in front of CoreDNS: NodeLocal's link-local address and the ClusterIP are the agent's, then again the cluster's."""
    del coredns_factory  # skips when there is none
    cluster_net.proxy()
    start_coredns(cluster_net, tmp_path, request)
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    # Of this machine, where there is neither a cloud nor an API server.
    write_config(configured, {"dns": {"resolv-conf": str(tmp_path / "resolv.conf")}, "interruption": {"source": "none"}}, name="z-here.yaml")
    environment = {"NODE_NAME": "n", "NODE_IP": NODE, "KUBE_DNS_SERVICE_HOST": CLUSTER_IP, "LASTLIGHT_UPSTREAM_SERVICE_HOST": FALLBACK,
                   "LASTLIGHT_RUN_DIR": str(tmp_path / "run")}

    def typed_on_the_node(*words):
        with cluster_net.node:
            return subprocess.run([agent_binary, *words], text=True, capture_output=True, timeout=60, check=False, env={**os.environ, **environment})

    with cluster_net.node:
        agent = Process("lastlight", [agent_binary, "run", "--config", str(configured)], str(tmp_path), env=environment)
    request.addfinalizer(agent.stop)
    wait_until(lambda: typed_on_the_node("status", "--ready").returncode == 0, 30, "the probe of the manifests to be content", agent)
    wait_until(lambda: "state=held" in agent.output() or '"state":"held"' in agent.output(), 20, "the lease", agent)
    for address, name in ((CLUSTER_IP, "a.shop.svc.cluster.local"), (LINK_LOCAL, "b.shop.svc.cluster.local")):
        assert asked_from_a_pod(cluster_net, address, name) == [KUBE_DNS]
        kept = typed_on_the_node("cache", "get", name)
        assert kept.returncode == 0 and KUBE_DNS in kept.stdout, f"{name} came past the agent: {kept.stdout}{kept.stderr}"
    assert agent.stop() == 0
    for address in (CLUSTER_IP, LINK_LOCAL):
        assert asked_from_a_pod(cluster_net, address, "c.shop.svc.cluster.local") == [KUBE_DNS], "the cluster's DNS has them again"
    undone = typed_on_the_node("uninstall")
    assert undone.returncode == 0, undone.stderr
    assert "lastlight" not in cluster_net.node.run("nft", "list", "ruleset") and LINK_LOCAL not in cluster_net.node.run("ip", "address")
    assert "lastlight" not in cluster_net.node.run("ip", "link")
