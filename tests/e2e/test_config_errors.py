"""A wrong configuration: every problem is told with its place, and nothing starts."""

import os
import random
import re
import socket

import pytest

from rig import ports
from rig.agent import command, write_config, zone

GOOD = """\
http: {listen: ""}
dns:
  listen: ["127.0.0.1:%(port)d"]
  zones:
    - {name: cluster.local, upstreams: [192.0.2.1], protocol: tcp}
    - {name: ".", upstreams: [192.0.2.2]}
interruption: {source: none}
"""

pytestmark = pytest.mark.usefixtures("agent_binary")


@pytest.fixture
def check(tmp_path):
    """check(text) -> (exit code, standard output, lines of standard error without the file's name)."""
    path = tmp_path / "lastlight.yaml"

    def run(text, *flags, env=None, verb="check"):
        path.write_text(text, encoding="utf-8")
        done = command(verb, "--config", path, *flags, env=env)
        return done.returncode, done.stdout, [line.removeprefix(f"{path}") for line in done.stderr.splitlines()]

    return run


def good():
    return GOOD % {"port": ports.free_port()}


def test_what_check_prints_is_the_same_configuration(check):
    text = good()
    code, printed, errors = check(text)
    assert (code, errors) == (0, [])
    assert check(printed) == (0, printed, [])
    for key in ("shutdown-grace: 5s", "query-timeout: 5s", "cache-size: 32MiB", "poll: 1s", "max-negative-ttl: 30s", "name: cluster.local"):
        assert key in printed, "every default is printed"
    code, commented, _ = check(text, "--comments")
    assert code == 0 and "# " in commented
    assert check(commented) == (0, printed, [])


def test_the_shipped_defaults_are_valid(check):
    code, printed, errors = check("", "--node-name", "node-1")
    assert (code, errors) == (0, [])
    assert "service:lastlight-upstream" in printed and "service:kube-dns" in printed and "resolv.conf" in printed
    code, printed, _ = check("", env={"NODE_NAME": "node-1", "KUBE_DNS_SERVICE_HOST": "10.96.0.10"})
    assert code == 0 and re.search(r"^# .*service:kube-dns.*10\.96\.0\.10", printed, re.MULTILINE), "check says what names are"


# text put at the end of a good file, or instead of a line of it; what one line of the errors says
WRONG = {
    "broken YAML": ("dns: [", r":\d+: .*not YAML: .+"),
    "tab": ("log:\n\tlevel: info", r":\d+: .*not YAML: .+"),
    "not a mapping": ("- dns", r":1: .*expected a mapping of keys"),
    "two documents": ("---\nlog: {}\n---\nlog: {}", r":\d+: .*expected one document"),
    "unknown key": ("shutdwon-grace: 5s", r":1: shutdwon-grace: unknown key; the nearest known one is shutdown-grace"),
    "unknown key below": ("dns:\n  quer-timeout: 1s", r":2: dns\.quer-timeout: unknown key; the nearest known one is query-timeout"),
    "unknown key of a zone": ("dns:\n  zones:\n    - name: .\n      upstream: [192.0.2.1]",
                              r":4: dns\.zones\[0\]\.upstream: unknown key; the nearest known one is upstreams"),
    "nothing near": ("zzzzzzzzzzzz: 1", r":1: zzzzzzzzzzzz: unknown key; known here: .*dns.*"),
    "twice": ("log: {level: info}\nlog: {level: warn}", r":2: log: is there already, on line 1"),
    "wrong type": ("dns: {max-flights: many}", r":1: dns\.max-flights: expected a whole number from 1 to 65536, not \"many\""),
    "list for a mapping": ("dns: [1]", r":1: dns: expected a mapping, not a list"),
    "mapping for a scalar": ("shutdown-grace: {a: b}", r":1: shutdown-grace: expected a duration .*, not a mapping"),
    "no unit": ("shutdown-grace: 5", r":1: shutdown-grace: expected a duration from 0s to 10m.*, not \"5\""),
    "negative": ("shutdown-grace: -5s", r":1: shutdown-grace: expected a duration .*"),
    "too long": ("shutdown-grace: 10000000000000000000000h", r":1: shutdown-grace: expected a duration .*"),
    "out of bounds": ("dns: {udp-payload: 65535}", r":1: dns\.udp-payload: expected a whole number from 512 to 4096, not \"65535\""),
    "no choice": ("log: {level: loud}", r":1: log\.level: expected debug, info, warn or error, not \"loud\""),
    "no address": ("dns: {listen: [localhost]}", r":1: dns\.listen: expected a list of IP.*, not \"localhost\""),
    "no such port": ("dns: {listen: [\"127.0.0.1:70000\"]}", r":1: dns\.listen: expected .*not \"127.0.0.1:70000\""),
    "no listener": ("dns: {listen: []}\ninterruption: {source: none}", r":1: dns\.listen: is empty.*"),
    "a zone without name": ("dns:\n  zones:\n    - upstreams: [192.0.2.1]", r":3: dns\.zones\[0\]\.name: is missing.*"),
    "a zone twice": ("dns:\n  zones:\n    - {name: ., upstreams: [192.0.2.1]}\n    - {name: ., upstreams: [192.0.2.1]}",
                     r":4: dns\.zones\[1\]\.name: the zone \. is there already"),
    "a loop": ("dns:\n  listen: [127.0.0.9]\n  zones:\n    - {name: ., upstreams: [127.0.0.9]}", r":4: dns\.zones\[0\]\.upstreams: .*come back to us"),
    "a loop by the wildcard": ("dns:\n  listen: [0.0.0.0]\n  zones:\n    - {name: ., upstreams: [127.0.0.9]}", r":4: .*come back to us"),
    "no zone for the cluster": ("dns:\n  zones:\n    - {name: example.org, upstreams: [192.0.2.1]}", r":\d+: dns\.zones: no zone answers for .*"),
    "limits crossed": ("dns: {attempt-timeout: 5s, query-timeout: 1s}", r":1: dns\.attempt-timeout: 5s is more than query-timeout, 1s"),
    "not text": ("log: {level: \"\\0\"}", r":1: log\.level: expected .*"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_problem_is_told_with_its_place(check, case):
    text, expected = WRONG[case]
    code, printed, errors = check(text + "\n", "--node-name", "node-1")
    assert code != 0 and printed == ""
    assert [line for line in errors if re.fullmatch(expected, line)], errors


def test_every_problem_is_told_at_once(check):
    code, _, errors = check("shutdwon-grace: 5s\nlog: {level: loud}\ndns:\n  listen: [nowhere]\n  max-flights: 0\n", "--node-name", "n")
    assert code != 0
    assert [re.match(r":(\d+): ([\w.-]+):", line).groups() for line in errors] == [
        ("1", "shutdwon-grace"), ("2", "log.level"), ("4", "dns.listen"), ("5", "dns.max-flights")]


def test_a_node_without_name_cannot_be_drained(check):
    code, _, errors = check("interruption: {source: aws}\n", env={"NODE_NAME": ""})
    assert code != 0 and [line for line in errors if re.search(r"node-name: is needed .*NODE_NAME.*--node-name", line)], errors


def test_the_environment_and_flags_win_and_are_blamed(check):
    text = good() + "node-name: from-file\n"
    for flags, env, name in (([], {"NODE_NAME": ""}, "from-file"), ([], {"NODE_NAME": "from-env"}, "from-env"),
                             (["--node-name", "from-flag"], {"NODE_NAME": "from-env"}, "from-flag")):
        code, printed, _ = check(text, *flags, env=env)
        assert code == 0 and f"node-name: {name}\n" in printed
    code, _, errors = check(good(), env={"NODE_IP": "nowhere"})
    assert code != 0 and [line for line in errors if line.startswith("environment: NODE_IP: expected an IP address")], errors
    code, _, errors = check(good(), "--log-level", "loud")
    assert code != 0 and [line for line in errors if line.startswith("command line: --log-level: expected debug")], errors


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    for path in (tmp_path / "missing.yaml", tmp_path):
        done = command("check", "--config", path)
        assert done.returncode != 0 and str(path) in done.stderr and done.stdout == ""


def test_random_files_never_crash_it(tmp_path):
    """Each run ends with 0 or 1 by itself; a signal or a sanitizer's report is another code."""
    seed = int(os.environ.get("LASTLIGHT_SEED") or random.randrange(2**32))
    print(f"LASTLIGHT_SEED={seed}")
    generator = random.Random(seed)
    base = (GOOD % {"port": 53}).encode()
    for number in range(40):
        text = bytearray(base)
        for _ in range(generator.randrange(1, 8)):
            at = generator.randrange(len(text))
            text[at:at + generator.randrange(4)] = generator.choice([bytes([generator.randrange(256)]), b": ", b"\n", b"{", b"[", b"&a", b"*a", b"!!x"])
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(text)
        done = command("check", "--config", path)
        assert done.returncode in (0, 1), (seed, bytes(text), done.stderr)
        assert done.returncode == 0 or done.stderr.startswith(f"{path}:"), done.stderr


# --- run: nothing starts


def test_run_starts_nothing_on_a_wrong_configuration(check):
    code, _, errors = check(good() + "shutdwon-grace: 5s\n", verb="run")
    assert code != 0
    assert any("unknown key; the nearest known one is shutdown-grace" in line for line in errors)
    assert any("nothing was started" in line for line in errors)


def test_run_says_which_port_is_taken(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        where = f"127.0.0.1:{holder.getsockname()[1]}"
        path = write_config(tmp_path, {"http": {"listen": ""}, "interruption": {"source": "none"},
                                       "dns": {"listen": [where], "zones": [zone(".", "192.0.2.1")]}})
        done = command("run", "--config", path)
        assert done.returncode == 1 and re.search(rf"cannot .*{where}.*Address already in use", done.stderr), done.stderr
        path = write_config(tmp_path, {"http": {"listen": where}, "interruption": {"source": "none"},
                                       "dns": {"listen": [f"127.0.0.1:{ports.free_port()}"], "zones": [zone(".", "192.0.2.1")]}})
        done = command("run", "--config", path)
        assert done.returncode == 1 and where in done.stderr, done.stderr


# --- the command line


COMMANDS = ("run", "check", "version", "status", "cache", "drain", "doctor", "convert", "uninstall", "takeover")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_help_and_refuses_what_it_does_not_know(name):
    asked = command(name, "--help")
    assert asked.returncode == 0 and "usage" in asked.stdout.lower() and not asked.stderr
    wrong = command(name, "--colour")
    assert wrong.returncode == 2 and not wrong.stdout and re.search("--colour|usage:|--help", wrong.stderr), wrong


@pytest.mark.parametrize("words", [(name,) for name in COMMANDS if name not in ("run", "takeover", "cache")] + [("cache", verb) for verb in ("get", "flush", "top")],
                         ids=" ".join)
def test_each_command_but_run_speaks_json(words):
    assert "--output" in command(*words, "--help").stdout
    wrong = command(*words, "--output", "xml")
    assert wrong.returncode == 2 and re.search("takes text or json, not '?xml", wrong.stderr), wrong


def test_the_command_line_is_checked():
    done = command("version")
    assert done.returncode == 0 and re.fullmatch(r"lastlight \S+\n", done.stdout)
    assert command("--help").returncode == 0
    for words, said in (((), "a command is missing; there are run, check"), (("fly",), "no command 'fly'; there are run, check"),
                        (("drain",), "--simulate KIND"), (("status", "--ready", "--alive"), "--ready"), (("check", "-o", "xml"), "takes text or json, not 'xml'"),
                        (("cache", "flush", "a", "b"), "flush takes NAME"), (("convert",), "--corefile"), (("uninstall", "--interface", "lo"), "not a link of ours"),
                        (("doctor", "--network-policies", "/nowhere"), "cannot read /nowhere")):
        done = command(*words)
        assert done.returncode == 2 and said in done.stderr and not done.stdout, (words, done)


def test_what_asks_a_running_agent_says_where_to_ask(tmp_path):
    for words in (("status",), ("cache", "top"), ("drain", "--cancel")):
        done = command(*words, env={"LASTLIGHT_RUN_DIR": str(tmp_path)})
        assert done.returncode == 1 and f"no agent answers at {tmp_path}/control.sock" in done.stderr and "in the agent's pod" in done.stderr, (words, done)


def test_every_command_of_the_manual_is_tested_here():
    named = set(re.findall(r"^\.SS (\w+)", command("--man").stdout, re.MULTILINE))
    assert named == set(COMMANDS)
