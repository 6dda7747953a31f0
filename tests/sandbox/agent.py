"""The real agent as a child process: its configuration, its log, its metrics."""

import os
import re
import sys
import time
import urllib.error
import urllib.request

_E2E = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e")
sys.path.insert(0, _E2E)

from rig.proc import Process  # noqa: E402  pylint: disable=wrong-import-position

from sandbox import lookups  # noqa: E402  pylint: disable=wrong-import-position

_CONFIG = """\
node-name: {node}
log: {{level: info, format: json}}
http: {{listen: "127.0.0.1:{http_port}", status: "127.0.0.1:{status_port}"}}
dns:
  listen: ["127.0.0.1:{dns_port}"]
  zones:
    - {{name: ".", upstreams: {upstreams}, protocol: udp}}
interruption: {{source: aws, metadata-url: "{metadata}", poll: 1s}}
drain: {{state-file: "{state_file}"}}
kubernetes: {{api-server: "{api}", token-file: "{token_file}", ca-file: ""}}
"""
_SAMPLE = re.compile(r"^(lastlight_\w*cache\w*hits\w*)(?:\{[^}]*\})?\s+([0-9.eE+]+)", re.MULTILINE)


def write_config(folder, token, **values):
    """`upstreams` is `resolv.conf` or a list as YAML has it."""
    token_file, path = os.path.join(folder, "token"), os.path.join(folder, "lastlight.yaml")
    with open(token_file, "w", encoding="ascii") as file:
        file.write(token)
    with open(path, "w", encoding="ascii") as file:
        file.write(_CONFIG.format(token_file=token_file, state_file=os.path.join(folder, "drain.json"), **values))
    return path


def cache_hits(metrics):
    """The sum over every cache-hit counter of a /metrics page; None when there is none."""
    found = [float(value) for name, value in _SAMPLE.findall(metrics) if not name.endswith("_created")]
    return int(sum(found)) if found else None


class Agent:
    """A context manager."""

    def __init__(self, binary, config, folder, dns_port, http_port, env=None):
        self.dns_port, self.http_port = dns_port, http_port
        self.process = Process("lastlight", [binary, "run", "--config", config], folder, env)

    def get(self, path):
        """(status, body); (None, why) when nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=2) as reply:
                return reply.status, reply.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")
        except (OSError, ValueError) as error:
            return None, str(error)

    def wait_ready(self, name, timeout=15):
        """Until it answers a name and says that it is ready; why not, when it does not."""
        ends = time.monotonic() + timeout
        while time.monotonic() < ends:
            if self.process.exit_code() is not None:
                return f"the agent ended with {self.process.exit_code()}"
            if self.get("/readyz")[0] == 200 and lookups.ask(name, "127.0.0.1", self.dns_port, 1.0) is not None:
                return None
            time.sleep(0.05)
        return f"the agent was not ready within {timeout} s: /readyz says {self.get('/readyz')}"

    def cache_hits(self):
        status, body = self.get("/metrics")
        return cache_hits(body) if status == 200 else None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stop()
