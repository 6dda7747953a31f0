"""The Dockerfile makes what .ci/image makes: it takes long, so that .ci/try-dockerfile builds it on demand; what both say is compared."""

import json
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as text:
        return text.read()


def labels(text):
    return dict(re.findall(r"(org\.opencontainers\.image\.(?:title|description|licenses))=\"?([^\"\\\n]+?)\"?(?=\s|$)", text))


def test_it_says_what_the_script_says():
    dockerfile, script = read("manifests", "image", "Dockerfile"), read(".ci", "image")
    assert labels(dockerfile) == labels(script) and len(labels(script)) == 3
    user = re.search(r"^USER (\S+)$", dockerfile, re.MULTILINE)[1]
    entry = json.loads(re.search(r"^ENTRYPOINT (.+)$", dockerfile, re.MULTILINE)[1])
    assert f"--user {user} " in script and f"--entrypoint '{json.dumps(entry)}'" in script
    stages = set(re.findall(r" AS (\w+)$", dockerfile, re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) - stages == {"debian:bookworm-slim"} and " bookworm " in script
    for path in re.findall(r"\.ci/[\w-]+", dockerfile):
        assert os.access(os.path.join(ROOT, path), os.X_OK), path


def test_it_copies_nothing_that_git_ignores():
    """A build folder of the host would be taken for the image's."""
    ignored = read("manifests", "image", "Dockerfile.dockerignore").split()
    assert {each.strip("/") for each in read(".gitignore").split() if each.endswith("/") and each.startswith("/")} <= set(ignored)
