"""A run that only a store has, brought to this machine: its artifacts are kept in the user's cache.

    <user's cache>/hcr/runs/<run id>/    the run's artifacts, and its model in `model/`

A server is not trusted: what it lists is counted before it is downloaded, no name leads out of the folder, and each
file must have the size that was listed.
"""

import fcntl
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import platformdirs

from hcr.config.errors import TrackingError, one_line
from hcr.config.secrets import redact
from hcr.tracking.events import SYSTEM
from hcr.tracking.logged_model import model_of
from hcr.tracking.store import store_to_read
from hcr.tracking.stored import StoredRun

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.tracking import MlflowClient

MODEL = "model"  # the folder of the run's model
MOST_FILES, MOST_BYTES = 10_000, 4 << 30  # of a run
PER_EPOCH = ("train/", "val/", "lr", "time/epoch_s", "time/images_per_s")  # metrics of an epoch begin with these
PARTIAL = ".partial"

Listed = dict[PurePosixPath, int | None]  # sizes in bytes, where the store knows them


@dataclass(frozen=True, kw_only=True)
class FetchedRun:
    """A run, as its store has it.

    Attributes:
        name: its name.
        status: FINISHED, FAILED, KILLED or RUNNING.
        tags, metrics: by name; of each metric the last value.
        history: the metrics of each epoch.
        artifacts: the folder of its artifacts on this machine.
    """

    name: str
    status: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    history: list[dict[str, float]]
    artifacts: Path


def fetch_run(stored: StoredRun) -> FetchedRun:
    """Read a run from its store; artifacts that the cache has are not downloaded again.

    Raises:
        TrackingError: the store cannot be asked, its files are too many, too large or incomplete, or have names that
            lead elsewhere; or the cache cannot be written.
    """
    try:
        with store_to_read(stored.uri) as client:
            run = client.get_run(stored.run_id)
            return FetchedRun(
                name=str(run.info.run_name),
                status=str(run.info.status),
                tags=dict(run.data.tags),
                metrics={name: value for name, value in run.data.metrics.items() if not name.startswith(SYSTEM)},
                history=_history(client, run),
                artifacts=_fetch_artifacts(client, run),
            )
    except TrackingError:
        raise
    except Exception as error:  # any error of the store or of the disk
        why = f"cannot be read from the store at {redact(stored.uri)} ({one_line(error)})"
        raise TrackingError(f"run {stored.key}: {why}") from error


def _history(client: "MlflowClient", run: "Run") -> list[dict[str, float]]:
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    epochs: dict[int, dict[str, float]] = {row.step: {} for row in losses}
    for name in run.data.metrics:
        if name.startswith(PER_EPOCH):
            for row in client.get_metric_history(run.info.run_id, name):
                if row.step in epochs:
                    epochs[row.step][name] = row.value
    return [epochs[step] for step in sorted(epochs)]


def _fetch_artifacts(client: "MlflowClient", run: "Run") -> Path:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    run_id = str(run.info.run_id)
    if re.fullmatch(r"[0-9a-f]{32}", run_id) is None:
        raise TrackingError(f"run {run_id!r}: expected an id of 32 hexadecimal digits")
    sources = [(PurePosixPath(), run.info.artifact_uri)]
    if (model := model_of(client, run)) is not None:
        sources.append((PurePosixPath(MODEL), model.artifact_location))
    folder = platformdirs.user_cache_path("hcr") / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for place, location in sources:
            store = get_artifact_repository(location, tracking_uri=client.tracking_uri)
            files = _list(store)
            if not files:
                raise TrackingError(
                    f"run {run.data.tags['hcr.key']}: expected files at {redact(location)}, got none;"
                    " this machine may not see that place"
                )
            _download(store, files, folder / place)
    return folder


def _download(store: "ArtifactRepository", files: Listed, folder: Path) -> None:
    """Download those of `files` that `folder` lacks."""
    for path, size in files.items():
        target = folder / path
        if target.is_file() and target.stat().st_size == size:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + PARTIAL)
        store._download_file(str(path), str(partial))  # one file: `download_artifacts` would follow what a server lists
        if size is not None and partial.stat().st_size != size:
            raise TrackingError(f"{path}: expected {size:,} bytes from the store, got {partial.stat().st_size:,}")
        partial.replace(target)


def _list(store: "ArtifactRepository") -> Listed:
    """All files of the store.

    Raises:
        TrackingError: they are too many or too large, or a name leads elsewhere.
    """
    found: Listed = {}
    folders: list[PurePosixPath | None] = [None]
    seen = 0
    while folders:
        above = folders.pop()
        for entry in store.list_artifacts(None if above is None else str(above)):
            seen += 1
            path = PurePosixPath(entry.path)
            if path.is_absolute() or ".." in path.parts or "\\" in entry.path or not entry.path.isprintable():
                raise TrackingError(f"the store lists {entry.path!r}: expected a path inside the run's artifacts")
            if (above is not None and path.parent != above) or (above is None and len(path.parts) != 1):
                raise TrackingError(
                    f"the store lists {entry.path!r} in {str(above or '.')!r}: expected a path in there"
                )
            if entry.is_dir:
                folders.append(path)
            else:
                found[path] = entry.file_size
            if seen > MOST_FILES or sum(size or 0 for size in found.values()) > MOST_BYTES:
                raise TrackingError(
                    f"expected at most {MOST_FILES:,} artifacts and {MOST_BYTES >> 30} GiB in a run, got more"
                )
    return found


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Admit one process at a time."""
    with folder.with_name(folder.name + ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
