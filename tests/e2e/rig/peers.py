"""Which peer binaries there are.

    paths("etcd", "kube-apiserver")  ->  {"etcd": "/.../etcd", ...}

Asks .ci/build-peers, which knows names and versions (from tests/e2e/tools/*/go.mod), returns at once what is cached and
builds the rest: minutes, the first time. PeersMissing says in one line why one cannot be had.
"""

import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


class PeersMissing(Exception):
    """A peer is not built and cannot be built here."""


def cache_dir():
    """The git-ignored folder that keeps what is slow to make; LASTLIGHT_CACHE_DIR moves it."""
    return os.environ.get("LASTLIGHT_CACHE_DIR") or os.path.join(ROOT, ".cache")


def paths(*names):
    run = subprocess.run([os.path.join(ROOT, ".ci", "build-peers"), *names], text=True, capture_output=True, check=False)
    if run.returncode != 0:
        reason = run.stderr.strip().splitlines() or [f"build-peers exited with {run.returncode}"]
        raise PeersMissing(reason[-1])
    found = {}
    for line in run.stdout.splitlines():
        name, _version, _seconds, _how, path = line.split(maxsplit=4)
        found[name] = path
    return found
