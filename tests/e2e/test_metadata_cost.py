"""What asking takes: two agents of a cloud, alike but for how often they ask its service; the difference is the requests'. Beside them two
floors: a program that only sends and receives (tests/bench/poll.cpp), and one that asks by libcurl and does nothing else (poll_curl.cpp). All
of it printed here; `make bench-polling` measures for three minutes and holds a day of it to 10 s of processor time, or, where the machine is so
slow that libcurl alone does not do with that, to TIMES what libcurl alone takes for as many requests.
"""

import contextlib
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.load import GATED  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import cpu_seconds, sanitized  # noqa: E402  pylint: disable=wrong-import-position
from rig.agent import binary  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import Process, wait_until  # noqa: E402  pylint: disable=wrong-import-position
from rig.steady import program  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position
from test_metadata_clouds import watchers  # noqa: F401  pylint: disable=unused-import

MEASURED = float(os.environ.get("LASTLIGHT_POLLING_SECONDS", "10"))
DAY, MOST = 86400, 10.0  # seconds
TIMES = 2.0  # 1.2 to 1.6 were measured in four runs of 90 s; a program beside itself differs by a tenth between two runs
# Often and seldom, and how many requests a day by default: AWS's spot notice each second and another item every five, Azure's events each
# second, two hanging GETs of GCP's, five seconds each.
CLOUDS = {"aws": ({"poll": "1s", "poll-slow": "20s"}, {"poll": "1m", "poll-slow": "30s"}, DAY + DAY // 5),
          "azure": ({"poll": "1s"}, {"poll": "1m"}, DAY),
          "gcp": ({"gcp-hang": "2s"}, {"gcp-hang": "1m"}, 2 * DAY // 5)}


class Floor:
    """bench_poll or bench_poll_curl with a service of its own, as far as the measurement cares an agent."""

    def __init__(self, name, folder):
        self.mock = Imds()
        self.process = Process(name, [program(name), f"127.0.0.1:{self.mock.port}", "/latest/meta-data/spot/instance-action"], str(folder),
                               kill_at_once=True)

    def close(self):
        self.process.stop()
        self.mock.close()


def asked(agents):
    return [sum(agent.mock.stats()["requests"].values()) for agent in agents]


def spent(agents):
    return [cpu_seconds(agent.process.pid) for agent in agents]


def test_a_day_of_polling_takes_little(watchers, tmp_path, capsys):  # noqa: F811  pylint: disable=redefined-outer-name
    agents = watchers([(cloud, options) for cloud, (often, seldom, _) in CLOUDS.items() for options in (often, seldom)])
    with contextlib.closing(Floor("poll", tmp_path)) as floor, contextlib.closing(Floor("poll_curl", tmp_path)) as library:
        measured = [*agents, library, floor]
        wait_until(lambda: min(asked(measured)) >= 2, 20, "everyone to ask")
        before, cpu, began = asked(measured), spent(measured), time.monotonic()
        wait_until(lambda: time.monotonic() - began >= MEASURED, MEASURED + 5, "some polls")
        cpu = [now - then for now, then in zip(spent(measured), cpu)]
        requests = [now - then for now, then in zip(asked(measured), before)]
    by_curl, least = (cpu[each] / requests[each] for each in (-2, -1))
    words, over = [], []
    for number, (cloud, (_, _, a_day)) in enumerate(CLOUDS.items()):
        often, seldom = 2 * number, 2 * number + 1
        assert requests[often] > requests[seldom] + MEASURED / 4
        each = (cpu[often] - cpu[seldom]) / (requests[often] - requests[seldom])
        limit = max(MOST, TIMES * by_curl * a_day)
        over += [cloud] if each * a_day >= limit else []
        words.append(f"{cloud} {each * a_day:.1f} s of CPU, limit {limit:.1f} ({each * 1e6:.0f} us for each of "
                     f"{requests[often] - requests[seldom]} requests, {each / by_curl:.2f} times libcurl alone, {each / least:.1f} times the floor)")
    with capsys.disabled():
        print(f"\nasking for a day, from {MEASURED:.0f} s: " + "; ".join(words) + f"; once a second by libcurl alone {by_curl * DAY:.1f} s"
              f" ({by_curl * 1e6:.0f} us), the floor {least * DAY:.1f} s ({least * 1e6:.0f} us)")
    assert not over or not GATED or sanitized(binary())
