"""The program around the two halves: threads, memory, logs, probes and metrics, and how it leaves."""

import contextlib
import json
import os
import signal
import socket
import sys
import time

import dns.message
import dns.rcode
import pytest
import yaml

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig import peers  # noqa: E402  pylint: disable=wrong-import-position
from rig.agent import binary, command, zone  # noqa: E402  pylint: disable=wrong-import-position
from rig.coredns import LOG, answer, erratic, site  # noqa: E402  pylint: disable=wrong-import-position
from rig.load import ask_all  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import Memory, Sampler, cpu_seconds, family, sanitized  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.cluster import Cluster  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1024  # KiB
SIGPIPE_BIT = 1 << (signal.SIGPIPE - 1)


class Threads(Sampler):
    """The most threads any of the agent's processes was seen with; one that lives for a name look-up is seen only while it lives."""

    def __init__(self, pid):
        super().__init__(0.002)
        self._tasks = [f"/proc/{each}/task" for each in family(pid)]
        self.most = self.seen = 0

    def sample(self):
        try:
            self.most = max(self.most, *(len(os.listdir(tasks)) for tasks in self._tasks))
            self.seen += 1
        except FileNotFoundError:
            return True
        return False


@pytest.fixture
def clouds(tmp_path):
    """The mocks of both services, and the configuration that names them by host names."""
    token = tmp_path / "token"
    token.write_text("demo-token")
    with Imds() as imds, ApiServer(Cluster("demo-node")) as api:
        yield imds, api, {"node-name": "demo-node",
                          "interruption": {"source": "aws", "metadata-url": f"http://metadata.example:{imds.port}"},
                          "kubernetes": {"api-server": f"http://api.example:{api.port}", "token-file": str(token), "ca-file": ""}}


@pytest.fixture
def sanitized_agent(monkeypatch):
    """The build with ASan and UBSan, where there is one: `make test` makes it."""
    built = os.path.join(peers.ROOT, "build", "dev", "agent", "lastlight")
    if "LASTLIGHT_AGENT" not in os.environ and os.access(built, os.X_OK):
        monkeypatch.setenv("LASTLIGHT_AGENT", built)
    return binary()


# --- threads and memory


def test_no_thread_is_ever_started(agent_factory, coredns_factory, clouds):
    """libcurl of Debian starts one per host name that it looks up, c-ares' and libmicrohttpd's newer versions could."""
    imds, api, config = clouds
    upstream = coredns_factory(site(".", answer("127.0.0.1", ttl=1), LOG))
    agent = agent_factory({**config, "dns": {"zones": [zone(".", upstream)]}})
    polls = "GET /latest/meta-data/spot/instance-action"
    with Threads(agent.pid) as threads:
        wait_until(lambda: imds.stats()["requests"].get(polls, 0) >= 2, 10, "two polls", agent.process)
        imds.set_notice(window=12)
        leaving = [fate for fate in api.cluster.fates.values() if not fate.kind.stays]
        wait_until(lambda: api.cluster.cordoned and all(fate.told for fate in leaving), 40, "the drain", agent.process)
        assert agent.get("/metrics")[0] == 200 and agent.query("a.example", tcp=True).answer
    assert threads.most == 1, f"{threads.most} threads"
    assert threads.seen > 50
    asked = "\n".join(upstream.queries())
    assert "metadata.example" in asked and "api.example" in asked, "both names were looked up by our own forwarder"


def test_an_idle_agent_is_small(agent_factory, clouds, capsys):
    """The shipped configuration; only where it listens and whom it asks are the rig's."""
    imds, api, ours = clouds
    with open(os.path.join(peers.ROOT, "manifests", "base", "configmap.yaml"), encoding="utf-8") as file:
        shipped = yaml.safe_load(yaml.safe_load(file)["data"]["lastlight.yaml"])
    local = {"kubernetes": {**ours["kubernetes"], "api-server": api.url}, "interruption": {**shipped["interruption"], "metadata-url": imds.url}}
    for key in ("listen", "resolv-conf"):
        del shipped["dns"][key]
    del shipped["http"]
    for name in ("kube-dns", "lastlight-upstream"):
        api.cluster.services["kube-system", name] = {"spec": {"clusterIP": "127.0.0.9", "clusterIPs": ["127.0.0.9"]}}
    agent = agent_factory({**shipped, **local, "node-name": "demo-node"})
    with Memory(agent.pid) as memory:
        wait_until(lambda: imds.stats()["requests"].get("GET /latest/meta-data/spot/instance-action", 0) >= 3, 10, "three polls", agent.process)
    with capsys.disabled():
        print(f"\nidle agent: {memory.anonymous / MIB:.2f} MiB anonymous, {memory.rss / MIB:.1f} MiB RSS"
              f"{' (sanitizers)' if sanitized(binary()) else ''}", flush=True)
    if not sanitized(binary()):
        assert memory.anonymous < 6 * MIB


def test_what_ten_thousand_answers_take(agent_factory, coredns_factory, capsys):
    """Names of some 30 octets with one address each, asked for once, then once more."""
    upstream = coredns_factory(site(".", answer("203.0.113.7", ttl=3600)))
    agent = agent_factory({"dns": {"zones": [zone(".", upstream)]}})
    before = memory_now(agent)
    names = [(f"host-{number}.team-{number % 97}.example.com", "A") for number in range(10_000)]
    ask_all(agent, names)
    after, worked = memory_now(agent), cpu_seconds(agent.pid)
    ask_all(agent, names)
    worked = cpu_seconds(agent.pid) - worked
    metrics = agent.metrics()
    with capsys.disabled():
        print(f"\nwith 10,000 answers: {after / MIB:.2f} MiB anonymous, {before / MIB:.2f} before; {metrics['lastlight_cache_entry_bytes']:.0f} octets each;"
              f" {worked * 100:.1f} ms of CPU for 1,000 hits{' (sanitizers)' if sanitized(binary()) else ''}", flush=True)
    assert metrics["lastlight_cache_entries"] >= 10_000 and metrics["lastlight_cache_hits_total"] >= 10_000
    if not sanitized(binary()):
        assert after < 10 * MIB


def memory_now(agent):
    """RssAnon of supervisor and worker together, in KiB."""
    with Memory(agent.pid) as memory:
        wait_until(lambda: memory.anonymous, 10, "a look at its memory", agent.process)
    return memory.anonymous


# --- what it says


def test_a_log_line_is_an_event_and_no_query_writes_one(agent_factory, coredns_factory):
    upstream = coredns_factory(site(".", answer("203.0.113.7", ttl=1)))
    agent = agent_factory({"log": {"format": "json", "level": "debug"}, "dns": {"zones": [zone(".", upstream)]}})
    before = agent.process.output()
    for number in range(50):
        assert agent.query(f"host-{number}.example.org").answer
        assert agent.query(f"host-{number}.example.org", tcp=True).answer
    assert agent.process.output() == before
    agent.stop()
    lines = [json.loads(line) for line in agent.process.output().splitlines()]
    assert {"agent.starting", "dns.listening", "http.listening", "agent.terminating", "agent.stopped"} <= {line["event"] for line in lines}
    assert all(line["level"] in ("debug", "info", "warn", "error") and line["time"].endswith("Z") for line in lines)
    granted = {line["receive_buffer_bytes"] for line in lines if line["event"] == "dns.listening"}
    assert min(granted) > 0


def test_metrics_tell_the_build_the_loop_the_sockets_and_the_upstreams(agent_factory, coredns_factory):
    upstream = coredns_factory(site(".", answer("203.0.113.7", ttl=1)))
    agent = agent_factory({"dns": {"attempt-timeout": "200ms", "query-timeout": "400ms", "zones": [zone(".", upstream)]}})
    metrics = agent.metrics()
    assert metrics[f'lastlight_build_info{{version="{command("version").stdout.split()[1]}"}}'] == 1
    assert metrics["lastlight_dns_receive_buffer_bytes"] > 0
    healthy = f'lastlight_upstream_healthy{{upstream="127.0.0.1:{upstream.port}"}}'
    assert metrics[healthy] == 1
    wait_until(lambda: agent.metrics()["lastlight_loop_lag_seconds_count"] >= 2, 5, "two measures of the loop's lag", agent.process)
    assert agent.metrics()['lastlight_loop_lag_seconds_bucket{le="+Inf"}'] >= 2
    upstream.stop()
    names = iter(f"gone-{number}.example" for number in range(1000))
    wait_until(lambda: agent.query(next(names)).rcode() == dns.rcode.SERVFAIL and agent.metrics()[healthy] == 0, 10, "the outage in the metrics",
               agent.process)
    assert agent.get("/readyz")[0] == 200, "and no outage of an upstream makes the agent unready"


# --- leaving


@contextlib.contextmanager
def asking(agent, names):
    """A UDP and a TCP client, each with all the names sent and nothing read."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.create_connection((agent.address, agent.port)) as tcp:
        for client in (udp, tcp):
            client.settimeout(20)
        udp.connect((agent.address, agent.port))
        for name in names:
            wire = dns.message.make_query(name, "A").to_wire()
            udp.send(wire)
            tcp.sendall(len(wire).to_bytes(2, "big") + wire)
        yield udp, tcp


def test_what_is_in_flight_is_answered_before_it_leaves(sanitized_agent, agent_factory, coredns_factory, clouds):  # pylint: disable=redefined-outer-name,unused-argument
    """With everything under way: look-ups of its own names, polls, a scrape; sanitizers watch the order in which it all ends."""
    imds, _, config = clouds
    upstream = coredns_factory(site("slow.test", erratic(delay="2s")), site(".", answer("127.0.0.1", ttl=1)))
    agent = agent_factory({**config, "shutdown-grace": "1m", "dns": {"attempt-timeout": "30s", "query-timeout": "30s", "zones": [zone(".", upstream)]}})
    wait_until(lambda: imds.stats()["requests"], 10, "a poll", agent.process)
    for pid in family(agent.pid) - {agent.pid}:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            ignored = next(int(line.split()[1], 16) for line in status if line.startswith("SigIgn"))
        assert ignored & SIGPIPE_BIT, "a peer that closes while we write must not end the worker"
    imds.fault("hang")
    names = [f"host-{number}.slow.test" for number in range(20)]
    with asking(agent, names) as (udp, tcp):
        wait_until(lambda: agent.metrics()["lastlight_upstream_in_flight"] >= 20, 5, "the questions upstream", agent.process)
        began = time.monotonic()
        agent.terminate()
        stream = tcp.makefile("rb")
        answers = [dns.message.from_wire(udp.recv(4096)) for _ in names]
        answers += [dns.message.from_wire(stream.read(int.from_bytes(stream.read(2), "big"))) for _ in names]
        assert agent.process.wait(20) == 0
        assert time.monotonic() - began < 20, "as soon as nothing is owed, not after the grace"
        assert {reply.rcode() for reply in answers} == {dns.rcode.NOERROR}
        assert {reply.question[0].name.to_text(omit_final_dot=True) for reply in answers} == set(names)
        assert stream.read() == b"", "the connection is closed, not reset"
    assert "Sanitizer" not in agent.process.output()


def test_it_leaves_while_its_own_names_are_looked_up(sanitized_agent, agent_factory, coredns_factory, clouds):  # pylint: disable=redefined-outer-name,unused-argument
    """The look-up is abandoned through the HTTP client that asked for it, which must still be there."""
    _, _, config = clouds
    upstream = coredns_factory(site("lost.test", erratic(drop=1)), site(".", answer("203.0.113.7")))
    agent = agent_factory({**config, "shutdown-grace": "300ms", "interruption": {"source": "aws", "metadata-url": "http://metadata.lost.test"},
                           "dns": {"zones": [zone(".", upstream)]}})
    wait_until(lambda: agent.metrics()["lastlight_upstream_in_flight"] >= 1, 5, "the look-up upstream", agent.process)
    agent.terminate()
    assert agent.process.wait(10) == 0, agent.process.tail()
    assert "Sanitizer" not in agent.process.output()


def test_the_grace_ends_it_and_a_second_signal_at_once(sanitized_agent, agent_factory, coredns_factory):  # pylint: disable=redefined-outer-name,unused-argument
    upstream = coredns_factory(site("slow.test", erratic(delay="20s")), site(".", answer("203.0.113.7")))
    for signals, grace, shortest in ((1, "1s", 0.9), (2, "1m", 0.0)):
        agent = agent_factory({"shutdown-grace": grace, "dns": {"query-timeout": "30s", "attempt-timeout": "30s", "zones": [zone(".", upstream)]}})
        with asking(agent, ["a.slow.test"]) as (udp, _):
            wait_until(lambda: agent.metrics()["lastlight_upstream_in_flight"] >= 1, 5, "the question upstream", agent.process)  # pylint: disable=cell-var-from-loop
            began = time.monotonic()
            for _ in range(signals):
                agent.terminate()
                wait_until(lambda: "agent.terminating" in agent.process.output(), 5, "the signal's effect")  # pylint: disable=cell-var-from-loop
            assert agent.process.wait(15) == 0
            assert shortest <= time.monotonic() - began < 15, "before the upstream answers"
            assert dns.message.from_wire(udp.recv(4096)).rcode() == dns.rcode.SERVFAIL, "told, not left waiting"


# --- asked by the kubelet, asking the API server


@pytest.mark.parametrize("node_ip, everywhere", [("127.0.0.1", False), ("192.0.2.77", True), (None, True)])
def test_metrics_are_on_the_nodes_address_where_it_is_known_and_here(agent_factory, node_ip, everywhere):
    agent = agent_factory({"dns": {"zones": [zone(".", "192.0.2.1")]}}, metrics="node", env={"NODE_IP": node_ip} if node_ip else None)
    with contextlib.closing(socket.socket()) as other:
        other.settimeout(5)
        refused = other.connect_ex(("127.0.0.2", agent.http_port))
    assert (refused == 0) is everywhere
    assert ("http.not_on_node" in agent.process.output()) is (node_ip == "192.0.2.77")


def test_status_asks_the_running_agent(agent_factory):
    agent = agent_factory({"dns": {"zones": [zone(".", "192.0.2.1")]}})
    url = f"http://127.0.0.1:{agent.http_port}"
    ready = command("status", "--ready", "--url", url)
    assert ready.returncode == 0 and ready.stdout.startswith("ready\n") and "upstream 192.0.2.1:53" in ready.stdout
    assert command("status", "--alive", "--url", url).returncode == 0
    agent.stop()
    for probe in ("--ready", "--alive"):
        gone = command("status", probe, "--url", url)
        assert gone.returncode == 1 and "no answer from" in gone.stderr and gone.stdout == ""


def test_a_token_that_rotates_in_the_midst_of_a_drain_is_read_again(agent_factory, clouds, tmp_path):
    imds, api, config = clouds
    agent = agent_factory({**config, "interruption": {"source": "aws", "metadata-url": imds.url},
                           "kubernetes": {**config["kubernetes"], "api-server": api.url}})
    imds.set_notice(window=15)
    wait_until(lambda: api.cluster.cordoned, 10, "the cordon", agent.process)
    (tmp_path / "next").write_text("rotated-token")
    os.rename(tmp_path / "next", tmp_path / "token")
    api.token = "rotated-token"
    leaving = [fate for fate in api.cluster.fates.values() if not fate.kind.stays]
    wait_until(lambda: all(fate.told for fate in leaving), 15, "every pod to be told with the new token", agent.process)
