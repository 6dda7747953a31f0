"""Hook commands are the supervisor's children, not the worker's, which cannot start any: its system calls are filtered.

The metadata service and the API server are mocks (tests/sandbox).
"""

import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.agent import binary  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import family, sanitized  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position

POLL = "GET /latest/meta-data/spot/instance-action"
NO_CAPABILITY, CAP_SYS_RESOURCE = "0" * 16, 1 << 24

# Says all about itself in files, the last of which appears whole.
LOOK = """#!/bin/sh
cd {out}
cat > event.json
env > env
ls -l /proc/self/fd > fds
cat /proc/$$/status > status.part
mv status.part status
"""


def status_of(text):
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def of_process(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return status_of(file.read())


def oom_score_adj(pid):
    with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
        return int(file.read())


@pytest.fixture
def scene(agent_factory, tmp_path):
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in {"look": LOOK.format(out=tmp_path), "fails": "#!/bin/sh\nexit 3\n", "stays": "#!/bin/sh\nexec sleep 600\n"}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    with Imds() as imds, ApiServer(token="t") as api:
        (tmp_path / "token").write_text("t")
        agent = agent_factory({
            "node-name": "demo-node", "dns": {"zones": [{"name": ".", "upstreams": ["127.0.0.1:9"]}]},
            "interruption": {"source": "aws", "metadata-url": imds.url},
            "kubernetes": {"api-server": api.url, "token-file": str(tmp_path / "token"), "ca-file": ""},
            "hooks": {"listen": [], "commands-directory": str(commands),
                      "commands": [{"file": "look", "hold": "10s"}, {"file": "fails"}, {"file": "stays", "timeout": "300ms"}, {"file": "absent"}]}})
        yield imds, api, agent


def test_commands_are_started_by_the_supervisor_without_powers(scene, tmp_path):  # pylint: disable=redefined-outer-name
    imds, api, agent = scene
    imds.set_notice(window=60)
    wait_until((tmp_path / "status").exists, 20, "the command to have looked", agent.process)
    wait_until(lambda: api.cluster.cordoned, 5, "the cordon", agent.process)
    seen = status_of((tmp_path / "status").read_text())
    assert int(seen["PPid"]) == agent.pid, "not the supervisor's child"
    assert {seen[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {NO_CAPABILITY}
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", of_process(agent.pid)["Seccomp"])
    event = json.loads((tmp_path / "event.json").read_text())
    assert (event["phase"], event["node"], event["kind"]) == ("notice", "demo-node", "spot-terminate")
    environment = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert environment["LASTLIGHT_ID"] == event["id"] and environment["LASTLIGHT_PHASE"] == "notice"
    assert not {"HOME", "LASTLIGHT_SUPERVISOR"} & environment.keys()
    assert "socket:" not in (tmp_path / "fds").read_text()

    def failures():
        said = [line for line in agent.process.output().splitlines() if "hook.failed" in line]
        return {name: next((line for line in said if f"receiver={name}" in line), "") for name in ("fails", "stays", "absent")}

    wait_until(lambda: all(failures().values()), 10, "the three that fail to be told", agent.process)
    assert "exit code 3" in failures()["fails"]
    assert "ran longer than its timeout" in failures()["stays"]
    assert "No such file or directory" in failures()["absent"]
    wait_until(lambda: len(family(agent.pid)) == 2, 5, "what ran too long to be gone", agent.process)


def test_the_worker_is_confined_and_its_parent_sleeps(scene):  # pylint: disable=redefined-outer-name
    imds, _, agent = scene
    worker, supervisor = of_process(agent.worker), of_process(agent.pid)
    assert {worker[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {NO_CAPABILITY}
    assert worker["NoNewPrivs"] == "1"
    assert supervisor["Seccomp"] == of_process(os.getpid())["Seccomp"]
    if not sanitized(binary()):
        assert worker["Seccomp"] == "2" and "agent.not_confined" not in agent.process.output()
        private = int(supervisor["RssAnon"].split()[0])
        print(f"the supervisor's private memory: {private} KiB")
        assert private < 1024

    def slept():
        """Through two polls of the worker. It may still have been busy with the start when the first began."""
        switches, polls = of_process(agent.pid)["voluntary_ctxt_switches"], imds.stats()["requests"].get(POLL, 0)
        wait_until(lambda: imds.stats()["requests"].get(POLL, 0) >= polls + 2, 10, "two polls", agent.process)
        return of_process(agent.pid)["voluntary_ctxt_switches"] == switches

    assert any(slept() for _ in range(3)), "the supervisor wakes up at rest"


def test_only_the_supervisor_is_spared_when_memory_is_short(scene):  # pylint: disable=redefined-outer-name
    _, _, agent = scene
    ours, may = oom_score_adj(os.getpid()), int(of_process(os.getpid())["CapEff"], 16) & CAP_SYS_RESOURCE
    assert (oom_score_adj(agent.pid), oom_score_adj(agent.worker)) == (-1000 if may else ours, ours)
