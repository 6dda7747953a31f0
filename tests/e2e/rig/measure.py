"""What a drain test measures beside the API's own record: the moment of the notice, the machine's delays, the agent's memory.

    with FirstShown(imds) as shown: ...; shown.at, shown.wall      # the first reply that had the notice, asked every 10 ms
    with SchedulingDelay() as delay: ...; delay.worst(since, until)  # how late a thread that only sleeps was woken
    with Memory(pid) as memory: ...; memory.rss, memory.anonymous  # peaks in KiB, over the process and its descendants
    cpu_seconds(pid)                                               # so far, over the same
    with measured_first(pid, ...): ...                             # these and this process go before all others; no garbage is collected here

Instants are time.monotonic(); `wall` is time.time(), which audit logs are written in.
"""

import contextlib
import gc
import http.client
import os
import threading
import time

_EVERY = 0.01


class Sampler:
    """A thread that calls `sample` every `every` seconds until it returns something true or the block ends."""

    def __init__(self, every):
        self._every = every
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def sample(self):
        raise NotImplementedError

    def _run(self):
        while not self.sample() and not self._ending.wait(self._every):
            pass

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._ending.set()
        self._thread.join(10)


class FirstShown(Sampler):
    """Asks the mock metadata service as an agent does, but every 10 ms: its configured delay is not when it answers."""

    def __init__(self, imds):
        super().__init__(_EVERY)
        self._connection = http.client.HTTPConnection("127.0.0.1", imds.port, timeout=5)
        self._token = self._ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "600"})[1]
        self.at = self.wall = None

    def _ask(self, method, path, headers):
        self._connection.request(method, path, headers=headers)
        reply = self._connection.getresponse()
        return reply.status, reply.read().decode()

    def sample(self):
        asked, wall = time.monotonic(), time.time()
        status, _ = self._ask("GET", "/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": self._token})
        if status == 200:
            self.at, self.wall = asked, wall
        return status == 200


class SchedulingDelay(Sampler):
    def __init__(self):
        super().__init__(_EVERY)
        self._expected = None
        self._late = []  # (instant, by how much)

    def sample(self):
        now = time.monotonic()
        if self._expected is not None:
            self._late.append((now, now - self._expected))
        self._expected = now + _EVERY

    def worst(self, since, until):
        return max((late for at, late in list(self._late) if since <= at <= until), default=0.0)


def family(pid):
    """`pid` and its descendants."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                parents[int(entry)] = int(stat.read().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it has just ended
    found, grew = {pid}, True
    while grew:
        children = {child for child, parent in parents.items() if parent in found} - found
        found, grew = found | children, bool(children)
    return found


def cpu_seconds(pid):
    """That the process and its descendants have run, in nanoseconds' resolution; of those that live now."""
    total = 0
    for each in family(pid):
        with open(f"/proc/{each}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def _nice(pids, by):
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):  # those that they start later inherit it
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, int(thread), by)


@contextlib.contextmanager
def measured_first(*pids):
    """Needs root. What is compared shares two processors with all that it needs: a control plane's work is no part of it, nor is what this process
    takes to look through its records of a hundred thousand questions."""
    first = set().union(*map(family, pids)) | {os.getpid()}
    gc.disable()
    _nice(first, -15)
    try:
        yield
    finally:
        _nice(first, 0)
        gc.enable()


def _kib(pid, field):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            return next((int(line.split()[1]) for line in status if line.startswith(field + ":")), 0)
    except OSError:
        return 0


class Memory(Sampler):
    """The most that was seen of supervisor and worker together: the sum of their VmRSS, and of their RssAnon."""

    def __init__(self, pid, every=0.1):
        super().__init__(every)
        self._pid = pid
        self.rss = self.anonymous = 0

    def sample(self):
        pids = family(self._pid)
        self.rss = max(self.rss, sum(_kib(pid, "VmRSS") for pid in pids))
        self.anonymous = max(self.anonymous, sum(_kib(pid, "RssAnon") for pid in pids))


def sanitized(binary):
    """Whether it was built with the sanitizers: its memory and speed say nothing then."""
    if os.environ.get("LASTLIGHT_SANITIZED") == "1":
        return True
    with open(binary, "rb") as program:
        return b"__asan_init" in program.read()
