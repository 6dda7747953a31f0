"""The control socket of a running agent: there for its own user and root, and always the serving worker's."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

from rig.agent import command, zone
from rig.coredns import answer, site, zone_file
from rig.proc import wait_until

_AS_NOBODY = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1])
s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
print(s.recv(200).split(b"\\r\\n")[0].decode())
"""


class Connection(http.client.HTTPConnection):
    """To a Unix socket."""

    def __init__(self, path):
        super().__init__("lastlight", timeout=5)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path, target, method="GET"):
    """(status, document), or (None, why)."""
    connection = Connection(path)
    try:
        connection.request(method, target)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    except OSError as error:
        return None, str(error)
    finally:
        connection.close()


@pytest.fixture
def run_directory(monkeypatch):
    """Reachable for every user but for its own mode: pytest's own folders are not."""
    with tempfile.TemporaryDirectory(prefix="lastlight-") as path:
        monkeypatch.setenv("LASTLIGHT_RUN_DIR", path)
        yield path


@pytest.fixture
def agent(run_directory, agent_factory):  # pylint: disable=redefined-outer-name,unused-argument
    return agent_factory({"dns": {"zones": [zone(".", "127.0.0.1:1")]}})


def test_it_answers_its_own_user_alone(agent, run_directory):
    path = os.path.join(run_directory, "control.sock")
    wait_until(lambda: os.path.exists(path), 5, "the socket", agent.process)
    assert os.stat(path).st_mode & 0o777 == 0o600 and os.stat(run_directory).st_mode & 0o777 == 0o700
    status, document = ask(path, "/")
    assert status == 200 and isinstance(document["routes"], list)
    assert ask(path, "/none")[0] == 404
    # Should the modes ever be widened, the peer's user is looked at all the same.
    os.chmod(run_directory, 0o755)
    os.chmod(path, 0o666)
    other = subprocess.run([sys.executable, "-c", _AS_NOBODY, path], text=True, capture_output=True, check=False, timeout=20)
    assert other.stdout.strip() == "HTTP/1.1 403 Forbidden", other
    assert ask(path, "/")[0] == 200


def test_a_worker_that_is_started_again_has_it_again(agent, run_directory):
    path = os.path.join(run_directory, "control.sock")
    wait_until(lambda: ask(path, "/")[0] == 200, 5, "an answer", agent.process)
    killed = agent.worker
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: ask(path, "/")[0] == 200 and agent.worker != killed, 10, "its successor's answer", agent.process)
    assert agent.stop() == 0
    assert ask(path, "/")[0] is None  # the file is there, nobody listens


def test_without_a_directory_it_serves_all_the_same(monkeypatch, agent_factory, tmp_path):
    monkeypatch.setenv("LASTLIGHT_RUN_DIR", str(tmp_path / "none"))
    agent = agent_factory({"dns": {"zones": [zone(".", "127.0.0.1:1")]}})
    assert "control.off" in agent.process.output()
    assert agent.get("/healthz")[0] == 200


def test_the_cache_explains_itself_and_forgets(run_directory, coredns_factory, agent_factory, tmp_path):  # pylint: disable=unused-argument
    dns = coredns_factory(site("example.org", answer("203.0.113.7", ttl=60)), site("test", zone_file(tmp_path, "test", "")))
    agent = agent_factory({"dns": {"zones": [zone("example.org", dns, max_ttl="20s"), zone(".", dns)]}})
    for _ in range(3):
        agent.query("web.example.org")
        agent.query("none.test")
    got = command("cache", "get", "WEB.example.org", "A", "--output", "json")
    assert got.returncode == 0, got
    (entry,) = json.loads(got.stdout)["entries"]
    assert entry["zone"] == "example.org" and entry["upstream"] == f"{dns.address}:{dns.port}" and entry["hits"] == 2
    assert entry["age"] + entry["ttlLeft"] in (19, 20) and not entry["stale"]
    assert [each["data"] for each in entry["answer"]] == ["203.0.113.7"]
    assert "203.0.113.7" in command("cache", "get", "web.example.org").stdout
    missing = command("cache", "get", "web.example.org", "AAAA")
    assert missing.returncode == 1 and "nothing is kept for web.example.org AAAA" in missing.stdout

    top = json.loads(command("cache", "top", "-o", "json").stdout)
    assert [each["name"] for each in top["names"]] == ["web.example.org"] and [each["name"] for each in top["missing"]] == ["none.test"]
    assert any(each["address"] == agent.address and each["queries"] >= 6 for each in top["clients"])

    asked = agent.metrics()['lastlight_cache_misses_total{reason="absent"}']
    assert "forgot 1 answer" in command("cache", "flush", "web.example.org").stdout
    assert command("cache", "get", "web.example.org").returncode == 1
    agent.query("web.example.org")
    assert agent.metrics()['lastlight_cache_misses_total{reason="absent"}'] == asked + 1
    assert "forgot 1 answer" in command("cache", "flush", "zone", "example.org").stdout
    assert "forgot 1 answer" in command("cache", "flush", "all").stdout
    assert command("cache", "flush", "a..b").returncode == 1
    agent.stop()
    gone = command("cache", "top")
    assert gone.returncode == 1 and "no agent answers at" in gone.stderr
