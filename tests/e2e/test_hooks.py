"""Those who must know are told: webhooks in order past an outage, and pods that hang on GET /interruption.

Mocks stand for the metadata service, the API server and the receiver (tests/sandbox), because they can be told to fail.
"""

import json
import os
import resource
import socket
import sys
import threading
import time
import urllib.request

import pytest
import yaml

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.agent import command, write_config  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import Memory  # noqa: E402  pylint: disable=wrong-import-position
from rig.peers import ROOT  # noqa: E402  pylint: disable=wrong-import-position
from rig.ports import free_port  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.names import Names  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.serving import Served  # noqa: E402  pylint: disable=wrong-import-position

EXAMPLES = os.path.join(ROOT, "manifests", "examples", "hooks.yaml")
OUTAGE, WAITERS, BOUND, PER_CLIENT = 15.0, 12, 2048, 16


class Sink(Served):
    def answer(self, exchange):
        exchange.record.update(url=exchange.path, host=exchange.headers["Host"], secret=exchange.headers["Authorization"])
        exchange.reply(200, "ok")

    def told(self):
        with self.lock:
            return [json.loads(each["body"]) for each in self.records if each["status"] == 200]


def test_the_examples_pass_the_check(tmp_path, agent_binary):  # pylint: disable=unused-argument
    with open(EXAMPLES, encoding="utf-8") as file:
        config = {"node-name": "n", **yaml.safe_load(file)}
    assert {each["name"] for each in config["hooks"]["webhooks"]} == {"slack", "pagerduty", "teams", "lifecycle-hook", "gateway"}
    run = command("check", "--config", write_config(tmp_path, config))
    assert run.returncode == 0, run.stderr
    config["hooks"]["webhooks"][0]["body"] = '{"text": "{{ txet }}"}'
    run = command("check", "--config", write_config(tmp_path, config))
    assert run.returncode == 1 and 'hooks.webhooks[0].body: line 1: there is no field "txet"' in run.stderr, run.stderr


def ask(port, etag=None):
    """(status, body, when): one request that hangs."""
    headers = {"If-None-Match": etag} if etag else {}
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/interruption?wait=60s", headers=headers), timeout=70) as reply:
        return reply.status, reply.read(), time.monotonic()


@pytest.fixture
def scene(agent_factory, tmp_path):
    with Imds() as imds, ApiServer(token="t") as api, Sink() as sink:
        (tmp_path / "token").write_text("t")
        port = free_port()
        agent = agent_factory({
            "node-name": "demo-node",
            "dns": {"zones": [{"name": ".", "upstreams": ["127.0.0.1:9"]}]},
            "interruption": {"source": "aws", "metadata-url": imds.url},
            "kubernetes": {"api-server": api.url, "token-file": str(tmp_path / "token"), "ca-file": ""},
            "hooks": {"listen": [f"127.0.0.1:{port}"], "webhooks": [{"name": "sink", "url": f"{sink.url}/hook"}]}})
        yield imds, api, sink, agent, port


def test_waiters_are_told_and_a_sink_that_was_away_gets_all_in_order(scene):  # pylint: disable=redefined-outer-name
    imds, api, sink, agent, port = scene
    sink.fault("status", status=503, seconds=3600)
    got = []
    threads = [threading.Thread(target=lambda: got.append(ask(port)), daemon=True) for _ in range(WAITERS)]
    for each in threads:
        each.start()
    wait_until(lambda: agent.metrics()["lastlight_notice_endpoint_waiters"] == WAITERS, 10, "the waiters to wait", agent.process)
    assert not got
    notice = imds.set_notice(window=60)
    for each in threads:
        each.join(10)
    assert [status for status, _, _ in got] == [200] * WAITERS
    body = json.loads(got[0][1])
    assert (body["kind"], body["action"]) == ("spot-terminate", "terminate") and 30 < body["secondsLeft"] <= 60
    wait_until(lambda: sink.records, 10, "the first try", agent.process)
    first = sink.records[0]["at"]
    print(f"waiters told {min(at for _, _, at in got) - first:+.3f} to {max(at for _, _, at in got) - first:+.3f} s from the first webhook")
    wait_until(lambda: time.monotonic() >= first + OUTAGE, OUTAGE + 5, "the outage to last", agent.process)
    assert not sink.told()
    sink.heal()
    wait_until(lambda: len(sink.told()) >= 2, 12, "the sink to be told", agent.process)
    wait_until(lambda: api.cluster.cordoned, 1, "the cordon", agent.process)
    told = sink.told()
    assert [each["phase"] for each in told][:2] == ["notice", "drain-started"]
    assert [each["sequence"] for each in told] == sorted({each["sequence"] for each in told})
    assert time.monotonic() < notice.ends
    assert all(each["node"] == "demo-node" and each["secondsLeft"] < 60 - OUTAGE + 1 for each in told)
    metrics = agent.metrics()
    assert sum(value for key, value in metrics.items() if "hook_events" in key and "delivered" in key) >= 2
    assert not any(value for key, value in metrics.items() if "hook_events" in key and ("lost" in key or "expired" in key))


def test_webhooks_by_our_own_names_through_a_proxy_and_with_a_secret(agent_factory, tmp_path):
    """A name that only our own forwarder knows; a proxy for all others; a header out of a file."""
    with Imds() as imds, ApiServer(token="t") as api, Sink() as sink, Sink() as proxy, Names() as names:
        (tmp_path / "token").write_text("t")
        (tmp_path / "secret").write_text("Bearer one\n")
        agent = agent_factory({
            "node-name": "demo-node", "dns": {"zones": [{"name": ".", "upstreams": [names.address]}]},
            "interruption": {"source": "aws", "metadata-url": imds.url},
            "kubernetes": {"api-server": api.url, "token-file": str(tmp_path / "token"), "ca-file": ""},
            "hooks": {"listen": [], "webhooks": [
                {"name": "named", "url": f"http://ns.example.test:{sink.port}/named", "headers": [{"name": "Authorization", "value-file": str(tmp_path / "secret")}]},
                {"name": "outside", "url": "http://hooks.invalid/outside"}]}}, env={"http_proxy": proxy.url, "no_proxy": "example.test"})
        imds.set_notice(window=60)
        wait_until(lambda: sink.told() and proxy.told(), 10, "both to be told", agent.process)
        assert (sink.records[0]["host"], sink.records[0]["secret"]) == (f"ns.example.test:{sink.port}", "Bearer one")
        assert (proxy.records[0]["url"], proxy.records[0]["host"]) == ("http://hooks.invalid/outside", "hooks.invalid")
        agent.stop()


def hang_from(address, port):
    """A connection from that address of loopback, with a request that waits."""
    made = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(address, 0))
    made.sendall(b"GET /interruption?wait=60s HTTP/1.1\r\nHost: node\r\n\r\n")
    return made


def head_of(connection):
    return connection.recv(4096).split(b"\r\n\r\n")[0].decode()


def test_the_endpoint_holds_its_bounds_and_tells_all_who_wait(scene):  # pylint: disable=redefined-outer-name
    imds, _, _, agent, port = scene
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * BOUND + 1024), hard))
    waiting = []

    def waiters():
        return agent.metrics()["lastlight_notice_endpoint_waiters"]

    try:
        before = memory_of(agent.worker)
        for client in range(BOUND // PER_CLIENT):
            waiting += [hang_from(f"127.0.1.{client + 1}", port) for _ in range(PER_CLIENT)]
            if client == 0:
                wait_until(lambda: waiters() == PER_CLIENT, 10, "one client's to wait", agent.process)
                with hang_from("127.0.1.1", port) as one_more:
                    refused = head_of(one_more)
                    assert refused.startswith("HTTP/1.1 503 ") and "Retry-After:" in refused, refused
        wait_until(lambda: waiters() == BOUND, 20, "all to wait", agent.process)
        with hang_from("127.0.2.1", port) as one_more:
            refused = head_of(one_more)
            assert refused.startswith("HTTP/1.1 503 ") and "Retry-After:" in refused, refused
        grew = memory_of(agent.worker) - before
        imds.set_notice(window=60)
        assert head_of(waiting[0]).startswith("HTTP/1.1 200 ")
        first = time.monotonic()
        assert all(head_of(each).startswith("HTTP/1.1 200 ") for each in waiting[1:])
        print(f"{BOUND} waiters: {grew / BOUND:.1f} KiB each; the last was told {time.monotonic() - first:.2f} s after the first")
        assert agent.metrics()["lastlight_notice_endpoint_told_total"] == BOUND
    finally:
        for each in waiting:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory_of(pid):
    memory = Memory(pid)
    memory.sample()
    return memory.anonymous
