"""Names aimed at one slot of the cache's table, by somebody who knows the seed.

    with KnownSeed(directory):                    # agents started inside have it
        agent = agent_factory(...)
    names = aimed(directory, 10000, 16384)        # all in one slot of 16,384, where the seed is that
"""

import os
import subprocess

from . import peers

_HERE = os.path.dirname(os.path.abspath(__file__))


class KnownSeed:
    def __init__(self, directory):
        self._library = os.path.join(str(directory), "seed.so")
        subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", self._library, os.path.join(_HERE, "seed.c")], check=True)

    def __enter__(self):
        os.environ["LD_PRELOAD"] = self._library

    def __exit__(self, *exc):
        del os.environ["LD_PRELOAD"]


def aimed(directory, count, slots):
    program = os.path.join(str(directory), "aim")
    sources = [os.path.join(_HERE, "aim.cpp"), os.path.join(peers.ROOT, "dnscache", "hash.cpp")]
    subprocess.run(["c++", "-std=c++23", "-O2", "-I", peers.ROOT, "-o", program, *sources], check=True)
    return subprocess.run([program, str(count), str(slots)], check=True, capture_output=True, text=True).stdout.split()
