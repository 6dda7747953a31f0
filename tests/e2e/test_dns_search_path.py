"""The NXDOMAIN cut (RFC 8020) beside real CoreDNSs with a real API server: it never says anything else than they do, and of what
`ndots:5` asks for little reaches them."""

import os
import random
import time

import dns.message
import pytest

from rig.agent import zone
from rig.coredns import LOG, answer, block, node_cache, site, zone_file
from rig.load import ask_all
from rig.proc import wait_until

NAMESPACE = "shop"
NEGATIVE = 2  # seconds, CoreDNS's `ttl` where answers are compared
TOPS = ["com", "org", "net", "io", "dev", "shop", "internal"]  # of names that exist elsewhere; some are names in the cluster, too
SEED = int(os.environ.get("LASTLIGHT_SEED") or random.getrandbits(32))


def service(name, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def endpoints(name, *addresses):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            "metadata": {"name": f"{name}-1", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": [each], "hostname": f"pod-{number}", "zone": "eu-1a" if number else "corp.example.com", "conditions": {"ready": True}}
                          for number, each in enumerate(addresses)]}


@pytest.fixture(scope="module")
def in_cluster(control_plane):
    """The Services of one namespace; headless ones with endpoints, without, and named as a top-level domain."""
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    control_plane.create_namespace(NAMESPACE)
    control_plane.apply(service("web", ports=ports), service("db", clusterIP="None", ports=ports), endpoints("db", "10.244.3.1", "10.244.3.2"),
                        service("dev", clusterIP="None", ports=ports), endpoints("dev", "10.244.3.5"),
                        service("idle", clusterIP="None", ports=ports), service("io", clusterIP="None", ports=ports),
                        service("away", type="ExternalName", externalName="www.example.com"))
    yield control_plane
    control_plane.delete_namespace(NAMESPACE)


@pytest.fixture
def first_pod(in_cluster):  # pylint: disable=redefined-outer-name
    """Called, `io` gets its first pod."""
    yield lambda: in_cluster.apply(endpoints("io", "10.244.3.9"))
    in_cluster.api.delete(f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/io-1")


def kubernetes(control_plane, *lines, ttl=NEGATIVE):
    return block("kubernetes cluster.local in-addr.arpa ip6.arpa", f"kubeconfig {control_plane.kubeconfig} rig", "pods insecure", f"ttl {ttl}", *lines)


def plain(control_plane, _directory):
    return [kubernetes(control_plane)]


def zonal(control_plane, _directory):
    return [kubernetes(control_plane, "zonal", "endpoint_pod_names")]


def layered(control_plane, directory):
    """What operators put into the cluster's zone: names of their own, below names that CoreDNS calls missing."""
    text = "@ 2 IN SOA ns.dns hostmaster 1 7200 1800 86400 2\n@ 2 IN NS ns.dns\na.deep.lab.svc 2 IN A 10.9.0.3\nwiki.lab 2 IN A 10.9.0.4\n*.wild 2 IN A 10.9.0.5"
    return ["rewrite name exact legacy.office.svc.cluster.local web.shop.svc.cluster.local answer auto",
            "rewrite name suffix .old.svc.cluster.local .shop.svc.cluster.local answer auto",
            block("hosts", "10.9.0.1 printer.office.cluster.local", "10.9.0.2 db9.db.shop.svc.cluster.local scanner.office.svc.cluster.local", "ttl 2", "fallthrough"),
            kubernetes(control_plane, "fallthrough"), zone_file(directory, "cluster.local", text)]


THERE = [name + ".cluster.local" for name in (
    "web.shop.svc", "db.shop.svc", "pod-0.db.shop.svc", "pod-1.db.shop.svc", "dev.shop.svc", "pod-0.dev.shop.svc", "away.shop.svc", "idle.shop.svc", "io.shop.svc",
    "_http._tcp.web.shop.svc", "_http._tcp.db.shop.svc", "eu-1a.pin._zone.db.shop.svc", "corp.example.com.prefer._zone.db.shop.svc", "kubernetes.default.svc",
    "10-244-3-1.shop.pod", "1-2-3-4.default.pod", "ns.dns", "dns-version", "svc", "shop.svc", "pod", "shop.pod", "default.svc", "legacy.office.svc", "web.old.svc",
    "pod-0.db.old.svc", "printer.office", "db9.db.shop.svc", "scanner.office.svc", "a.deep.lab.svc", "deep.lab.svc", "lab.svc", "wiki.lab", "x.wild", "y.x.wild",
    "www.corp", "a.www.corp")] + ["cluster.local"]
LABELS = ["web", "db", "dev", "idle", "io", "away", "shop", "default", "svc", "pod", "dns", "dns-version", "ns", "_tcp", "_http", "_zone", "pin", "pod-0", "pod-7",
          "office", "lab", "old", "wild", "corp", "printer", "example", "www", "api", "1-2-3-4", "a", "b"] + TOPS
TYPES = ["A"] * 6 + ["AAAA"] * 4 + ["HTTPS", "SVCB", "SRV", "TXT", "SOA", "NS", "MX"]


def some_name(dice):
    """Something that is there, something near it, a search path's name, or labels thrown together."""
    match dice.randrange(5):
        case 0:
            return dice.choice(THERE)
        case 1:
            labels = dice.choice(THERE).split(".")
            labels[dice.randrange(len(labels))] = dice.choice(LABELS)
            return ".".join(labels)
        case 2:
            return dice.choice(LABELS) + "." + dice.choice(THERE)
        case 3:
            return f"n{dice.randrange(10**6)}.example.{dice.choice(TOPS)}.{dice.choice(['shop.svc.', 'svc.', ''])}cluster.local"
    return ".".join(dice.choices(LABELS, k=dice.randrange(1, 5))) + "." + dice.choice(["shop.svc.", "svc.", "", "default.svc."]) + "cluster.local"


def said(wire):
    """Its rcode and what its answer section holds."""
    if wire[6:8] == b"\0\0":
        return wire[3] & 15, frozenset()
    message = dns.message.from_wire(wire)
    return message.rcode(), frozenset((rrset.name, rrset.rdtype, item) for rrset in message.answer for item in rrset)


def differences(agent, coredns, dice, rounds, each):
    """Both are asked the same. First what exists elsewhere, so that the agent knows the top-level domains."""
    ask_all(agent, [(f"www.example.{top}", "A") for top in TOPS])
    differed = []
    for _ in range(rounds):
        questions = [(some_name(dice), dice.choice(TYPES)) for _ in range(each)]
        ours, theirs = ask_all(agent, questions), ask_all(coredns, questions)
        differed += [(question, said(we), said(they)) for question, we, they in zip(questions, ours, theirs) if said(we) != said(they)]
    return differed


@pytest.mark.parametrize("corefile", [plain, zonal, layered])
def test_the_cut_never_says_anything_else_than_coredns(corefile, in_cluster, first_pod, agent_factory, coredns_factory, tmp_path):
    """Thousands of random names of random types; `www.corp.cluster.local` and what is below `corp` are a stub zone."""
    print(f"LASTLIGHT_SEED={SEED}")
    dice = random.Random(SEED)
    rest = coredns_factory(site("corp.cluster.local", answer("10.8.0.1")), site(".", answer("203.0.113.7")))
    stub = site("corp.cluster.local", f"forward . {rest.address}:{rest.port}")
    coredns = coredns_factory(site("cluster.local", *corefile(in_cluster, tmp_path)), stub, site(".", f"forward . {rest.address}:{rest.port}"))
    wait_until(lambda: coredns.query("pod-1.db.shop.svc.cluster.local").answer and coredns.query("web.shop.svc.cluster.local").answer, 20, "CoreDNS to know the Services")
    agent = agent_factory({"dns": {"zones": [zone("cluster.local", coredns, protocol="tcp"), zone("corp.cluster.local", rest), zone(".", rest)]}})
    differed = differences(agent, coredns, dice, rounds=4, each=1000)
    assert not differed, differed[:5]
    # A Service gets its first pod: seen no later than the negative TTL allows.
    first_pod()
    wait_until(lambda: coredns.query("pod-0.io.shop.svc.cluster.local").answer, 20, "CoreDNS to know the endpoint")
    time.sleep(NEGATIVE + 0.5)
    questions = [(f"{pod}io.shop.svc.cluster.local", "A") for pod in ("", "pod-0.", "pod-1.")]
    assert [said(wire) for wire in ask_all(agent, questions)] == [said(wire) for wire in ask_all(coredns, questions)]
    metrics = agent.metrics()
    avoided = metrics["lastlight_cache_cut_upstream_queries_avoided_total"]
    print(f"{corefile.__name__}: {avoided:.0f} of 4000 answered without asking, {metrics['lastlight_upstream_queries_total']:.0f} upstream questions in all")
    assert avoided > 100, "nothing was cut: nothing was tested"


PODS = 2  # that look names up at the same time
CLOUD = "eu-west-1.compute.internal"


@pytest.mark.parametrize("suffixes, share", [(3, 0.26), (4, 0.41)], ids=["three suffixes", "a cloud suffix besides"])
def test_of_ndots_5_little_reaches_coredns(suffixes, share, in_cluster, agent_factory, coredns_factory):
    """500 external names never seen, A and AAAA, as a pod's resolver walks them; CoreDNS as node cache does the same."""
    def servers():
        rest = coredns_factory(site(CLOUD, answer_nothing(), LOG), site(".", answer("203.0.113.7"), LOG))
        return coredns_factory(site("cluster.local", kubernetes(in_cluster, ttl=30), LOG)), rest

    def walk(server):
        names = [f"n{number}.example{number % 7}.{TOPS[number % 3]}" for number in range(500)]
        path = [f".{NAMESPACE}.svc.cluster.local", ".svc.cluster.local", ".cluster.local", f".{CLOUD}"][:suffixes] + [""]
        for first in range(0, 500, PODS):
            for end in path:  # each pod waits for one suffix's answers before it asks for the next
                wires = ask_all(server, [(name + end, rdtype) for name in names[first:first + PODS] for rdtype in ("A", "AAAA")])
                assert {wire[3] & 15 for wire in wires} == {0 if end == "" else 3}

    (cluster, rest), (their_cluster, their_rest) = servers(), servers()
    agent = agent_factory({"dns": {"zones": [zone("cluster.local", cluster, protocol="tcp"), zone(".", rest)]}})
    peer = coredns_factory(site("cluster.local", node_cache(their_cluster)), site(".", node_cache(their_rest, force_tcp=False)))
    for server in (agent, peer):
        walk(server)
    ours, theirs = [len(each.logged(1)) for each in (cluster, rest)], [len(each.logged(1)) for each in (their_cluster, their_rest)]
    print(f"{suffixes} suffixes: lastlight asked {ours[0]} in the cluster's zone and {ours[1]} elsewhere, CoreDNS as node cache {theirs[0]} and {theirs[1]}: "
          f"{ours[0] / 3000:.1%} of the suffixed, {sum(ours) / sum(theirs):.1%} of all")
    assert ours[0] <= 0.02 * 3000
    assert sum(ours) <= share * sum(theirs)


def answer_nothing():
    return block("template ANY ANY", "rcode NXDOMAIN", 'authority "{{ .Zone }} 5 IN SOA ns.invalid. hostmaster.invalid. 1 7200 1800 86400 5"')
