"""Packs runs into a bundle: a gzipped tar of their folders, without checkpoints and places.

    manifest.json                    what is in it (see `manifest`)
    runs/<key>/journal.jsonl         without store, machine and folders
    runs/<key>/artifacts/...         what the journal names

The same runs give the same bytes.
"""

import contextlib
import fcntl
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hcr import __version__
from hcr.archives import check_names
from hcr.bundling.checking import check_journal
from hcr.bundling.contents import files_of, portable_bytes
from hcr.bundling.manifest import NAME, RUNS
from hcr.config.errors import TrackingError, one_line
from hcr.tracking.events import JOURNAL, is_removed, last_event
from hcr.tracking.index import indexed_runs
from hcr.tracking.journal import end_dead_run
from hcr.tracking.lock import lock_ended_run
from hcr.tracking.status import is_ours, oldest_first

PARTIAL = ".part"


@dataclass(frozen=True)
class Bundled:
    """What was packed: the folders of the runs, the number of files, the size of the bundle, and notes."""

    folders: Sequence[Path]
    num_files: int
    size_bytes: int
    notes: Sequence[str]


def runs_of(root: Path, asked: Path) -> list[Path]:
    """The folders of the runs that belong together, each parent before its children.

    A sweep's parent run brings its runs and those that it reuses; a run of a sweep brings its parent run, under which
    MLflow shows it.

    Raises:
        TrackingError: the run was removed.
    """
    if is_removed(asked):
        raise TrackingError(f"run {asked.name} was removed; expected one that is still there")
    runs = {run.folder: run for run in indexed_runs(root) if not run.is_removed}
    found = {asked}
    found |= {
        folder for folder, run in runs.items() if run.header.get("parent") == asked.name or asked.name in run.reused_by
    }
    parents = {str(runs[folder].header["parent"]) for folder in found if runs[folder].header.get("parent")}
    found |= {folder for folder in runs if folder.name in parents}
    if missing := sorted(parents - {folder.name for folder in found}):
        raise TrackingError(f"run {asked.name}: expected its parent run {missing[0]} under {root / RUNS}")
    return oldest_first(sorted(found))


def pack(root: Path, asked: Path, target: Path) -> Bundled:
    """Write the run in the folder `asked`, and what belongs to it, into the new file `target`.

    The file appears when it is complete. If this process is killed, nothing is left but `.NAME.part`, which the next
    one replaces.

    Raises:
        TrackingError: a run is alive or damaged; or `target` exists or cannot be written.
    """
    folders = runs_of(root, asked)
    if target.exists():
        raise TrackingError(f"{target}: expected a new file; it exists")
    partial = target.with_name(f".{target.name}{PARTIAL}")
    try:
        with partial.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TrackingError(f"{target}: another hcr bundle is writing it") from None
            file.truncate(0)
            try:
                num_files, notes = _write(file, folders, asked.name)
                size = file.tell()
                if target.exists():
                    raise TrackingError(f"{target}: expected a new file; it exists")
                partial.rename(target)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise TrackingError(f"{target}: cannot be written ({one_line(error)})") from error
    return Bundled(folders, num_files, size, notes)


def _write(file: IO[bytes], folders: Sequence[Path], asked: str) -> tuple[int, list[str]]:
    """Write the bundle; return the number of files and notes."""
    keys = [folder.name for folder in folders]
    files: dict[str, dict[str, Any]] = {}
    notes = []
    for folder in folders:
        with _ended(folder):
            names, gone = files_of(folder)
            if gone:
                notes.append(f"run {folder.name}: {len(gone)} of its artifacts are gone: {', '.join(gone[:3])}")
            for name in names:
                files[f"{RUNS}/{folder.name}/{name}"] = _facts(folder, name)
            check_journal(portable_bytes(folder, JOURNAL) or b"", folder.name, keys, str(folder))
    check_names(files, str(folders[0].parent))
    manifest = {"format": 1, "made_by": f"hcr {__version__}", "asked": asked, "runs": keys, "files": files}
    with (
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
    ):
        _add(tar, NAME, json.dumps(manifest, indent=1).encode())
        for folder in folders:
            with _ended(folder):
                for name in files_of(folder)[0]:
                    whole = f"{RUNS}/{folder.name}/{name}"
                    if files.get(whole) != _facts(folder, name):
                        raise TrackingError(f"run {folder.name} changed while it was packed; repeat the command")
                    _add(tar, whole, portable_bytes(folder, name), folder / name)
    file.flush()
    return len(files), notes


@contextlib.contextmanager
def _ended(folder: Path) -> Iterator[None]:
    """Hold the lock of a run that has ended; one whose process died is ended as FAILED, as by `hcr sync`."""
    try:
        with lock_ended_run(folder):
            if last_event(folder).get("event") != "end":
                if not is_ours(folder):
                    raise TrackingError(f"run {folder.name} of another host has not ended; bundle it there")
                end_dead_run(folder)
            yield
    except BlockingIOError:
        raise TrackingError(f"run {folder.name} is alive; expected runs that have ended") from None


def _facts(folder: Path, name: str) -> dict[str, Any]:
    """Size and digest of a file as it goes into a bundle."""
    contents = portable_bytes(folder, name)
    if contents is not None:
        return {"size": len(contents), "sha256": hashlib.sha256(contents).hexdigest()}
    with (folder / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"size": file.tell(), "sha256": digest}


def _add(tar: tarfile.TarFile, name: str, contents: bytes | None, path: Path | None = None) -> None:
    """Add a file, without times and owners, from memory or from the disk."""
    entry = tarfile.TarInfo(name)
    if contents is not None:
        entry.size = len(contents)
        tar.addfile(entry, io.BytesIO(contents))
        return
    assert path is not None
    with path.open("rb") as file:
        entry.size = path.stat().st_size
        tar.addfile(entry, file)
