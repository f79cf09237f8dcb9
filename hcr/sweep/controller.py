"""The controller of a sweep: which run is next, what became of those before, until none is left."""

import contextlib
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hcr import stopping
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import output_root
from hcr.sweep.launched import LaunchedPool
from hcr.sweep.outcomes import outcome_of
from hcr.sweep.plan import Plan
from hcr.sweep.pool import GRACE_S, Ended, NurseryDied, Pool
from hcr.sweep.runs import Run, run_folder, trial_folder, write_trial
from hcr.sweep.screen import SweepScreen
from hcr.sweep.source import Source
from hcr.sweep.trial import EPOCHS, ERROR, OUTPUT, RESULT, RUN, read_result, write_result
from hcr.tracking.status import end_dead_runs
from hcr.tracking.uploader import Uploader

POLL_S = 0.2
MOST_NURSERIES = 3  # times that the process which runs are forked from may die before the sweep gives up


class Controller:
    """Makes the runs of a sweep.

    Args:
        plan: what it is of.
        folder: the sweep's.
        sweep: its bounds, as this command gives them.
        make_pool: starts what runs are forked from.
        delivery: what carries them to the store.
        screen: what shows them.

    Attributes:
        parent: the key of the sweep's own run; set before any run is made.
        deleted: keys of the sweep's runs that were deleted in MLflow: no trial resumes them.
        runs: every run that is known of, by number.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        *,
        sweep: SweepConfig,
        make_pool: Callable[[], Pool | LaunchedPool],
        delivery: Uploader,
        screen: SweepScreen,
    ) -> None:
        self.parent = ""
        self.deleted: frozenset[str] = frozenset()
        self.runs: dict[int, Run] = {}
        self._plan = plan
        self._folder = folder
        self._sweep = sweep
        self._make_pool = make_pool
        self._pool: Pool | LaunchedPool | None = None
        self._delivery = delivery
        self._screen = screen
        self._read: dict[str, Any] | None = None  # the data set that the nursery has in memory
        self._begun = time.monotonic()
        self._nurseries = 0

    def make(self, source: Source, waiting: Iterable[Run], on_ended: Callable[[Run], None]) -> None:
        """Run `waiting`, then what `source` has, until there is no more or time is up.

        Args:
            on_ended: called with each run that has ended.

        Raises:
            KeyboardInterrupt: after every run has been told, and has journalled where it stands.
            HcrError: runs cannot be started at all, or a search cannot be asked; every run has been told.
        """
        queue = deque(waiting)
        by_folder: dict[Path, Run] = {}
        with stopping.deferred():  # what is started is known of, and what has ended is heard
            try:
                self._make(source, queue, by_folder, on_ended)
            except BaseException:
                stopping.begin_cleanup()
                self._interrupt(by_folder)
                raise

    def _make(
        self, source: Source, queue: deque[Run], by_folder: dict[Path, Run], on_ended: Callable[[Run], None]
    ) -> None:
        while True:
            stopping.check()
            self._delivery.check()
            while len(by_folder) < self._plan.workers and self.has_time():
                run = queue.popleft() if queue else source.next()
                if run is None:
                    break
                self.runs[run.planned.number] = run
                if run.state not in ("new", "interrupted"):  # a search asked for what is known
                    source.ended(run)
                    if run.outcome is not None:
                        self._screen.reused(run.planned.number, run.planned.label, run.outcome.value)
                    if run.state == "refused":
                        self._screen.refused(run.planned.number, run.why)
                    continue
                by_folder[self._start(run)] = run
            if not by_folder:
                return
            for run in self._wait(by_folder):
                if run.state == "interrupted":
                    queue.appendleft(run)
                    continue
                source.ended(run)
                on_ended(run)

    def task(self, folder: Path) -> dict[str, Any] | None:
        """Do what `task.json` in `folder` says, in a process of its own, while no run is being made; its result.

        Raises:
            HcrError: the process has died, or MLflow cannot be imported.
        """
        pool = self.pool()
        pool.start(folder)
        try:
            while not pool.poll(POLL_S):
                self._delivery.check()
        except NurseryDied:
            self._delivery.check()  # it imports the same
            raise
        return read_result(folder)

    def close(self) -> None:
        """End the process that runs are forked from."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def pool(self) -> Pool | LaunchedPool:
        """The pool, started when it is first needed, and anew where it has died.

        Raises:
            HcrError: it has died too often.
        """
        if self._pool is None:
            self._nurseries += 1
            self._pool = self._make_pool()
        return self._pool

    def has_time(self) -> bool:
        """Whether `sweep.max_time` is still to come."""
        limit = self._sweep.max_time_s
        return limit is None or time.monotonic() - self._begun < limit

    def _start(self, run: Run) -> Path:
        folder = trial_folder(self._folder, run.planned)
        run.started, run.seen, run.timed_out = None, 0, False
        for name in (EPOCHS, RUN, RESULT, ERROR):  # first: they may be of another run that had this number
            (folder / name).unlink(missing_ok=True)
        write_trial(folder, run.planned, self._plan, self.parent, self.deleted)
        pool = self.pool()
        dataset = run.planned.config["dataset"]
        if dataset != self._read:  # once, for every trial to have
            pool.read(folder)
            self._read = dataset
        pool.start(folder)
        epochs = run.planned.config["training"]["epochs"]
        self._screen.started(run.planned.number, run.planned.label, epochs=epochs)
        return folder

    def _wait(self, by_folder: dict[Path, Run]) -> list[Run]:
        """The runs that have ended, after a moment."""
        pool = self.pool()
        try:
            ended = pool.poll(POLL_S)
        except NurseryDied as error:
            self._pool = self._read = None
            self._delivery.check()  # it imports the same
            if self._nurseries >= MOST_NURSERIES:
                raise
            self._screen.note(f"{error}; it is started again")
            ended = [Ended(folder, -signal.SIGKILL) for folder in by_folder]
        for folder, run in by_folder.items():
            self._look(folder, run)
        self._screen.tick()
        runs = []
        for end in ended:
            run = by_folder.pop(end.folder)
            self._judge(end, run)
            runs.append(run)
        return runs

    def _look(self, folder: Path, run: Run) -> None:
        """What a run that is being trained has written since the last time."""
        for epoch in self._new_epochs(folder, run):
            self._screen.epoch(run.planned.number, epoch["epoch"], epoch["value"])
        journal = run_folder(folder)
        if journal is not None:
            self._delivery.follow(journal)
        limit = self._sweep.trial_timeout_s
        if limit is None:
            return
        if run.started is None and self.pool().is_running(folder):
            run.started = time.monotonic()
        if run.started is None:
            return
        took = time.monotonic() - run.started
        if took > limit + GRACE_S:
            self.pool().signal(folder, signal.SIGKILL)
        elif took > limit and not run.timed_out:  # once: it is journalling what it was told
            run.timed_out = True
            self.pool().signal(folder, signal.SIGTERM)

    def _new_epochs(self, folder: Path, run: Run) -> Iterator[Mapping[str, Any]]:
        try:
            with (folder / EPOCHS).open("rb") as file:
                file.seek(run.seen)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    run.seen += len(line)
                    yield json.loads(line)
        except FileNotFoundError:
            return

    def _judge(self, end: Ended, run: Run) -> None:
        """What became of a run whose process has ended."""
        number, folder = run.planned.number, end.folder
        for epoch in self._new_epochs(folder, run):
            self._screen.epoch(number, epoch["epoch"], epoch["value"])
        result = read_result(folder)
        if result is None and run.timed_out:
            result = {"status": "failed", "error": f"took longer than sweep.trial_timeout={self._sweep.trial_timeout}"}
            write_result(folder, result)
            end_dead_runs(output_root())  # where it had to be killed
        if result is None and (end.code < 0 or end.code == stopping.INTERRUPTED) and not run.tries:
            run.tries += 1
            run.state = "interrupted"
            by = f"killed by signal {-end.code}" if end.code < 0 else "interrupted"
            self._screen.note(f"run {number + 1} was {by}; it is tried once more")
            return
        if result is None:
            how = f"was killed by signal {-end.code}" if end.code < 0 else f"ended with exit code {end.code}"
            result = {"status": "failed", "error": f"its process {how}"}
            write_result(folder, result)
            end_dead_runs(output_root())
        journal = run_folder(folder)
        if journal is not None:
            self._delivery.finish(journal)
        if result["status"] == "finished":
            assert journal is not None
            run.state, run.outcome = "finished", outcome_of(journal, self._plan.monitor)
            self._screen.finished(number, run.outcome.value)
        elif result["status"] == "pruned":
            run.state, run.why = "pruned", f"after epoch {result['epoch']}"
            self._screen.pruned(number, result["epoch"])
        else:
            run.state, run.why = "failed", str(result["error"])
            told = next((path for path in (folder / ERROR, folder / OUTPUT) if path.exists()), None)
            self._screen.failed(number, run.why, told)
            if told is not None and os.environ.get("HCR_TRACEBACK") == "1":
                print(told.read_text(errors="replace", encoding="utf-8"), file=sys.stderr, flush=True)

    def _interrupt(self, by_folder: dict[Path, Run]) -> None:
        """Tell every run to stop, and give it time to journal that."""
        if self._pool is None:
            return
        with contextlib.suppress(NurseryDied):
            deadline = time.monotonic() + GRACE_S
            for folder in by_folder:
                self._pool.signal(folder, signal.SIGTERM)
            self._stopped(self._pool.poll(POLL_S), by_folder)
            # What does not run by now waits for the imports of the process that it would be forked from.
            while any(map(self._pool.is_running, by_folder)) and time.monotonic() < deadline:
                self._stopped(self._pool.poll(POLL_S), by_folder)
        self.close()  # at once: it would be forked while the others are uploaded

    def _stopped(self, ended: Iterable[Ended], by_folder: dict[Path, Run]) -> None:
        for end in ended:
            run = by_folder.pop(end.folder, None)
            journal = run_folder(end.folder)
            if run is not None and journal is not None:
                run.state = "interrupted"
                self._delivery.finish(journal)
