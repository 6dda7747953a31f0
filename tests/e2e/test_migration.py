"""MIGRATION.md, followed word by word on a real control plane: NodeLocal DNSCache and a termination handler give way node by node, come back
when asked to, and in the end nothing of lastlight is left."""

import os
import re
import shutil
import subprocess

import pytest

from rig import peers
from rig.proc import wait_until

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
