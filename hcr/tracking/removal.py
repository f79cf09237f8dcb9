"""Removal of runs: their artifacts are deleted here, and the runs in MLflow.

A removed run keeps its journal, whose last event says so: nothing of it is uploaded again, and no sweep reuses it.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from hcr.config.errors import TrackingError, one_line
from hcr.tracking.events import ARTIFACTS, first_event, is_removed, last_event, read_events
from hcr.tracking.index import indexed_runs
from hcr.tracking.journal import append_end
from hcr.tracking.lock import lock_run
from hcr.tracking.status import is_ours

REUSED = "hcr.reused_by."  # a tag that begins so ends with the key of a sweep


@dataclass(frozen=True)
class Removal:
    """A run to be removed.

    Attributes:
        folder: the run's.
        name: in MLflow.
        status: of its last event.
        size_bytes: of its artifacts and checkpoints.
    """

    folder: Path
    name: str
    status: str
    size_bytes: int


def plan_removal(root: Path, folders: list[Path]) -> list[Removal]:
    """The runs that are removed with `folders`: a sweep's parent run includes its runs; a parent comes last.

    Raises:
        TrackingError: a run is alive, belongs to another host, or was removed before.
    """
    parents = {folder.name for folder in folders}
    children = [run.folder for run in indexed_runs(root) if run.header.get("parent") in parents]
    # A removal that was cut short left some of its files.
    found = [each for each in dict.fromkeys([*children, *folders]) if not is_removed(each) or _contents(each)]
    if not found:
        raise TrackingError(f"run {folders[0].name} was removed before")
    return [_checked(folder) for folder in found]


def reusing_sweeps(folder: Path) -> set[str]:
    """The keys of the sweeps that have the run in `folder` among theirs without having trained it."""
    tags = (event["values"] for event, _ in read_events(folder) if event["event"] == "tags")
    return {name.removeprefix(REUSED) for values in tags for name in values if name.startswith(REUSED)}


def remove(removal: Removal) -> None:
    """Remove a run on this machine. Its journal says so first: a removal that is cut short is completed by another.

    Raises:
        TrackingError: the run has come alive, or its files cannot be deleted.
    """
    folder = removal.folder
    try:
        with lock_run(folder):
            if not is_removed(folder):
                append_end(folder, "REMOVED")
            for path in _contents(folder):
                shutil.rmtree(path)
    except BlockingIOError:
        raise TrackingError(f"run {folder.name} is alive; expected a run that has ended") from None
    except OSError as error:
        raise TrackingError(f"{folder}: cannot be removed ({one_line(error)})") from error


def _checked(folder: Path) -> Removal:
    header = first_event(folder)
    if not is_ours(folder):
        raise TrackingError(f"run {folder.name} belongs to host {header.get('host')}; remove it there")
    try:
        lock_run(folder).close()
    except BlockingIOError:
        raise TrackingError(f"run {folder.name} is alive; stop it first, then remove it") from None
    size = sum(file.stat().st_size for path in _contents(folder) for file in path.rglob("*") if file.is_file())
    status = str(last_event(folder).get("status", "interrupted"))
    return Removal(folder, str(header.get("name", "")), status, size)


def _contents(folder: Path) -> list[Path]:
    """The folders of a run that a removal deletes: artifacts and checkpoints."""
    scratch = first_event(folder).get("scratch")
    paths = [folder / ARTIFACTS, *([folder / Path(str(scratch)).name] if scratch else [])]
    return [path for path in paths if path.is_dir()]
