"""Case 9: a rollout of CoreDNS, as a node sees it: three instances behind one address, each connection pinned to one of them by
connection tracking, and one after the other gone, by a reset or without a word, under load. `make bench-upstream` takes 2,000
questions a second and gates what anybody waits."""

import contextlib
import os
import signal
import time

import pytest

from rig.agent import zone
from rig.coredns import LOG, answer, site
from rig.load import Load, limit
from rig.netns import FALLBACK
from rig.proc import wait_until

RATE = int(os.environ.get("LASTLIGHT_RATE", "500"))
BACKENDS = ["10.244.2.2", "10.244.2.3", "10.244.2.4"]
ASKED = 10  # questions that a backend has answered a moment ago, before it goes
NOTICED = 1.0  # seconds until the dead one is out of the Service's rules; a kubelet's probes take several times that


def balance(node, backends):
    """kube-proxy's rules for the Service, replaced at once: connections that are tracked keep their backend."""
    targets = ", ".join(f"{number} : {each}" for number, each in enumerate(backends))
    rules = "\n".join(f"ip daddr {FALLBACK} {protocol} dport 53 dnat to numgen random mod {len(backends)} map {{ {targets} }}" for protocol in ("udp", "tcp"))
    node.nft(f"""table ip service
        delete table ip service
        table ip service {{
            chain output {{ type nat hook output priority -100
                {rules}
            }}
        }}""")


def silence(node, backend):
    """Its packets are lost, as those to a pod whose node is gone."""
    node.nft(f"table ip gone {{\nchain output {{\ntype filter hook output priority 10; ip daddr {backend} drop\n}}\n}}")


def over_tcp(server):
    return sum(line.startswith("tcp ") for line in server.queries())


def carrying(servers, left):
    """The backend that answers over the agent's connections now: taken away, it takes along a connection that is in use."""
    before = {each: over_tcp(servers[each]) for each in left}
    return wait_until(lambda: next((each for each in left if over_tcp(servers[each]) >= before[each] + ASKED), None), 20, "questions over TCP")


@pytest.mark.parametrize("how", ["reset", "silence"])
def test_a_rollout_behind_one_address_is_seen_by_no_client(how, cluster_net, agent_factory, coredns_factory):
    """Names of 30 s, of which one in ten is asked for the first time; nobody sees an error, nobody waits over 500 ms."""
    net = cluster_net
    net.other.ip(*[f"address add {each}/32 dev lo" for each in BACKENDS[1:]])
    with contextlib.ExitStack() as running:
        with net.other:
            servers = {each: coredns_factory(site(".", answer(each, ttl=30), LOG, bind=each), address=each, port=53) for each in BACKENDS}
        balance(net.node, BACKENDS)
        with net.node:
            agent = agent_factory({"log": {"level": "info"}, "dns": {"zones": [zone("cluster.local", FALLBACK, protocol="tcp")]}})
            load = running.enter_context(Load(agent, lambda number: f"n{number % 300 if number % 10 else number}.cluster.local", RATE))
        wait_until(lambda: len(load.asked) > 4 * RATE, 30, "names in use")
        began = time.monotonic()
        left = list(BACKENDS)
        while len(left) > 1:
            victim = carrying(servers, left)
            if how == "reset":
                servers[victim].signal(signal.SIGKILL)
            else:
                silence(net.node, victim)
            time.sleep(NOTICED)
            left.remove(victim)
            balance(net.node, left)
            time.sleep(1)  # the load's length until the next
        carrying(servers, left)
        with net.node:
            metrics = agent.metrics()
        running.pop_all().close()
    during = load.since(began)
    print(f"{how} at {RATE} a second: {len(load.failed(began))} of {len(during)} failed, p99 {load.quantile(0.99, began) * 1000:.0f} ms, "
          f"worst {load.worst(began) * 1000:.0f} ms; {metrics['lastlight_upstream_retries_total']:.0f} asked again, "
          f"{metrics['lastlight_upstream_unreachable_total']:.0f} connections did not come about, {metrics['lastlight_dns_stale_answers_total']:.0f} stale")
    assert not load.failed(), load.failed()[:5]
    assert not load.slow(limit(0.5), began), load.slow(limit(0.5), began)[:5]
