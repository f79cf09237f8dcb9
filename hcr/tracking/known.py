"""The runs that a store has now, by their hcr keys.

An uploaded run may be missing later: a database may be removed, replaced by an older copy or cleaned up. An SQLite file
is queried without importing MLflow.
"""

import contextlib
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hcr.config.tracking import sqlite_path
from hcr.tracking.events import ARTIFACTS, first_event, is_removed
from hcr.tracking.place import reading, store_of
from hcr.tracking.status import is_delivered, read_position, run_folders

Standing = Literal["there", "deleted", "purged", "lost", "undelivered"]
LONGEST_WAIT_S = 5.0  # for the answer to a query

_QUERY = """
    SELECT tags.value, runs.lifecycle_stage FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
    WHERE tags.key = 'hcr.key'
"""


@dataclass(frozen=True)
class Known:
    """The runs of a store.

    Attributes:
        active, deleted: keys of runs; MLflow can still restore those in `deleted`.
        database: creation time in milliseconds since 1970; None if unknown.
        artifacts: the folder beside an SQLite file that has a folder of artifacts per run id; None for other stores.
    """

    active: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    database: int | None = None
    artifacts: Path | None = None

    def standing(self, folder: Path) -> Standing:
        """The state of the run in `folder` in this store.

        An uploaded run that the store does not have is "lost". If the database is still the same one and the run's
        artifacts are gone too, it is "purged": `mlflow gc` deleted it permanently.
        """
        if folder.name in self.active:
            return "there"
        if folder.name in self.deleted:
            return "deleted"
        position = read_position(folder)
        if position.get("run_id") is None:
            return "undelivered"
        is_the_same = self.database is not None and position.get("database") == self.database
        had_artifacts = any((folder / ARTIFACTS).glob("*"))
        if self.artifacts is not None and is_the_same and had_artifacts:
            return "lost" if (self.artifacts / str(position["run_id"])).exists() else "purged"
        return "lost"


def ask(uri: str, timeout_s: float) -> Known | None:
    """The runs of the store at `uri`; None if it does not answer within `timeout_s` seconds (at most 5)."""
    timeout_s = min(timeout_s, LONGEST_WAIT_S)
    if uri.startswith("sqlite:"):
        return _ask_sqlite(sqlite_path(uri), timeout_s)
    from hcr.tracking.store import import_mlflow

    import_mlflow()  # outside the time limit: it takes seconds on a cold disk
    found: list[Known] = []

    def search() -> None:
        with contextlib.suppress(Exception):  # any error of the store means: no answer
            found.append(_ask_mlflow(uri))

    # In a thread, because a name server or a proxy can block a request beyond its timeout.
    thread = threading.Thread(target=search, name="asking the store", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return found[0] if found else None


def lost_runs(root: Path, uri: str) -> list[Path]:
    """The runs under the output root that were uploaded to the SQLite store at `uri` and are missing there.

    Empty for other stores: only `hcr sync` queries a server for all of its runs.
    """
    known = _ask_sqlite(sqlite_path(uri), LONGEST_WAIT_S) if uri.startswith("sqlite:") else None
    if known is None:
        return []
    unknown = [folder for folder in run_folders(root) if folder.name not in known.active | known.deleted]
    unknown = [folder for folder in unknown if not is_removed(folder)]
    ours = [folder for folder in unknown if is_delivered(folder) and store_of(folder, first_event(folder)) == uri]
    return [folder for folder in ours if known.standing(folder) == "lost"]


def deleted_keys(root: Path, uri: str, known: Known | None) -> frozenset[str]:
    """The keys of the runs that were deleted in the store at `uri`, or removed by `hcr rm`.

    They include deleted runs of any output root, except runs under this one that have another store now, and the
    permanently deleted runs of this output root. If the store did not answer (`known` is None): only removed ones.
    """
    removed = frozenset(folder.name for folder in run_folders(root) if is_removed(folder))
    if known is None:
        return removed
    stores = {folder: store_of(folder, first_event(folder)) for folder in run_folders(root)}
    elsewhere = {folder.name for folder, store in stores.items() if store != uri}
    purged = {folder.name for folder, store in stores.items() if store == uri and known.standing(folder) == "purged"}
    return (known.deleted - known.active - elsewhere) | purged | removed


def _ask_sqlite(path: Path, timeout_s: float) -> Known | None:
    if not path.exists():
        return Known()
    try:
        with reading(path, timeout_s) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"experiments", "runs", "tags"} <= tables:  # MLflow has not created them yet
                return Known()
            rows = database.execute(_QUERY).fetchall()
            made = database.execute("SELECT creation_time FROM experiments WHERE experiment_id = 0").fetchone()
    except sqlite3.Error:  # locked or damaged: the next write reports it
        return None
    return Known(
        frozenset(key for key, stage in rows if stage == "active"),
        frozenset(key for key, stage in rows if stage == "deleted"),
        (made[0] or None) if made is not None else None,
        path.parent / "artifacts",
    )


def _ask_mlflow(uri: str) -> Known:
    from hcr.tracking.store import all_runs, open_store

    stages = {key: run.info.lifecycle_stage for key, run in all_runs(open_store(uri)).items()}
    return Known(
        frozenset(key for key, stage in stages.items() if stage == "active"),
        frozenset(key for key, stage in stages.items() if stage != "active"),
    )
