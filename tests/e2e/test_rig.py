"""The rig itself: what the other end-to-end tests take for granted about the real peers is true."""

import http.client
import shutil
import ssl
import time

import dns.exception
import dns.flags
import dns.rcode
import pytest

from rig import peers, ports
from rig.api import ApiError
from rig.coredns import LOG, answer, ask, cluster, erratic, rcode, records, site, zone_file
from rig.proc import Process, RigFailure, wait_until
from rig.workload import Population

SMALL = Population(web=2, slow=1, guarded=1, set=1, bare=1, scratch=1, batch=1, daemons=1, mirror=1, finished=1, slow_stop=4)


# --- processes and ports


def test_a_process_that_ends_is_noticed_and_its_log_is_shown(tmp_path):
    with Process("short", ["sh", "-c", "echo why it ended; exit 3"], tmp_path) as process:
        with pytest.raises(RigFailure, match=r"(?s)short ended while waiting for luck.*exited with 3.*why it ended"):
            wait_until(lambda: False, 10, "luck", process)


def test_a_condition_that_never_holds_fails_at_the_deadline():
    began = time.monotonic()
    with pytest.raises(RigFailure, match="no miracle within 0.2 s; last seen: 0"):
        wait_until(lambda: 0, 0.2, "miracle")
    assert time.monotonic() - began < 2


def test_a_taken_port_is_tried_again_with_another():
    tried = []

    def start():
        tried.append(ports.free_port())
        if len(tried) < 3:
            raise RigFailure("listen tcp: bind: address already in use")
        return tried[-1]

    assert ports.with_fresh_ports(start) == tried[2]
    with pytest.raises(RigFailure, match="something else"):
        ports.with_fresh_ports(lambda: (_ for _ in ()).throw(RigFailure("something else")))


def test_peers_that_cannot_be_built_say_why(monkeypatch, tmp_path):
    for tool in ("bash", "dirname", "awk", "cat", "sha256sum", "cut", "uname", "date", "mkdir", "flock", "sort", "tail", "tr", "sed", "grep", "env"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(tmp_path))  # no go
    monkeypatch.setenv("LASTLIGHT_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(peers.PeersMissing, match="no go on PATH"):
        peers.paths("coredns")


# --- control plane


def test_versions_are_stamped(control_plane):
    assert control_plane.api.get("/version")["gitVersion"] == "v1.36.3"
    assert control_plane.kubectl("version").count("v1.36.3") == 2


@pytest.mark.skipif(not ports.has_ipv6(), reason="no IPv6 loopback")
def test_the_api_answers_on_ipv6_with_verified_tls(control_plane):
    assert control_plane.kubectl("--server", control_plane.url6, "get", "--raw", "/readyz") == "ok"


def test_a_stranger_is_refused_by_tls_and_by_the_token(control_plane):
    stranger = http.client.HTTPSConnection(control_plane.host, control_plane.port, timeout=5, context=ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.connect()
    assert control_plane.api.as_token("nonsense").request("GET", "/api/v1/nodes")[0] == 401


def test_the_population_runs_as_designed(control_plane, workload):
    began = time.monotonic()
    work = workload("rig-full")
    print(f"population of {work.population.total} pods Running in {time.monotonic() - began:.1f} s")
    # Other namespaces' DaemonSets, the agent's own among them, reach this node as well while another test has them applied.
    on_node = [pod for pod in control_plane.pods(work.namespace) if pod["spec"].get("nodeName") == "rig-full"]
    assert len(on_node) == 49, sorted(pod["metadata"]["name"] for pod in on_node)
    assert len(work.evictable()) == 42
    assert len(work.guarded()) == 5
    assert {pod["spec"]["terminationGracePeriodSeconds"] for pod in work.guarded()} == {15}
    assert sorted(work.kind_of(pod) for pod in work.untouchable()) == ["daemon"] * 5 + ["finished", "mirror"]
    owners = {work.kind_of(pod): [owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])] for pod in on_node}
    assert owners == {"web": ["ReplicaSet"], "guarded": ["ReplicaSet"], "set": ["StatefulSet"], "bare": [], "scratch": [], "batch": ["Job"],
                      "daemon": ["DaemonSet"], "mirror": ["Node"], "finished": ["Job"]}
    assert [pod["status"]["phase"] for pod in work.pods("finished")] == ["Succeeded"]
    assert control_plane.node("rig-full-spare")["metadata"]["name"] == "rig-full-spare"


def test_an_eviction_is_accepted_recorded_and_audited(control_plane, workload):
    work = workload("rig-evict", SMALL)
    began = control_plane.audit.now()
    target = work.pods("web")[0]["metadata"]
    old = {pod["metadata"]["uid"] for pod in control_plane.pods(work.namespace)}
    with control_plane.record() as record:
        code, _ = control_plane.evict(work.namespace, target["name"], grace=7, uid=target["uid"])
        assert code == 201
        going = record.wait(lambda seen: seen.name == target["name"] and "deletionTimestamp" in seen.object["metadata"], 10)
        assert going.object["metadata"]["deletionGracePeriodSeconds"] == 7
        assert [each["type"] for each in going.object["status"]["conditions"] if each["type"] == "DisruptionTarget"]
        record.wait(lambda seen: seen.type == "DELETED" and seen.name == target["name"], 15)
        # The scheduler puts the replacement onto one of the two nodes of this workload.
        replacement = record.wait(lambda seen: seen.kind == "Pod" and seen.type == "MODIFIED" and seen.object["status"]["phase"] == "Running"
                                  and seen.object["metadata"]["uid"] not in old
                                  and seen.object["metadata"]["namespace"] == work.namespace, 15)
        assert replacement.object["spec"]["nodeName"] in (work.node, work.spare)
    entry = control_plane.audit.wait(since=began, verb="create", resource="pods", subresource="eviction", name=target["name"])
    assert (entry.user, entry.code, entry.namespace) == ("admin", 201, work.namespace)
    assert entry.body["deleteOptions"]["gracePeriodSeconds"] == 7
    assert entry.body["deleteOptions"]["preconditions"]["uid"] == target["uid"]
    assert began <= entry.received <= entry.finished <= time.time()


def test_a_budget_refuses_with_its_cause(control_plane, workload):
    work = workload("rig-budget", SMALL, spare=False)
    began = control_plane.audit.now()
    name = work.guarded()[0]["metadata"]["name"]
    code, status = control_plane.evict(work.namespace, name)
    assert code == 429
    assert ApiError("POST", "", code, status).causes() == ["DisruptionBudget"]
    assert control_plane.audit.wait(since=began, subresource="eviction", name=name).code == 429
    assert name in work.left()


def test_a_pod_takes_its_delay_to_stop_but_no_longer_than_its_grace(control_plane, workload):
    work = workload("rig-stop", SMALL, spare=False)
    slow = work.slow()[0]["metadata"]["name"]
    quick = work.pods("bare")[0]["metadata"]["name"]
    path = f"/api/v1/namespaces/{work.namespace}/pods"

    def seconds_to_stop(record, name, grace):
        asked = time.monotonic()
        control_plane.api.delete(f"{path}/{name}?gracePeriodSeconds={grace}")
        return record.wait(lambda seen: seen.type == "DELETED" and seen.name == name, 30).at - asked

    with control_plane.record() as record:
        assert 2.9 <= seconds_to_stop(record, slow, 30) <= 5.5  # 4 s, less the second's fraction that the server cuts off
        assert seconds_to_stop(record, quick, 30) <= 2.5
        guarded = work.guarded()[0]["metadata"]["name"]  # takes 3 s, gets 1
        assert seconds_to_stop(record, guarded, 1) <= 2.5


def test_the_stop_is_not_put_off_when_the_pod_changes_meanwhile(control_plane, workload):
    work = workload("rig-touch", SMALL, spare=False)
    slow = work.slow()[0]["metadata"]["name"]
    path = f"/api/v1/namespaces/{work.namespace}/pods/{slow}"
    with control_plane.record() as record:
        asked = time.monotonic()
        control_plane.api.delete(path)
        touches = 0
        with pytest.raises(ApiError, match="404"):
            while time.monotonic() - asked < 8:
                control_plane.api.patch(path, {"metadata": {"annotations": {"touched": str(touches)}}})
                touches += 1
        assert touches > 3
        assert 2.9 <= record.wait(lambda seen: seen.type == "DELETED" and seen.name == slow, 10).at - asked <= 5.5


def test_service_account_tokens_are_real_and_rbac_limits_them(control_plane, workload, tmp_path):
    work = workload("rig-token", Population.only(bare=1), spare=False)
    namespace = work.namespace
    control_plane.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "agent", "namespace": namespace}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "agent", "namespace": namespace},
         "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "agent", "namespace": namespace},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "agent"},
         "subjects": [{"kind": "ServiceAccount", "name": "agent", "namespace": namespace}]})
    control_plane.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent-pod", "namespace": namespace}, "spec": {
        "nodeName": work.node, "serviceAccountName": "agent", "containers": [{"name": "agent", "image": "registry.example/agent:1"}]}})
    user = f"system:serviceaccount:{namespace}:agent"
    for bound in ({}, {"node": work.node}, {"pod": "agent-pod"}):
        agent = control_plane.api.as_token(control_plane.service_account_token(namespace, "agent", **bound))
        wait_until(lambda agent=agent: agent.request("GET", f"/api/v1/namespaces/{namespace}/pods")[0] == 200, 5, "the role to count")
        assert agent.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/bare-0")[0] == 403
    assert control_plane.allowed(user, "list", "pods", namespace)
    assert not control_plane.allowed(user, "delete", "pods", namespace)
    refused = control_plane.audit.wait(user=user, verb="delete", name="bare-0")
    assert refused.code == 403
    files = control_plane.service_account_files(namespace, "agent", tmp_path / "account", node=work.node)
    assert sorted(path.name for path in (tmp_path / "account").iterdir()) == ["ca.crt", "namespace", "token"]
    assert open(f"{files}/namespace", encoding="utf-8").read() == namespace


def test_an_api_server_that_goes_away_comes_back_with_its_objects(control_plane):
    control_plane.create_namespace("rig-outage")
    control_plane.stop_server()
    with pytest.raises(ConnectionRefusedError):
        control_plane.api.get("/api/v1/namespaces/rig-outage")
    control_plane.start_server()
    assert control_plane.api.exists("/api/v1/namespaces/rig-outage")
    control_plane.create_namespace("rig-outage-after")  # the controllers have found it again
    control_plane.create_node("rig-outage-node")
    for name in ("rig-outage", "rig-outage-after"):
        control_plane.delete_namespace(name)
    control_plane.delete_node("rig-outage-node")


# --- CoreDNS


def _addresses(reply):
    return [record.to_text() for rrset in reply.answer for record in rrset]


def test_coredns_answers_over_udp_and_tcp_on_both_families(coredns_factory):
    server = coredns_factory(site("cluster.local", LOG, records("10.0.0.1 web.shop.svc.cluster.local", "fd00::1 web.shop.svc.cluster.local", ttl=7)),
                             site(".", answer("203.0.113.7", "2001:db8::7")))
    for tcp in (False, True):
        for address in filter(None, (server.address, server.address6)):
            reply = server.query("web.shop.svc.cluster.local", "A", tcp=tcp, address=address)
            assert _addresses(reply) == ["10.0.0.1"] and reply.answer[0].ttl == 7
            assert _addresses(server.query("a.example", "AAAA", tcp=tcp, address=address)) == ["2001:db8::7"]
    assert server.query("none.cluster.local").rcode() == dns.rcode.SERVFAIL
    nodata = server.query("a.example", "TXT")
    assert (nodata.rcode(), nodata.answer, len(nodata.authority)) == (dns.rcode.NOERROR, [], 1)
    seen = wait_until(lambda: server.queries("none.cluster.local"), 5, "the query log")
    assert seen == ["udp A none.cluster.local. SERVFAIL"]


def test_coredns_serves_zone_files_rcodes_and_misbehaviour(coredns_factory, tmp_path):
    server = coredns_factory(
        site("example.org", zone_file(tmp_path, "example.org", "www 60 IN CNAME web\nweb 60 IN A 192.0.2.1\n@ 60 IN TXT \"v=1\"")),
        site("bad.test", rcode("SERVFAIL")), site("late.test", erratic(delay="700ms")), site("lost.test", erratic(drop=1)),
        site("cut.test", erratic(truncate=1)))
    assert _addresses(server.query("www.example.org")) == ["web.example.org.", "192.0.2.1"]
    assert server.query("none.example.org").rcode() == dns.rcode.NXDOMAIN
    assert _addresses(server.query("example.org", "TXT")) == ['"v=1"']
    assert server.query("x.bad.test").rcode() == dns.rcode.SERVFAIL
    began = time.monotonic()
    server.query("x.late.test")
    assert time.monotonic() - began >= 0.7
    with pytest.raises(dns.exception.Timeout):
        server.query("x.lost.test", timeout=0.5)
    assert server.query("x.cut.test").flags & dns.flags.TC


def test_coredns_goes_away_and_comes_back_on_its_port(coredns_factory):
    server = coredns_factory(site(".", answer("203.0.113.7")))
    port = server.port
    server.stop()
    with pytest.raises((dns.exception.Timeout, OSError)):
        ask(server.address, port, "a.example", timeout=0.5)
    server.configure(site(".", answer("203.0.113.8")))
    server.start()
    assert server.port == port
    assert _addresses(server.query("a.example")) == ["203.0.113.8"]


def test_coredns_serves_the_control_planes_services(coredns_factory, control_plane):
    control_plane.create_namespace("rig-dns")
    service = control_plane.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "rig-dns"},
                                   "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}, "ipFamilyPolicy": "PreferDualStack"}})[0]
    server = coredns_factory(site("cluster.local", cluster(control_plane)))
    wait_until(lambda: server.query("web.rig-dns.svc.cluster.local").rcode() == dns.rcode.NOERROR, 20, "CoreDNS to know the Service")
    for rdtype in ("A", "AAAA"):
        assert _addresses(server.query("web.rig-dns.svc.cluster.local", rdtype))[0] in service["spec"]["clusterIPs"]
    control_plane.delete_namespace("rig-dns")
