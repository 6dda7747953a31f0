"""Questions at a rate that Python cannot keep, from inside a namespace: tests/bench/load.cpp, mode `steady`.

    rate = sustained(net, tmp_path, most=50_000)                       # what the rig's own echo answers in full, node to pod
    with Steady(net.pod, CLUSTER_IP, rate, tmp_path) as load: ...
    load.said: Said(sent, answered, failed, lost_at, longest, slow, late, seconds)

A question that is not answered in a second has been lost. Instants are time.monotonic(). `late` is the longest that the load itself
was kept from running: no wait is known better than that.
"""

import collections
import json
import os

from . import peers, ports
from .proc import Process, wait_until

LONG = os.environ.get("LASTLIGHT_HANDOVER_LONG") == "1"  # make bench-handover
# Where others compute beside us no more than a socket's buffer holds for a second (8 MiB, 768 octets for a small datagram).
RATES = (*((50_000, 40_000, 30_000) if LONG else ()), 20_000, 15_000, 10_000, 5_000)
GATEWAY = "10.244.1.1"  # the node, as its pod sees it

Said = collections.namedtuple("Said", "sent answered failed lost_at longest slow late seconds p99")


def program(name):
    return os.path.join(peers.ROOT, "build", "release", "tests", f"bench_{name}")


class Steady(Process):
    def __init__(self, namespace, address, rate, directory, names="hot", seconds=600, port=53):
        self.said = None
        with namespace:
            super().__init__("load", [program("load"), f"{address}:{port}", names, "steady", seconds, rate], str(directory))

    def end(self):
        """Tells it to end, if it has not: what it said."""
        if self.said is None:
            code = self.stop(10)
            lines = self.output().splitlines()
            assert code == 0 and len(lines) == 2, self.tail()
            first, told = (json.loads(line) for line in lines)
            self.said = Said(told["sent"], first["answered"], first["failed"], [at for at, _ in told["lost_at"]], told["longest"], told["slow"], told["late"],
                             first["seconds"], first["p99_us"] / 1e6)
            assert len(self.said.lost_at) == first["lost"], first
        return self.said

    def __exit__(self, *exc):
        if exc[0] is None:
            self.end()
        else:
            self.stop()


def warm(namespace, address, directory, names="hot"):
    """Asks for each name once, until each is answered."""
    with namespace:
        run = Process("warm", [program("load"), f"{address}:53", names, "warm"], str(directory))
    run.wait(60)
    assert json.loads(run.output().splitlines()[-1])["failed"] == 0, run.tail()


def sustained(net, directory, most=RATES[0]):
    """The highest of the rates, at most `most`, that the echo answers in full, on the way that the agent's questions take."""
    rates = [each for each in RATES if each <= most]
    port = ports.free_port()
    with net.node, Process("echo", [program("echo"), f"{GATEWAY}:{port}"], str(directory), kill_at_once=True) as echo:
        for rate in rates:
            load = Steady(net.pod, GATEWAY, rate, directory, seconds=1, port=port)
            wait_until(lambda load=load: load.exit_code() is not None, 10, "the load to end", echo)
            if not load.end().lost_at and load.said.longest < 0.05:
                return rate
    return rates[-1]

