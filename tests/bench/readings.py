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
    """A memory control group for one server; `peak()` is None where none can be made."""

    _ROOTS = (("/sys/fs/cgroup", "memory.peak"), ("/sys/fs/cgroup/memory", "memory.max_usage_in_bytes"))

    def __init__(self, name):
        self._path = self._peak = None
        for root, peak in self._ROOTS:
            path = os.path.join(root, f"bench-{name}-{os.getpid()}")
            with contextlib.suppress(OSError):
                os.mkdir(path)
                if os.path.exists(os.path.join(path, peak)):
                    self._path, self._peak = path, peak
                    return
                os.rmdir(path)

    def add(self, pid):
        for each in family(pid) if self._path else ():
            with contextlib.suppress(OSError), open(os.path.join(self._path, "cgroup.procs"), "w", encoding="ascii") as procs:
                procs.write(str(each))

    def peak(self):
        lines = _lines(os.path.join(self._path, self._peak)) if self._path else []
        return int(lines[0]) / 2 ** 20 if lines else None

    def close(self):
        """Once its processes have ended."""
        if self._path:
            with contextlib.suppress(OSError):
                os.rmdir(self._path)
