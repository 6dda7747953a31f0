"""`make bench-scale` on a few nodes: that it plays, counts, and can find a promise broken."""

import dataclasses
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from bench import scale  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import sanitized  # noqa: E402  pylint: disable=wrong-import-position

FEW = scale.Size(nodes=8, pods=150, interrupted=3, large=1, per_node=6, window=14.0, within=1.0, kubectl=2)


def test_a_few_nodes_are_taken_at_once(control_plane, shipped, agent_binary, tmp_path, capsys):  # pylint: disable=unused-argument
    found = scale.play(control_plane, agent_binary, str(tmp_path), FEW)
    with capsys.disabled():
        print(f"\n{scale.report(found)}")
    assert found["pods"] == scale.LARGE_NODE + 2 * FEW.per_node and not found["untold"]
    assert found["flow"]["dispatched"] >= found["pods"] and not found["flow"]["rejected"]
    assert found["kubectl_untold"] == 2  # the budgets' pods: one of each node
    broken = scale.broken(found)
    assert not [each for each in broken if not (sanitized(agent_binary) and "10 MiB" in each) and "later" not in each]  # a busy machine may be late
    told = dict(found["agents"].told)
    told.pop(next(iter(told)))
    worse = {**found, "agents": dataclasses.replace(found["agents"], told=told), "untold": ["one"], "flow": {"dispatched": 0, "rejected": 1}}
    assert len(scale.broken(worse)) == len(broken) + 2
