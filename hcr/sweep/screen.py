"""The display of a running sweep: a live screen on a terminal, else one line per event."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hcr.config.text import printable
from hcr.console import PlainConsole
from hcr.evaluation.labels import number_format

if TYPE_CHECKING:
    from hcr.sweep.ledger import Run

TOP, MOST_RUNNING = 5, 8  # rows of the live screen
EVERY = 10  # finished runs between two progress lines, without a terminal
PER_SECOND = 4  # redraws of the live screen


@dataclass
class Running:
    """A run that is being trained."""

    label: str
    epochs: int
    started: float
    epoch: int = 0
    value: float | None = None


class SweepScreen:
    """Shows the best runs, the running ones, and the expected end of the sweep.

    Args:
        total: runs in the plan, including finished ones; None: unknown.
        monitor: the metric that runs are compared by.
        higher_is_better: its direction.
        console: standard output by default.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        *,
        total: int | None,
        monitor: str,
        higher_is_better: bool,
        console: PlainConsole | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self._monitor = monitor
        self._sign = -1.0 if higher_is_better else 1.0
        self._console = console or PlainConsole()
        self._clock = clock
        self._done: dict[int, tuple[float, str]] = {}
        self._running: dict[int, Running] = {}
        self._labels: dict[int, str] = {}
        self._pruned: set[int] = set()
        self._failed: set[int] = set()
        self._took: list[float] = []
        self._most_at_once = 1
        self._drawn = float("-inf")
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_interactive:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_interactive:
            self._live.stop()
            if kind is None:
                self._console.bell()

    def show_known(self, runs: Iterable["Run"]) -> None:
        """Show the runs that a resumed sweep has already."""
        for run in runs:
            if run.outcome is not None:
                self.reused(run.planned.number, run.planned.label, run.outcome.value)
            elif run.state in ("pruned", "failed"):
                self.known(run.planned.number, run.state)

    def reused(self, number: int, label: str, value: float) -> None:
        """Show a run that finished before, in this sweep or another."""
        self._done[number] = (value, label)

    def known(self, number: int, state: str) -> None:
        """Count a run that was pruned or failed before and is not retried."""
        (self._pruned if state == "pruned" else self._failed).add(number)

    def started(self, number: int, label: str, *, epochs: int) -> None:
        """Show a run that starts or resumes."""
        self._labels[number] = label
        self._running[number] = Running(label, epochs, self._clock())
        self._most_at_once = max(self._most_at_once, len(self._running))
        self._line(f"{self._name(number)} started: {label}")

    def epoch(self, number: int, epoch: int, value: float) -> None:
        """Show the monitored metric of a run after an epoch."""
        if number in self._running:
            self._running[number].epoch, self._running[number].value = epoch, value

    def finished(self, number: int, value: float) -> None:
        """Show a finished run and its monitored metric."""
        run = self._end(number)
        took = self._clock() - run.started
        self._took.append(took)
        self._done[number] = (value, run.label)
        self._line(
            f"{self._name(number)} finished: {self._monitor} {self._shown(value)}"
            f" ({run.epoch} {'epoch' if run.epoch == 1 else 'epochs'}, {duration(took)}): {run.label}"
        )
        if not self._console.is_interactive and len(self._done) % EVERY == 0:
            self._console.print(self._header())

    def pruned(self, number: int, when: str) -> None:
        """Show a pruned run; `when` is such as `after epoch 3`."""
        run = self._end(number)
        self._took.append(self._clock() - run.started)
        self._pruned.add(number)
        self._line(f"{self._name(number)} pruned {when}: {run.label}")

    def failed(self, number: int, why: str, log: Path | None) -> None:
        """Print that a run failed, with the path of its log; the line stays on the screen."""
        run = self._end(number)
        self._failed.add(number)
        where = f"; see {log}" if log is not None else ""
        line = f"{self._name(number)} failed: {why}{where}: {run.label}"
        if self._console.is_interactive:
            self.note(line)
        else:
            print(printable(f"hcr: {line}"), file=sys.stderr, flush=True)

    def refused(self, number: int, why: str) -> None:
        """Print that a point of a search is invalid."""
        self.note(f"{self._name(number)} is invalid: {why}")

    def note(self, text: str) -> None:
        """Print a line that stays on the screen."""
        self._console.print(printable(text))

    def tick(self) -> None:
        """Redraw the live screen, at most PER_SECOND times a second."""
        now = self._clock()
        if self._console.is_interactive and now - self._drawn >= 1 / PER_SECOND:
            self._drawn = now
            self._live.update(self.frame(), refresh=True)

    def frame(self) -> Group:
        """The current content of the live screen."""
        width = min(self._console.width, 100)
        rows = Table.grid(padding=(0, 2))
        rows.add_column(justify="right", no_wrap=True)
        rows.add_column(justify="right", no_wrap=True)
        rows.add_column(no_wrap=True, overflow="ellipsis", max_width=max(20, width - 28))
        best = sorted(self._done.values(), key=lambda row: self._sign * row[0] if isfinite(row[0]) else float("inf"))
        for place, (value, label) in enumerate(best[:TOP], start=1):
            rows.add_row(Text(f"{place}"), Text(self._shown(value)), Text(_short(label)))
        if best and self._running:
            rows.add_row("", "", "")
        for _, run in sorted(self._running.items())[:MOST_RUNNING]:
            shown = "" if run.value is None else self._shown(run.value)
            rows.add_row(Text(f"epoch {run.epoch}/{run.epochs}"), Text(shown), Text(_short(run.label)))
        more = len(self._running) - MOST_RUNNING
        if more > 0:
            rows.add_row("", "", Text(f"and {more} more"))
        parts: list[Text | Table] = [Text(self._header(), overflow="ellipsis", no_wrap=True)]
        if self.total:
            bar = Table.grid()  # alone, a ProgressBar does not end its line
            bar.add_row(ProgressBar(total=self.total, completed=self._num_over, width=min(60, width)))
            parts.append(bar)
        return Group(*parts, rows)

    @property
    def _num_over(self) -> int:
        return len(self._done) + len(self._pruned) + len(self._failed)

    def left_s(self) -> float | None:
        """Estimated seconds until the last run ends; None before the first one has ended."""
        if not self._took or self.total is None:
            return None
        mean = sum(self._took) / len(self._took)
        now = self._clock()
        under_way = sum(min(mean, now - run.started) for run in self._running.values())
        return max(0.0, (self.total - self._num_over) * mean - under_way) / self._most_at_once

    def _header(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        parts = [f"{len(self._done)}{of} finished", f"{len(self._running)} running"]
        parts += [f"{len(self._pruned)} pruned"] * bool(self._pruned)
        parts += [f"{len(self._failed)} failed"] * bool(self._failed)
        left = self.left_s()
        if left is None:
            return ", ".join(parts)
        until = datetime.now() + timedelta(seconds=left)
        return f"{', '.join(parts)}; done about {until:%H:%M} (in {duration(left)})"

    def _end(self, number: int) -> Running:
        return self._running.pop(number, Running(self._labels.get(number, ""), 0, self._clock()))

    def _name(self, number: int) -> str:
        return f"run {number + 1}" + ("" if self.total is None else f"/{self.total}")

    def _line(self, text: str) -> None:
        if not self._console.is_interactive:
            self._console.print(printable(text))

    def _shown(self, value: float) -> str:
        return number_format([value])(value) if isfinite(value) else str(value)


def _short(label: str) -> str:
    """A label without config groups: "depth=3" for "model.depth=3"."""
    words = [word for word in printable(label).split(" ") if word]
    return " ".join(
        f"{key.rpartition('.')[2]}{equals}{value}" for key, equals, value in (w.partition("=") for w in words)
    )


def duration(seconds: float) -> str:
    """A duration for humans: `12 s`, `8 min`, `3 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
