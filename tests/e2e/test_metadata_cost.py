"""What polling takes: agents that poll their cloud's service each second beside one that polls nothing, all else equal. The difference is the
polls'. Printed here; `make bench-polling` measures for three minutes and holds a day of it to 10 s of processor time.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.load import GATED  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import cpu_seconds, sanitized  # noqa: E402  pylint: disable=wrong-import-position
from rig.agent import binary  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from test_metadata_clouds import MOCKS, watchers  # noqa: F401  pylint: disable=unused-import

MEASURED = float(os.environ.get("LASTLIGHT_POLLING_SECONDS", "10"))
DAY, MOST = 86400, 10.0  # seconds


def requests_to(agent):
    return sum(agent.mock.stats()["requests"].values())


def test_a_day_of_polling_takes_little(watchers, capsys):  # noqa: F811  pylint: disable=redefined-outer-name
    agents = watchers([*((cloud, {"poll-slow": "20s"}) for cloud in MOCKS), ("none", {"mock": "aws"})])
    wait_until(lambda: all(requests_to(agent) >= 3 for agent in agents[:-1]), 20, "every agent to poll")
    asked = [requests_to(agent) for agent in agents]
    spent = [-cpu_seconds(agent.process.pid) for agent in agents]
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began >= MEASURED, MEASURED + 5, "some polls")
    took = time.monotonic() - began
    spent = [before + cpu_seconds(agent.process.pid) for before, agent in zip(spent, agents)]
    asked = [requests_to(agent) - before for before, agent in zip(asked, agents)]
    assert asked[-1] == 0 and min(asked[:-1]) > 0
    days = {agent.cloud: (mine - spent[-1]) / took * DAY for agent, mine in zip(agents[:-1], spent)}
    with capsys.disabled():
        print(f"\npolling for a day, from {took:.0f} s: " + ", ".join(f"{cloud} {day:.1f} s of CPU ({requests} requests)"
              for (cloud, day), requests in zip(days.items(), asked)) + f"; all the rest {spent[-1] / took * DAY:.1f} s")
    if GATED and not sanitized(binary()):
        assert max(days.values()) < MOST
