"""`hcr sync --to` and `--forget`: change the store of runs, or give up their upload."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hcr.config.errors import TrackingError, one_line
from hcr.tracking.events import first_event
from hcr.tracking.index import POSITION, indexed_runs
from hcr.tracking.journal import end_dead_run
from hcr.tracking.lock import lock_run
from hcr.tracking.place import STORE, read_choice, store_of, write_choice
from hcr.tracking.status import is_ours, undelivered


def aim_at(root: Path, uri: str, named: Sequence[Path], *, take_over: bool = False) -> list[Path]:
    """Make `uri` the store of these runs, and of all runs of the sweeps that they are part of.

    Args:
        root: the output root.
        named: folders of runs; empty: all runs that are not completely uploaded and have another store.
        take_over: accept runs of other hosts, although this host cannot see whether they are alive.

    Returns:
        The folders of the runs that were changed. The old store keeps what it has of them.

    Raises:
        TrackingError: a run is running, belongs to another host, or cannot be written, or its sweep was given up;
            then nothing is changed.
    """
    asked = named or [folder for folder in undelivered(root) if not _is_at(folder, uri)]
    moving = with_whole_sweeps(root, asked)
    _refuse_without_parent(root, moving)

    def aim(folder: Path) -> None:
        (folder / POSITION).unlink(missing_ok=True)  # first: it belongs to the old store
        write_choice(folder, uri=uri, root=str(root))

    # The requested runs come last: after a kill, the same command finds them unchanged and completes the move.
    _change_all(sorted(moving, key=lambda folder: folder in asked), aim, flag="--to", take_over=take_over)
    return moving


def forget(root: Path, named: Sequence[Path], *, take_over: bool = False) -> list[Path]:
    """Give up the upload of these runs, and of the runs nested under them that are not completely uploaded.

    Args:
        take_over: as for `aim_at`.

    Returns:
        The folders of the runs that were given up.

    Raises:
        TrackingError: a run is running, belongs to another host, or cannot be written; then nothing is changed.
    """
    keys = {folder.name for folder in named}
    below = [folder for folder in undelivered(root) if first_event(folder).get("parent") in keys]
    forgotten = sorted({*named, *below})

    def give_up(folder: Path) -> None:
        with contextlib.suppress(TrackingError):  # a run with a damaged journal can be given up too
            end_dead_run(folder)
        write_choice(folder, **{**read_choice(folder), "forgotten": True})

    _change_all(sorted(forgotten, key=lambda folder: folder in named), give_up, flag="--forget", take_over=take_over)
    return forgotten


def with_whole_sweeps(root: Path, folders: Sequence[Path]) -> list[Path]:
    """The runs in `folders`, the parent runs of their sweeps, and all runs of these sweeps that have the same store.

    A run that was given up is included only if it is in `folders`.
    """
    headers = {run.folder: run.header for run in indexed_runs(root)}
    heads = {headers.get(folder, {}).get("parent") or folder.name for folder in folders}
    stores = {store_of(folder, headers.get(folder, {})) for folder in folders}
    found = {
        folder
        for folder, header in headers.items()
        if (folder.name in heads or header.get("parent") in heads)
        and store_of(folder, header) in stores
        and not _is_forgotten(folder)
    }
    return sorted(found | set(folders))


def _refuse_without_parent(root: Path, moving: Sequence[Path]) -> None:
    """Raise if a run's parent was given up and is not moved too: a run is uploaded under its parent."""
    for folder in moving:
        parent = first_event(folder).get("parent")
        above = root / "runs" / str(parent)
        if parent is not None and above not in moving and _is_forgotten(above):
            raise TrackingError(
                f"--to: run {folder.name} is nested under {parent}, whose upload was given up; name {parent} too"
            )


def _change_all(folders: Sequence[Path], change: Callable[[Path], None], *, flag: str, take_over: bool) -> None:
    """Change every run, with its lock held, or none of them.

    Locks are taken one at a time: a sweep may have more runs than a process may open files.
    """
    for folder in folders:
        if not (take_over or is_ours(folder)):
            raise TrackingError(
                f"{flag}: run {folder.name} belongs to another host, where it may be alive;"
                " run the command there, or add --take-over"
            )
        with _locked(folder, flag):
            pass
    changed: list[tuple[Path, dict[str, bytes | None]]] = []
    try:
        for folder in folders:
            with _locked(folder, flag):
                changed.append((folder, {name: _read(folder / name) for name in (POSITION, STORE)}))
                change(folder)
    except BaseException:
        for folder, files in changed:
            with contextlib.suppress(OSError):
                for name, content in files.items():
                    _restore(folder / name, content)
        raise


@contextlib.contextmanager
def _locked(folder: Path, flag: str) -> Iterator[None]:
    """Hold the run's lock; an OSError becomes a TrackingError."""
    try:
        with lock_run(folder):
            yield
    except BlockingIOError:
        raise TrackingError(f"{flag}: run {folder.name} is running; expected it to have ended") from None
    except OSError as error:
        raise TrackingError(
            f"{flag}: {folder}: expected a folder that can be written, got {one_line(error)}"
        ) from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    elif _read(path) != content:
        path.touch(mode=0o600)
        path.write_bytes(content)


def _is_forgotten(folder: Path) -> bool:
    return bool(read_choice(folder).get("forgotten"))


def _is_at(folder: Path, uri: str) -> bool:
    return store_of(folder, first_event(folder)) == uri
