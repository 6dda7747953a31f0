"""Workloads for particular questions of a drain, beside the one of workload.py.

    Crowd(control_plane, "spot-60", seed=7)      # 110 pods: any grace from 1 to 600 s, budgets that never allow, allow one, overlap
    Rotation(control_plane, "spot-one", 5)       # a Deployment of which one pod may be away; replacements are Ready after 3 s elsewhere
"""

import dataclasses
import random

from .workload import READY_DELAY, Population, Workload

_FREE, _NEVER, _ONE, _BOTH = "free", "never", "one", "both"


@dataclasses.dataclass(frozen=True)
class Counts(Population):
    free: int = 0
    never: int = 0  # under a budget that allows no disruption
    one: int = 0  # under one that allows one at a time, and none of these has a controller that replaces it
    both: int = 0  # under two budgets: the API server evicts none, with 500

    @property
    def total(self):
        return super().total + self.free + self.never + self.one + self.both


class Crowd(Workload):
    """Most are without a controller, so that each has a grace of its own; `web` is a Deployment behind a Service."""

    def __init__(self, control_plane, node, seed, padding=0, **options):
        self._random = random.Random(seed)
        self._padding = padding  # bytes that make each pod's object as large as real ones are
        super().__init__(control_plane, node, Counts(
            **{**dataclasses.asdict(Population.only(web=12, daemons=5, mirror=2)), "free": 61, "never": 10, "one": 10, "both": 10}), spare=False, **options)

    def evictable(self):
        return self.pods("web", _FREE, _NEVER, _ONE, _BOTH)

    def guarded(self):
        """Those that a budget may refuse: of `one` the first goes by eviction."""
        return self.pods(_NEVER, _ONE, _BOTH)

    def _things(self):
        things = super()._things()
        for kind in (_FREE, _NEVER, _ONE, _BOTH):
            things += [self._lone(kind, number) for number in range(getattr(self.population, kind))]
        return things + [self._budget(_NEVER, minAvailable=self.population.never), self._budget(_ONE, minAvailable=self.population.one - 1),
                         self._budget(_BOTH, minAvailable=1), self._budget(_BOTH, "both-again", minAvailable=1)]

    def _lone(self, kind, number):
        # As many short ones as long ones: a grace of some seconds is what D is tightest for.
        grace = self._random.choice([self._random.randint(1, 15), self._random.randint(16, 120), self._random.randint(121, 600)])
        padding = {"lastlight.test/padding": "x" * self._padding} if self._padding else {}
        return self._bare(kind, number, {"nodeName": self.node}, grace=grace, stop=self._random.randint(1, 600), annotations=padding)


class Rotation(Workload):
    """A Deployment whose budget lets one pod be away, on a node and, once they run, its spare."""

    def __init__(self, control_plane, node, replicas, grace=5, **options):
        super().__init__(control_plane, node, Population.only(web=replicas, grace=grace), **options)

    def guarded(self):
        return self.pods("web")

    def _things(self):
        return [self._deployment("web", self.population.web, stop=2, annotations={READY_DELAY: "3s"}), self._budget("web", maxUnavailable=1)]
