"""`lastlight drain` and `lastlight status` on a real control plane, with the shipped permissions: a dry run changes nothing and says what
would refuse, a drain by hand is the agent's own or the command's under the node's lock, and both are taken back."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.agent import command  # noqa: E402  pylint: disable=wrong-import-position
from rig.drains import MANIFESTS, OUR_TAINT, USER, ShippedAgent, uid_of  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from rig.workload import Population  # noqa: E402  pylint: disable=wrong-import-position

ANNOTATION = "lastlight.io/interruption"
LATE = 3  # seconds of a grace that a crowded machine may cost
NOBODY = "http://127.0.0.1:1"  # no metadata service: nothing but a person says anything


@pytest.fixture
def node(control_plane, shipped, workload, agent_binary, tmp_path):  # pylint: disable=redefined-outer-name,unused-argument
    """node(name) is an agent of a node with 6 pods, two of which a budget never lets go; not ready yet."""
    class Here:
        def __init__(self, name):
            self.name = name
            self.work = workload(name, Population.only(web=4, guarded=2, daemons=1, guarded_grace=6), spare=False)
            folder = tmp_path / name
            folder.mkdir()
            self.agent = ShippedAgent(agent_binary, control_plane, name, folder, NOBODY, 1, run_directory=tmp_path / f"{name}-run")
            self.socket = os.path.join(self.agent.environment["LASTLIGHT_RUN_DIR"], "control.sock")
            wait_until(lambda: os.path.exists(self.socket), 10, "the control socket", self.agent.process)

        def run(self, *words):
            configured = ["--config", self.agent.config] if words[0] == "drain" else []
            return command(*words, *configured, env=self.agent.environment, timeout=60)

        def document(self, *words):
            done = self.run(*words, "-o", "json")
            assert done.returncode == 0, done
            return json.loads(done.stdout)

        def marked(self):
            there = control_plane.node(self.name)
            tainted = any(each["key"] == OUR_TAINT for each in there["spec"].get("taints", []))
            return there["metadata"].get("annotations", {}).get(ANNOTATION), there["spec"].get("unschedulable", False), tainted

    made = []
    yield lambda name: made.append(Here(name)) or made[-1]
    for each in made:
        if each.agent.process.exit_code() is None:
            each.agent.kill()


def by_name(plan):
    return {each["name"]: each for each in plan["pods"]}


def test_a_dry_run_shows_the_plan_and_changes_nothing(control_plane, node):  # pylint: disable=redefined-outer-name
    here = node("try-dry")
    began = time.time()
    plan = here.document("drain", "--simulate", "spot", "--in", "60s")
    assert plan["treatment"] == "drain" and plan["budgets"] == "not permitted" and plan["missing"] == []
    rows = by_name(plan)
    for pod in here.work.evictable():
        row = rows[pod["metadata"]["name"]]
        assert row["choice"] == "evict" and row["evict_at_seconds"] == 0 and row["grace_seconds"] == row["own_grace_seconds"]
        assert row["delete_at_seconds"] == pytest.approx(max(60 - 3 - row["own_grace_seconds"], 10))
        refused = pod in here.work.guarded()
        assert row["dry_run"] == {"granted": True, "text": "its budget refuses; deletion granted" if refused else "eviction granted"}
    assert {rows[pod["metadata"]["name"]]["choice"] for pod in here.work.untouchable()} == {"stays-daemonset"}
    text = here.run("drain", "--simulate", "spot", "--in", "60s").stdout
    assert "not permitted" in text and "EVICT AT" in text and "2 pods: stays-daemonset" in text  # the agent's own is one

    # Which budget: with the overlay's permission, counted down because a dry run spends none.
    control_plane.kubectl("apply", "-k", os.path.join(MANIFESTS, "overlays", "simulate"))
    try:
        plan = wait_until(lambda: (said := here.document("drain", "--simulate", "spot"))["budgets"] == "read" and said, 10, "the budgets to be read")
    finally:
        control_plane.kubectl("delete", "-k", os.path.join(MANIFESTS, "overlays", "simulate"))
    budgets = {name: row["budget"] for name, row in by_name(plan).items() if "budget" in row}
    guarded = {pod["metadata"]["name"] for pod in here.work.guarded()}
    assert {name for name, budget in budgets.items() if budget["refuses"]} == guarded
    assert {budgets[name]["name"] for name in guarded} == {f"{here.work.namespace}/guarded"}

    # A kind that the policy cordons for tells no pod; a notice that is only an Event marks nothing.
    assert all("dry_run" not in each for each in here.document("drain", "--simulate", "spot-stop")["pods"])
    assert here.document("drain", "--simulate", "rebalance")["treatment"] == "event"

    assert not [pod for pod in control_plane.pods(here.work.namespace) if "deletionTimestamp" in pod["metadata"]]
    assert here.marked() == (None, False, False)
    written = [each for each in control_plane.audit.requests(user=USER, since=began) if each.verb in ("create", "patch", "delete")
               and each.pod == here.agent.pod["metadata"]["name"] and each.resource != "selfsubjectaccessreviews"]
    assert len(written) >= 6
    assert all("dryRun=All" in each.uri or "All" in each.body.get("dryRun", []) for each in written), written

    wrong = command("drain", "--simulate", "spot", "--config", here.agent.config, env={**here.agent.environment, "NODE_NAME": "no-such-node"})
    assert wrong.returncode == 1 and "no-such-node cannot be read: 404" in wrong.stderr


def test_a_drain_by_hand_is_the_agents_own_and_is_taken_back(control_plane, node):  # pylint: disable=redefined-outer-name
    here = node("try-real")
    assert "notice: none" in here.run("status").stdout
    assert here.run("drain", "--cancel").returncode == 1
    beside = here.run("drain", "--simulate", "spot", "--for-real", "--standalone")
    assert beside.returncode == 1 and "an agent runs here" in beside.stderr

    with subprocess.Popen([here.agent.binary, "status", "--follow"], env={**os.environ, **here.agent.environment}, stdout=subprocess.PIPE,
                          text=True) as following:
        assert following.stdout.readline()  # it looks already when the drain begins
        handed = here.document("drain", "--simulate", "spot", "--in", "14s", "--for-real")
        assert handed["treatment"] == "drain" and handed["id"].startswith("manual-")
        again = here.run("drain", "--simulate", "spot", "--for-real")
        assert again.returncode == 1 and "stands already" in again.stderr
        here.work.wait_gone(25)
        following.send_signal(signal.SIGINT)
        seen = following.stdout.read()
    assert "said by manual" in seen and "refused by its budget, deleted at 5.0 s" in seen and "cordoned after" in seen
    state = here.document("status")["interruption"]
    assert state["notice"]["source"] == "manual" and state["drain"]["cordoned"]
    pods = {pod["name"]: pod for pod in state["drain"]["pods"] if pod["fate"] != "stays"}
    assert {pod["fate"] for pod in pods.values()} == {"gone"}
    guarded = {pod["metadata"]["name"] for pod in here.work.guarded()}
    assert {name for name, pod in pods.items() if pod["by"] == "deleted"} == guarded
    assert all(6 - LATE <= pods[name]["grace_seconds"] <= 6 and pods[name]["told_seconds"] >= 4.5 for name in guarded)
    text = here.run("status").stdout
    assert "6 of 6 pods told, 6 gone" in text and "deleted past its budget" in text
    assert here.marked()[1:] == (True, True)

    assert here.run("drain", "--cancel").returncode == 0
    wait_until(lambda: here.marked() == (None, False, False), 10, "the marks to be taken away", here.agent.process)
    assert "notice: none" in here.run("status").stdout


def test_a_cordon_by_hand_is_taken_back_from_the_next_agent(node):  # pylint: disable=redefined-outer-name
    here = node("try-again")
    handed = here.document("drain", "--simulate", "spot-stop", "--in", "600s", "--for-real")
    assert handed["treatment"] == "cordon"
    wait_until(lambda: here.marked()[1], 10, "the cordon", here.agent.process)
    here.agent.kill()
    here.agent.start()
    wait_until(lambda: here.run("drain", "--cancel").returncode == 0, 20, "the next agent to take it back", here.agent.process)
    wait_until(lambda: here.marked() == (None, False, False), 10, "the marks to be taken away", here.agent.process)


def test_without_an_agent_the_node_is_the_lock(control_plane, node):  # pylint: disable=redefined-outer-name
    here = node("try-alone")
    here.agent.kill()
    refused = here.run("drain", "--simulate", "spot", "--for-real")
    assert refused.returncode == 1 and "no agent answers at" in refused.stderr
    assert here.run("status").returncode == 1

    words = [here.agent.binary, "drain", "--simulate", "spot", "--in", "14s", "--for-real", "--standalone", "--config", str(here.agent.config)]
    with control_plane.record("/api/v1/pods") as record, \
            subprocess.Popen(words, env={**os.environ, **here.agent.environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as alone:
        wait_until(lambda: here.marked()[2], 10, "the node to be marked")
        assert json.loads(here.marked()[0])["owner"] == "standalone"
        second = here.run("drain", "--simulate", "spot", "--for-real", "--standalone")
        assert second.returncode == 1 and "the node is held by standalone" in second.stderr
        said = alone.communicate(timeout=40)[0]
        assert alone.returncode == 0, said
        told = {uid_of(each.object): each.object["metadata"]["deletionGracePeriodSeconds"] for each in record.of("Pod", type="MODIFIED")
                if each.object["metadata"].get("deletionGracePeriodSeconds")}
    for pod in here.work.evictable():
        fits = min(11, pod["spec"]["terminationGracePeriodSeconds"])
        assert fits - LATE <= told[uid_of(pod)] <= fits
    assert "drain.pod_refused" in said and "every pod was told" in said
    assert here.marked()[1]
    cleared = here.run("drain", "--cancel", "--standalone")
    assert cleared.returncode == 0 and here.marked() == (None, False, False)
