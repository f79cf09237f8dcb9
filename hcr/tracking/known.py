"""The runs that a store has now, by their hcr keys.

An uploaded run may be missing later: a database may be removed, replaced by an older copy or cleaned up. An SQLite file
is queried without importing MLflow.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hcr.config.tracking import sqlite_path
from hcr.tracking.events import ARTIFACTS
from hcr.tracking.index import indexed_runs
from hcr.tracking.place import reading
from hcr.tracking.status import read_position

Standing = Literal["there", "deleted", "purged", "lost", "undelivered"]
LONGEST_WAIT_S = 5.0  # for the answer to a query
FEW = 10  # runs that a server is asked for one by one

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


def ask(uri: str, timeout_s: float, run_ids: Mapping[str, str | None]) -> Known | None:
    """What the store at `uri` knows of some runs; None if it does not answer within `timeout_s` seconds (at most 5).

    Args:
        run_ids: the runs: by key, the run's id in the store, None before its upload. An SQLite file tells all of its
            runs anyway. A server is asked for each of a few runs; of many, it is asked for its deleted runs alone, and
            the others count as active.
    """
    timeout_s = min(timeout_s, LONGEST_WAIT_S)
    if uri.startswith("sqlite:"):
        return _ask_sqlite(sqlite_path(uri), timeout_s)
    from hcr.tracking.store import import_mlflow

    import_mlflow()  # outside the time limit: it takes seconds on a cold disk
    found: list[Known] = []

    def search() -> None:
        with contextlib.suppress(Exception):  # any error of the store means: no answer
            found.append(_ask_mlflow(uri, run_ids))

    # In a thread, because a name server or a proxy can block a request beyond its timeout.
    thread = threading.Thread(target=search, name="asking the store", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return found[0] if found else None


def run_ids_of(root: Path) -> dict[str, str | None]:
    """The id in its store of every run under the output root, by key, as `ask` takes them."""
    return {run.key: run.run_id for run in indexed_runs(root)}


def lost_runs(root: Path, uri: str) -> list[Path]:
    """The runs under the output root that were uploaded to the SQLite store at `uri` and are missing there.

    Empty for other stores: only `hcr sync` queries a server for all of its runs.
    """
    known = _ask_sqlite(sqlite_path(uri), LONGEST_WAIT_S) if uri.startswith("sqlite:") else None
    if known is None:
        return []
    there = known.active | known.deleted
    unknown = [run for run in indexed_runs(root) if run.key not in there and not run.is_removed]
    ours = [run.folder for run in unknown if run.is_delivered and run.store == uri]
    return [folder for folder in ours if known.standing(folder) == "lost"]


def deleted_keys(root: Path, uri: str, known: Known | None) -> frozenset[str]:
    """The keys of the runs that were deleted in the store at `uri`, or removed by `hcr rm`.

    They include deleted runs of any output root, except runs under this one that have another store now, and the
    permanently deleted runs of this output root. If the store did not answer (`known` is None): only removed ones.
    """
    runs = indexed_runs(root)
    removed = frozenset(run.key for run in runs if run.is_removed)
    if known is None:
        return removed
    there = known.active | known.deleted
    elsewhere = {run.key for run in runs if run.key in known.deleted and run.store != uri}
    unknown = [run for run in runs if run.key not in there and run.store == uri]
    purged = {run.key for run in unknown if known.standing(run.folder) == "purged"}
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


def _ask_mlflow(uri: str, run_ids: Mapping[str, str | None]) -> Known:
    from hcr.tracking.store import deleted_run_ids, open_store, stages_of_key

    client = open_store(uri)
    if len(run_ids) <= FEW:
        stages = {key: stages_of_key(client, key) for key in run_ids}
        active = {key for key, found in stages.items() if "active" in found}
        deleted = {key for key, found in stages.items() if found} - active
    else:
        gone = {key: ids for key, ids in deleted_run_ids(client).items() if key in run_ids}
        # A second run that was created by mistake is deleted, and its key is still that of an active one.
        deleted = {
            key for key, ids in gone.items() if run_ids[key] in ids or "active" not in stages_of_key(client, key)
        }
        active = run_ids.keys() - deleted
    return Known(frozenset(active), frozenset(deleted))
