"""Uploads runs that have ended: of processes that died, of earlier commands, lost by the store, or added to since."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from hcr.config.errors import TrackingError, one_line
from hcr.tracking.events import first_event, last_event
from hcr.tracking.known import Known, lost_runs
from hcr.tracking.lock import is_of_this_host, lock_ended_run, lock_run
from hcr.tracking.place import store_of
from hcr.tracking.replay import Replay
from hcr.tracking.status import end_dead_runs, is_delivered, oldest_first, undelivered


def upload_dead_runs(root: Path) -> None:
    """End the runs under `root` whose processes are gone, and upload that: nothing there runs without a process.

    A store that is away hears of it from the next command.
    """
    for folder in end_dead_runs(root):
        with contextlib.suppress(Exception), lock_run(folder):
            Replay(folder).upload()


def upload_others(root: Path, uri: str, go_on: Callable[[], bool]) -> None:
    """Upload what earlier runs of this host, in the store at `uri`, left, and what an SQLite store has lost since.

    Args:
        go_on: asked before each run and after each event whether there is time; `hcr sync` uploads the rest.
    """
    for folder in oldest_first([*undelivered(root), *lost_runs(root, uri)]):
        header = first_event(folder)
        if not go_on():
            return
        is_over = is_of_this_host(header) and last_event(folder).get("event") == "end"
        if is_over and store_of(folder, header) == uri:
            with contextlib.suppress(Exception), lock_run(folder):  # each of them is told of by `hcr sync`
                upload_rest(folder, go_on)


def upload_lost(root: Path, uri: str) -> int:
    """Upload again the runs under `root` that the SQLite store at `uri` has lost; how many that were.

    What cannot be uploaded now, such as to a database that is locked, is for `hcr sync`, which says why.
    """
    count = 0
    for folder in oldest_first(lost_runs(root, uri)):
        with contextlib.suppress(Exception), lock_run(folder):
            count += upload_rest(folder)
    return count


def upload_lost_run(folder: Path, known: Known) -> bool:
    """Upload again the run in `folder`, which its store has lost, and before it the one that it is nested under.

    Args:
        known: what the store has.

    Returns:
        Whether it is there now, as a whole; otherwise `hcr sync` says why not.
    """
    above = folder.parent / str(first_event(folder).get("parent"))
    try:
        for lost in (above, folder):
            if known.standing(lost) == "lost":
                with lock_run(lost):
                    upload_rest(lost)
    except Exception:  # the store's, of many kinds, or the run is being uploaded
        return False
    return is_delivered(folder)


def upload_added(folder: Path) -> None:
    """Upload what was added to a run that had ended, such as its pictures.

    Raises:
        TrackingError: the store does not take it; nothing is lost.
    """
    try:
        with lock_ended_run(folder):
            Replay(folder).upload()
    except Exception as error:  # the store's, of many kinds
        why = f"not all of it is in MLflow yet ({one_line(error)}); nothing is lost, `hcr sync` uploads it"
        raise TrackingError(f"run {folder.name}: {why}") from error


def upload_rest(folder: Path, go_on: Callable[[], bool] = lambda: True) -> bool:
    """Upload the rest of the run in `folder`, whose lock the caller holds; all of it where nothing is left: it is lost.

    Returns:
        Whether that was anything.
    """
    replay = Replay(folder)
    if is_delivered(folder):
        replay.begin_anew()
    return replay.upload(go_on)
