"""What a test needs and may not have here: skipped with the reason, or failed where nothing may be skipped (LASTLIGHT_NO_SKIP=1).

    binaries = needs.peers_or_skip("etcd", "kubectl")     # {name: path}, built on first use
    if not shutil.which("promtool"):
        needs.missing("no Prometheus: .ci/deps test installs it")
"""

import os

import pytest

from . import peers


def missing(reason):
    if os.environ.get("LASTLIGHT_NO_SKIP") == "1":
        pytest.fail(f"LASTLIGHT_NO_SKIP=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def peers_or_skip(*names):
    try:
        return peers.paths(*names)
    except peers.PeersMissing as error:
        reason = str(error)
    return missing(reason)
