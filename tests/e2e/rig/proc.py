"""Child processes and waiting.

    with Process("etcd", [binary, "--flag"], log_dir) as etcd:
        wait_until(lambda: port_answers(), 10, "etcd to answer", etcd)

A Process writes stdout and stderr to one log file, dies with us (PR_SET_PDEATHSIG, also when pytest is killed), and shows the
tail of its log in every failure. `wait_until` polls a condition against a deadline and fails at once when a process it was
given has exited: no test sleeps a fixed time.
"""

import ctypes
import os
import signal
import subprocess
import time

from rig.measure import family

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: the child must not load libraries between fork and exec


def doing(pid):
    """Where the kernel has `pid` and its descendants: a process that does not end is asked why."""
    found = []
    for each in sorted(family(pid)):
        try:
            with open(f"/proc/{each}/stat", encoding="ascii", errors="replace") as stat, open(f"/proc/{each}/wchan", encoding="ascii") as where:
                fields = stat.read().rpartition(")")[2].split()
                found.append(f"{each} is {fields[0]} in {where.read() or 0}, {fields[11]} + {fields[12]} ticks")
        except OSError:
            continue  # it has just ended
    return "; ".join(found)


class RigFailure(AssertionError):
    """Something of the rig did not start, answer or happen in time; the text carries the tails of the logs."""


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Process:
    """One running program; a context manager that ends it."""

    def __init__(self, name, argv, log_dir, env=None, cwd=None, kill_at_once=False, pass_fds=()):
        """`env` is added to ours. `kill_at_once` skips SIGTERM at the end: right for servers whose state nobody needs."""
        self.name = name
        self.argv = [str(word) for word in argv]
        self.kill_at_once = kill_at_once
        self.log_path = os.path.join(log_dir, f"{name}.log")
        with open(self.log_path, "ab") as log:
            self._offset = log.tell()  # a restarted program appends; tail() shows this run only
            self.popen = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=cwd, pass_fds=pass_fds,
                env={**os.environ, **(env or {})}, preexec_fn=_die_with_parent)
        self.started = time.monotonic()

    @property
    def pid(self):
        return self.popen.pid

    def exit_code(self):
        """None while it runs, else its exit code (negative: the signal)."""
        return self.popen.poll()

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, timeout):
        """Its exit code, once it has ended on its own or by a signal sent before."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RigFailure(f"{self.name} still runs after {timeout} s: {doing(self.pid)}\n{self.tail()}") from None

    def stop(self, grace=10):
        """SIGTERM, and SIGKILL when that has not ended it after `grace` seconds; returns the exit code."""
        if self.popen.poll() is None and not self.kill_at_once:
            self.popen.terminate()
            try:
                return self.popen.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        if self.popen.poll() is None:
            self.popen.kill()
        return self.popen.wait()

    def output(self):
        """All it has written in this run."""
        with open(self.log_path, "rb") as log:
            log.seek(self._offset)
            return log.read().decode(errors="replace")

    def tail(self, lines=25):
        last = "\n".join("    " + line[:400] for line in self.output().splitlines()[-lines:])
        code = self.exit_code()
        state = "running" if code is None else f"exited with {code}"
        return f"--- {self.name} ({state}, {self.log_path}):\n{last}"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


def has_ended(pid):
    """Whether a process of one thread, that need not be ours, has: its descriptors are closed then, also when nobody has waited for it yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition, timeout, what, *processes, interval=0.05):
    """Polls `condition` until it returns something true, and returns that.

    Fails with `what`, the last value or connection error and the logs' tails after `timeout` seconds, or at once when one
    of `processes` has exited. OSError (which refused connections and TLS errors are) counts as "not yet".
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            value = last = condition()
            if value:
                return value
        except OSError as error:
            last = error
        logs = "\n".join(process.tail() for process in processes)
        for process in processes:
            if process.exit_code() is not None:
                raise RigFailure(f"{process.name} ended while waiting for {what}\n{logs}")
        if time.monotonic() >= deadline:
            raise RigFailure(f"no {what} within {timeout} s; last seen: {str(last)[:500]}\n{logs}")
        time.sleep(interval)
