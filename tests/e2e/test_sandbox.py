"""The sandbox itself: the mocks answer as the real services do, and fail as they are told to."""

import calendar
import email.utils
import http.client
import json
import os
import socket
import sys
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.cluster import Cluster, merge_patch  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.names import Names, Zone  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.pods import DOZEN, Kind  # noqa: E402  pylint: disable=wrong-import-position

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
ACTION = "/latest/meta-data/spot/instance-action"
NODE = "/api/v1/nodes/demo-node"


class Client:
    """One kept HTTP/1.1 connection."""

    def __init__(self, served, headers=None, timeout=5):
        self.connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=timeout)
        self.headers = dict(headers or {})

    def __call__(self, method, path, body=None, **headers):
        if isinstance(body, dict):
            body = json.dumps(body)
        named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        self.connection.request(method, path, body, {**self.headers, **named})
        reply = self.connection.getresponse()
        reply.text = reply.read().decode(errors="replace")
        return reply

    def admin(self, **state):
        reply = self("POST", "/admin/state", state)
        assert reply.status == 200, reply.text
        return json.loads(reply.text)


@pytest.fixture
def imds():
    with Imds() as served:
        yield served


@pytest.fixture
def api():
    with ApiServer() as served:
        yield served


@pytest.fixture
def kubectl(api):
    return Client(api, {"Authorization": "Bearer demo-token"})


def with_token(imds, ttl=60):
    client = Client(imds)
    token = client("PUT", "/latest/api/token", **{TTL: ttl})
    assert token.status == 200 and token.headers[TTL] == str(ttl)
    client.headers["X-aws-ec2-metadata-token"] = token.text
    return client


def until(condition, timeout=5):
    ends = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < ends, "not in time"
        time.sleep(0.01)


# --- instance metadata


def test_metadata_needs_a_token_and_says_nothing_before_the_notice(imds):
    assert Client(imds)("GET", ACTION).status == 401
    client = with_token(imds)
    assert client("GET", ACTION).status == 404
    assert client("GET", "/latest/meta-data/instance-life-cycle").text == "spot"
    assert json.loads(Client(imds)("GET", "/admin/stats").text)["requests"][f"GET {ACTION}"] == 2


@pytest.mark.parametrize("ttl", ["0", "21601", "soon", ""])
def test_a_token_with_an_impossible_life_is_refused(imds, ttl):
    assert Client(imds)("PUT", "/latest/api/token", **{TTL: ttl}).status == 400


def test_tokens_expire_and_can_be_forgotten(imds):
    client = with_token(imds, ttl=1)
    assert client("GET", ACTION).status == 404
    until(lambda: client("GET", ACTION).status == 401, 3)
    client = with_token(imds)
    client.admin(forget_tokens=True)
    assert client("GET", ACTION).status == 401


def test_the_notice_comes_after_its_delay_and_can_be_withdrawn(imds):
    client = with_token(imds)
    client.admin(notice={"after": 0.2, "window": 30})
    assert client("GET", ACTION).status == 404
    until(lambda: client("GET", ACTION).status == 200)
    reply = client("GET", ACTION)
    notice = json.loads(reply.text)
    assert notice["action"] == "terminate"
    left = _seconds(notice["time"]) - _date(reply)
    assert 28 <= left <= 31
    assert client("GET", "/latest/meta-data/spot/termination-time").text == notice["time"]
    assert client.admin(notice=None)["notice"] is None
    assert client("GET", ACTION).status == 404


def _seconds(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def _date(reply):
    return email.utils.parsedate_to_datetime(reply.headers["Date"]).timestamp()


def test_clocks_that_lie(imds):
    client = with_token(imds)
    client.admin(notice={"window": 30}, clock_skew=3600)
    reply = client("GET", ACTION)
    assert 28 <= _seconds(json.loads(reply.text)["time"]) - _date(reply) <= 31
    assert abs(_date(reply) - time.time() - 3600) < 2
    client.admin(clock_skew=0, date_skew=-90)
    reply = client("GET", ACTION)
    assert 118 <= _seconds(json.loads(reply.text)["time"]) - _date(reply) <= 121
    client.admin(date="")
    assert "Date" not in client("GET", ACTION).headers
    client.admin(date="yesterday")
    assert client("GET", ACTION).headers["Date"] == "yesterday"


# --- faults, the same for every mock


def test_one_connection_is_kept(imds):
    client = with_token(imds)
    for _ in range(5):
        client("GET", ACTION)
    assert imds.connections == 1


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_storm_of_errors_ends_by_itself(imds, status):
    client = with_token(imds)
    client.admin(fault={"kind": "status", "status": status, "seconds": 0.3})
    assert client("GET", ACTION).status == status
    until(lambda: client("GET", ACTION).status == 404)


def test_a_fault_of_one_path_leaves_the_others(imds):
    client = with_token(imds)
    client.admin(fault={"kind": "status", "status": 401, "path": "/latest/meta-data"})
    assert client("GET", ACTION).status == 401
    assert client("PUT", "/latest/api/token", **{TTL: 60}).status == 200


def test_hang(imds):
    client = with_token(imds)
    client.admin(fault={"kind": "hang"})
    client.connection.timeout = 0.3
    client.connection.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client("GET", ACTION)
    client.connection.close()
    client.admin(fault=None)
    assert client("GET", ACTION).status == 404


def test_slow(imds):
    client = with_token(imds)
    client.admin(fault={"kind": "slow", "delay": 0.3})
    began = time.monotonic()
    assert client("GET", ACTION).status == 404
    assert time.monotonic() - began >= 0.3


def test_garbage_and_half_a_body(imds):
    client = with_token(imds)
    client.admin(fault={"kind": "garbage"})
    with pytest.raises(ValueError):
        json.loads(client("GET", ACTION).text)
    client.admin(fault={"kind": "half-body"})
    with pytest.raises(http.client.IncompleteRead):
        client("GET", ACTION)


def test_reset(imds):
    client = with_token(imds)
    client.admin(fault={"kind": "reset"})
    with pytest.raises(ConnectionResetError):
        client("GET", ACTION)


def test_refused_connections_until_healed(imds):
    client = with_token(imds)
    imds.fault("refuse")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", imds.port), 1)
    with pytest.raises(OSError):
        client("GET", ACTION)
    client.connection.close()
    imds.heal()
    assert client("GET", ACTION).status == 404


def test_refused_connections_come_back(imds):
    Client(imds).admin(fault={"kind": "refuse", "seconds": 0.3})

    def refused():
        try:
            socket.create_connection(("127.0.0.1", imds.port), 1).close()
            return False
        except ConnectionError:  # reset: it was queued when the listener closed
            return True

    until(refused)
    until(lambda: not refused())
    assert with_token(imds)("GET", ACTION).status == 404


@pytest.mark.parametrize("state", [{"fault": {"kind": "sulk"}}, {"nonsense": 1}, {"notice": {"after": -1}}])
def test_what_the_admin_endpoint_does_not_know_is_an_error(imds, state):
    assert Client(imds)("POST", "/admin/state", state).status == 400


# --- the Kubernetes API


def test_a_wrong_or_expired_token_is_401(api, kubectl):
    assert Client(api)("GET", NODE).status == 401
    assert kubectl("GET", NODE).status == 200
    kubectl.admin(token="next")
    assert kubectl("GET", NODE).status == 401
    assert kubectl("GET", NODE, Authorization="Bearer next").status == 200


def test_merge_patch_is_rfc_7386():
    assert merge_patch({"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"b": None, "c": [2]}, "e": {"f": None}}) == \
        {"a": {"c": [2]}, "d": 1, "e": {}}


def test_a_cordon_leaves_foreign_taints():
    taint = {"key": "foreign", "effect": "NoSchedule"}
    with ApiServer(Cluster(taints=[taint])) as api:
        kubectl = Client(api, {"Authorization": "Bearer demo-token"})
        patch = {"metadata": {"annotations": {"x": "y"}}, "spec": {"unschedulable": True}}
        assert kubectl("PATCH", NODE, patch, Content_Type="application/json").status == 415
        assert api.cluster.cordoned is None
        assert kubectl("PATCH", NODE, patch, Content_Type="application/merge-patch+json").status == 200
        node = json.loads(kubectl("GET", NODE).text)
        assert node["spec"] == {"taints": [taint], "unschedulable": True}
        assert node["metadata"]["annotations"] == {"x": "y"}
        assert api.cluster.cordoned is not None
        assert kubectl("PATCH", "/api/v1/nodes/other", patch, Content_Type="application/merge-patch+json").status == 404


def test_lists_are_filtered_and_paged(api, kubectl):
    whole = json.loads(kubectl("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Ddemo-node").text)
    assert len(whole["items"]) == len(DOZEN)
    assert json.loads(kubectl("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dother").text)["items"] == []
    assert kubectl("GET", "/api/v1/pods?fieldSelector=spec.colour%3Dred").status == 400
    names, more = [], ""
    while True:
        page = json.loads(kubectl("GET", f"/api/v1/pods?limit=5&continue={more}").text)
        names += [pod["metadata"]["name"] for pod in page["items"]]
        more = page["metadata"].get("continue", "").replace("=", "%3D").replace("+", "%2B")
        if not more:
            break
        api.cluster.add(Kind(f"aaa-late-{len(names)}", "bare"))
    assert names == [pod["metadata"]["name"] for pod in whole["items"]]


class Watch:
    def __init__(self, api, query):
        self.connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=5)
        self.connection.request("GET", f"/api/v1/pods?watch=1&{query}", headers={"Authorization": "Bearer demo-token"})
        self.reply = self.connection.getresponse()

    def next(self):
        return json.loads(self.reply.readline())


STREAMING = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


def test_a_streaming_list_then_what_changes(api, kubectl):
    watch = Watch(api, STREAMING + "&fieldSelector=spec.nodeName%3Ddemo-node")
    assert watch.reply.status == 200
    first = [watch.next() for _ in DOZEN]
    assert {event["type"] for event in first} == {"ADDED"}
    assert {event["object"]["metadata"]["name"] for event in first} == {kind.name for kind in DOZEN}
    bookmark = watch.next()
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
    assert evict(kubectl, "debug").status == 201
    assert (modified := watch.next())["type"] == "MODIFIED" and modified["object"]["metadata"]["deletionGracePeriodSeconds"] == 5
    assert (deleted := watch.next())["type"] == "DELETED" and deleted["object"]["metadata"]["name"] == "debug"


def test_a_watch_from_a_version_and_410_for_one_too_old(api, kubectl):
    version = json.loads(kubectl("GET", "/api/v1/pods").text)["metadata"]["resourceVersion"]
    watch = Watch(api, f"resourceVersion={version}")
    api.cluster.add(Kind("late", "bare"))
    event = watch.next()
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "late")
    kubectl.admin(forget_history=True)
    error = watch.next()
    assert (error["type"], error["object"]["code"]) == ("ERROR", 410)


def test_a_watch_ends_by_its_timeout_and_can_be_cut(api, kubectl):
    assert len(Watch(api, "timeoutSeconds=1").reply.read().splitlines()) == len(DOZEN)
    watch = Watch(api, STREAMING)
    for _ in range(len(DOZEN) + 1):
        watch.next()
    kubectl.admin(end_watches=True)
    with pytest.raises((http.client.IncompleteRead, ValueError)):
        watch.next()


def test_a_streaming_list_wants_to_be_not_older(api):
    assert Watch(api, "sendInitialEvents=true").reply.status == 422


# --- evictions and the kubelet


def evict(kubectl, name, namespace="default", **options):
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": options}
    return kubectl("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)


def test_a_budget_refuses_until_it_allows(kubectl):
    refused = evict(kubectl, "ledger-0")
    assert refused.status == 429
    status = json.loads(refused.text)
    assert status["reason"] == "TooManyRequests" and status["details"]["causes"][0]["reason"] == "DisruptionBudget"
    kubectl.admin(budget={"name": "ledger", "allowed": 1})
    assert evict(kubectl, "ledger-0").status == 201
    assert evict(kubectl, "ledger-1").status == 429


def test_a_terminating_pod_can_be_evicted_past_its_budget_which_only_shortens_its_grace(api, kubectl):
    assert kubectl("DELETE", "/api/v1/namespaces/default/pods/ledger-0", {"gracePeriodSeconds": 7}).status == 200
    fate = api.cluster.fates["default", "ledger-0"]
    for options, grace in (({}, 7), ({"gracePeriodSeconds": 9}, 7), ({"gracePeriodSeconds": 3}, 3)):
        assert evict(kubectl, "ledger-0", **options).status == 201
        assert (fate.by, fate.grace, fate.refusals) == ("deletion", grace, 0)


def test_preconditions(api, kubectl):
    path = "/api/v1/namespaces/default/pods/debug"
    wrong = {"preconditions": {"uid": "other"}}
    assert evict(kubectl, "debug", **wrong).status == 409
    assert kubectl("DELETE", path, wrong).status == 409
    assert kubectl("GET", path).status == 200
    right = {"preconditions": {"uid": api.cluster.fates["default", "debug"].uid}, "gracePeriodSeconds": 0}
    assert kubectl("DELETE", path, right).status == 200
    assert kubectl("GET", path).status == 404
    assert evict(kubectl, "debug").status == 404


def test_the_kubelet_ends_a_pod_by_itself_or_by_its_grace():
    kinds = [Kind("quick", "bare", stops_in=0.1, grace=30), Kind("deaf", "bare", stops_in=1e6, grace=1)]
    with ApiServer(Cluster(kinds=kinds)) as api:
        kubectl = Client(api, {"Authorization": "Bearer demo-token"})
        evict(kubectl, "quick")
        evict(kubectl, "deaf")
        quick, deaf = (api.cluster.fates["default", name] for name in ("quick", "deaf"))
        until(lambda: quick.gone and deaf.gone)
        assert 0.1 <= quick.gone - quick.told < 0.9
        assert 1.0 <= deaf.gone - deaf.told < 1.9


def test_a_grace_is_shortened_never_lengthened(api, kubectl):
    path = "/api/v1/namespaces/default/pods/indexer-6b7c-tt2jx"
    kubectl("DELETE", path, {"gracePeriodSeconds": 20})
    kubectl("DELETE", path, {"gracePeriodSeconds": 90})
    assert api.cluster.fates["default", "indexer-6b7c-tt2jx"].grace == 20
    kubectl("DELETE", path, {"gracePeriodSeconds": 1})
    until(lambda: kubectl("GET", path).status == 404, 3)


def test_events_and_services(api, kubectl):
    assert kubectl("POST", "/api/v1/namespaces/default/events", {"metadata": {"namespace": "default"}, "reason": "x"}).status == 201
    assert api.cluster.events[0]["reason"] == "x"
    path = "/api/v1/namespaces/kube-system/services/kube-dns"
    assert kubectl("GET", path).status == 404
    api.cluster.services["kube-system", "kube-dns"] = {"spec": {"clusterIP": "10.96.0.10"}}
    assert json.loads(kubectl("GET", path).text)["spec"]["clusterIP"] == "10.96.0.10"


@pytest.mark.parametrize("body", ["{", "[]", "7"])
def test_bodies_that_are_not_what_is_taken_are_400(kubectl, body):
    assert kubectl("POST", "/api/v1/namespaces/default/pods/debug/eviction", body).status == 400


def test_a_body_without_bounds_is_refused(kubectl):
    assert kubectl("POST", "/api/v1/namespaces/default/events", "", Content_Length=2 << 20).status == 413


def test_every_request_is_on_record_with_its_instant(kubectl):
    before = time.monotonic()
    kubectl("GET", NODE)
    evict(kubectl, "ledger-0")
    records = json.loads(kubectl("GET", "/admin/requests").text)
    assert [(record["method"], record["status"]) for record in records] == [("GET", 200), ("POST", 429)]
    assert before <= records[0]["at"] <= records[1]["at"] <= time.monotonic()
    assert json.loads(records[1]["body"])["kind"] == "Eviction"


# --- names


@pytest.fixture
def names():
    with Names() as served:
        yield served


@pytest.mark.parametrize("ask", [dns.query.udp, dns.query.tcp])
def test_the_embedded_zone_answers(names, ask):
    def rcode_and_answer(name, kind):
        reply = ask(dns.message.make_query(name, kind), "127.0.0.1", port=names.port, timeout=2)
        return dns.rcode.to_text(reply.rcode()), [rrset.to_text().split(" ", 2)[2] for rrset in reply.answer]

    assert rcode_and_answer("www.example.test", "A") == ("NOERROR", ["IN A 192.0.2.10"])
    assert rcode_and_answer("api.example.test", "A") == ("NOERROR", ["IN CNAME www.example.test.", "IN A 192.0.2.10"])
    assert rcode_and_answer("text.example.test", "A") == ("NOERROR", [])
    assert rcode_and_answer("none.example.test", "A") == ("NXDOMAIN", [])
    assert rcode_and_answer("debian.org", "A") == ("REFUSED", [])


def test_an_answer_that_does_not_fit_is_truncated():
    zone = Zone("@ 30 IN SOA ns a 1 1 1 1 1\n@ IN NS ns\nns IN A 192.0.2.1\n" +
                "".join(f"big IN A 192.0.2.{number}\n" for number in range(1, 100)), "big.test.")
    with Names(zone=zone) as big:
        query = dns.message.make_query("big.big.test", "A")
        assert dns.query.udp(query, "127.0.0.1", port=big.port, timeout=2).flags & dns.flags.TC
        assert len(dns.query.tcp(query, "127.0.0.1", port=big.port, timeout=2).answer[0]) == 99
