"""Fixtures for the end-to-end tests: real peers of the agent, on loopback.

    control_plane            session  a running ControlPlane (rig/control_plane.py): kube-apiserver and company, started once
    shipped                  module   the manifests are applied, so that a node has the DaemonSet's pod
    workload(node, ...)      test     starts a node with pods (rig/workload.py) and clears it up: workload("spot-1", Population(web=3))
    coredns_factory(*sites)  module   starts a CoreDNS (rig/coredns.py): coredns_factory(site(".", answer("203.0.113.7"))); as many as you like
    scripted_factory(answer) test     starts an upstream that answers what a function says (rig/scripted.py)
    agent_factory(config)    test     starts the agent (rig/agent.py): agent_factory({"dns": {"zones": [zone(".", coredns)]}})
    cluster_net              test     a node, a pod and another node as network namespaces (rig/netns.py); `namespaces` skips where there can be none
    cache_dir                session  the git-ignored folder for what is slow to make

A peer that is not built yet is built on first use (minutes); where that is impossible the tests that need it are skipped with
the reason, or fail when LASTLIGHT_NO_SKIP=1. Logs, keys and the audit log stay below pytest's temporary directory
(`--basetemp` moves it); a failure shows the tail of every log.
"""

import contextlib
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from rig import needs, netns, peers  # noqa: E402  pylint: disable=wrong-import-position
from rig.agent import Agent, AgentMissing, binary as built_agent  # noqa: E402  pylint: disable=wrong-import-position
from rig.control_plane import PEERS, ControlPlane  # noqa: E402  pylint: disable=wrong-import-position
from rig.coredns import CoreDNS  # noqa: E402  pylint: disable=wrong-import-position
from rig.drains import LABEL, MANIFESTS  # noqa: E402  pylint: disable=wrong-import-position
from rig.node_cache import NodeCache, wanted as node_cache_wanted  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from rig.scripted import Scripted  # noqa: E402  pylint: disable=wrong-import-position
from rig.workload import Workload  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture(scope="session")
def cache_dir():
    os.makedirs(peers.cache_dir(), exist_ok=True)
    return peers.cache_dir()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory, request):
    binaries = needs.peers_or_skip(*PEERS)
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), binaries) as running:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"\ncontrol plane ready in {running.started_in:.1f} s: {running.url}, logs in {running.logs}", flush=True)
        yield running


@pytest.fixture(scope="module")
def shipped(control_plane):  # pylint: disable=redefined-outer-name
    """The manifests, applied as the README says; the DaemonSet's pods come with the nodes."""
    control_plane.kubectl("apply", "-k", MANIFESTS)
    yield
    control_plane.kubectl("delete", "-k", MANIFESTS, "--ignore-not-found")
    # Its nodes are gone, so no kubelet ends these pods, and the collector of such pods waits 40 s.
    control_plane.api.delete(f"/api/v1/namespaces/kube-system/pods?labelSelector={LABEL}",
                             {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
    wait_until(lambda: not control_plane.pods("kube-system", labels=LABEL), 60, "the DaemonSet's pods to be gone")


@pytest.fixture
def workload(control_plane):  # pylint: disable=redefined-outer-name
    with contextlib.ExitStack() as running:
        yield lambda *args, **options: running.enter_context(Workload(control_plane, *args, **options))


@pytest.fixture(scope="module")
def coredns_factory(tmp_path_factory):
    binary = needs.peers_or_skip("coredns")["coredns"]
    with contextlib.ExitStack() as running:
        yield lambda *sites, **options: running.enter_context(CoreDNS(binary, tmp_path_factory.mktemp("coredns"), *sites, **options))


@pytest.fixture
def scripted_factory():
    with contextlib.ExitStack() as running:
        yield lambda answer: running.enter_context(Scripted(answer))


@pytest.fixture(scope="session")
def agent_binary():
    try:
        return built_agent()
    except AgentMissing as missing:
        needs.missing(str(missing))


@pytest.fixture
def agent_factory(tmp_path_factory, agent_binary):  # pylint: disable=redefined-outer-name,unused-argument
    subject = NodeCache if node_cache_wanted() else Agent
    with contextlib.ExitStack() as running:
        yield lambda config, **options: running.enter_context(subject(tmp_path_factory.mktemp("agent"), config, **options))


@pytest.fixture(scope="session")
def namespaces():
    reason = netns.possible()
    if reason:
        needs.missing(reason)


@pytest.fixture
def cluster_net(namespaces):  # pylint: disable=redefined-outer-name,unused-argument
    with netns.Cluster() as made:
        yield made
