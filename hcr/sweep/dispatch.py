"""The Dispatcher: hands trials to workers and handles their events, until no run is left."""

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
GRACE_S = 20.0  # time that a stopped trial has to write its journal


@dataclass
class _Trial:
    """A trial that was handed to a worker.

    Attributes:
        began: when its process started, by `time.monotonic`; None: not yet.
        epoch: the last epoch that it reported.
        timed_out: True once it was stopped by `sweep.trial_timeout`.
        is_followed: True once the uploader follows its run.
    """

    run: Run
    began: float | None = None
    epoch: int = 0
    timed_out: bool = False
    is_followed: bool = False


class Dispatcher:
    """Runs the trials of a sweep.

    Args:
        ledger: the state of every run.
        workers: run the trials.
        uploader: uploads the runs to the store.
        screen: displays them.
        sweep: time limits, from this command.
        begun_s: when this command started the sweep, by `time.monotonic`.
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
        self._died_after: dict[int, int] = {}  # by run number: the last epoch reported before its process was lost
        self._begun_s = begun_s

    def run(self, waiting: Iterable[Run], on_ended: Callable[[], None], source: Source | None = None) -> None:
        """Run `waiting`, then the runs of `source`, until none is left or `sweep.max_time` is over.

        Args:
            on_ended: called after each run that ended.
            source: yields further runs; None: there are none.

        Raises:
            KeyboardInterrupt: a stop signal; every trial was stopped and has written its journal.
            HcrError: no trial can run any more; every trial was stopped likewise.
        """
        queue = deque(waiting)
        with stopping.deferred():  # a signal must not come between starting a trial and recording it
            try:
                while self._fill_slots(source, queue) or self._trials:
                    stopping.check()
                    self._uploader.check()
                    for event in self._workers.events(POLL_S):
                        self._handle(event, source, queue, on_ended)
                    self._check_trials()
                    self._screen.tick()
                stopping.check()
            except BaseException:
                stopping.begin_cleanup()
                self._stop_all()
                raise

    def _fill_slots(self, source: Source | None, queue: deque[Run]) -> bool:
        """Start a trial in every free slot; False if there is none left to start."""
        while len(self._trials) < self._workers.slots:
            run = self._next(source, queue) if self._has_time() else None
            if run is None:
                return False
            if run.is_left:
                self._start(run, source)
                continue
            if source is not None:  # a search proposed a run whose result is known already
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

    def _handle(self, event: Event, source: Source | None, queue: deque[Run], on_ended: Callable[[], None]) -> None:
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
            if trial.run.is_left and not trial.timed_out and self._should_retry(event, trial):
                queue.appendleft(trial.run)
                return
            if trial.run.is_left:
                self._ledger.fail(trial.run, self._failure(event, trial))
            self._upload(trial.run)
            self._show(event.folder, trial.run)
            if source is not None:
                source.ended(trial.run)
            on_ended()

    def _should_retry(self, event: Ended, trial: _Trial) -> bool:
        """True if a trial whose process was lost is retried: once, and again whenever it got further than before."""
        number = trial.run.planned.number
        if not (event.code < 0 or event.code == stopping.INTERRUPTED):
            return False
        if trial.epoch <= self._died_after.get(number, -1):
            return False
        self._died_after[number] = trial.epoch
        by = f"killed by signal {-event.code}" if event.code < 0 else "interrupted"
        self._screen.note(f"run {number + 1} was {by}; retrying it")
        return True

    def _failure(self, event: Ended, trial: _Trial) -> str:
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
            log = next((path for path in (folder / ERROR, folder / OUTPUT) if path.exists()), None)
            self._screen.failed(number, run.why, log)
            if log is not None and os.environ.get("HCR_TRACEBACK") == "1":
                print(log.read_text(errors="replace", encoding="utf-8"), file=sys.stderr, flush=True)

    def _check_trials(self) -> None:
        """Follow the runs that have started, for upload, and stop trials that exceed `sweep.trial_timeout`."""
        limit, now = self._sweep.trial_timeout_s, time.monotonic()
        for folder, trial in self._trials.items():
            run = trial.run.folder
            if not trial.is_followed and run is not None and (run / JOURNAL).exists():
                trial.is_followed = True
                self._uploader.follow(run)
            took = 0.0 if limit is None or trial.began is None else now - trial.began
            if limit is not None and took > limit + GRACE_S:
                self._workers.stop(folder, at_once=True)
            elif limit is not None and took > limit and not trial.timed_out:  # once: then it writes its journal
                trial.timed_out = True
                self._workers.stop(folder)

    def _upload(self, run: Run) -> None:
        if run.folder is not None and (run.folder / JOURNAL).exists():
            self._uploader.finish(run.folder)

    def _stop_all(self) -> None:
        """Stop every trial, and wait at most GRACE_S until they have written their journals."""
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
        self._workers.close()  # at once: otherwise waiting trials would still be forked while others are uploaded
