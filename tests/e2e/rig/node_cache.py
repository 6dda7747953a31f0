"""CoreDNS as node cache, as NodeLocal DNSCache configures it, in the agent's place: the same tests then say what it does.

    LASTLIGHT_SUBJECT=node-cache pytest test_dns_cases.py    # `make bench-upstream` prints both beside each other

It is configured from the agent's own configuration: zones, upstreams, protocol. What only the agent tells (metrics, /readyz)
is whatever a test wants of it, so that a test can fail on what clients see alone.
"""

import os

from . import ports
from .coredns import CoreDNS, block, site
from .needs import peers_or_skip


LEAST_TTL = 5  # seconds that its cache keeps anything


class Whatever:
    """Equal to, less and more than anything."""

    def _yes(self, *_):
        return True

    def _self(self, *_):
        return self

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _yes
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _self
    __hash__ = None

    def __bool__(self):
        return True

    def __format__(self, _spec):
        return "?"


class _AnyName(str):
    def startswith(self, *_):
        return True

    def __contains__(self, _part):
        return True


class _Anything(dict):
    def __missing__(self, key):
        return Whatever()

    def items(self):
        return [(_AnyName(), Whatever())]


def _corefile(config, listen):
    sites = []
    for zone in config["dns"]["zones"]:
        lines = ["force_tcp"] if zone.get("protocol") == "tcp" else []
        cache = block("cache", "success 9984 30", "denial 9984 5") if zone["name"] != "." else "cache 30"
        sites.append(site(zone["name"], cache, "loop", block(f"forward . {' '.join(zone['upstreams'])}", *lines), bind=listen))
    return sites


class NodeCache(CoreDNS):
    """What agent_factory gives instead of an Agent."""

    def __init__(self, directory, config, **_options):
        listen = config["dns"].get("listen", [f"{ports.V4}:0"])[0]
        address, _, port = listen.rpartition(":")
        super().__init__(peers_or_skip("coredns")["coredns"], directory, *_corefile(config, None if address == ports.V4 else address),
                         address=None if address == ports.V4 else address, port=int(port) or None)

    @property
    def process(self):
        return self._process

    @property
    def pid(self):
        return self._process.pid

    def metrics(self):
        return _Anything()

    def get(self, _path):
        return 200, Whatever()


def wanted():
    return os.environ.get("LASTLIGHT_SUBJECT") == "node-cache"
