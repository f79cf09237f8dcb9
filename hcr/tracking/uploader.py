"""Carries the journals of a sweep's runs to MLflow, in one thread of the controller, while they are trained.

A trial only writes its journal: it starts sooner, ends sooner, and one process writes to the store instead of many.
"""

import contextlib
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from hcr import stopping
from hcr.config.errors import HcrError, one_line
from hcr.importing import import_needed
from hcr.tracking.journal import JOURNAL, lock_run
from hcr.tracking.replay import LONGEST_WAIT_S, SHORTEST_WAIT_S, ParentIsLate, Replay, RunDeleted
from hcr.tracking.status import is_delivered
from hcr.tracking.store import find_runs, import_store, open_store

PAUSE_S = 0.5  # between two looks at the journals of runs that are still being written
ENDS_WITHIN_S = PAUSE_S + 0.2  # the thread, where neither an import nor a server holds it up


class Uploader:
    """Delivers runs as they are handed over. Leaving the `with` waits, within bounds, for what is left.

    Args:
        uri: the store of the sweep.
        timeout_s: how long the end waits while nothing gets through, in seconds.

    Attributes:
        error: the store's last error, if there was one since anything got through.
    """

    def __init__(self, uri: str, timeout_s: float) -> None:
        self.error: Exception | None = None
        self._uri, self._timeout_s = uri, timeout_s
        self._lock = threading.Lock()
        self._alive: set[Path] = set()  # their processes write, and hold their locks
        self._ended: set[Path] = set()
        self._lost: set[Path] = set()
        self._deleted: set[Path] = set()  # in MLflow, while they were made
        self._replays: dict[Path, Replay] = {}
        self._closing = threading.Event()
        self._told = False
        self._given_up = threading.Event()
        self._last_progress = time.monotonic()
        self._ready = False
        self._refusal: HcrError | None = None
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with stopping.deferred():
            signals = stopping.count()
            self.drain()
            self._given_up.set()
            self._thread.join(ENDS_WITHIN_S)
            # An import that the end of the process cuts short may crash it; unless it is left without Python's help.
            while self._thread.is_alive() and not self._ready and stopping.count() == signals:
                time.sleep(0.05)
            if self._thread.is_alive():
                stopping.leave_threads()

    @property
    def num_left(self) -> int:
        """Runs that are not in the store as a whole."""
        with self._lock:
            return len(self._alive) + len(self._ended)

    def check(self) -> None:
        """Raise HcrError if MLflow cannot be imported, as far as is known by now: no run could be delivered."""
        if self._refusal is not None:
            raise self._refusal

    def follow(self, folder: Path) -> None:
        """Deliver the run in `folder` while its process writes it."""
        with self._lock:
            if folder not in self._deleted:
                self._alive.add(folder)

    def finish(self, folder: Path, *, is_lost: bool = False) -> None:
        """The process of the run in `folder` has ended: deliver the rest; or all of it, where the store has lost it."""
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
        """Wait until all that has ended is delivered, or until nothing has got through for `timeout_s` seconds."""
        signals = stopping.count()
        self._closing.set()
        self._last_progress = time.monotonic()
        while self._thread.is_alive() and self._ended and not self._out_of_time() and stopping.count() == signals:
            time.sleep(0.05)

    def _out_of_time(self) -> bool:
        return self._ready and time.monotonic() - self._last_progress >= self._timeout_s

    def _run(self) -> None:
        try:
            import_needed("mlflow", partial(import_store, self._uri))
        except HcrError as error:
            self._refusal = error
            return
        self._last_progress, self._ready = time.monotonic(), True
        wait_s = SHORTEST_WAIT_S
        while not self._given_up.is_set():
            with self._lock:
                # Those that have ended first: the sooner they are whole, the less there is to lose.
                waiting = [(folder, True) for folder in sorted(self._ended)]
                waiting += [(folder, False) for folder in sorted(self._alive)]
            failed = moved = False
            for folder, has_ended in waiting:
                if self._given_up.is_set():
                    return
                try:
                    moved |= self._deliver(folder, has_ended)
                except BlockingIOError:  # `hcr sync`, or its own process, a moment longer
                    continue
                except ParentIsLate:
                    continue
                except RunDeleted as error:  # while it was made: there is nothing to deliver any more
                    print(f"hcr: {one_line(error)}; the sweep goes on", file=sys.stderr, flush=True)
                    with self._lock:
                        self._deleted.add(folder)
                        self._alive.discard(folder)
                        self._ended.discard(folder)
                except Exception as error:  # an outage, or a damaged journal: the other runs go on
                    failed = True
                    self._tell(error)
            if moved:
                self.error = None
            wait_s = min(2 * wait_s, LONGEST_WAIT_S) if failed and not moved else SHORTEST_WAIT_S
            if failed or self._closing.is_set():
                self._given_up.wait(wait_s)
            else:
                self._closing.wait(PAUSE_S)

    def _deliver(self, folder: Path, has_ended: bool) -> bool:
        if not (folder / JOURNAL).exists():
            return False
        with lock_run(folder) if has_ended else contextlib.nullcontext():
            replay = Replay(folder) if has_ended or folder not in self._replays else self._replays[folder]
            self._replays[folder] = replay
            if has_ended and folder in self._lost:
                self._lost.discard(folder)  # what is cut short now goes on from where it was
                if is_delivered(folder):
                    replay.begin_anew()
            moved = replay.deliver(self._go_on)
        if has_ended and replay.ended:
            with self._lock:
                self._ended.discard(folder)
            self._replays.pop(folder, None)
        return moved

    def _go_on(self) -> bool:
        self._last_progress = time.monotonic()
        return not self._given_up.is_set()

    def _tell(self, error: Exception) -> None:
        self.error = error
        if not self._told:
            self._told = True
            told = f"hcr: MLflow does not take the runs yet ({one_line(error)}); the sweep goes on"
            print(told, file=sys.stderr, flush=True)
