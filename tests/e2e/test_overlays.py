"""Every way to install it: the overlays, the Helm chart that renders the same objects, and the configuration each of them gives the agent."""

import json
import os
import subprocess

import pytest
import yaml

from rig import needs, peers
from rig.proc import wait_until

MANIFESTS = os.path.join(peers.ROOT, "manifests")
LABEL = "app.kubernetes.io/name=lastlight"


def below(folder):
    return sorted(each for each in os.listdir(os.path.join(MANIFESTS, folder)) if os.path.isdir(os.path.join(MANIFESTS, folder, each)))


def read(*path):
    with open(os.path.join(MANIFESTS, *path), encoding="utf-8") as text:
        return text.read()


OVERLAYS = [each for each in below("overlays") if each != "simulate"]
MONITORS = {"ServiceMonitor": "servicemonitors", "PodMonitor": "podmonitors"}


def components_of(overlay):
    return [os.path.basename(each) for each in yaml.safe_load(read("overlays", overlay, "kustomization.yaml"))["components"]]


def run(*words, stdin=None, code=0):
    done = subprocess.run(words, text=True, input=stdin, capture_output=True, timeout=60, check=False, env={**os.environ, "HELM_NO_PLUGINS": "1"})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def objects(text):
    return [each for each in yaml.safe_load_all(text) if each]


@pytest.fixture(scope="module")
def tools():
    found = needs.peers_or_skip("kubectl", "helm")

    class Tools:
        """The two renderers."""
        rendered = {}

        def kustomize(self, folder):
            if folder not in self.rendered:
                self.rendered[folder] = objects(run(found["kubectl"], "kustomize", folder))
            return self.rendered[folder]

        @staticmethod
        def helm(*words, values=None, code=0, namespace="kube-system"):
            given = ["--values", "-"] if values is not None else []
            said = run(found["helm"], "template", "lastlight", MANIFESTS, "--namespace", namespace, *given, *words,
                       stdin=json.dumps(values) if values is not None else None, code=code)
            return objects(said) if code == 0 else said
    return Tools()


def plain(thing):
    """With lists of named things in the order of their names: neither renderer promises one."""
    if isinstance(thing, dict):
        return {key: plain(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return sorted((plain(each) for each in thing), key=lambda each: json.dumps(each, sort_keys=True))
    return thing


def by_name(rendered):
    return {(each["kind"], each["metadata"]["name"]): plain(each) for each in rendered}


def the(kind, rendered):
    return next(each for each in rendered if each["kind"] == kind)


def config_of(rendered):
    """The files of /etc/lastlight, by the ConfigMap that the DaemonSet mounts."""
    volume = next(each for each in the("DaemonSet", rendered)["spec"]["template"]["spec"]["volumes"] if each["name"] == "config")
    return next(each["data"] for each in rendered if each["kind"] == "ConfigMap" and each["metadata"]["name"] == volume["configMap"]["name"])


# --- what is rendered

@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_chart_renders_what_kustomize_does(tools, overlay):  # pylint: disable=redefined-outer-name
    assert by_name(tools.helm(values={"components": components_of(overlay)})) == by_name(tools.kustomize(os.path.join(MANIFESTS, "overlays", overlay)))


def test_without_values_the_chart_is_the_base(tools):  # pylint: disable=redefined-outer-name
    rendered = by_name(tools.helm())
    assert rendered == by_name(tools.kustomize(MANIFESTS))
    assert len(rendered) >= 10


def every_component(tmp_path):
    """One overlay with each component that no ready-made overlay has."""
    used = {name for overlay in OVERLAYS for name in components_of(overlay)}
    names = [each for each in below("components") if each not in used]
    folder = tmp_path / "overlay"
    folder.mkdir()
    relative = os.path.relpath(MANIFESTS, folder)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [f"{relative}/base"],
        "components": [f"{relative}/monitoring", *(f"{relative}/components/{name}" for name in names)]}))
    return str(folder), ["monitoring", *names]


def test_the_chart_renders_every_other_component_too(tools, tmp_path):  # pylint: disable=redefined-outer-name
    folder, names = every_component(tmp_path)
    assert {"without-confinement", "pod-monitor", "service-monitor"} <= set(names)
    assert by_name(tools.helm(values={"components": names})) == by_name(tools.kustomize(folder))


def test_the_schema_knows_every_component_and_no_other():
    schema = json.loads(read("values.schema.json"))["properties"]
    assert schema["components"]["items"]["enum"] == sorted([*below("components"), "monitoring"])
    assert schema.keys() == yaml.safe_load(read("values.yaml")).keys()


@pytest.mark.parametrize("values", [
    {"components": ["ekss"]}, {"compontents": []}, {"components": ["intercept", "link-local"]}, {"components": ["spot", "on-demand"]},
    {"components": ["interruption-only", "dns-only"]}, {"image": {"tag": "1"}}, {"image": {"repository": "r", "digest": "sha256:1"}},
    {"resources": {"limit": {}}}, {"tolerations": {}}, {"runbooks": "wiki"},
], ids=json.dumps)
def test_the_schema_refuses(tools, values):  # pylint: disable=redefined-outer-name
    assert "schema" in tools.helm(values=values, code=1)


def test_the_chart_belongs_beside_the_dns_pods(tools):  # pylint: disable=redefined-outer-name
    assert "--namespace kube-system" in tools.helm(code=1, namespace="default")


def test_values_change_what_they_say_and_nothing_else(tools):  # pylint: disable=redefined-outer-name
    values = {"image": {"repository": "registry.example.com/lastlight", "tag": "v1", "pullPolicy": "Always"}, "imagePullSecrets": [{"name": "pull"}],
              "config": {"dns": {"cache-size": "64MiB"}}, "resources": {"limits": {"memory": "256Mi"}}, "nodeSelector": {"pool": "a"},
              "tolerations": [{"key": "a", "operator": "Exists"}], "podAnnotations": {"a": "b"}, "podLabels": {"c": "d"},
              "priorityClassName": "system-cluster-critical", "runbooks": "https://wiki.example.com/lastlight", "components": ["monitoring"]}
    rendered = tools.helm(values=values)
    pod = the("DaemonSet", rendered)["spec"]["template"]
    before = the("DaemonSet", tools.kustomize(MANIFESTS))["spec"]["template"]
    container, = pod["spec"]["containers"]
    assert container["image"] == "registry.example.com/lastlight:v1" and container["imagePullPolicy"] == "Always"
    assert container["resources"]["limits"]["memory"] == "256Mi"
    assert container["resources"]["requests"] == before["spec"]["containers"][0]["resources"]["requests"]
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "a"} and pod["spec"]["tolerations"] == values["tolerations"]
    assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}] and pod["spec"]["priorityClassName"] == "system-cluster-critical"
    assert pod["metadata"]["annotations"] == {"a": "b"} and pod["metadata"]["labels"] == {**before["metadata"]["labels"], "c": "d"}
    for key in ("image", "imagePullPolicy", "resources"):
        container[key] = before["spec"]["containers"][0][key]
    assert container == before["spec"]["containers"][0]
    config = config_of(rendered)
    assert yaml.safe_load(config.pop("values.yaml")) == values["config"]
    assert config == config_of(tools.kustomize(MANIFESTS))
    alerts = yaml.safe_load(next(each for each in rendered if each["metadata"]["name"] == "lastlight-rules")["data"]["alerts.yaml"])
    urls = [rule["annotations"]["runbook_url"] for group in alerts["groups"] for rule in group["rules"]]
    assert urls and all(url.startswith("https://wiki.example.com/lastlight#lastlight") for url in urls)


def test_a_digest_wins_over_the_tag(tools):  # pylint: disable=redefined-outer-name
    digest = "sha256:" + "a" * 64
    container, = the("DaemonSet", tools.helm(values={"image": {"repository": "r.example.com/l", "digest": digest}}))["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"r.example.com/l@{digest}"


def test_half_of_it_asks_for_less(tools):  # pylint: disable=redefined-outer-name
    pod = the("DaemonSet", tools.kustomize(os.path.join(MANIFESTS, "overlays", "interruption-only")))["spec"]["template"]["spec"]
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": []}
    assert [each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each] == ["/run/lastlight"]
    rules = the("ClusterRole", tools.kustomize(os.path.join(MANIFESTS, "overlays", "dns-only")))["rules"]
    assert {(each["resources"][0], *each["verbs"]) for each in rules} == {("nodes", "get"), ("pods", "list")}


# --- what the agent makes of it

EFFECT = {
    "eks": ("intercept", "aws"), "gke": ("intercept", "gcp"), "aks": ("intercept", "azure"), "plain": ("intercept", "auto"),
    "iptables": ("intercept", "auto"), "nftables": ("intercept", "auto"), "ipvs": ("link-local", "auto"), "link-local": ("link-local", "auto"),
    "dns-only": ("intercept", "none"), "interruption-only": ("none", "auto"), "spot": ("intercept", "auto"), "on-demand": ("intercept", "auto"),
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_agent_takes_the_configuration(tools, agent_binary, tmp_path, overlay):  # pylint: disable=redefined-outer-name
    for name, text in config_of(tools.kustomize(os.path.join(MANIFESTS, "overlays", overlay))).items():
        (tmp_path / name).write_text(text)
    environment = {"PATH": os.environ["PATH"], "NODE_NAME": "n1", "NODE_IP": "192.0.2.10", "KUBE_DNS_SERVICE_HOST": "192.0.2.3",
                   "LASTLIGHT_UPSTREAM_SERVICE_HOST": "192.0.2.2"}
    done = subprocess.run([agent_binary, "check", "--config", str(tmp_path)], env=environment, text=True, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    config = yaml.safe_load(done.stdout)
    assert (config["takeover"]["mode"], config["interruption"]["source"]) == EFFECT[overlay]
    assert config["dns"]["listen"] == {"intercept": ["service:kube-dns:53"], "link-local": ["node:53"],
                                       "none": []}[config["takeover"]["mode"]]
    adds = the("DaemonSet", tools.kustomize(os.path.join(MANIFESTS, "overlays", overlay)))["spec"]["template"]["spec"]["containers"][0][
        "securityContext"]["capabilities"]["add"]
    assert ("NET_ADMIN" in adds) == (config["takeover"]["mode"] != "none")


# --- on a real API server

@pytest.fixture(scope="module")
def monitors(control_plane):
    """The kinds of the Prometheus operator, as far as it takes to know their names."""
    for kind, plural in MONITORS.items():
        control_plane.apply({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.monitoring.coreos.com"},
            "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                     "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                         "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}})
    wait_until(lambda: all(control_plane.api.request("GET", f"/apis/monitoring.coreos.com/v1/{plural}")[0] == 200 for plural in MONITORS.values()),
               30, "the CRDs to be served")
    yield
    for plural in MONITORS.values():
        control_plane.api.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.monitoring.coreos.com")


def test_the_server_accepts_every_object(control_plane, tools, tmp_path, monitors):  # pylint: disable=redefined-outer-name,unused-argument
    folder, _ = every_component(tmp_path)
    things = {json.dumps(each, sort_keys=True): each
              for place in (folder, MANIFESTS, *(os.path.join(MANIFESTS, "overlays", overlay) for overlay in OVERLAYS))
              for each in tools.kustomize(place)}
    for each in objects(read("examples", "network-policies.yaml")):
        things[json.dumps(each, sort_keys=True)] = each
    for thing in things.values():
        made = control_plane.api.patch(control_plane.api.path_of(thing) + "?fieldManager=rig&force=true&dryRun=All&fieldValidation=Strict", thing, "apply")
        namespaced = thing["metadata"].get("namespace")
        assert made["metadata"].get("namespace") == namespaced, "cluster-scoped things name no namespace"
    assert len(things) > 30
    assert not control_plane.api.exists("/apis/apps/v1/namespaces/kube-system/daemonsets/lastlight")


def test_spot_and_on_demand_share_the_nodes_out(control_plane, tools):  # pylint: disable=redefined-outer-name
    kinds = {"sp-a": {"eks.amazonaws.com/capacityType": "SPOT"}, "sp-b": {"kubernetes.azure.com/scalesetpriority": "spot"},
             "sp-c": {"karpenter.sh/capacity-type": "spot", "lastlight.io/capacity": "spot"},
             "od-a": {"eks.amazonaws.com/capacityType": "ON_DEMAND"}, "od-b": {}, "od-c": {"karpenter.sh/capacity-type": "on-demand"}}
    workloads = [each for overlay in ("spot", "on-demand") for each in tools.kustomize(os.path.join(MANIFESTS, "overlays", overlay))
                 if each["kind"] in ("DaemonSet", "ConfigMap", "ServiceAccount")]
    assert len({(each["kind"], each["metadata"]["name"]) for each in workloads}) == 5
    try:
        for name, labels in kinds.items():
            control_plane.create_node(name, labels=labels)
        control_plane.apply(*workloads)

        def placed():
            pods = [each for each in control_plane.pods("kube-system", labels=LABEL) if each["spec"].get("nodeName") in kinds]
            return pods if len(pods) >= len(kinds) else None
        pods = wait_until(placed, 60, "a pod on each node")
        assert sorted((each["spec"]["nodeName"], each["metadata"]["labels"]["lastlight.io/capacity"]) for each in pods) == sorted(
            (name, "spot" if name.startswith("sp") else "on-demand") for name in kinds)
    finally:
        for name in ("lastlight-spot", "lastlight-on-demand"):
            control_plane.api.request("DELETE", f"/apis/apps/v1/namespaces/kube-system/daemonsets/{name}")
            control_plane.api.request("DELETE", f"/api/v1/namespaces/kube-system/configmaps/{name}")
        for name in kinds:
            control_plane.delete_node(name)
