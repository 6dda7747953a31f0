"""The documents hold what they promise: links lead somewhere, blocks of YAML are YAML, commands name programs, targets, files and folders that
are there. README's commands are typed by .ci/try-fresh, MIGRATION.md's by tests/e2e/test_migration.py, what takes the program itself by
tests/e2e/test_documents.py; OPERATIONS.md has a test of its own."""

import importlib.machinery
import importlib.util
import os
import re
import shlex

import pytest
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENTS = sorted(each for each in os.listdir(ROOT) if each.endswith(".md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a reader has, beside this repository.
PROGRAMS = {"apt-get", "kubectl", "helm", "curl", "dig", "cmake", "ctest", "cd", "mkdir", "sed", "/usr/bin/python3", "nft", "git", "clang-format-19",
            "sha256sum", "cat"}
WRITTEN = {"tests/bench/RESULTS.md", "tests/bench/UPSTREAM.md"}


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as text:
        return text.read()


def anchors(text):
    """Of a document's headings, as a forge makes them."""
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def blocks(text, *kinds):
    return [block for kind, block in BLOCK.findall(text) if kind in kinds]


def broken_links(document, text):
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue  # elsewhere: not ours to keep, and no test may need the internet
        path, _, anchor = link.partition("#")
        if path and not os.path.exists(os.path.join(ROOT, path)):
            found.append(link)
        elif anchor and anchor not in anchors(read(path) if path else text):
            found.append(link)
    return [f"{document}: {each}" for each in found]


def named_files(text):
    """Paths of this repository in backquotes."""
    tops = "|".join(re.escape(each) for each in sorted(os.listdir(ROOT)) if each not in (".git", ".cache", "build"))
    return re.findall(rf"`((?:{tops})/[\w./-]*)`", BLOCK.sub("", text))


def is_there(path):
    """A file or folder, the header and source of that name, or what a door of this repository writes."""
    return path.startswith("build") or path in WRITTEN or any(os.path.exists(os.path.join(ROOT, path.rstrip("/") + end)) for end in ("", ".h"))


def commands(text):
    """Each command of a shell block, as words; what is inside of quotes and here-documents is data."""
    for block in blocks(text, "sh"):
        block = re.sub(r"<<'EOF'\n.*?^EOF$", "", block, flags=re.MULTILINE | re.DOTALL).replace("\\\n", " ")
        for line in block.splitlines():
            for part in re.split(r"&&|;|\|", re.sub(r"'[^']*'|\$\([^)]*\)", "QUOTED", line.split(" # ")[0])):
                words = [word for word in shlex.split(part, comments=True) if not re.match(r"^(\w+=|>|<)", word)]
                if words:
                    yield words


def unknown(words):
    """Why a command cannot be typed; None if it can."""
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    subcommands = set(re.findall(r'add_subcommand\("(\w+)"', read("agent", "cli", "options.cpp"))) | {"takeover", "uninstall"}
    program = words[0]
    if program == "make":
        return next((each for each in words[1:] if "=" not in each and each not in targets), None)
    if program == "lastlight":
        return None if len(words) > 1 and words[1] in subcommands else " ".join(words[:2])
    if program == "cmake" and "--preset" in words:
        preset = words[words.index("--preset") + 1]
        return None if f'"name": "{preset}"' in read("CMakePresets.json") else preset
    if program == "bash":
        return None if os.path.exists(os.path.join(ROOT, words[1])) else words[1]
    if "/" in program and not program.startswith("/"):
        return None if program.startswith("build/") or os.path.exists(os.path.join(ROOT, program)) else program
    return None if program in PROGRAMS else program


@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_links_and_files_are_there(document):
    text = read(document)
    assert not broken_links(document, text)
    assert not [each for each in named_files(text) if not is_there(each)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_yaml_is_yaml(document):
    for block in blocks(read(document), "yaml"):
        assert all(each is not None for each in yaml.safe_load_all(block)), block


@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_commands_can_be_typed(document):
    assert not [(why, words) for words in commands(read(document)) if (why := unknown(words))]


def test_a_broken_one_would_be_noticed():
    planted = "# A\n[a](NOWHERE.md) [b](#b) [c](#a) [d](README.md#try-it)\n`tests/nothing.py`\n```sh\nmake nonsense # why\nlastlight dance && kubectl get x\n./no\ncmake --preset tiddy\n```\n"
    assert broken_links("X", planted) == ["X: NOWHERE.md", "X: #b"]
    assert named_files(planted) == ["tests/nothing.py"]
    assert [unknown(words) for words in commands(planted)] == ["nonsense", "lastlight dance", None, "./no", "tiddy"]


def test_every_overlay_and_component_says_what_it_is():
    for kind in ("overlays", "components"):
        for name in os.listdir(os.path.join(ROOT, "manifests", kind)):
            first = read("manifests", kind, name, "kustomization.yaml").splitlines()[0]
            assert first.startswith("# "), f"{kind}/{name}"
            if kind == "overlays" and "kubectl apply" in first:
                assert first == f"# kubectl apply -k manifests/overlays/{name}"


def test_the_picture_of_the_demo_is_what_the_readme_prints():
    path = os.path.join(ROOT, ".ci", "demo-picture")
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("demo_picture", importlib.machinery.SourceFileLoader("demo_picture", path)))
    module.__spec__.loader.exec_module(module)
    assert len(module.lines()) > 30
    assert read("tests", "sandbox", "demo.svg") == module.picture(module.lines()), "run .ci/demo-picture"
