"""The upload of runs to MLflow in one thread, while they are trained and when they have ended.

What trains only writes its journal: it waits for no store, and one process writes to the store of a sweep, not many.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from hcr import stopping
from hcr.config.errors import HcrError, TrackingError, one_line
from hcr.importing import import_needed
from hcr.tracking.ended import upload_dead_runs, upload_others
from hcr.tracking.events import JOURNAL
from hcr.tracking.journal import Journal
from hcr.tracking.lock import lock_run
from hcr.tracking.replay import ParentIsLate, Replay, RunDeleted
from hcr.tracking.status import is_delivered
from hcr.tracking.store import find_runs, import_store, open_store, warm_up

HEAD_START_S = 5.0  # Python runs one thread at a time: importing MLflow would hold up the first steps
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0  # between two tries of a store that does not answer
PAUSE_S = 0.5  # between two looks at the journals of runs that are still being written
ENDS_WITHIN_S = PAUSE_S + 0.2  # the thread, where neither an import nor a server holds it up


@dataclass
class _OwnRun:
    """The run of this very process.

    Attributes:
        has_begun: there is an event.
        is_uploaded: it is in the store as a whole.
        is_done: it is, or never will be.
    """

    journal: Journal
    has_begun: bool = False
    is_uploaded: bool = False
    is_done: bool = False


class Uploader:
    """Uploads the runs that it is given. Leaving the `with` waits, within bounds, for those that have ended.

    There may be many runs of other processes (`follow`, `finish`), and one of this process (`carry`), such as a single
    run, or the run that a sweep's are nested under. Of that one the uploader gives up the lock when it has done with
    it, so that nobody else uploads it meanwhile. With it go runs that nobody else would upload: those of processes
    that died are ended first, and the rest of the time is for what earlier commands left.

    MLflow is imported at once; where the only run is carried already, at its first event and behind a head start.

    Args:
        uri: the store of the runs.
        timeout_s: how long the end waits while nothing gets through, in seconds.

    Attributes:
        error: the store's last error, if there was one since anything got through.
    """

    def __init__(self, uri: str, timeout_s: float) -> None:
        self.error: Exception | None = None
        self._uri, self._timeout_s = uri, timeout_s
        self._lock = threading.Lock()  # of the sets
        self._alive: set[Path] = set()  # their processes write, and hold their locks
        self._ended: set[Path] = set()
        self._lost: set[Path] = set()
        self._deleted: set[Path] = set()  # in MLflow, while they were made
        self._own: _OwnRun | None = None
        self._is_single = False
        self._replays: dict[Path, Replay] = {}
        self._errors: dict[Path, Exception] = {}  # of each run the last one since anything of it got through
        self._refusal: HcrError | None = None
        self._told = False
        self._wake = threading.Event()
        self._closing = threading.Event()  # somebody waits
        self._leaving = threading.Event()  # nothing is handed over any more
        self._given_up = threading.Event()
        self._ready = False  # MLflow is imported
        self._last_progress = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)

    def __enter__(self) -> Self:
        self._is_single = self._own is not None
        if not self._is_single:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with stopping.deferred():
            self._leaving.set()
            try:
                self._wait(lambda: True)  # for the import too: one that the end of the process cuts short may crash it
            finally:  # an interrupt that `stopping` does not handle too, as in a notebook
                self._given_up.set()
                self._wake.set()
                if self._thread.is_alive():
                    self._thread.join(ENDS_WITHIN_S)
                if self._thread.is_alive():
                    stopping.leave_threads()
                else:
                    self._release_own()

    @property
    def num_left(self) -> int:
        """Runs that were handed over, and are not in the store as a whole; the one of this process apart."""
        with self._lock:
            return len(self._alive) + len(self._ended)

    def check(self) -> None:
        """Raise HcrError if MLflow cannot be imported, as far as is known by now: no run could be uploaded."""
        if self._refusal is not None:
            raise self._refusal

    def carry(self, journal: Journal) -> None:
        """Upload the run of this process, which each event of `journal` wakes the uploader for."""
        assert self._own is None, "one run of this process"
        self._own = own = _OwnRun(journal)

        def on_event() -> None:
            if not own.has_begun:
                own.has_begun = True
                if self._is_single:
                    self._thread.start()
            self._wake.set()

        journal.on_event = on_event

    def why_left(self) -> Exception | None:
        """Why the run of this process is not in the store as a whole; None where it is, or has not begun."""
        own = self._own
        if own is None or not own.has_begun or own.is_uploaded:
            return None
        silent = "its journal has no end" if own.journal.gave_up else "the store does not answer"
        return self._errors.get(own.journal.folder) or self.error or TrackingError(silent)

    def follow(self, folder: Path) -> None:
        """Upload the run in `folder` while its process writes it."""
        with self._lock:
            if folder not in self._deleted:
                self._alive.add(folder)

    def finish(self, folder: Path, *, is_lost: bool = False) -> None:
        """The process of the run in `folder` has ended: upload the rest; or all of it, where the store has lost it."""
        with self._lock:
            if is_lost:
                self._lost.add(folder)
            self._alive.discard(folder)
            if folder not in self._deleted:
                self._ended.add(folder)

    def find(self, uri: str, experiment: str, key: str) -> str | None:
        """The id of the run of that key in the store; None where it is not there, or the store cannot be asked."""
        try:
            client = open_store(uri)
            found = client.get_experiment_by_name(experiment)
            ids = find_runs(client, found.experiment_id, key) if found is not None else []
        except Exception as error:  # the store's, of many kinds
            self._tell(error)
            return None
        return ids[0] if ids else None

    def drain(self) -> None:
        """Wait until all that has ended is uploaded, or until nothing has got through for `timeout_s` seconds."""
        with stopping.deferred():
            self._wait(self._is_awaited)

    def _wait(self, is_needed: Callable[[], bool]) -> None:
        signals = stopping.count()
        self._last_progress = time.monotonic()
        self._closing.set()
        self._wake.set()
        while self._thread.is_alive() and is_needed() and not self._out_of_time() and stopping.count() == signals:
            self._thread.join(0.05)

    def _out_of_time(self) -> bool:
        """Importing MLflow, seconds on a cold disk, is no silence of the store's."""
        return self._ready and time.monotonic() - self._last_progress >= self._timeout_s

    def _is_awaited(self) -> bool:
        """Whether a run that has ended is still to be uploaded."""
        own = self._own
        is_own_left = own is not None and own.has_begun and not own.is_done and not own.journal.is_open
        return is_own_left or bool(self._ended)

    def _is_over(self) -> bool:
        return self._given_up.is_set() or (self._leaving.is_set() and not self._is_awaited())

    def _go_on(self) -> bool:
        """After each event: time starts anew, and what was given up gets no further one."""
        self._last_progress = time.monotonic()
        return not self._is_over()

    def _run(self) -> None:
        try:
            if self._is_single:
                self._closing.wait(HEAD_START_S)
            if self._has_imported():
                self._last_progress, self._ready = time.monotonic(), True
                self._upload()
        finally:
            self._release_own()

    def _has_imported(self) -> bool:
        try:
            import_needed("mlflow", self._import)
        except HcrError as refusal:
            why = refusal.__cause__
            self._refusal, self.error = refusal, why if isinstance(why, Exception) else refusal
            return False
        return True

    def _import(self) -> None:
        # A run that is resumed stays in the store that it has.
        import_store(self._own.journal.uri if self._own is not None else self._uri)
        if "keras" in sys.modules:  # a model will be saved
            warm_up()

    def _upload(self) -> None:
        wait_s = SHORTEST_WAIT_S
        while not self._is_over():
            self._wake.clear()
            failed, moved = self._upload_each()
            if self._own is not None and self._own.is_done:
                self._release_own()
            if moved:
                self.error = None
            wait_s = min(2 * wait_s, LONGEST_WAIT_S) if failed and not moved else SHORTEST_WAIT_S
            if not self._is_over():
                self._wake.wait(wait_s if failed or self._closing.is_set() else PAUSE_S)
        if self._own is not None and self._own.is_uploaded:  # the rest of the time that it may take is for others
            until = time.monotonic() + self._timeout_s
            journal = self._own.journal
            with contextlib.suppress(Exception):  # whatever is wrong with other runs is nothing to this one
                upload_others(
                    journal.root, journal.uri, lambda: time.monotonic() < until and not self._given_up.is_set()
                )

    def _upload_each(self) -> tuple[bool, bool]:
        """Upload what there is by now of each run; whether one failed, and whether anything got through."""
        failed = moved = False
        for folder, upload in self._waiting():
            if self._is_over():
                break
            try:
                if upload():
                    moved = True
                    self._errors.pop(folder, None)
            except BlockingIOError:  # `hcr sync`, or its own process, a moment longer
                continue
            except ParentIsLate as error:
                self._errors[folder] = error
            except RunDeleted as error:  # while it was made: there is nothing to upload any more
                self._errors[folder] = error
                goes_on = "" if self._closing.is_set() else f"; {self._what_goes_on}"
                print(f"hcr: {one_line(error)}{goes_on}", file=sys.stderr, flush=True)
                self._drop_deleted(folder)
            except Exception as error:  # an outage, or a damaged journal: the other runs go on
                failed = True
                self._errors[folder] = error
                self._tell(error)
        return failed, moved

    def _waiting(self) -> list[tuple[Path, Callable[[], bool]]]:
        """The folders of the runs in the order in which they are uploaded, each with how."""
        own = self._own
        with self._lock:
            ended, alive = sorted(self._ended), sorted(self._alive)
        # First the run that others are nested under, then what has ended: the sooner it is whole, the less is to lose.
        waiting: list[tuple[Path, Callable[[], bool]]] = []
        if own is not None and own.has_begun and not own.is_done:
            waiting = [(own.journal.folder, partial(self._upload_own, own))]
        waiting += [(folder, partial(self._upload_ended, folder)) for folder in ended]
        return waiting + [(folder, partial(self._upload_alive, folder)) for folder in alive]

    def _upload_own(self, own: _OwnRun) -> bool:
        journal = own.journal
        if journal.folder not in self._replays:
            with contextlib.suppress(Exception):  # whatever is wrong with other runs is nothing to this one
                upload_dead_runs(journal.root)
            self._last_progress = time.monotonic()
            self._replays[journal.folder] = Replay(journal.folder)
        replay, gave_up = self._replays[journal.folder], journal.gave_up
        moved = replay.upload(self._go_on)
        own.is_uploaded = replay.ended
        own.is_done = replay.ended or gave_up
        return moved

    def _upload_alive(self, folder: Path) -> bool:
        if not (folder / JOURNAL).exists():
            return False
        if folder not in self._replays:
            self._replays[folder] = Replay(folder)
        return self._replays[folder].upload(self._go_on)

    def _upload_ended(self, folder: Path) -> bool:
        if not (folder / JOURNAL).exists():
            return False
        with lock_run(folder):
            replay = self._replays[folder] = Replay(folder)
            if folder in self._lost:
                self._lost.discard(folder)  # what is cut short now goes on from where it was
                if is_delivered(folder):
                    replay.begin_anew()
            moved = replay.upload(self._go_on)
        if replay.ended:
            with self._lock:
                self._ended.discard(folder)
            self._replays.pop(folder, None)
        return moved

    def _drop_deleted(self, folder: Path) -> None:
        with self._lock:
            self._deleted.add(folder)
            self._alive.discard(folder)
            self._ended.discard(folder)
        if self._own is not None and folder == self._own.journal.folder:
            self._own.is_done = True

    def _release_own(self) -> None:
        """Give up the lock of the run of this process, once it has ended: nobody here uploads more of it."""
        if self._own is not None and not self._own.journal.is_open:
            self._own.journal.release()

    def _tell(self, error: Exception) -> None:
        self.error = error
        if not self._told:
            self._told = True
            what = "run" if self._is_single else "runs"
            told = f"hcr: MLflow does not take the {what} yet ({one_line(error)}); {self._what_goes_on}"
            print(told, file=sys.stderr, flush=True)

    @property
    def _what_goes_on(self) -> str:
        return "training goes on" if self._is_single else "the sweep goes on"
