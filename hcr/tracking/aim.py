"""Another store for runs that were aimed at a wrong one, or none at all."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from hcr.config.errors import TrackingError
from hcr.tracking.journal import JOURNAL, end_dead_run, lock_run
from hcr.tracking.place import read_choice, store_of, write_choice
from hcr.tracking.status import POSITION, first_event, undelivered


def aim_at(root: Path, uri: str, named: Sequence[Path]) -> list[Path]:
    """Have runs belong to the store at `uri` from now on, with the sweeps and the runs of sweeps that they are part of.

    Args:
        root: the output root.
        named: folders of runs; none: all that are not delivered to another store.

    Returns:
        The folders of all that belong there now and did not before. What the old store had of them stays there.

    Raises:
        TrackingError: one of them is running; nothing is changed then.
    """
    asked = named or [folder for folder in undelivered(root) if not _is_at(folder, uri)]
    moving = family(root, asked)
    with contextlib.ExitStack() as stack:
        for folder in moving:
            try:
                stack.enter_context(lock_run(folder))
            except BlockingIOError:
                raise TrackingError(f"--to: run {folder.name} is running; expected it to have ended") from None
        for folder in moving:
            (folder / POSITION).unlink(missing_ok=True)  # the position is one in the other store
            write_choice(folder, uri=uri, root=str(root))
    return moving


def forget(root: Path, named: Sequence[Path]) -> list[Path]:
    """Never deliver these runs, nor what is nested under them and is not delivered; their folders.

    Raises:
        TrackingError: one of them is running.
    """
    keys = {folder.name for folder in named}
    below = [folder for folder in undelivered(root) if first_event(folder).get("parent") in keys]
    forgotten = sorted({*named, *below})
    for folder in forgotten:
        try:
            with lock_run(folder):
                with contextlib.suppress(TrackingError):  # a damaged journal can be given up too
                    end_dead_run(folder)
                write_choice(folder, **{**read_choice(folder), "forgotten": True})
        except BlockingIOError:
            raise TrackingError(f"--forget: run {folder.name} is running; expected it to have ended") from None
    return forgotten


def family(root: Path, folders: Sequence[Path]) -> list[Path]:
    """The runs in `folders`, the sweeps that they are part of, and all runs of these that have the same store."""
    headers = {path.parent: first_event(path.parent) for path in (root / "runs").glob(f"*/{JOURNAL}")}
    heads = {headers.get(folder, {}).get("parent") or folder.name for folder in folders}
    stores = {store_of(folder, headers.get(folder, {})) for folder in folders}
    found = {
        folder
        for folder, header in headers.items()
        if (folder.name in heads or header.get("parent") in heads) and store_of(folder, header) in stores
    }
    return sorted(found | set(folders))


def _is_at(folder: Path, uri: str) -> bool:
    return store_of(folder, first_event(folder)) == uri
