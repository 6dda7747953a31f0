"""The documents hold what they promise: links lead somewhere, blocks of YAML are YAML, commands, in blocks or in a sentence, name programs, targets,
files and folders that are there, and so do keys, metrics, overlays and components. README's commands are typed by .ci/try-fresh, MIGRATION.md's by
tests/e2e/test_migration.py, what takes the program itself or kubectl by tests/e2e/test_documents.py; OPERATIONS.md has a test of its own.

No test may need the internet: of a link that leads outside only the form is looked at."""

import importlib.machinery
import importlib.util
import os
import re
import shlex
import urllib.parse

import pytest
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENTS = sorted([each for each in os.listdir(ROOT) if each.endswith(".md")] + ["tests/bench/SCALE.md"])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a reader has, beside this repository.
PROGRAMS = {"apt-get", "kubectl", "helm", "curl", "dig", "cmake", "ctest", "cd", "mkdir", "sed", "/usr/bin/python3", "nft", "git", "clang-format-19",
            "sha256sum", "cat", "skopeo", "buildah"}
# A block of another kind would be one that nothing checks. `text` is what a program printed, or a drawing.
KINDS = {"sh", "yaml", "text"}
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
            if not is_outside(link):
                found.append(link)
            continue
        path, _, anchor = link.partition("#")
        if path and not os.path.exists(os.path.join(ROOT, path)):
            found.append(link)
        elif anchor and anchor not in anchors(read(path) if path else text):
            found.append(link)
    return [f"{document}: {each}" for each in found]


def is_outside(link):
    """Whether it has the form of a page that anybody could open."""
    parts = urllib.parse.urlsplit(link)
    return bool(parts.scheme == "https" and re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc) and not parts.netloc.endswith("example.com")
                and re.fullmatch(r"(/[\w.~-]*)*", parts.path) and not link.endswith("."))


def spans(text):
    """What stands in backquotes, outside of blocks."""
    return [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", BLOCK.sub("", text))]


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


def commands_in_sentences(text):
    """Those whose first word is a program; `...` and `a|b` are not typed so, and a program's name alone is none."""
    for span in spans(text):
        words = [word for word in span.split() if not re.match(r"^[A-Z_]+=", word)]
        if len(words) > 1 and (words[0] in PROGRAMS | {"make", "lastlight", "bash"} or words[0].startswith(".ci/")):
            yield words


def known_words():
    """What `a.b` in backquotes may be: a key, the section of one, or an event of the log."""
    keys = set(re.findall(r"^\| `([\w.\[\]-]+)` \|", read("CONFIGURATION.md"), re.MULTILINE))
    sources = "".join(read(where, name) for top in ("agent", "dnscache", "interrupt") for where, _, names in os.walk(os.path.join(ROOT, top))
                      for name in names if name.endswith(".cpp"))
    return keys | {each.rpartition(".")[0] for each in keys}, set(re.findall(r'"([a-z_]+\.[a-z_]+)"', sources))


def unknown_keys(text, keys, events):
    tops = {each.partition(".")[0] for each in keys}
    named = [re.match(r"[a-z-]+(?:\.[\w\[\]-]+)+(?=$|:)", span) for span in spans(text)]
    return [each[0] for each in named if each and each[0].partition(".")[0] in tops and each[0] not in keys | events]


def unknown(words):
    """Why a command cannot be typed; None if it can."""
    targets = set(re.findall(r"^([a-z0-9-]+):", read("Makefile"), re.MULTILINE))
    subcommands = set(re.findall(r'add_subcommand\(\s*"(\w+)"', read("agent", "cli", "options.cpp"))) | {"takeover", "uninstall", "--man", "--help"}
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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_blocks_are_of_a_kind_that_is_checked(document):
    assert {kind for kind, _ in BLOCK.findall(read(document))} <= KINDS
    assert read(document).count("\n```") == 2 * len(BLOCK.findall(read(document)))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_sentences_name_what_there_is(document):
    text = read(document)
    assert not [(why, words) for words in commands_in_sentences(text) if (why := unknown(words))]
    assert not unknown_keys(text, *known_words())
    metrics = set(re.findall(r"^\| `(lastlight_\w+)` \|", read("OPERATIONS.md"), re.MULTILINE))
    assert set(re.findall(r"`(lastlight_[a-z_]+)[`{]", text)) <= metrics
    for kind, name in re.findall(r"`(?:manifests/)?(overlays|components)/([\w-]+)`", text):
        assert os.path.isdir(os.path.join(ROOT, "manifests", kind, name)), f"{kind}/{name}"


def test_a_broken_one_would_be_noticed():
    planted = "# A\n[a](NOWHERE.md) [b](#b) [c](#a) [d](README.md#try-it)\n`tests/nothing.py`\n```sh\nmake nonsense # why\nlastlight dance && kubectl get x\n./no\ncmake --preset tiddy\n```\n"
    assert broken_links("X", planted) == ["X: NOWHERE.md", "X: #b"]
    assert named_files(planted) == ["tests/nothing.py"]
    assert [unknown(words) for words in commands(planted)] == ["nonsense", "lastlight dance", None, "./no", "tiddy"]
    said = "`make nothing` `SECONDS_EACH=6 make\nfuzz` `.ci/nowhere run` `dns.cache-sise: 1MiB` `dns.listen: []` `drain.not_permitted` `hooks.webhooks[].url`"
    assert [unknown(words) for words in commands_in_sentences(said)] == ["nothing", None, ".ci/nowhere"]
    assert unknown_keys(said, *known_words()) == ["dns.cache-sise"]
    assert [is_outside(each) for each in ("https://semver.org/", "http://semver.org/", "https://example.com/a", "https://host/a", "https://a.org/b c")] == [
        True, False, False, False, False]


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
