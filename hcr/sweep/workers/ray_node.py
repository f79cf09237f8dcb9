"""Slots on the nodes of a Ray cluster; each runs one trial at a time, in a local folder of the node."""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hcr.data.stored import write_dataset
from hcr.environment import settle_environment
from hcr.gate.run_config import parse_resolved
from hcr.sweep.trial import DATASETS, ERROR, OUTPUT, read_config, read_task
from hcr.sweep.workers import Ended, Event
from hcr.sweep.workers.alike import Facts, facts
from hcr.sweep.workers.local import Local
from hcr.sweep.workers.transfer import Changes, Files, Original, read_files, write_files
from hcr.tracking.events import JOURNAL

LOCK = "lock"


@dataclass(frozen=True)
class Turn:
    """The progress of a trial during one call.

    Attributes:
        events: of the trial; their folder is the node's.
        changes: of the run's folder.
        trial: files of the trial's own folder, at its end; the journal without the part that came with it.
    """

    events: list[Event]
    changes: Changes | None
    trial: Files | None


def facts_of_node(name: str, configs: Sequence[Mapping[str, Any]]) -> Facts:
    """The facts of the node where this is called, for runs of `configs` (plain values)."""
    return facts(name, [parse_resolved(values) for values in configs])


class Slot:
    """Runs one trial at a time, forked from a server that stays.

    Args:
        sweep: a unique name of the sweep.
        node: a unique name of the node; the slots of a node share the data sets sent to it.
        every: epochs between two transfers of a checkpoint.
    """

    def __init__(self, sweep: str, node: str, every: int) -> None:
        settle_environment()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # Ray's workers inherit SIG_IGN if Ray's parent ignores it
        self._every = every
        self._home, self._lock = _open_home(f"{sweep}-{node}")
        self._root = self._home / secrets.token_hex(4)
        self._root.mkdir()
        (self._home / DATASETS).mkdir(exist_ok=True)
        (self._root / DATASETS).symlink_to(self._home / DATASETS)
        self._trial = self._root / "trial"
        self._local: Local | None = None  # created by the first trial, whose data set it reads
        self._run: Original | None = None
        self._sent = 0  # bytes of the trial's journal that the controller sent

    def ready(self) -> bool:
        """Return True, to show that the slot has started."""
        return True

    def start(self, trial: Files, run: Files, dataset: tuple[str, list[Any]] | None) -> None:
        """Start a trial, or resume its run.

        Args:
            trial: the trial's folder.
            run: the run's folder; empty for a run that has not started.
            dataset: its digest and, in a list, Ray's reference to it; None if the node loads it itself.
        """
        write_files(self._trial, trial)
        self._sent = len(trial.get(JOURNAL, b""))
        task = read_task(self._trial)
        self._run = Original(self._root / "runs" / task.key, run, every=self._every)
        if dataset is not None:
            self._fetch_dataset(*dataset)
        if self._local is None:
            # A data set that was sent is not at the config's path.
            cfg = read_config(self._trial) if dataset is None else None
            self._local = Local(self._root, 1, cfg=cfg, root=self._root)
        self._local.start(self._trial)

    def turn(self, timeout_s: float, answer: bool | None, stop: str | None) -> Turn:
        """The trial's events within `timeout_s` seconds; returns at the first event.

        Args:
            answer: for a trial that waits after its epoch: True to train on, False to prune it.
            stop: "soon", so that it can write its journal, or "now" to kill it.
        """
        assert self._local is not None and self._run is not None, "start() comes first"
        if answer is not None:
            self._local.answer(self._trial, go_on=answer)
        if stop is not None:
            self._local.stop(self._trial, at_once=stop == "now")
        deadline = time.monotonic() + timeout_s
        events: list[Event] = []
        while not events and (left := deadline - time.monotonic()) > 0:
            events = self._local.events(left)
        is_over = any(isinstance(event, Ended) for event in events)
        changes = self._run.changes(is_over=is_over)
        return Turn(events, changes, self._collect_trial() if is_over else None)

    def close(self) -> None:
        """Kill the trial and remove all folders."""
        if self._local is not None:
            self._local.close()
        shutil.rmtree(self._root, ignore_errors=True)
        _close_home(self._home, self._lock)

    def _fetch_dataset(self, digest: str, reference: list[Any]) -> None:
        import ray

        folder = self._home / DATASETS / digest
        with (self._home / f"{DATASETS}.{LOCK}").open("ab") as lock:  # only one slot of the node fetches it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                write_dataset(folder, ray.get(reference[0]))

    def _collect_trial(self) -> Files:
        files = read_files(self._trial, (OUTPUT, ERROR, JOURNAL))
        files[JOURNAL] = files.get(JOURNAL, b"")[self._sent :]
        shutil.rmtree(self._trial)
        shutil.rmtree(self._root / "runs", ignore_errors=True)
        return files


def scratch() -> Path:
    """The folder on this machine for files from controllers, private to this user."""
    folder = Path(tempfile.gettempdir()) / f"hcr-ray-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder}: expected a folder owned by this user")
    return folder


def _open_home(name: str) -> tuple[Path, IO[bytes]]:
    """Create and lock the folder `name`, and remove folders of killed slots; the lock marks it as in use."""
    with _exclusive():
        for folder in scratch().iterdir():
            if folder.is_dir() and folder.name != name:
                _remove_unused(folder)
        home = scratch() / name
        home.mkdir(exist_ok=True)
        lock = (home / LOCK).open("ab")
        fcntl.flock(lock, fcntl.LOCK_SH)
    return home, lock


def _close_home(home: Path, lock: IO[bytes]) -> None:
    with _exclusive():
        lock.close()
        _remove_unused(home)


def _remove_unused(home: Path) -> None:
    """Remove the folder, unless a slot is using it."""
    with contextlib.suppress(OSError), (home / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _exclusive() -> Iterator[None]:
    with (scratch() / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
