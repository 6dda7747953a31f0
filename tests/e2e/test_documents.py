"""The documents' commands and YAML, run: every `lastlight ...` is a command line that the agent takes, the README's kustomization builds, its
Helm command renders, and the chart of a release is the chart. What changes a cluster is followed by tests/e2e/test_migration.py."""

import functools
import os
import re
import shlex
import subprocess
import tarfile

import pytest
import yaml

from rig import needs, peers

DOCUMENTS = sorted(each for each in os.listdir(peers.ROOT) if each.endswith(".md"))
# Those that only ask or print; of the others --help is asked.
HARMLESS = {"check", "version", "status", "cache", "convert"}


def read(name):
    with open(os.path.join(peers.ROOT, name), encoding="utf-8") as text:
        return text.read()


def blocks(text, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def command_lines(text):
    """What stands behind `lastlight` in shell blocks and in backquotes."""
    shell = [line.split(" # ")[0] for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`(lastlight [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in (*shell, *spans):
        found = re.search(r"(?:^|-- )lastlight ([^>&|;]+)", line)
        if found and not re.search(r"[|\[…]|\.\.\.", line[found.start():].split(">")[0]):
            yield shlex.split(found[1])


def test_every_command_line_is_one(agent_binary, tmp_path):
    lines = {tuple(words) for document in DOCUMENTS for words in command_lines(read(document))}
    assert len(lines) >= 8 and ("cache", "get", "web.shop.svc.cluster.local", "AAAA") in lines
    for words in lines:
        if words[0].startswith("-") or words[0] == "takeover":
            continue
        # One word names a command; more are one.
        asked = [agent_binary, *words] if words[0] in HARMLESS and len(words) > 1 else [agent_binary, words[0], "--help"]
        done = subprocess.run(asked, cwd=tmp_path, env={"LASTLIGHT_RUN_DIR": str(tmp_path)}, text=True, capture_output=True, timeout=30, check=False)
        assert done.returncode != 2, f"lastlight {' '.join(words)}: {done.stderr}"


def test_a_command_line_that_is_none_would_be_noticed(agent_binary):
    planted = "```sh\nkubectl exec POD -- lastlight cache get # a name is missing\n```\n`lastlight check --bogus` `lastlight takeover up|down`"
    assert list(command_lines(planted)) == [["cache", "get"], ["check", "--bogus"]]
    for words in command_lines(planted):
        assert subprocess.run([agent_binary, *words], capture_output=True, timeout=30, check=False).returncode == 2


@pytest.fixture(scope="module")
def tools():
    return needs.peers_or_skip("kubectl", "helm")


def kubectl_lines(text):
    """Each kubectl command of shell blocks and sentences, up to what is handed to another program."""
    shell = [line.split(" # ")[0] for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    spans = [" ".join(each.split()) for each in re.findall(r"`(kubectl [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))]
    for line in (*shell, *spans):
        if found := re.match(r"kubectl .*?(?= -- |[|>]|$)", re.sub(r"'[^']*'|\"[^\"]*\"", "QUOTED", line)):
            yield shlex.split(found[0])[1:]


def kubectl_verb(words):
    """(verb, flags): kubectl's own flags before the verb have a value."""
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    while words[0].startswith("-"):
        words = words[2:]
    return words[0], flags


@functools.cache
def kubectl_flags(kubectl, *asked):
    done = subprocess.run([kubectl, *asked], text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, asked
    return set(re.findall(r"(?<![\w-])(--?[A-Za-z][\w-]*)(?=[=,:])", done.stdout))


def unknown_to_kubectl(kubectl, words):
    verb, flags = kubectl_verb(words)
    return [flag for flag in flags if flag not in kubectl_flags(kubectl, verb, "--help") | kubectl_flags(kubectl, "options")]


def test_kubectl_knows_what_the_documents_type(tools):  # pylint: disable=redefined-outer-name
    lines = {tuple(words) for document in DOCUMENTS for words in kubectl_lines(read(document))}
    assert len(lines) > 15
    assert not [(words, unknown) for words in sorted(lines) if (unknown := unknown_to_kubectl(tools["kubectl"], words))]
    planted = list(kubectl_lines("```sh\nkubectl -n a get pods --colour=red -o json | x\nkubectl exec POD -- lastlight --man\n```\n`kubectl apply -q x`"))
    assert [unknown_to_kubectl(tools["kubectl"], words) for words in planted] == [["--colour"], [], ["-q"]]


def rendered(*words, **options):
    done = subprocess.run(words, text=True, capture_output=True, timeout=60, check=False, env={**os.environ, "HELM_NO_PLUGINS": "1"}, **options)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def image_of(objects):
    daemon_set, = [each for each in objects if each["kind"] == "DaemonSet"]
    return daemon_set["spec"]["template"]["spec"]["containers"][0]["image"]


def test_the_readmes_kustomization_builds(tools, tmp_path):  # pylint: disable=redefined-outer-name
    block, = blocks(read("README.md"), "yaml")
    (tmp_path / "kustomization.yaml").write_text(block)
    (tmp_path / "lastlight").symlink_to(peers.ROOT)
    said, = re.findall(r"`(dns: \{cluster-domain: [^`]*)`", read("README.md"))
    (tmp_path / "site.yaml").write_text(said)
    objects = rendered(tools["kubectl"], "kustomize", str(tmp_path))
    assert image_of(objects) == "registry.example.com/lastlight:v0.1.0"
    config, = [each["data"] for each in objects if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "lastlight"]
    assert config["site.yaml"] == said and len(config) == 4 and max(config) == "site.yaml"
    (tmp_path / "kustomization.yaml").write_text(block.partition("configMapGenerator")[0])
    assert len(rendered(tools["kubectl"], "kustomize", str(tmp_path))) == len(objects)


def test_the_readmes_helm_command_renders(tools):  # pylint: disable=redefined-outer-name
    line, = [each for block in blocks(read("README.md"), "sh") for each in block.splitlines() if each.startswith("helm ")]
    words = shlex.split(line)
    assert words[:2] == ["helm", "install"]
    objects = rendered(tools["helm"], "template", *words[2:], cwd=peers.ROOT)
    assert image_of(objects).startswith("registry.example.com/lastlight:")


def test_a_releases_chart_is_the_chart(tools, tmp_path):  # pylint: disable=redefined-outer-name
    made = subprocess.run([os.path.join(peers.ROOT, ".ci", "release"), "chart"], text=True, capture_output=True, timeout=60, check=False,
                          env={**os.environ, "LASTLIGHT_DIST": str(tmp_path)})
    assert made.returncode == 0, made.stderr
    chart, = tmp_path.glob("lastlight-chart-*.tgz")
    with tarfile.open(chart) as packed:
        names = packed.getnames()
    assert {name.partition("/")[0] for name in names} == {"lastlight"} and not [name for name in names if "/overlays/" in name]
    values = ("--namespace", "kube-system", "--set", "components={eks,intercept}")
    of_file, of_folder = (rendered(tools["helm"], "template", "lastlight", str(each), *values) for each in (chart, os.path.join(peers.ROOT, "manifests")))
    assert of_file == of_folder and len(of_file) > 10
    sums = (tmp_path / "SHA256SUMS").read_text()
    assert all(each.name in sums for each in tmp_path.iterdir() if each.name != "SHA256SUMS")
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=False).returncode == 0
