"""A run's folder on two machines that share no disk: what changed on the one, and how it gets onto the other.

A run that is made on another machine is copied while it grows. A kill at any moment leaves a copy that can be resumed
and that the store can be told of: whatever a line of the journal names is there before that line is.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hcr.checkpoints import CHECKPOINT, KEPT, checkpoints
from hcr.tracking.events import ARTIFACTS, JOURNAL
from hcr.tracking.lock import LOCK, lock_ended_run, lock_run
from hcr.tracking.status import POSITION

INCOMING = "incoming.new"  # a file that is being written, in the run's folder
NOT_SENT = (LOCK, POSITION, INCOMING)

Files = dict[str, bytes]  # by path in a folder


@dataclass(frozen=True)
class Changes:
    """What a run's folder has that its copy has not.

    Attributes:
        files: artifacts and checkpoints.
        journal: whole lines.
        offset: where they begin in the journal.
        has_checkpoints: whether the folder of checkpoints is there; a run that has finished takes it away.
    """

    files: Files
    journal: bytes
    offset: int
    has_checkpoints: bool


class Original:
    """The folder of a run on the machine that makes it.

    Args:
        folder: the run's.
        sent: what its copy has already.
        every: epochs from one checkpoint that is sent to the next.
    """

    def __init__(self, folder: Path, sent: Mapping[str, bytes], *, every: int) -> None:
        self._folder, self._every = folder, every
        self._offset = len(sent.get(JOURNAL, b""))
        self._stamps: dict[str, tuple[int, int]] = {}
        write_files(folder, sent)
        for path in self._files():
            self._is_new(path)

    def changes(self, *, is_over: bool) -> Changes | None:
        """What is new since the last call; None where the journal says nothing new.

        Args:
            is_over: whether nobody writes in the folder any more: its last checkpoint is sent, whichever it is.
        """
        lines = self._new_lines()  # first: what they name is complete by now
        if not lines and not is_over:
            return None
        files = {}
        for path in self._files():
            if path.parent.name == CHECKPOINT and not (is_over or int(path.name) % self._every == 0):
                continue
            try:
                if self._is_new(path):
                    files[path.relative_to(self._folder).as_posix()] = path.read_bytes()
            except FileNotFoundError:  # a checkpoint that has been replaced by the next one
                continue
        has_checkpoints = (self._folder / CHECKPOINT).is_dir()
        changes = Changes(files, lines, self._offset, has_checkpoints)
        self._offset += len(lines)
        return changes

    def _new_lines(self) -> bytes:
        try:
            with (self._folder / JOURNAL).open("rb") as file:
                file.seek(self._offset)
                return whole_lines(file.read())
        except FileNotFoundError:  # it has not begun
            return b""

    def _files(self) -> Iterator[Path]:
        yield from (path for path in (self._folder / ARTIFACTS).rglob("*") if path.is_file())
        yield from checkpoints(self._folder / CHECKPOINT)

    def _is_new(self, path: Path) -> bool:
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size)
        is_new = self._stamps.get(str(path)) != stamp
        self._stamps[str(path)] = stamp
        return is_new


class Copy:
    """The folder of a run that is made on another machine; whoever has the copy holds the run's lock meanwhile.

    Args:
        folder: the run's; where there is none, it is made with the first changes.

    Raises:
        BlockingIOError: somebody here has the run's lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: IO[bytes] | None = lock_ended_run(folder) if (folder / JOURNAL).exists() else None

    def content(self) -> Files:
        """All that a machine needs to go on with the run; nothing of one that has not begun."""
        path = self._folder / JOURNAL
        if not path.exists():
            return {}
        whole = len(whole_lines(path.read_bytes()))
        os.truncate(path, whole)  # what was never finished was never written
        if not whole:
            return {}
        files = (path for path in self._folder.rglob("*") if path.is_file() and path.suffix != ".new")
        named = {path.relative_to(self._folder).as_posix(): path for path in files}
        return {name: path.read_bytes() for name, path in named.items() if name not in NOT_SENT}

    def apply(self, changes: Changes) -> None:
        """Be what the other machine has.

        Raises:
            OSError: the disk is full, or the folder cannot be written; what was there before is still good.
        """
        checkpoint = self._folder / CHECKPOINT
        if self._lock is None:
            (self._folder / ARTIFACTS).mkdir(parents=True, exist_ok=True)
            checkpoint.mkdir(exist_ok=True)
            self._lock = lock_run(self._folder)
            (self._folder / JOURNAL).touch(mode=0o600)  # the store's address in it may hold a password
        for name, content in changes.files.items():
            self._write(self._folder / name, content)
        if changes.journal:
            self._append(changes.journal, changes.offset)
        if not changes.has_checkpoints:
            shutil.rmtree(checkpoint, ignore_errors=True)
        for old in checkpoints(checkpoint)[KEPT:]:
            old.unlink()

    def release(self) -> None:
        """Give up the run's lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = self._folder / INCOMING  # not beside it: a folder of artifacts is uploaded with all that is in it
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def _append(self, lines: bytes, offset: int) -> None:
        with (self._folder / JOURNAL).open("ab", buffering=0) as file:
            if file.tell() != offset:
                raise RuntimeError(f"{self._folder}: the copy has {file.tell()} bytes of the journal, not {offset}")
            try:
                if file.write(lines) != len(lines):
                    raise OSError(f"{self._folder / JOURNAL}: no room")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(offset)
                raise


def whole_lines(data: bytes) -> bytes:
    """`data` without a last line that is not finished."""
    return data[: data.rfind(b"\n") + 1]


def read_files(folder: Path, names: tuple[str, ...]) -> Files:
    """The content of those of the files that are there."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder that nobody reads yet."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
