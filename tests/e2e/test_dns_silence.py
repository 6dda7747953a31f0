"""Case 1: CoreDNS is silent, its ports open, under names that are in use; CoreDNS as node cache meets the same beside us.

The outage is one and a half TTLs, as 45 s are of 30 s; `make bench-upstream` runs it with these, and ten minutes pass in
tests/scenarios/dns/outage_test.cpp."""

import contextlib
import os
import signal
import time

from rig.agent import zone
from rig.coredns import LOG, answer, node_cache, site
from rig.load import Load, limit
from rig.proc import wait_until

NAMES, RATE = 300, 300
TTL = int(os.environ.get("LASTLIGHT_SILENCE_TTL", "5"))


def name(number):
    return f"n{number % NAMES}.shop.svc.cluster.local"


def test_names_in_use_outlive_a_silent_coredns(agent_factory, coredns_factory):
    """No failure, nobody waits over 350 ms, and the upstream is asked little: 600 questions in 45 s, as many a second here."""
    upstreams = [coredns_factory(site(".", answer("10.0.0.1", ttl=TTL), LOG)) for _ in range(2)]
    agent = agent_factory({"dns": {"zones": [zone("cluster.local", upstreams[0], protocol="tcp")]}})
    peer = coredns_factory(site(".", node_cache(upstreams[1])))
    with contextlib.ExitStack() as running:
        loads = [running.enter_context(Load(server, name, RATE)) for server in (agent, peer)]
        wait_until(lambda: min(len(load.asked) for load in loads) > RATE * TTL * 4 / 3, 60, "names in use")
        for upstream in upstreams:
            upstream.signal(signal.SIGSTOP)
        silent = time.monotonic()
        before = agent.metrics()["lastlight_upstream_queries_total"]
        time.sleep(1.5 * TTL)  # the outage
        asked = agent.metrics()["lastlight_upstream_queries_total"] - before
        woken = time.monotonic()
        for upstream in upstreams:
            upstream.signal(signal.SIGCONT)
        wait_until(lambda: min(len(load.since(woken)) for load in loads) > RATE * 2, 30, "questions after the outage")
    for who, load in zip(("lastlight", "CoreDNS as node cache"), loads):
        during = [one for one in load.since(silent) if one.sent < woken]
        print(f"{who}: {len([one for one in during if one.failed])} of {len(during)} failed, {len([one for one in during if one.waited > 0.35])} "
              f"over 350 ms, worst {max(one.waited for one in during) * 1000:.0f} ms")
    print(f"lastlight asked {asked:.0f} upstream questions in {1.5 * TTL:.0f} s, TTL {TTL} s")
    assert not loads[0].failed() and not loads[0].slow(limit(0.35), silent)
    assert asked < 600 * 1.5 * TTL / 45
    assert loads[1].failed(silent), "the outage was one"
