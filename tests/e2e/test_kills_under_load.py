"""The agent killed, stopped and disturbed while its node asks: how much is lost, for how long, and who is stuck. LASTLIGHT_HANDOVER_LONG=1
(`make bench-handover`) takes the long way and gates waits as well."""

import os
import signal
import subprocess
import time

from rig import steady
from rig.agent import write_config, zone
from rig.asking import Asker
from rig.measure import SchedulingDelay, family
from rig.netns import CLUSTER_IP, CLUSTER_IP6, COREDNS
from rig.proc import Process, has_ended, wait_until
from rig.steady import LONG, Steady
from test_takeover_lease import BATCH, KUBE_DNS, LEASE, US, node_factory, start_coredns  # noqa: F401  pylint: disable=unused-import

LIFE = 1.1  # seconds after which a worker's end is no crash loop

# One address asks what a whole node would.
CROWD = {"listen": [CLUSTER_IP, CLUSTER_IP6], "max-per-client": 65536, "zones": [zone(".", f"{COREDNS}:5300")]}


def test_a_killed_worker_loses_the_batch_in_its_hand(node_factory, cluster_net, tmp_path):  # noqa: F811  pylint: disable=redefined-outer-name
    """Nothing that waited in the sockets, which the supervisor holds: all that is lost had been sent before the kill."""
    rate = steady.sustained(cluster_net, tmp_path, 20_000 if LONG else 10_000)  # half a buffer in a second, for a machine that is not ours alone
    node = node_factory(more={"dns": CROWD})
    steady.warm(cluster_net.pod, CLUSTER_IP, tmp_path)
    kills, done = [], []
    with Steady(cluster_net.pod, CLUSTER_IP, rate, tmp_path) as load:
        for _ in range(40 if LONG else 8):
            time.sleep(LIFE)
            worker = node.worker
            kills.append(time.monotonic())
            os.kill(worker, signal.SIGKILL)
            done.append(time.monotonic())
            wait_until(lambda worker=worker: node.worker != worker, 10, "another worker", node.supervisor, load)
            wait_until(lambda: node.metrics()['lastlight_dns_queries_total{protocol="udp"}'] > 0, 10, "its queries", node.supervisor, load)
        time.sleep(LIFE)
    said = load.said
    per_kill = [sum(killed - 0.5 < at < killed + 0.5 for at in said.lost_at) for killed in kills]
    slowest = max(said.slow, key=lambda one: one[1], default=(kills[0], 0.0))[0]
    print(f"{len(kills)} kills at {rate} qps: lost {len(said.lost_at)} of {said.sent}, per kill at most {max(per_kill)}, failed {said.failed}, "
          f"longest wait {said.longest * 1000:.0f} ms, sent {min((slowest - each for each in kills), key=abs):+.2f} s from a kill, {sum(waited > 0.2 for _, waited in said.slow)} over 200 ms, the load itself late by {said.late * 1000:.0f} ms")
    assert max(per_kill) <= BATCH and sum(per_kill) == len(said.lost_at), (per_kill, said.lost_at)
    # A process that waits for its turn dies when it has it.
    waited = [at for at in said.lost_at if not any(before - 0.05 < at < after + 0.05 + said.late for before, after in zip(kills, done))]
    assert not waited, (kills, waited)
    assert said.failed == 0
    assert not LONG or said.longest < 0.2
    assert cluster_net.dns_entries() == []
    assert node.supervisor.stop() == 0 and cluster_net.dns_entries() == []


def test_late_answers_pin_nobody_to_the_dead(node_factory, cluster_net):  # noqa: F811  pylint: disable=redefined-outer-name
    """A hang, its late answers, and then the end: ports that were kept all the time lead to kube-proxy's CoreDNS."""
    node = node_factory()
    with Asker(cluster_net.pod, CLUSTER_IP) as pod, Asker(cluster_net.node, CLUSTER_IP) as local, SchedulingDelay() as delay:
        wait_until(lambda: US in pod.answered_by() and US in local.answered_by(), 5, "answers")
        stopped = time.monotonic()
        os.kill(node.worker, signal.SIGSTOP)
        for each in (pod, local):
            wait_until(lambda each=each: KUBE_DNS in each.answered_by(stopped + 0.1), 5, "kube-proxy to answer")
        over = {name: min(one.sent for one in each.answers(stopped) if one.by == KUBE_DNS) - stopped for name, each in (("pod", pod), ("node", local))}
        woken = time.monotonic()
        os.kill(node.worker, signal.SIGCONT)
        wait_until(lambda: all({one.kind for one in each.answers(woken) if one.by == US} >= {"fresh", "tcp"} for each in (pod, local)), 5, "the agent's answers")
        _, gone = node.kill()
        wait_until(lambda: all({one.kind for one in each.answers(gone + LEASE + 0.3) if one.by == KUBE_DNS} == {"kept", "fresh", "tcp"} for each in (pod, local)),
                   12, "all of them at CoreDNS")
    limit = LEASE + 0.3 + delay.worst(stopped, woken)
    stuck = pod.lost(since=gone) + local.lost(since=gone + LEASE + 0.3)
    print(f"at CoreDNS {over['pod']:.2f} s (pods) and {over['node']:.2f} s (node) after the hang; {len(stuck)} stuck after the kill")
    assert max(over.values()) < limit
    assert stuck == [] and pod.answered_by(gone) == {KUBE_DNS}


def test_with_the_rules_of_nodelocal_the_same_kill_is_a_black_hole(cluster_net, coredns_factory, agent_binary, tmp_path, request):
    """What the lease is for: NOTRACK for the address as long as the rules stand, and nobody behind it."""
    del coredns_factory
    net = cluster_net
    net.proxy()
    start_coredns(net, tmp_path, request)
    net.node.ip(f"address add {CLUSTER_IP}/32 dev lo")
    ours = f"ip {{}} {CLUSTER_IP} {{}} {{}} 53 notrack"
    rules = {"prerouting": [("daddr", "dport")], "output": [("saddr", "sport"), ("daddr", "dport")]}
    net.node.nft("table ip nodelocal {\n" + "\n".join(
        f"chain {hook} {{ type filter hook {hook} priority raw\n"
        + "\n".join(ours.format(side, protocol, port) for side, port in sides for protocol in ("udp", "tcp")) + "\n}" for hook, sides in rules.items()) + "\n}")
    config = write_config(tmp_path, {"http": {"listen": "", "status": ""}, "interruption": {"source": "none"},
                                     "dns": {"listen": [CLUSTER_IP], "zones": [zone(".", f"{COREDNS}:5300")]}})
    with net.node:
        agent = Process("lastlight", [agent_binary, "run", "--config", config], str(tmp_path))
    with agent, Asker(net.pod, CLUSTER_IP) as pod:
        wait_until(lambda: US in pod.answered_by(), 20, "answers", agent)
        killed = time.monotonic()
        (worker,) = family(agent.pid) - {agent.pid}
        agent.signal(signal.SIGKILL)
        agent.wait(10)
        wait_until(lambda: has_ended(worker), 10, "the worker's end")
        gone = time.monotonic()
        wait_until(lambda: len([one for one in list(pod.asked) if one.sent > gone + LEASE]) > 50, 10, "questions", interval=0.2)
    print(f"NodeLocal's rules: {len(pod.lost(since=killed))} of {len([one for one in pod.asked if one.sent >= killed])} lost after the kill")
    assert pod.answers(gone) == []


def kube_proxy_table(services=5000, endpoints=1):
    """A table as kube-proxy's nftables mode has it, replaced in one transaction: a chain per Service and per endpoint, and their map."""
    lines, elements = ["add table ip kube-proxy", "delete table ip kube-proxy", "table ip kube-proxy {"], []
    for number in range(services):
        address = f"10.97.{number // 250}.{1 + number % 250}"
        targets = [f"10.200.{(number * endpoints + each) // 250 % 250}.{1 + (number * endpoints + each) % 250}" for each in range(endpoints)]
        for each, target in enumerate(targets):
            lines.append(f"chain endpoint-{number}-{each} {{ ip saddr {target} jump mark-for-masquerade\n meta l4proto tcp dnat to {target}:8080\n}}")
        picks = ", ".join(f"{each} : goto endpoint-{number}-{each}" for each in range(endpoints))
        lines.append(f"chain service-{number} {{ ip daddr {address} tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade\n"
                     f"numgen random mod {endpoints} vmap {{ {picks} }}\n}}")
        elements.append(f"{address} . tcp . 80 : goto service-{number}")
    lines.insert(3, "chain mark-for-masquerade { meta mark set meta mark or 0x4000\n}")
    lines.append("map service-ips { type ipv4_addr . inet_proto . inet_service : verdict\n elements = { " + ",\n".join(elements) + " }\n}")
    lines += [f"chain nat-{hook} {{ type nat hook {hook} priority {priority}\n ip daddr . meta l4proto . th dport vmap @service-ips\n}}"
              for hook, priority in (("prerouting", "dstnat"), ("output", "-100"))]
    return "\n".join(lines) + "\n}\n"


def test_the_lease_holds_while_a_table_of_5000_services_is_replaced(node_factory, cluster_net, tmp_path):  # noqa: F811  pylint: disable=redefined-outer-name
    rules = tmp_path / "kube-proxy.nft"
    rules.write_text(kube_proxy_table())
    node = node_factory()
    rounds = 0
    with Asker(cluster_net.pod, CLUSTER_IP) as pod, Asker(cluster_net.node, CLUSTER_IP) as local, SchedulingDelay() as delay:
        wait_until(lambda: US in pod.answered_by() and US in local.answered_by(), 5, "answers")
        began = time.monotonic()
        while time.monotonic() < began + (60 if LONG else 5):
            cluster_net.node.run("nft", "-f", rules)
            rounds += 1
        ended = time.monotonic()
    worst, late = max(pod.worst(began), local.worst(began)), delay.worst(began, ended)
    print(f"{rounds} replacements in {ended - began:.0f} s: longest wait {worst * 1000:.0f} ms, this process late by {late * 1000:.0f} ms")
    assert pod.answered_by(began) == local.answered_by(began) == {US}
    assert pod.lost(since=began) + local.lost(since=began) == []
    assert "state=lost" not in node.supervisor.output() and cluster_net.dns_entries() == []
    assert not LONG or worst < 0.05 + late


def test_the_supervisor_sleeps_and_is_small(node_factory):  # noqa: F811  pylint: disable=redefined-outer-name
    node = node_factory()

    def switches():
        with open(f"/proc/{node.supervisor.pid}/status", encoding="ascii") as status:
            return next(line for line in status if line.startswith("voluntary_ctxt_switches"))

    def settled():
        first = switches()
        time.sleep(0.2)
        return switches() == first and first

    before = wait_until(settled, 10, "the end of the child that raised the takeover", node.supervisor)
    time.sleep(3)  # what is looked for is that nothing happens
    after = switches()
    rollup = subprocess.run(["cat", f"/proc/{node.supervisor.pid}/smaps_rollup"], capture_output=True, text=True, check=True).stdout
    private = {line.split()[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
    print(f"supervisor: {private['Private_Dirty:']} KiB private, {private['Private_Clean:']} KiB of files that nobody else maps; {after.strip()}")
    assert after == before
    assert private["Private_Dirty:"] < 1024
