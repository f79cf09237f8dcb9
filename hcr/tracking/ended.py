"""Upload of ended runs: their process died, an earlier command left them incomplete, or the store lost them."""

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
    """Mark runs under `root` FAILED whose process has died, and upload that.

    If the store is unreachable, the next command uploads it.
    """
    for folder in end_dead_runs(root):
        with contextlib.suppress(Exception), lock_run(folder):
            Replay(folder).upload()


def upload_others(root: Path, uri: str, should_continue: Callable[[], bool]) -> None:
    """Upload the rest of this host's ended runs whose store is `uri`, and the runs that an SQLite store has lost.

    Args:
        should_continue: called before each run and after each event; if it returns False, the rest is for `hcr sync`.
    """
    for folder in oldest_first([*undelivered(root), *lost_runs(root, uri)]):
        header = first_event(folder)
        if not should_continue():
            return
        is_over = is_of_this_host(header) and last_event(folder).get("event") == "end"
        if is_over and store_of(folder, header) == uri:
            with contextlib.suppress(Exception), lock_run(folder):  # `hcr sync` reports the error
                upload_rest(folder, should_continue)


def upload_lost(root: Path, uri: str) -> int:
    """Upload again the runs under `root` that the SQLite store at `uri` has lost; return their number.

    A run that cannot be uploaded now, such as to a locked database, is left to `hcr sync`, which says why.
    """
    count = 0
    for folder in oldest_first(lost_runs(root, uri)):
        with contextlib.suppress(Exception), lock_run(folder):
            count += upload_rest(folder)
    return count


def upload_lost_run(folder: Path, known: Known) -> bool:
    """Upload again the run in `folder`, which its store has lost, after its parent if that is lost too.

    Args:
        known: the runs of the store.

    Returns:
        True if the store now has the complete run; otherwise `hcr sync` says why not.
    """
    above = folder.parent / str(first_event(folder).get("parent"))
    try:
        for lost in (above, folder):
            if known.standing(lost) == "lost":
                with lock_run(lost):
                    upload_rest(lost)
    except Exception:  # any error of the store, or another process is uploading the run
        return False
    return is_delivered(folder)


def upload_added(folder: Path) -> None:
    """Upload events that were added to a run after its end, such as its pictures.

    Raises:
        TrackingError: the upload failed; `hcr sync` can repeat it.
    """
    try:
        with lock_ended_run(folder):
            Replay(folder).upload()
    except Exception as error:  # any error of the store
        why = f"the upload to MLflow is incomplete ({one_line(error)}); nothing is lost, `hcr sync` uploads the rest"
        raise TrackingError(f"run {folder.name}: {why}") from error


def upload_rest(folder: Path, should_continue: Callable[[], bool] = lambda: True) -> bool:
    """Upload the rest of the run in `folder`, or all of it if it was already uploaded completely: then it was lost.

    The caller holds the run's lock.

    Returns:
        True if anything was uploaded.
    """
    replay = Replay(folder)
    if is_delivered(folder):
        replay.restart()
    return replay.upload(should_continue)
