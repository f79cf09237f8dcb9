"""Brings the runs of a bundle into an output root. The bundle may have been made to do harm.

Everything is written into `<output root>/.unbundling` and checked there. Only then is each run renamed into `runs`, a
parent before its children: after a kill the same command completes what is missing.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcr.archives import read_members
from hcr.bundling.checking import check_journal
from hcr.bundling.contents import RUN_ID_OF_BEST, placed_journal, portable_bytes
from hcr.bundling.manifest import MOST_BYTES_OF_MANIFEST, NAME, RUNS, Manifest, read_manifest
from hcr.config.errors import TrackingError, one_line
from hcr.tracking.events import JOURNAL, UNBUNDLED, first_event, is_removed, read_events
from hcr.tracking.journal import add_events
from hcr.tracking.lock import this_boot, this_host
from hcr.tracking.status import read_position

SCRATCH = ".unbundling"
LOCK = "lock"


@dataclass(frozen=True)
class Unbundled:
    """The folders of a bundle's runs: those that were placed, and those that were there with the same contents."""

    placed: Sequence[Path]
    there: Sequence[Path]


def unpack(root: Path, path: Path, uri: str) -> Unbundled:
    """Place the runs of the bundle `path` under the output root `root`; all of them are checked before.

    Args:
        uri: the store that the runs will belong to.

    Raises:
        TrackingError: the bundle is damaged or hostile, a run is there with other contents or was removed, or the disk
            is full.
    """
    where = str(path)
    try:
        with _alone(root) as scratch, path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            members = read_members(file, where)
            first = next(members, None)
            if first is None or first.name != NAME or first.size_bytes > MOST_BYTES_OF_MANIFEST:
                raise TrackingError(f"{where}: expected a bundle of `hcr bundle`, which begins with {NAME}")
            manifest = read_manifest(b"".join(first.pieces), where, size)
            free = shutil.disk_usage(scratch).free
            if manifest.size_bytes > free:
                raise TrackingError(
                    f"{root}: expected {manifest.size_bytes >> 20:,} MiB of free disk, got {free >> 20:,} MiB"
                )
            _extract(members, manifest, scratch, where)
            for key in manifest.runs:
                journal = (scratch / RUNS / key / JOURNAL).read_bytes()
                check_journal(journal, key, manifest.runs, where)
            there = [root / RUNS / key for key in manifest.runs if (root / RUNS / key).exists()]
            for folder in there:
                _require_same(folder, manifest, scratch / RUNS / folder.name)
            placed = []
            for key in manifest.runs:
                if (root / RUNS / key) not in there:
                    _place(scratch / RUNS / key, root, uri)
                    placed.append(root / RUNS / key)
    except OSError as error:
        raise TrackingError(f"{where}: cannot be unbundled ({one_line(error)})") from error
    return Unbundled(placed, there)


def name_best_run(folder: Path) -> bool:
    """Tag a sweep's parent run with the id that its best run has in this store; False if that was done, or cannot be.

    The caller holds the run's lock.
    """
    tags: dict[str, str] = {}
    for event, _ in read_events(folder):
        tags |= event.get("tags", {}) | (event["values"] if event["event"] == "tags" else {})
    run_id = read_position(folder.parent / tags.get("hcr.best_key", "-")).get("run_id")
    if run_id is None or RUN_ID_OF_BEST in tags:
        return False
    add_events(folder, [{"event": "tags", "values": {RUN_ID_OF_BEST: str(run_id)}}])
    return True


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[Path]:
    """An empty folder beside the runs, for one process at a time; emptied again at the end."""
    folder = root / SCRATCH
    (root / RUNS).mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _empty(folder)  # what a killed process left
        try:
            yield folder
        finally:
            _empty(folder)


def _empty(folder: Path) -> None:
    for left in folder.iterdir():
        if left.name != LOCK:
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def _extract(members: Iterator[Any], manifest: Manifest, scratch: Path, where: str) -> None:
    """Write the files of a bundle; each must be the one that the manifest promises."""
    missing = dict(manifest.files)
    for member in members:
        promised = missing.pop(member.name, None)
        if promised is None:
            raise TrackingError(f"{where}: expected each file of its manifest once, got {member.name!r}")
        if member.size_bytes != promised.size:
            raise TrackingError(f"{where}: {member.name}: expected {promised.size:,} bytes, got {member.size_bytes:,}")
        target = scratch / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with target.open("xb") as file:
            for piece in member.pieces:
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != promised.sha256:
            raise TrackingError(f"{where}: {member.name}: its contents are not those of the manifest")
    if missing:
        raise TrackingError(f"{where}: expected {next(iter(missing))!r} in it, and {len(missing) - 1} more files")


def _require_same(folder: Path, manifest: Manifest, theirs: Path) -> None:
    """Refuse a run that is there already with other contents. It may have more: events are added to a run later."""
    key = folder.name
    if is_removed(folder):
        raise TrackingError(f"run {key} was removed here by `hcr rm`; delete {folder} to bring it back")
    ours = portable_bytes(folder, JOURNAL) if (folder / JOURNAL).is_file() else b""
    if not _continues(ours or b"", (theirs / JOURNAL).read_bytes()):
        raise TrackingError(f"run {key} is here already with other contents: {folder / JOURNAL}; nothing was changed")
    for name in manifest.names_of(key):
        if name != JOURNAL and _digest(folder, name) != manifest.files[f"{RUNS}/{key}/{name}"].sha256:
            raise TrackingError(f"run {key} is here already with other contents: {folder / name}; nothing was changed")


def _continues(ours: bytes, theirs: bytes) -> bool:
    return ours.startswith(theirs)


def _digest(folder: Path, name: str) -> str | None:
    try:
        contents = portable_bytes(folder, name)
        return hashlib.sha256((folder / name).read_bytes() if contents is None else contents).hexdigest()
    except OSError:
        return None


def _place(scratch: Path, root: Path, uri: str) -> None:
    """Make a checked run one of this machine, which came from elsewhere, and rename it to where runs are."""
    journal = scratch / JOURNAL
    contents = journal.read_bytes()
    origin = str(first_event(scratch).get("tags", {}).get("hcr.host", "unknown"))
    places = {"uri": uri, "host": this_host(), "boot": this_boot(), "root": str(root), "scratch": None}
    new = journal.with_name(JOURNAL + ".new")
    new.touch(mode=0o600)  # the store's address in it may hold a password
    with new.open("wb") as file:
        file.write(placed_journal(contents, places | {UNBUNDLED: origin}))
        file.flush()
        os.fsync(file.fileno())
    new.replace(journal)
    scratch.rename(root / RUNS / scratch.name)
