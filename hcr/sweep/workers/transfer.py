"""Transfer of a run's folder from the machine that trains it to the controller, without a shared disk.

The folder is copied while the run trains. A kill at any moment leaves a copy that can be resumed and uploaded: each
file is written before the journal line that names it.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hcr.checkpoints import CHECKPOINT, KEPT, checkpoints
from hcr.tracking.events import ARTIFACTS, JOURNAL
from hcr.tracking.index import POSITION
from hcr.tracking.lock import LOCK, lock_ended_run, lock_run

INCOMING = "incoming.new"  # a file being written, in the run's folder
NOT_SENT = (LOCK, POSITION, INCOMING)

Files = dict[str, bytes]  # contents by relative path


@dataclass(frozen=True)
class Changes:
    """New content of a run's folder, which its copy does not have yet.

    Attributes:
        files: artifacts and checkpoints.
        journal: complete lines.
        offset: of these lines in the journal, in bytes.
        has_checkpoints: False once the checkpoint folder is gone: a finished run removes it.
    """

    files: Files
    journal: bytes
    offset: int
    has_checkpoints: bool


class Original:
    """The folder of a run on the machine that trains it.

    Args:
        folder: the run's.
        sent: the content of its copy, written to `folder` first.
        every: epochs between two checkpoints that are sent.
    """

    def __init__(self, folder: Path, sent: Mapping[str, bytes], *, every: int) -> None:
        self._folder, self._every = folder, every
        self._offset = len(sent.get(JOURNAL, b""))
        self._stamps: dict[str, tuple[int, int]] = {}
        write_files(folder, sent)
        for path in self._files():
            self._is_new(path)

    def changes(self, *, is_over: bool) -> Changes | None:
        """The changes since the last call; None if the journal has no new line.

        Args:
            is_over: True if the run's process has ended: then its last checkpoint is sent in any case.
        """
        lines = self._new_lines()  # read first: the files that they name are complete
        if not lines and not is_over:
            return None
        files = {}
        for path in self._files():
            if path.parent.name == CHECKPOINT and not (is_over or int(path.name) % self._every == 0):
                continue
            try:
                if self._is_new(path):
                    files[path.relative_to(self._folder).as_posix()] = path.read_bytes()
            except FileNotFoundError:  # a checkpoint that was removed after a newer one
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
        except FileNotFoundError:  # the run has not started
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
    """The controller's copy of the folder of a run that is trained elsewhere; holds the run's lock until `release`.

    Args:
        folder: the run's; created with the first changes if it does not exist.

    Raises:
        BlockingIOError: another process here holds the run's lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: IO[bytes] | None = lock_ended_run(folder) if (folder / JOURNAL).exists() else None

    def content(self) -> Files:
        """All files that a machine needs to resume the run; empty if it has not started."""
        path = self._folder / JOURNAL
        if not path.exists():
            return {}
        whole = len(whole_lines(path.read_bytes()))
        os.truncate(path, whole)  # drop an incomplete last line
        if not whole:
            return {}
        files = (path for path in self._folder.rglob("*") if path.is_file() and path.suffix != ".new")
        named = {path.relative_to(self._folder).as_posix(): path for path in files}
        return {name: path.read_bytes() for name, path in named.items() if name not in NOT_SENT}

    def apply(self, changes: Changes) -> None:
        """Write the changes to the copy.

        Raises:
            OSError: the disk is full or the folder is not writable; the earlier content is intact.
        """
        checkpoint = self._folder / CHECKPOINT
        if self._lock is None:
            (self._folder / ARTIFACTS).mkdir(parents=True, exist_ok=True)
            checkpoint.mkdir(exist_ok=True)
            self._lock = lock_run(self._folder)
            (self._folder / JOURNAL).touch(mode=0o600)  # the store's URI in it may contain a password
        for name, content in changes.files.items():
            self._write(self._folder / name, content)
        if changes.journal:
            self._append(changes.journal, changes.offset)
        if not changes.has_checkpoints:
            shutil.rmtree(checkpoint, ignore_errors=True)
        for old in checkpoints(checkpoint)[KEPT:]:
            old.unlink()

    def release(self) -> None:
        """Release the run's lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = self._folder / INCOMING  # not beside it: all files in an artifact folder are uploaded
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
    """`data` without an incomplete last line."""
    return data[: data.rfind(b"\n") + 1]


def read_files(folder: Path, names: tuple[str, ...]) -> Files:
    """The contents of those of the files that exist."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder that no other process reads yet."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
