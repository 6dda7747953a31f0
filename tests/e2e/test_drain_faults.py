"""A drain in bad weather: the metadata service or the API server misbehaves, the node still ends drained and DNS is answered.

Mocks stand for both services (tests/sandbox), because only they can be told to fail in a chosen way; what a real API server
makes of the drain is asserted in test_drain_control_plane.py.
"""

import collections
import contextlib
import os
import signal
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.agent import zone  # noqa: E402  pylint: disable=wrong-import-position
from rig.coredns import answer, site  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import FirstShown, SchedulingDelay, family  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from sandbox import lookups  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.cluster import Cluster  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position

NODE = "demo-node"
TAINT = {"key": "example.com/reserved", "value": "batch", "effect": "NoSchedule"}
POLL, REQUEST_TIMEOUT, BACKOFF, MARGIN = 1.0, 1.0, 2.0, 3.0
RETRY = 5.0  # drain.retry-max
SELF_CHECK = 8  # requests


class Scene:
    """The agent between two mocks."""

    def __init__(self, imds, api, agent, asker, delay):
        self.imds, self.api, self.agent, self.asker, self.delay = imds, api, agent, asker, delay

    @property
    def cluster(self):
        return self.api.cluster

    def leaving(self):
        return [fate for fate in self.cluster.fates.values() if not fate.kind.stays]

    def alive(self):
        assert self.agent.process.exit_code() is None, self.agent.process.tail()
        return True

    def give_notice(self, window):
        """The notice, and the instant at which the mock was seen to show it."""
        with FirstShown(self.imds) as shown:
            notice = self.imds.set_notice(window=window)
            wait_until(lambda: shown.at, 10, "the mock to show the notice")
        return notice, shown.at

    def wait(self, condition, timeout, what):
        return wait_until(condition, timeout, what, self.agent.process)

    def asked(self):
        return sum(self.api.stats()["requests"].values())

    def wait_checked(self):
        """What is asked at start is behind us; it is not the drain's."""
        self.wait(lambda: self.asked() >= SELF_CHECK, 10, "the check of permissions")

    def worker(self):
        """Its process, once there is one again."""
        return self.wait(lambda: next(iter(family(self.agent.pid) - {self.agent.pid}), None), 10, "a worker")

    def evictions(self):
        """How many were granted, by path."""
        return collections.Counter(each["path"] for each in list(self.api.records) if each["path"].endswith("/eviction") and each["status"] == 201)

    def wait_cordoned(self, timeout):
        return self.wait(lambda: self.cluster.cordoned, timeout, "the node to be cordoned")

    def wait_told(self, timeout):
        self.wait(lambda: all(fate.told for fate in self.leaving()), timeout, "every pod to be told")

    def check(self, ends, lost=0):
        """What holds in any weather; `ends` is T, monotonic. Of the lookups `lost` may have had no answer."""
        self.alive()
        assert TAINT in self.cluster.node["spec"]["taints"]
        for fate in self.cluster.fates.values():
            if fate.kind.stays:
                assert fate.told is None and fate.gone is None, fate.kind.name
            else:
                assert fate.told and fate.told + fate.grace <= ends, (fate.kind.name, fate.grace, ends - fate.told)
                assert fate.grace >= 1, fate.kind.name
                assert fate.by == "eviction" or fate.refusals or fate.kind.labels, fate.kind.name
        assert self.asker.failed <= lost, self.asker.failures
        assert self.asker.answered > 20


@pytest.fixture
def scene(agent_factory, coredns_factory, tmp_path):
    token = tmp_path / "token"
    token.write_text("demo-token")
    upstream = coredns_factory(site(".", answer("203.0.113.7", ttl=1)))
    with contextlib.ExitStack() as running:
        imds = running.enter_context(Imds())
        api = running.enter_context(ApiServer(Cluster(NODE, taints=(TAINT,))))

        def start(**over):
            agent = agent_factory({
                "node-name": NODE, "dns": {"zones": [zone(".", upstream)]}, "interruption": {"source": "aws", "metadata-url": imds.url},
                "kubernetes": {"api-server": api.url, "token-file": str(token), "ca-file": ""}, **over})
            delay = running.enter_context(SchedulingDelay())
            names = tuple(f"host-{number}.example" for number in range(200))
            asker = running.enter_context(lookups.Asker(names, agent.port, every=0.02, timeout=2.0, attempts=1))
            return Scene(imds, api, agent, asker, delay)

        yield start


@pytest.mark.parametrize("fault", [
    {"kind": "hang"}, {"kind": "status", "status": 401}, {"kind": "status", "status": 503}, {"kind": "garbage"}, {"kind": "half-body"},
    {"kind": "reset"}, {"kind": "refuse"}, {"kind": "slow", "delay": 1.5}], ids=lambda fault: str(fault.get("status", fault["kind"])))
def test_a_metadata_service_that_failed_before_is_heard_when_it_is_well(scene, fault):
    run = scene()
    run.wait(lambda: run.imds.stats()["requests"].get("GET /latest/meta-data/spot/instance-action", 0) >= 2, 10, "two polls")
    run.wait_checked()
    run.imds.fault(**fault)
    ill = time.monotonic()
    run.wait(lambda: time.monotonic() - ill > 3 and run.alive(), 10, "three seconds of it")
    assert run.cluster.cordoned is None and run.asked() == SELF_CHECK, "nothing is asked in steady state"
    run.imds.heal()
    notice, shown = run.give_notice(window=15)
    cordoned = run.wait_cordoned(10)
    # What was in flight when it healed may hang until its time is over; then one back-off, at most with its jitter.
    assert cordoned - shown <= REQUEST_TIMEOUT + max(POLL, BACKOFF) + 0.1 + run.delay.worst(shown, cordoned)
    run.wait_told(25)
    run.check(notice.ends)


def test_a_notice_among_lies_is_heard(scene):
    """Tokens that the service forgets, a clock that is wrong by a quarter of an hour: the time left is what counts."""
    run = scene()
    run.imds.configure({"clock_skew": 900, "max_token_ttl": 2, "forget_tokens": True})
    run.wait(lambda: run.imds.stats()["requests"].get("PUT /latest/api/token", 0) >= 3, 15, "the token to be renewed")
    run.imds.configure({"forget_tokens": True})
    notice = run.imds.set_notice(after=0.5, window=15)
    cordoned = run.wait_cordoned(10)
    assert cordoned - notice.visible <= POLL + 0.1 + run.delay.worst(notice.visible, cordoned)
    run.wait_told(30)
    run.check(notice.ends)


def test_an_api_server_that_answers_500_to_everything_for_20_seconds(scene):
    run = scene()
    run.wait_checked()
    run.api.fault("status", status=500)
    notice, shown = run.give_notice(window=60)
    run.wait(lambda: time.monotonic() - shown >= 20 and run.alive(), 25, "20 s of errors")
    asked = run.asked() - SELF_CHECK
    # The cordon and the list, each at most twice a second; the Events of the notice, each five times at most.
    assert 4 <= asked <= 2 * 2 * 20 + 10, "retried, with a back-off"
    run.api.heal()
    healed = time.monotonic()
    cordoned = run.wait_cordoned(RETRY + 5)
    assert cordoned - healed <= RETRY + 0.1 + run.delay.worst(healed, cordoned)
    # The cordon and the list are asked for at once, on a connection each: either may be the first to arrive.
    first = [(record["method"], record["path"]) for record in list(run.api.records) if record["status"] == 500][:2]
    assert ("PATCH", f"/api/v1/nodes/{NODE}") in first
    free = [fate for fate in run.leaving() if fate.kind.labels == {}]
    run.wait(lambda: all(fate.told for fate in free), RETRY + 5, "the pods without a budget to be told")
    assert {fate.by for fate in free} == {"eviction"}
    run.wait_told(60)
    run.check(notice.ends)


@pytest.mark.parametrize("fault", [
    {"kind": "hang"}, {"kind": "slow", "delay": 0.7}, {"kind": "refuse"}, {"kind": "reset"}, {"kind": "garbage"}, {"kind": "half-body"},
    {"kind": "status", "status": 429}, {"kind": "status", "status": 503}], ids=lambda fault: str(fault.get("status", fault["kind"])))
def test_an_api_server_that_fails_for_a_part_of_the_window(scene, fault):
    run = scene()
    run.api.fault(**fault, seconds=5)
    notice, _ = run.give_notice(window=20)
    run.wait_told(35)
    run.check(notice.ends)


@pytest.mark.parametrize("saved", ["file", "annotation"])
def test_a_killed_worker_goes_on_with_the_drain(scene, saved):
    """From what it saved alone: the metadata service is gone when it comes back. Nothing is evicted twice."""
    run = scene(**({} if saved == "file" else {"drain": {"state-file": ""}}))
    notice, _ = run.give_notice(window=20)
    run.wait(run.evictions, 10, "an eviction")
    run.imds.fault("refuse")
    before = run.evictions()
    killed, worker = time.monotonic(), run.worker()
    os.kill(worker, signal.SIGKILL)
    assert not all(fate.told for fate in run.leaving()), "there must be something left to do"
    assert run.wait(lambda: run.worker() != worker, 10, "another worker")
    run.wait_told(25)
    run.check(notice.ends, lost=1)  # one was perhaps in the killed worker's hands
    after = run.evictions()
    assert before <= after and set(after.values()) == {1}
    assert any(fate.told > killed for fate in run.leaving())
