"""Upload of runs to MLflow in one thread, during training and after it.

Training only writes its journal and never waits for the store. In a sweep a single process writes to the store.
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
from hcr.tracking.events import JOURNAL, Event
from hcr.tracking.journal import Journal
from hcr.tracking.lock import lock_run
from hcr.tracking.replay import ParentIsLate, Replay, RunDeleted
from hcr.tracking.status import is_delivered
from hcr.tracking.store import find_runs, import_store, open_store, warm_up

# Python runs one thread at a time: late imports and uploads would delay the first training steps. They wait for these,
# but no longer than this.
HEAD_START_S = 5.0
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0  # between retries when the store does not answer
PAUSE_S = 0.5  # polling interval for the journals of live runs
ENDS_WITHIN_S = PAUSE_S + 0.2  # time in which the thread ends, unless an import or a request blocks it


@dataclass
class _OwnRun:
    """The run of this process.

    Attributes:
        has_begun: its journal has an event.
        is_uploaded: it is complete in the store.
        is_done: it is uploaded, or never will be.
    """

    journal: Journal
    has_begun: bool = False
    is_uploaded: bool = False
    is_done: bool = False


class Uploader:
    """Uploads runs in a thread. Leaving the `with` waits, for a limited time, for the upload of ended runs.

    It takes any number of runs of other processes (`follow`, `finish`) and one run of this process (`carry`): a single
    run, or the parent run of a sweep. It releases the lock of that run only when its upload is done, so that no other
    process uploads it meanwhile. With that run it also uploads others: first runs whose process died, and at the end,
    in the remaining time, runs that earlier commands left incomplete.

    MLflow is imported and uploading begins at once, or, if `carry` was called before the `with`, after the first epoch
    of that run, at the latest `HEAD_START_S` seconds after its first event.

    Args:
        uri: the store of the runs.
        timeout_s: how long to wait at the end while no upload succeeds, in seconds.

    Attributes:
        error: the store's last error; None after a successful upload.
    """

    def __init__(self, uri: str, timeout_s: float) -> None:
        self.error: Exception | None = None
        self._uri, self._timeout_s = uri, timeout_s
        self._lock = threading.Lock()  # for the sets
        self._alive: set[Path] = set()  # their processes hold the locks
        self._ended: set[Path] = set()
        self._lost: set[Path] = set()
        self._deleted: set[Path] = set()  # deleted in MLflow during training
        self._own: _OwnRun | None = None
        self._is_single = False
        self._replays: dict[Path, Replay] = {}
        self._errors: dict[Path, Exception] = {}  # last error of each run since its last successful upload
        self._refusal: HcrError | None = None
        self._is_reported = False
        self._wake = threading.Event()
        self._closing = threading.Event()  # a caller waits for uploads
        self._may_begin = threading.Event()
        self._leaving = threading.Event()  # no more runs will be added
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
                self._wait(lambda: True)  # for an import too: a process that exits during one may crash
            finally:  # also after an interrupt that `stopping` does not handle, as in a notebook
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
        """Number of runs of other processes that are not complete in the store."""
        with self._lock:
            return len(self._alive) + len(self._ended)

    def check(self) -> None:
        """Raise HcrError if importing MLflow has failed: no run can be uploaded then."""
        if self._refusal is not None:
            raise self._refusal

    def carry(self, journal: Journal) -> None:
        """Upload the run of this process; each event of `journal` wakes the uploader."""
        assert self._own is None, "only one run of this process"
        self._own = own = _OwnRun(journal)

        def on_event(event: Event) -> None:
            if not own.has_begun:
                own.has_begun = True
                if self._is_single:
                    self._thread.start()
            if event["event"] == "metrics" and event["step"] > 0:
                self._may_begin.set()
            self._wake.set()

        journal.on_event = on_event

    def why_left(self) -> Exception | None:
        """The reason why this process's run is incomplete in the store; None if it is complete or has not begun."""
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
        """Upload the rest of the run in `folder`, whose process has ended; all of it if the store has lost it."""
        with self._lock:
            if is_lost:
                self._lost.add(folder)
            self._alive.discard(folder)
            if folder not in self._deleted:
                self._ended.add(folder)

    def find(self, uri: str, experiment: str, key: str) -> str | None:
        """The MLflow id of the run with this key; None if the store does not have it, or cannot be reached."""
        try:
            client = open_store(uri)
            found = client.get_experiment_by_name(experiment)
            ids = find_runs(client, found.experiment_id, key) if found is not None else []
        except Exception as error:  # any error of the store
            self._report(error)
            return None
        return ids[0] if ids else None

    def drain(self) -> None:
        """Wait until all ended runs are uploaded, or until no upload has succeeded for `timeout_s` seconds."""
        with stopping.deferred():
            self._wait(self._is_awaited)

    def _wait(self, is_needed: Callable[[], bool]) -> None:
        signals = stopping.count()
        self._last_progress = time.monotonic()
        self._closing.set()
        self._may_begin.set()
        self._wake.set()
        while self._thread.is_alive() and is_needed() and not self._out_of_time() and stopping.count() == signals:
            self._thread.join(0.05)

    def _out_of_time(self) -> bool:
        """True if no upload has succeeded for `timeout_s` seconds; the import of MLflow does not count."""
        return self._ready and time.monotonic() - self._last_progress >= self._timeout_s

    def _is_awaited(self) -> bool:
        """True if a run that has ended is not completely uploaded."""
        own = self._own
        is_own_left = own is not None and own.has_begun and not own.is_done and not own.journal.is_open
        return is_own_left or bool(self._ended)

    def _is_over(self) -> bool:
        return self._given_up.is_set() or (self._leaving.is_set() and not self._is_awaited())

    def _should_continue(self) -> bool:
        """Restart the timeout after an event; return False if the upload must stop."""
        self._last_progress = time.monotonic()
        return not self._is_over()

    def _run(self) -> None:
        try:
            if self._is_single:
                self._may_begin.wait(HEAD_START_S)
            if self._import_mlflow():
                self._last_progress, self._ready = time.monotonic(), True
                self._upload()
        finally:
            self._release_own()

    def _import_mlflow(self) -> bool:
        """Import MLflow; if that fails, keep the error for `check` and return False."""
        try:
            import_needed("mlflow", self._import)
        except HcrError as refusal:
            why = refusal.__cause__
            self._refusal, self.error = refusal, why if isinstance(why, Exception) else refusal
            return False
        return True

    def _import(self) -> None:
        # A resumed run stays in its store.
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
        if self._own is not None and self._own.is_uploaded:  # use the remaining time for other runs
            until = time.monotonic() + self._timeout_s
            journal = self._own.journal
            with contextlib.suppress(Exception):  # errors of other runs do not concern this run
                upload_others(
                    journal.root, journal.uri, lambda: time.monotonic() < until and not self._given_up.is_set()
                )

    def _upload_each(self) -> tuple[bool, bool]:
        """Upload the new events of each run; return whether an upload failed, and whether one succeeded."""
        failed = moved = False
        for folder, upload in self._waiting():
            if self._is_over():
                break
            try:
                if upload():
                    moved = True
                    self._errors.pop(folder, None)
            except BlockingIOError:  # `hcr sync`, or the run's own process, holds its lock
                continue
            except ParentIsLate as error:
                self._errors[folder] = error
            except RunDeleted as error:  # deleted during training: its upload stops
                self._errors[folder] = error
                rest = "" if self._closing.is_set() else f"; {self._what_continues}"
                print(f"hcr: {one_line(error)}{rest}", file=sys.stderr, flush=True)
                self._drop_deleted(folder)
            except Exception as error:  # an outage, or a damaged journal: continue with the other runs
                failed = True
                self._errors[folder] = error
                self._report(error)
        return failed, moved

    def _waiting(self) -> list[tuple[Path, Callable[[], bool]]]:
        """The folders of the runs in the order of their upload, each with the function that uploads it."""
        own = self._own
        with self._lock:
            ended, alive = sorted(self._ended), sorted(self._alive)
        # First the parent run, then ended runs: their upload can be completed.
        waiting: list[tuple[Path, Callable[[], bool]]] = []
        if own is not None and own.has_begun and not own.is_done:
            waiting = [(own.journal.folder, partial(self._upload_own, own))]
        waiting += [(folder, partial(self._upload_ended, folder)) for folder in ended]
        return waiting + [(folder, partial(self._upload_alive, folder)) for folder in alive]

    def _upload_own(self, own: _OwnRun) -> bool:
        journal = own.journal
        if journal.folder not in self._replays:
            with contextlib.suppress(Exception):  # errors of other runs do not concern this run
                upload_dead_runs(journal.root)
            self._last_progress = time.monotonic()
            self._replays[journal.folder] = Replay(journal.folder)
        replay, gave_up = self._replays[journal.folder], journal.gave_up
        moved = replay.upload(self._should_continue)
        own.is_uploaded = replay.ended
        own.is_done = replay.ended or gave_up
        return moved

    def _upload_alive(self, folder: Path) -> bool:
        if not (folder / JOURNAL).exists():
            return False
        if folder not in self._replays:
            self._replays[folder] = Replay(folder)
        return self._replays[folder].upload(self._should_continue)

    def _upload_ended(self, folder: Path) -> bool:
        if not (folder / JOURNAL).exists():
            return False
        with lock_run(folder):
            replay = self._replays[folder] = Replay(folder)
            if folder in self._lost:
                self._lost.discard(folder)  # only once: an interrupted upload continues from its position
                if is_delivered(folder):
                    replay.restart()
            moved = replay.upload(self._should_continue)
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
        """Release the lock of this process's run if the run has ended."""
        if self._own is not None and not self._own.journal.is_open:
            self._own.journal.release()

    def _report(self, error: Exception) -> None:
        self.error = error
        if not self._is_reported:
            self._is_reported = True
            what = "run" if self._is_single else "runs"
            message = f"hcr: cannot upload the {what} to MLflow yet ({one_line(error)}); {self._what_continues}"
            print(message, file=sys.stderr, flush=True)

    @property
    def _what_continues(self) -> str:
        return "training continues" if self._is_single else "the sweep continues"
