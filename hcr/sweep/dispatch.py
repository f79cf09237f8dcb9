"""Trials handed to workers, and what is heard of them, until there is none left to make."""

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hcr import stopping
from hcr.config.sweep import SweepConfig
from hcr.sweep.ledger import Ledger, Run
from hcr.sweep.screen import SweepScreen
from hcr.sweep.search import Source
from hcr.sweep.trial import ERROR, OUTPUT
from hcr.sweep.workers import Began, Ended, Epoch, Event, Workers, WorkersLost
from hcr.tracking.events import JOURNAL
from hcr.tracking.uploader import Uploader

POLL_S = 0.2
GRACE_S = 20.0  # for a trial to journal that it was stopped


@dataclass
class _Trial:
    """A trial that a worker has.

    Attributes:
        began: when its process was there, by `time.monotonic`; None: not yet.
        epoch: its last one that was heard of.
    """

    run: Run
    began: float | None = None
    epoch: int = 0
    timed_out: bool = False
    is_followed: bool = False


class Dispatcher:
    """Makes the runs of a sweep.

    Args:
        ledger: knows where each of them stands.
        workers: make them.
        uploader: carries them to the store.
        screen: shows them.
        sweep: their bounds, as this command gives them.
        begun_s: when the sweep began, by `time.monotonic`.
    """

    def __init__(
        self,
        ledger: Ledger,
        workers: Workers,
        uploader: Uploader,
        screen: SweepScreen,
        sweep: SweepConfig,
        begun_s: float,
    ) -> None:
        self._ledger, self._workers, self._uploader, self._screen = ledger, workers, uploader, screen
        self._sweep = sweep
        self._trials: dict[Path, _Trial] = {}
        self._died_after: dict[int, int] = {}  # by run, the epoch that its process died behind
        self._begun_s = begun_s

    def make(self, waiting: Iterable[Run], on_ended: Callable[[], None], source: Source | None = None) -> None:
        """Make `waiting`, then what `source` has, until there is no more or time is up.

        Args:
            on_ended: called after each run that has ended.
            source: where further runs come from; None: nowhere.

        Raises:
            KeyboardInterrupt: after every trial has been told, and has journalled where it stands.
            HcrError: no trial can run any more; as above.
        """
        queue = deque(waiting)
        with stopping.deferred():  # what is started is known of, and what has ended is heard
            try:
                while self._fill(source, queue) or self._trials:
                    stopping.check()
                    self._uploader.check()
                    for event in self._workers.events(POLL_S):
                        self._hear(event, source, queue, on_ended)
                    self._look()
                    self._screen.tick()
                stopping.check()
            except BaseException:
                stopping.begin_cleanup()
                self._stop()
                raise

    def _fill(self, source: Source | None, queue: deque[Run]) -> bool:
        """Start as many trials as there is room for; whether there may be more behind them."""
        while len(self._trials) < self._workers.slots:
            run = self._next(source, queue) if self._has_time() else None
            if run is None:
                return False
            if run.is_left:
                self._start(run, source)
                continue
            if source is not None:  # a search asked for what is known
                source.ended(run)
            if run.outcome is not None:
                self._screen.reused(run.planned.number, run.planned.label, run.outcome.value)
            elif run.state == "refused":
                self._screen.refused(run.planned.number, run.why)
        return True

    def _next(self, source: Source | None, queue: deque[Run]) -> Run | None:
        if queue:
            return queue.popleft()
        return None if source is None else source.next()

    def _has_time(self) -> bool:
        limit = self._sweep.max_time_s
        return limit is None or time.monotonic() - self._begun_s < limit

    def _start(self, run: Run, source: Source | None) -> None:
        folder = self._ledger.write_trial(run, waits=source is not None and source.prunes)
        self._trials[folder] = _Trial(run)
        self._workers.start(folder)
        epochs = run.planned.config["training"]["epochs"]
        self._screen.started(run.planned.number, run.planned.label, epochs=epochs)

    def _hear(self, event: Event, source: Source | None, queue: deque[Run], on_ended: Callable[[], None]) -> None:
        trial = self._trials[event.folder]
        number = trial.run.planned.number
        if isinstance(event, Began):
            trial.began = time.monotonic()
        elif isinstance(event, Epoch):
            trial.epoch = event.epoch
            self._screen.epoch(number, event.epoch, event.value)
            if source is not None and source.prunes:
                self._workers.answer(event.folder, go_on=source.goes_on(trial.run, event.epoch, event.value))
        else:
            del self._trials[event.folder]
            self._ledger.look(trial.run)
            if trial.run.is_left and not trial.timed_out and self._tries_again(event, trial):
                queue.appendleft(trial.run)
                return
            if trial.run.is_left:
                self._ledger.fail(trial.run, self._why(event, trial))
            self._upload(trial.run)
            self._show(event.folder, trial.run)
            if source is not None:
                source.ended(trial.run)
            on_ended()

    def _tries_again(self, event: Ended, trial: _Trial) -> bool:
        """Whether a trial whose process was lost is made again: once, and once more each time that it got further."""
        number = trial.run.planned.number
        if not (event.code < 0 or event.code == stopping.INTERRUPTED):
            return False
        if trial.epoch <= self._died_after.get(number, -1):
            return False
        self._died_after[number] = trial.epoch
        by = f"killed by signal {-event.code}" if event.code < 0 else "interrupted"
        self._screen.note(f"run {number + 1} was {by}; it is tried once more")
        return True

    def _why(self, event: Ended, trial: _Trial) -> str:
        if trial.timed_out:
            return f"took longer than sweep.trial_timeout={self._sweep.trial_timeout}"
        if event.code < 0:
            return f"its process was killed by signal {-event.code}"
        return f"its process ended with exit code {event.code}"

    def _show(self, folder: Path, run: Run) -> None:
        number = run.planned.number
        if run.outcome is not None:
            self._screen.finished(number, run.outcome.value)
        elif run.state == "pruned":
            self._screen.pruned(number, run.why)
        else:
            told = next((path for path in (folder / ERROR, folder / OUTPUT) if path.exists()), None)
            self._screen.failed(number, run.why, told)
            if told is not None and os.environ.get("HCR_TRACEBACK") == "1":
                print(told.read_text(errors="replace", encoding="utf-8"), file=sys.stderr, flush=True)

    def _look(self) -> None:
        """Upload what has begun, and end what takes too long."""
        limit, now = self._sweep.trial_timeout_s, time.monotonic()
        for folder, trial in self._trials.items():
            run = trial.run.folder
            if not trial.is_followed and run is not None and (run / JOURNAL).exists():
                trial.is_followed = True
                self._uploader.follow(run)
            took = 0.0 if limit is None or trial.began is None else now - trial.began
            if limit is not None and took > limit + GRACE_S:
                self._workers.stop(folder, at_once=True)
            elif limit is not None and took > limit and not trial.timed_out:  # once: it is journalling what it was told
                trial.timed_out = True
                self._workers.stop(folder)

    def _upload(self, run: Run) -> None:
        if run.folder is not None and (run.folder / JOURNAL).exists():
            self._uploader.finish(run.folder)

    def _stop(self) -> None:
        """Tell every trial to stop, and give it time to journal that."""
        with contextlib.suppress(WorkersLost):
            deadline = time.monotonic() + GRACE_S
            for folder in self._trials:
                self._workers.stop(folder)
            while self._trials and time.monotonic() < deadline:
                for event in self._workers.events(POLL_S):
                    if isinstance(event, Ended) and (trial := self._trials.pop(event.folder, None)) is not None:
                        self._ledger.look(trial.run)
                        self._upload(trial.run)
                    elif isinstance(event, Epoch):
                        self._workers.answer(event.folder, go_on=True)
        self._workers.close()  # at once: what still runs would be forked while the others are uploaded
