"""A metadata service that fails in every way, one after the other, for real: the agent stays, hears nothing that is not there, keeps to
two connections and its memory, and hears a true notice at the end. tests/scenarios/metadata_test.cpp plays a day of it in virtual time.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.measure import Memory, Sampler, family, sanitized  # noqa: E402  pylint: disable=wrong-import-position
from rig.agent import binary  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from test_metadata_clouds import ANNOUNCED, FAULTS, MOCKS, named, watchers  # noqa: F401  pylint: disable=unused-import

TURN, ROUNDS, GROWTH = 0.5, 3, 256  # seconds of each fault; how often all of them; KiB


class Connections(Sampler):
    """The most TCP sockets of the agent that led to the mock at one time. What it has closed itself is the kernel's alone."""

    def __init__(self, agent):
        super().__init__(0.05)
        self._pids, self._port, self.most, self.seen = family(agent.process.pid), agent.mock.port, 0, 0

    def sample(self):
        inodes = set()
        for pid in self._pids:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                try:
                    inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
                except FileNotFoundError:
                    continue
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table][1:]
        there = [row for row in rows if int(row[2].rpartition(":")[2], 16) == self._port and f"socket:[{row[9]}]" in inodes]
        self.most, self.seen = max(self.most, len(there)), self.seen + 1


def test_a_hostile_service_for_real(watchers):  # noqa: F811  pylint: disable=redefined-outer-name
    agents = watchers([(cloud, {}) for cloud in MOCKS])
    wait_until(lambda: all(agent.mock.stats()["requests"] for agent in agents), 20, "every agent to ask")

    def round_of_faults():
        for fault in FAULTS:
            for agent in agents:
                agent.mock.heal()
                if fault:
                    agent.mock.fault(**fault)
            began = time.monotonic()
            wait_until(lambda began=began: time.monotonic() - began > TURN, 10, named(fault))

    counting = [Connections(agent) for agent in agents]
    for each in counting:
        each.__enter__()
    round_of_faults()
    memory = [Memory(agent.process.pid) for agent in agents]
    for each in memory:
        each.sample()
    before = [each.anonymous for each in memory]
    for _ in range(ROUNDS - 1):
        round_of_faults()
    for each in memory:
        each.anonymous = 0
        each.sample()
    for each in counting:
        each.__exit__()
    for agent in agents:
        agent.mock.heal()
        assert agent.process.exit_code() is None, agent.process.tail()
        assert agent.heard() == [] and not agent.events("interruption.withdrawn"), f"{agent.cloud}: a notice out of nothing"
    for agent, count, then, now in zip(agents, counting, before, memory):
        print(f"{agent.cloud}: {ROUNDS} times {len(FAULTS)} faults: at most {count.most} connections in {count.seen} looks, {then} -> {now.anonymous} KiB")
        assert 1 <= count.most <= 2 and count.seen > 50
        if not sanitized(binary()):
            assert now.anonymous - then <= GROWTH
    for agent in agents:
        agent.mock.configure(dict(ANNOUNCED[agent.cloud][0][0]))
    wanted = [ANNOUNCED[agent.cloud][0][1] for agent in agents]
    wait_until(lambda: all(set(agent.heard()) == kinds for agent, kinds in zip(agents, wanted)), 60, "the true notices to be heard")
