"""Many drains at once on one control plane: each scene has a node, an agent and a thread of its own, and what the API server recorded.

    class Outage(Scene):
        window = 30
        def work(self): return Workload(self.control_plane, self.node, ...)      the pods
        def prepare(self): ...         the agent serves, no notice yet
        def during(self): ...          the notice is shown
    stage = Stage(control_plane, binary, upstream_port, folder)
    runs = stage.play([Outage("outage"), ...])        {"outage": Drained, or what it failed with}

All notices are shown within a second, so that the play lasts as long as its longest window. Requests are told apart by the pod that an
agent's token is bound to.
"""

import concurrent.futures
import contextlib
import random
import threading
import time

from .drains import RECORDED, USER, Drained, ShippedAgent, of_self_check, slowest_answer, uid_of
from .measure import FirstShown, Memory, SchedulingDelay
from .proc import RigFailure, wait_until
from .workload import Population, Workload
from sandbox.imds import Imds  # .drains leads to it

FOREIGN = {"key": "example.com/reserved", "value": "batch", "effect": "NoSchedule"}
_TOGETHER = 180  # seconds in which the last scene must be ready


class Arrivals:
    """A barrier that nobody who fails before it holds up."""

    def __init__(self, names):
        self._missing, self._changed = set(names), threading.Condition()

    def arrive(self, name):
        with self._changed:
            self._missing.discard(name)
            self._changed.notify_all()

    def wait_for_all(self, name):
        self.arrive(name)
        with self._changed:
            if not self._changed.wait_for(lambda: not self._missing, _TOGETHER):
                raise RigFailure(f"not ready within {_TOGETHER} s: {self._missing}")


class Scene:
    """What is the same for all; a scene that fails leaves the others alone."""

    window = 30.0
    population = Population.only(web=6, guarded=2, daemons=1, guarded_grace=8)

    def __init__(self, name, window=None):
        self.name = name
        self.node = f"scene-{name}"
        self.window = window or self.window
        self.control_plane = self.agent = self.imds = self.shown = self.pods = self.record = self.folder = None

    # --- to be said anew

    def work(self):
        return Workload(self.control_plane, self.node, self.population, spare=False, node_taints=[FOREIGN])

    def server(self, running):  # pylint: disable=unused-argument
        """(host, port) between the agent and the API server; None: nothing. `running` is an ExitStack."""
        return None

    def prepare(self):
        pass

    def notice(self):
        with FirstShown(self.imds) as shown:
            self.given = self.imds.set_notice(after=random.uniform(0.0, 1.0), window=self.window)  # anywhere between two polls
            wait_until(lambda: shown.at, 10, "the mock to show the notice")
        self.shown = shown

    def during(self):
        pass

    def wait(self):
        self.until(lambda: not self.left(), self.window + 10, "the pods to be gone")

    def until(self, condition, timeout, what):
        return wait_until(condition, timeout, f"{what} on {self.node}", self.agent.process, interval=0.1)

    # --- what a scene may ask

    def left(self):
        return {uid_of(pod) for pod in self.pods.evictable()} - self.record.gone

    def marked(self):
        """Since the notice: the watch's events of our pods that have a deletionTimestamp."""
        own = {uid_of(pod) for pod in self.pods.evictable()}
        return {uid_of(each.object) for each in self.record.all() if each.kind == "Pod" and uid_of(each.object) in own
                and "deletionTimestamp" in each.object["metadata"]}

    def node_now(self):
        return self.control_plane.node(self.node)

    def restart(self):
        self.agent.kill()
        self.agent.start()


class Stage:
    def __init__(self, control_plane, binary, upstream_port, folder):
        self._control_plane, self._binary, self._upstream_port, self._folder = control_plane, binary, upstream_port, folder

    def play(self, scenes):
        together = Arrivals(scene.name for scene in scenes)
        began = time.time()
        with self._control_plane.record(*RECORDED) as record, SchedulingDelay() as delay, \
                concurrent.futures.ThreadPoolExecutor(len(scenes)) as pool:
            playing = {scene.name: pool.submit(self._act, scene, record, together) for scene in scenes}
            runs = {name: future.exception() or future.result() for name, future in playing.items()}
            seen = record.all()
        requests = self._control_plane.audit.requests(user=USER, since=began)
        for scene in scenes:
            run = runs[scene.name]
            if isinstance(run, Drained):
                run.requests = [each for each in requests if each.pod == run.agent.pod["metadata"]["name"]
                                and run.since <= each.received <= run.until and not of_self_check(each)]
                run.seen = [each for each in seen if each.wall <= run.until and
                            (each.name == scene.node or each.object["metadata"].get("namespace") == run.work.namespace)]
                run.delay = delay.worst(run.shown.at, run.shown.at + scene.window) + slowest_answer(self._control_plane.audit, run.since, run.until)
        return runs

    def _act(self, scene, record, together):
        scene.control_plane, scene.record = self._control_plane, record
        scene.folder = self._folder / scene.name
        scene.folder.mkdir()
        try:
            with contextlib.ExitStack() as running:
                return self._run(scene, running, together)
        finally:
            together.arrive(scene.name)

    def _run(self, scene, running, together):
        scene.pods = running.enter_context(scene.work())
        scene.imds = running.enter_context(Imds())
        scene.agent = running.enter_context(ShippedAgent(self._binary, self._control_plane, scene.node, scene.folder, scene.imds.url,
                                                         self._upstream_port, scene.server(running)))
        running.callback(scene.agent.kill)  # it would wait for the node's last pods
        scene.agent.wait_ready()
        scene.prepare()
        together.wait_for_all(scene.name)
        since = time.time()
        memory = running.enter_context(Memory(scene.agent.process.pid))
        scene.notice()
        scene.during()
        scene.wait()
        assert scene.agent.process.exit_code() is None, scene.agent.process.tail(60)
        return Drained(scene.pods, scene.agent, scene.shown, float(scene.given.ends_wall), [], [], memory=memory, scene=scene, since=since, until=time.time(),
                       node=scene.node_now(), log=scene.agent.process.output())
