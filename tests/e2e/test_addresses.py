"""Addresses that are known late or wrongly: `service:NAME` by the environment and by the API server, ports that are taken, loops."""

import contextlib
import os
import re
import socket
import sys

import dns.rcode
import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig import ports  # noqa: E402  pylint: disable=wrong-import-position
from rig.agent import binary, command, write_config, zone  # noqa: E402  pylint: disable=wrong-import-position
from rig.coredns import ask, answer, site  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.agent import Agent  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position

pytestmark = pytest.mark.usefixtures("agent_binary")


@pytest.fixture
def api():
    with ApiServer() as running:
        yield running


def serve(api, name, *addresses):
    api.cluster.services["kube-system", name] = {"spec": {"clusterIP": addresses[0], "clusterIPs": list(addresses)}}


@pytest.fixture
def start(api, tmp_path):
    """start(dns) -> the agent, started but not waited for; the API server it asks is the mock."""
    token = tmp_path / "token"
    token.write_text("demo-token")
    with contextlib.ExitStack() as running:
        def run(dns, http_port):
            config = {"http": {"listen": f"127.0.0.1:{http_port}", "status": ""}, "log": {"format": "json"}, "interruption": {"source": "none"}, "dns": dns,
                      "kubernetes": {"api-server": api.url, "token-file": str(token), "ca-file": ""}}
            return running.enter_context(Agent(binary(), write_config(tmp_path, config), str(tmp_path), None, http_port))
        yield run


def events(agent, name):
    return re.findall(rf'^.*"event":"{re.escape(name)}".*$', agent.process.output(), re.MULTILINE)


def wait_ready(agent):
    wait_until(lambda: agent.get("/readyz")[0] == 200, 15, "the agent to be ready", agent.process)


def wait_event(agent, name, times=1):
    wait_until(lambda: len(events(agent, name)) >= times, 15, f"the event {name}", agent.process)


@contextlib.contextmanager
def taken(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", port))
        yield


def test_a_port_taken_when_its_address_becomes_known_is_tried_again(api, start):
    """NodeLocal DNSCache that is still there, for example: the agent waits for it to go, and drains meanwhile if it must."""
    port, http_port = ports.free_ports(2)
    with taken(port):
        agent = start({"listen": [f"service:late:{port}"], "zones": [zone(".", "192.0.2.1")]}, http_port)
        wait_event(agent, "service.unresolved")
        status, body = wait_until(lambda: agent.get("/readyz")[0] and agent.get("/readyz"), 10, "an answer of /readyz", agent.process)
        assert status == 503 and "sockets: not bound" in body
        serve(api, "late", "127.0.0.1")
        wait_event(agent, "dns.listen_failed")
        assert "Address already in use" in events(agent, "dns.listen_failed")[0]
        wait_until(lambda: agent.get("/readyz")[0] == 503, 10, "an agent that lives", agent.process)
        assert agent.get("/healthz")[0] == 200
    wait_ready(agent)
    assert ask("127.0.0.1", port, "localhost").rcode() == dns.rcode.NOERROR
    assert len(events(agent, "dns.listen_failed")) == 1, "once per reason, not per attempt"


def test_an_address_that_nobody_can_tell_ends_the_start(tmp_path):
    path = write_config(tmp_path, {"http": {"listen": ""}, "interruption": {"source": "none"},
                                   "dns": {"listen": ["service:nowhere:5353"], "zones": [zone(".", "192.0.2.1")]}})
    done = command("run", "--config", path, env={"KUBERNETES_SERVICE_HOST": ""})
    assert done.returncode == 1 and re.search(r"service:nowhere:5353: NOWHERE_SERVICE_HOST is not set, and no API server is known", done.stderr), done.stderr


def test_an_upstream_that_turns_out_to_be_ourselves_is_refused(api, start, coredns_factory):
    upstream = coredns_factory(site(".", answer("203.0.113.7")))
    first, second, http_port = ports.free_ports(3)
    agent = start({"listen": [f"127.0.0.1:{first}", f"service:later:{second}"], "attempt-timeout": "200ms", "query-timeout": "500ms", "zones": [
        zone("upstream-late.test", f"service:loop:{first}"), zone("listener-late.test", f"127.0.0.1:{second}"),
        zone("both.test", f"127.0.0.1:{second}", upstream), zone(".", upstream)]}, http_port)
    wait_event(agent, "service.unresolved", 2)
    serve(api, "later", "127.0.0.1")
    serve(api, "loop", "127.0.0.1")
    wait_event(agent, "dns.upstream_is_ourselves", 3)
    wait_ready(agent)
    assert "lastlight_upstreams_refused 3\n" in agent.get("/metrics")[1]
    for name in ("a.upstream-late.test", "a.listener-late.test"):
        assert ask("127.0.0.1", first, name).rcode() == dns.rcode.SERVFAIL
    assert ask("127.0.0.1", second, "a.both.test").answer, "what is left of a zone's upstreams is asked"
    seen = sum(float(value) for value in re.findall(r'^lastlight_dns_queries_total\{protocol="udp"\} (\S+)$', agent.get("/metrics")[1], re.MULTILINE))
    assert seen < 20, "the queries went round"
    assert len(events(agent, "dns.upstream_is_ourselves")) == 3, "each is told once"


@pytest.mark.skipif(not ports.has_ipv6(), reason="no ::1 here")
def test_a_service_of_two_families_is_listened_on_by_both(api, start, monkeypatch):
    """The environment has one family; the API server all."""
    monkeypatch.setenv("DUAL_SERVICE_HOST", "127.0.0.1")
    port, http_port = ports.free_ports(2)
    serve(api, "dual", "127.0.0.1", "::1")
    agent = start({"listen": [f"service:dual:{port}"], "zones": [zone(".", "192.0.2.1")]}, http_port)
    wait_event(agent, "dns.listening", 2)
    for address in ("127.0.0.1", "::1"):
        assert ask(address, port, "localhost").answer
    assert len([record for record in api.records if record["path"].endswith("/services/dual")]) == 1, "asked once"


def test_the_environment_serves_while_the_api_server_does_not(api, start, monkeypatch):
    monkeypatch.setenv("DUAL_SERVICE_HOST", "127.0.0.1")
    port, http_port = ports.free_ports(2)
    api.fault("status", status=403)
    agent = start({"listen": [f"service:dual:{port}"], "zones": [zone(".", "192.0.2.1")]}, http_port)
    wait_ready(agent)
    assert ask("127.0.0.1", port, "localhost").answer
    wait_event(agent, "service.unresolved")
    assert '"error":"the API server answered 403","using":"127.0.0.1"' in events(agent, "service.unresolved")[0]


def test_check_says_what_services_are(api, tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("demo-token")
    monkeypatch.setenv("UP_SERVICE_HOST", "10.96.0.99")
    serve(api, "dual", "10.96.0.10", "fd00::a")
    config = {"interruption": {"source": "none"}, "kubernetes": {"api-server": api.url, "token-file": str(token), "ca-file": ""},
              "dns": {"listen": ["service:dual"], "zones": [zone(".", "service:up", "service:gone")]}}

    def check():
        done = command("check", "--config", write_config(tmp_path, config))
        assert done.returncode == 0, done.stderr
        return [line for line in re.findall(r"^# (.*)$", done.stdout, re.MULTILINE) if "service:" in line]

    assert check() == ["dns.listen: service:dual:53 is 10.96.0.10:53 and [fd00::a]:53 (by the API server)",
                       "zone .: service:up:53 is 10.96.0.99:53 (by UP_SERVICE_HOST; the API server answered 404)",
                       "zone .: service:gone:53 is unresolved: GONE_SERVICE_HOST is not set; the API server answered 404"]
    api.close()
    assert re.search(r"unresolved: .*Connection refused", check()[0])
