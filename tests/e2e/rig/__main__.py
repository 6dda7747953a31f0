"""Runs a control plane for a person: `cd tests/e2e && /usr/bin/python3 -m rig [NODE...]`, Ctrl-C ends it.

Each NODE gets the test population (workload.py). Everything it wrote is removed at the end.
"""

import contextlib
import signal
import sys
import tempfile

from . import peers
from .control_plane import PEERS, ControlPlane
from .workload import Workload


def main(nodes):
    with contextlib.ExitStack() as running:
        directory = running.enter_context(tempfile.TemporaryDirectory(prefix="lastlight-rig-"))
        control_plane = running.enter_context(ControlPlane(directory, peers.paths(*PEERS)))
        print(control_plane.describe())
        for node in nodes:
            work = running.enter_context(Workload(control_plane, node))
            print(f"node        {node}: {work.population.total} pods in {work.namespace}, spare node {work.spare}")
        print("Ctrl-C ends it", flush=True)
        signal.pause()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that everything is ended and removed then too
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
