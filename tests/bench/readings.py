"""What is read of a server's processes: processor time, memory, its control group's peak."""

import contextlib
import os

from rig.measure import family


def _lines(path):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def cpu_seconds(pid):
    """Of all threads of the process and its descendants, to the nanosecond."""
    tasks = [f"/proc/{each}/task/{task}/schedstat" for each in family(pid) for task in os.listdir(f"/proc/{each}/task")]
    return sum(int(line.split()[0]) for task in tasks for line in _lines(task)) / 1e9


def memory(pid):
    """(anonymous, resident) MiB of the process and its descendants; a page that they share counts once."""
    rollup = [line.split() for each in family(pid) for line in _lines(f"/proc/{each}/smaps_rollup")]
    return tuple(sum(int(words[1]) for words in rollup if words[0] == field) / 1024 for field in ("Pss_Anon:", "Pss:"))


class ControlGroup:
    """A memory control group for one server; `peak()` is None where none can be made.

    A group of the first version has an account of its own for socket buffers, kept once it has a limit, and of sockets that a member opens:
    a server to be measured with them is started by `command`.
    """

    _ROOTS = (("/sys/fs/cgroup", ("memory.current",), ("memory.peak",)),
              ("/sys/fs/cgroup/memory", ("memory.usage_in_bytes", "memory.kmem.tcp.usage_in_bytes"), ("memory.max_usage_in_bytes", "memory.kmem.tcp.max_usage_in_bytes")))
    _NO_LIMIT = 1 << 40

    def __init__(self, name):
        self._path, self._usage, self._peak = None, (), ()
        for root, usage, peak in self._ROOTS:
            path = os.path.join(root, f"bench-{name}-{os.getpid()}")
            with contextlib.suppress(OSError):
                os.mkdir(path)
                if os.path.exists(os.path.join(path, peak[0])):
                    self._path, self._usage, self._peak = path, usage, peak
                    with contextlib.suppress(OSError):
                        self._write("memory.kmem.tcp.limit_in_bytes", self._NO_LIMIT)
                    return
                os.rmdir(path)

    def _write(self, name, value):
        path = os.path.join(self._path, name)
        if os.path.exists(path):
            with open(path, "w", encoding="ascii") as file:
                file.write(str(value))

    def _sum(self, names):
        return sum(int(line) for name in names for line in _lines(os.path.join(self._path, name))) / 2 ** 20

    def add(self, pid):
        for each in family(pid) if self._path else ():
            with contextlib.suppress(OSError):
                self._write("cgroup.procs", each)

    def command(self, command):
        """The same, run in the group from its first page on."""
        if not self._path:
            return command
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', os.path.join(self._path, "cgroup.procs"), *command]

    def usage(self):
        return self._sum(self._usage) if self._path else 0.0

    def peak(self):
        """MiB, socket buffers included."""
        return self._sum(self._peak) if self._path else None

    def close(self):
        """Once its processes have ended."""
        if self._path:
            with contextlib.suppress(OSError):
                os.rmdir(self._path)
