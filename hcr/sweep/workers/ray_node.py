"""What runs on the nodes of a Ray cluster: a slot, which makes one trial at a time in a folder of the node's own."""

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

from hcr.data.shipping import write_dataset
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
    """What became of a trial during a call.

    Attributes:
        events: of the trial; the folder in them is the node's.
        changes: of the run's folder.
        trial: what the trial's own folder has at the end; its journal without what was sent.
    """

    events: list[Event]
    changes: Changes | None
    trial: Files | None


def facts_of_node(name: str, configs: Sequence[Mapping[str, Any]]) -> Facts:
    """The facts of the node that this is called on, for runs of these plain configs."""
    return facts(name, [parse_resolved(values) for values in configs])


class Slot:
    """Makes one trial at a time, by forking it from a process that stays.

    Args:
        sweep: a name that no other sweep has.
        node: the same for nodes: slots of one node share the data sets that were sent to it.
        every: epochs from one transfer of a checkpoint to the next.
    """

    def __init__(self, sweep: str, node: str, every: int) -> None:
        settle_environment()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who starts Ray may ignore it, and its workers inherit that
        self._every = every
        self._home, self._lock = _enter(f"{sweep}-{node}")
        self._root = self._home / secrets.token_hex(4)
        self._root.mkdir()
        (self._home / DATASETS).mkdir(exist_ok=True)
        (self._root / DATASETS).symlink_to(self._home / DATASETS)
        self._trial = self._root / "trial"
        self._local: Local | None = None  # from the first trial on, whose data it reads
        self._run: Original | None = None
        self._sent = 0  # bytes of the trial's journal that came with it

    def ready(self) -> bool:
        """An answer."""
        return True

    def start(self, trial: Files, run: Files, dataset: tuple[str, list[Any]] | None) -> None:
        """Begin a trial, or go on with its run.

        Args:
            trial: the trial's folder.
            run: the run's folder; nothing of one that has not begun.
            dataset: its digest and, in a list, Ray's reference to it; None where the node has it by itself.
        """
        write_files(self._trial, trial)
        self._sent = len(trial.get(JOURNAL, b""))
        task = read_task(self._trial)
        self._run = Original(self._root / "runs" / task.key, run, every=self._every)
        if dataset is not None:
            self._receive(*dataset)
        if self._local is None:
            cfg = read_config(self._trial) if dataset is None else None  # what is sent is in no file to be read
            self._local = Local(self._root, 1, cfg=cfg, root=self._root)
        self._local.start(self._trial)

    def turn(self, timeout_s: float, answer: bool | None, stop: str | None) -> Turn:
        """What happens within `timeout_s` seconds; returns with the first event.

        Args:
            answer: for a trial that waits after its epoch: whether it goes on.
            stop: "soon", so that it writes down where it stands, or "now".
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
        return Turn(events, changes, self._leave_trial() if is_over else None)

    def close(self) -> None:
        """Kill what runs, and take all folders away."""
        if self._local is not None:
            self._local.close()
        shutil.rmtree(self._root, ignore_errors=True)
        _leave(self._home, self._lock)

    def _receive(self, digest: str, reference: list[Any]) -> None:
        import ray

        folder = self._home / DATASETS / digest
        with (self._home / f"{DATASETS}.{LOCK}").open("ab") as lock:  # one slot of the node has it sent
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                write_dataset(folder, ray.get(reference[0]))

    def _leave_trial(self) -> Files:
        files = read_files(self._trial, (OUTPUT, ERROR, JOURNAL))
        files[JOURNAL] = files.get(JOURNAL, b"")[self._sent :]
        shutil.rmtree(self._trial)
        shutil.rmtree(self._root / "runs", ignore_errors=True)
        return files


def scratch() -> Path:
    """The folder on this machine for what comes from controllers; this user's alone."""
    folder = Path(tempfile.gettempdir()) / f"hcr-ray-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder}: expected a folder of this user's")
    return folder


def _enter(name: str) -> tuple[Path, IO[bytes]]:
    """Make the folder `name`, and take away those whose slots were killed; the lock says that it is in use."""
    with _alone():
        for folder in scratch().iterdir():
            if folder.is_dir() and folder.name != name:
                _take_away(folder)
        home = scratch() / name
        home.mkdir(exist_ok=True)
        lock = (home / LOCK).open("ab")
        fcntl.flock(lock, fcntl.LOCK_SH)
    return home, lock


def _leave(home: Path, lock: IO[bytes]) -> None:
    with _alone():
        lock.close()
        _take_away(home)


def _take_away(home: Path) -> None:
    """Remove the folder, unless a slot uses it."""
    with contextlib.suppress(OSError), (home / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with (scratch() / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
