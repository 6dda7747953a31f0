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

from rig.agent import zone
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
