"""The demo on the screen: one table redrawn in place on a terminal, a line for each thing that happens elsewhere."""

import dataclasses
import shutil
import sys


@dataclasses.dataclass
class Row:
    """One pod, as told so far; instants are seconds since the notice."""

    name: str
    label: str
    stays: bool
    refusals: int = 0
    told: float | None = None
    by: str | None = None
    grace: int | None = None
    gone: float | None = None

    def fate(self):
        """In 28 columns, so that a row fits a terminal of 80."""
        if self.told is None:
            if self.stays:
                return "stays"
            return f"refused by its budget, {self.refusals}x" if self.refusals else "running"
        how = f"{'evicted' if self.by == 'eviction' else 'deleted'} {self.told:.1f} s, "
        return how + (f"grace {self.grace} s" if self.gone is None else f"gone {self.gone:.1f} s")


@dataclasses.dataclass
class Frame:
    """All that is shown at one instant."""

    until_notice: float | None = None    # before the notice
    left: float | None = None            # after it
    cordoned: float | None = None        # seconds from the notice
    rows: tuple = ()
    answered: int = 0
    failed: int = 0
    cache_hits: int | None = None

    def headline(self):
        if self.left is None:
            return f"notice in {max(0.0, self.until_notice or 0.0):.0f} s"
        return f"{max(0.0, self.left):.0f} s left"

    def node(self):
        return "schedulable" if self.cordoned is None else f"cordoned {self.cordoned:.2f} s after the notice"

    def lookups(self):
        hits = "?" if self.cache_hits is None else self.cache_hits
        return f"{self.answered} lookups answered, {self.failed} failed, {hits} cache hits"


class Table:
    """For terminals."""

    def __init__(self, out=None):
        self._out = out or sys.stdout
        self._height = 0

    def show(self, frame):
        width = shutil.get_terminal_size().columns
        lines = [f"  {frame.headline()}    node: {frame.node()}", f"  {frame.lookups()}", ""]
        lines += [f"  {_mark(row)} {row.name:<22.22} {row.label:<20.20} {row.fate()}" for row in frame.rows]
        up = f"\x1b[{self._height}A" if self._height else ""
        self._out.write(up + "".join(f"\x1b[2K{_styled(line[:width - 1])}\n" for line in lines) + "\x1b[J")
        self._out.flush()
        self._height = len(lines)


def _mark(row):
    return "·" if row.stays and row.told is None else " " if row.told is None else "▸" if row.gone is None else "✓"


def _styled(line):
    colour = {"✓": "32", "▸": "33", "·": "2"}.get(line[2:3])
    return f"\x1b[{colour}m{line}\x1b[0m" if colour else line


class Lines:
    """For pipes and logs: what is new since the last frame, and the lookups every `every` seconds."""

    def __init__(self, out=None, every=5):
        self._out = out or sys.stdout
        self._every = every
        self._fates = {}
        self._node = None
        self._tick = None

    def show(self, frame):
        if frame.node() != self._node:
            self._node = frame.node()
            self._line(frame, f"node is {self._node}")
        for row in frame.rows:
            text = self._brief(row)
            if self._fates.get(row.name, "running") != text:
                self._fates[row.name] = text
                self._line(frame, f"{row.name} ({row.label}): {text}")
        tick = (frame.left is None, int(frame.left if frame.left is not None else frame.until_notice or 0) // self._every)
        if tick != self._tick:
            self._tick = tick
            self._line(frame, frame.lookups())
        self._out.flush()

    @staticmethod
    def _brief(row):
        # The number of refusals changes too often for a line each.
        return "refused by its budget" if row.refusals and row.told is None else row.fate()

    def _line(self, frame, text):
        self._out.write(f"{frame.headline():>14}  {text}\n")


def screen(out=None):
    out = out or sys.stdout
    return Table(out) if out.isatty() else Lines(out)
