"""The demo of `make run`: what it shows, what it judges, and its loop with a stand-in for the agent."""

import io
import os
import socket
import subprocess
import sys
import textwrap
import time

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TESTS)

# pylint: disable=wrong-import-position
from rig.ports import free_port  # noqa: E402
from sandbox import agent, demo, lookups  # noqa: E402
from sandbox.names import NAMES, Names, Zone  # noqa: E402
from sandbox.timeline import Frame, Lines, Row, Table  # noqa: E402
from sandbox.verdict import verdict  # noqa: E402
# pylint: enable=wrong-import-position


def frame(**changes):
    rows = (Row("web", "Deployment", False, told=0.4, by="eviction", grace=27, gone=2.0),
            Row("ledger", "PDB-protected", False, refusals=7, told=17.0, by="deletion", grace=10, gone=19.0),
            Row("exporter", "DaemonSet", True))
    return Frame(**{"left": 10.0, "cordoned": 0.3, "rows": rows, "answered": 100, "cache_hits": 90, **changes})


def test_a_good_end_has_nothing_wrong():
    wrong, summary = verdict(frame())
    assert wrong == []
    assert "2 of 2 told to stop, the last 17.0 s after the notice; 2 gone; 1 stay" in "\n".join(summary)
    assert "7 refusals, 1 pods deleted" in "\n".join(summary)


@pytest.mark.parametrize("changes, says", [
    ({"cordoned": None}, "not cordoned"),
    ({"failed": 1}, "1 lookups failed"),
    ({"answered": 0}, "no lookup was answered"),
    ({"rows": (Row("web", "Deployment", False),)}, "web (Deployment) was never told"),
    ({"rows": (Row("exporter", "DaemonSet", True, told=1.0, by="eviction", grace=1),)}, "should have stayed"),
])
def test_every_fault_of_the_agent_is_named(changes, says):
    wrong, _ = verdict(frame(**changes))
    assert any(says in each for each in wrong)


def test_it_ends_with_the_node_or_when_all_that_go_are_gone():
    assert demo.finished(frame())
    assert demo.finished(frame(left=-0.1, cordoned=None))
    assert not demo.finished(frame(cordoned=None))
    assert not demo.finished(frame(left=None, until_notice=5.0))
    assert not demo.finished(frame(rows=(Row("web", "Deployment", False, told=1.0, by="eviction", grace=9),)))


def test_lines_say_each_thing_once():
    out = io.StringIO()
    lines = Lines(out)
    for refusals in range(3):
        lines.show(frame(rows=(Row("ledger", "PDB-protected", False, refusals=refusals),)))
    lines.show(frame())
    lines.show(frame())
    text = out.getvalue()
    assert "\x1b" not in text
    assert text.count("refused by its budget\n") == 1
    assert text.count("web (Deployment): evicted 0.4 s, gone 2.0 s") == 1
    assert text.count("cordoned 0.30 s after the notice") == 1
    assert text.count("100 lookups answered, 0 failed, 90 cache hits") == 1


def test_a_table_is_redrawn_in_place():
    out = io.StringIO()
    table = Table(out)
    table.show(frame())
    first = out.getvalue()
    table.show(frame(left=9.0))
    assert "\x1b[6A" not in first and "\x1b[6A" in out.getvalue()
    assert "9 s left" in out.getvalue()


def test_cache_hits_are_read_from_the_metrics():
    page = '# TYPE lastlight_dns_cache_hits_total counter\nlastlight_dns_cache_hits_total{zone="."} 41\n' \
           'lastlight_dns_cache_hits_total{zone="cluster.local."} 1\nlastlight_dns_cache_misses_total 9\n'
    assert agent.cache_hits(page) == 42
    assert agent.cache_hits("up 1\n") is None


def test_the_asker_counts_answers_and_failures():
    with Names() as names:
        assert lookups.names_of_machine(["127.0.0.1"], names.port) == ()  # it refuses every public name
        with lookups.Asker(NAMES, names.port, every=0.01) as asker:
            _until(lambda: asker.answered >= 5)
    assert asker.failed == 0
    with lookups.Asker(("debian.org",), free_port(), every=0.01, timeout=0.1) as asker:
        _until(lambda: asker.failed >= 1)
    assert asker.answered == 0 and asker.failures


def test_a_resolver_is_used_only_for_the_names_that_it_answers():
    root = "@ 30 IN SOA ns a 1 1 1 1 1\n@ IN NS ns\ndebian.org. IN A 192.0.2.1\nkubernetes.io. IN A 192.0.2.2\n"
    with Names(zone=Zone(root, ".")) as names:
        assert lookups.names_of_machine(["127.0.0.1"], names.port) == ("debian.org", "kubernetes.io")
    assert lookups.names_of_machine(["no address"]) == ()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        began = time.monotonic()
        assert lookups.names_of_machine(["127.0.0.1"], silent.getsockname()[1], within=0.3) == ()
        assert time.monotonic() - began < 2


def test_a_nameserver_line_is_an_address(tmp_path):
    (tmp_path / "resolv.conf").write_text(
        "# nameserver 192.0.2.9\nnameserver 192.0.2.1\nnameserver\noptions ndots:5\nnameserver 2001:db8::1\n")
    assert lookups.nameservers(tmp_path / "resolv.conf") == ["192.0.2.1", "2001:db8::1"]
    assert lookups.nameservers(tmp_path / "none") == []


def _until(condition):
    ends = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < ends, "not in time"
        time.sleep(0.01)


STAND_IN = '''\
    #!/usr/bin/python3
    """Does what the demo looks for and nothing else: DNS, readiness, metrics, a cordon and a naive drain."""
    import json, re, sys, threading, time, urllib.error, urllib.request
    sys.path.insert(0, {tests!r})
    from sandbox.names import Names
    from sandbox.serving import Served

    text = open(sys.argv[sys.argv.index("--config") + 1]).read()
    find = lambda pattern: re.search(pattern, text).group(1)
    api, metadata = find(r'api-server: "([^"]+)'), find(r'metadata-url: "([^"]+)')
    bearer = {{"Authorization": "Bearer " + open(find(r'token-file: "([^"]+)')).read()}}

    class Pages(Served):
        def answer(self, exchange):
            exchange.reply(200, "lastlight_dns_cache_hits_total 7\\n")

    def ask(method, url, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        named = {{name.replace("_", "-"): value for name, value in headers.items()}}
        request = urllib.request.Request(url, data, {{**bearer, **named}}, method=method)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    with Names(int(find(r'listen: \\["127.0.0.1:(\\d+)'))), Pages(int(find(r'http: {{listen: "127.0.0.1:(\\d+)'))):
        _, token = ask("PUT", metadata + "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60")
        seen = {{"X_aws_ec2_metadata_token": token.decode()}}
        while ask("GET", metadata + "/latest/meta-data/spot/instance-action", **seen)[0] != 200:
            time.sleep(0.05)
        if {lazy}:
            threading.Event().wait()
        ask("PATCH", api + "/api/v1/nodes/demo-node", {{"spec": {{"unschedulable": True}}}},
            Content_Type="application/merge-patch+json")
        for pod in json.loads(ask("GET", api + "/api/v1/pods")[1])["items"]:
            owner = pod["metadata"].get("ownerReferences", [{{"kind": ""}}])[0]["kind"]
            if owner in ("DaemonSet", "Node") or pod["status"]["phase"] == "Succeeded":
                continue
            url = api + "/api/v1/namespaces/default/pods/" + pod["metadata"]["name"]
            if ask("POST", url + "/eviction", {{"deleteOptions": {{"gracePeriodSeconds": 1}}}})[0] == 429:
                ask("DELETE", url, {{"gracePeriodSeconds": 1}})
        threading.Event().wait()
'''


def run_demo(tmp_path, lazy, *options):
    stand_in = tmp_path / "lastlight"
    stand_in.write_text(textwrap.dedent(STAND_IN).format(tests=TESTS, lazy=lazy))
    stand_in.chmod(0o755)
    return subprocess.run([sys.executable, os.path.join(TESTS, "sandbox", "demo.py"), "--agent", stand_in, "--embedded",
                           "--dns-port", str(free_port()), "--notice-after", "0.3", "--window", "3", *options],
                          capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "TMPDIR": str(tmp_path)})


def test_the_demo_ends_well_with_an_agent_that_drains(tmp_path):
    done = run_demo(tmp_path, False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK" in done.stdout and "10 of 10 told to stop" in done.stdout
    assert "ledger-0 (PDB-protected): deleted " in done.stdout
    assert "node-exporter-4vks9 (DaemonSet): stays" in done.stdout
    assert "7 cache hits" in done.stdout


def test_the_demo_fails_with_an_agent_that_does_nothing(tmp_path):
    done = run_demo(tmp_path, True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED: the node was not cordoned" in done.stdout
    assert "--- lastlight (running" in done.stdout


def test_the_demo_says_when_there_is_nothing_to_run(tmp_path):
    done = subprocess.run([sys.executable, os.path.join(TESTS, "sandbox", "demo.py"), "--agent", tmp_path / "none"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "build it first" in done.stdout
