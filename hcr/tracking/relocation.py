"""Updating the absolute artifact paths in an MLflow SQLite database that was moved or copied with its artifacts."""

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

from hcr.config.tracking import file_uri, sqlite_uri
from hcr.tracking.events import first_event
from hcr.tracking.place import plain_uri, reading, store_of
from hcr.tracking.status import run_folders

WAIT_S = 20.0  # for a database that another process is writing; MLflow's default
# All columns of MLflow's database that hold an artifact path.
PATH_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def moved_from(path: Path, here: Path | None = None) -> list[Path]:
    """The folders that the database `path` names as locations of artifacts that are now in `here`.

    Args:
        here: the present location of the artifacts; None: beside the database.

    Raises:
        sqlite3.Error: the database cannot be read, or stays locked.
    """
    here = here or path.parent
    with reading(path, WAIT_S) as database:
        if not {"experiments", "runs"} <= _tables(database):
            return []
        found = database.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        before = {_root_of(location) for (location,) in found} - {None, here}
        return sorted(
            folder
            for folder in before
            if folder is not None and not _is_same(folder, here) and _came_from(database, folder, here)
        )


def relocate_artifacts(path: Path, here: Path | None = None) -> None:
    """Update the artifact paths in the database `path`; if they are right, nothing is written.

    Paths of other locations are unchanged. The caller holds the lock of the database.

    Args:
        here: as for `moved_from`.

    Raises:
        sqlite3.Error: the database cannot be read or written, or stays locked.
    """
    moved = moved_from(path, here)
    if not moved:
        return
    here = here or path.parent
    with closing(sqlite3.connect(plain_uri(path, "rw"), uri=True, timeout=WAIT_S, isolation_level=None)) as database:
        tables = _tables(database)
        database.execute("BEGIN IMMEDIATE")
        for before in moved:
            for table, column in PATH_COLUMNS:
                if table in tables:
                    _replace(database, table, column, before / "artifacts", here / "artifacts")
        database.execute("COMMIT")


def _tables(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _root_of(location: str | None) -> Path | None:
    """The folder of the database when an experiment got this artifact location; None if hcr did not choose it."""
    if location is None or not location.endswith("/artifacts"):
        return None
    if location.startswith("file:///"):
        return Path(unquote(location.removeprefix("file://"))).parent
    return Path(location).parent if location.startswith("/") else None


def _is_same(one: Path, other: Path) -> bool:
    """True for two names of one folder, such as through a symbolic link."""
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return False


def _came_from(database: sqlite3.Connection, before: Path, here: Path) -> bool:
    """True if artifacts or journals of runs that are recorded under `before` are now under `here`."""
    old = file_uri(before / "artifacts")
    rows = database.execute("SELECT run_uuid FROM runs WHERE substr(artifact_uri, 1, ?) = ?", (len(old) + 1, f"{old}/"))
    if any((here / "artifacts" / run_id).is_dir() for (run_id,) in rows):
        return True
    uri = sqlite_uri(before / "mlflow.db")
    headers = ((folder, first_event(folder)) for folder in run_folders(here))
    return any(header.get("uri") == uri and store_of(folder, header) != uri for folder, header in headers)


def _replace(database: sqlite3.Connection, table: str, column: str, before: Path, now: Path) -> None:
    """Replace the prefix `before` by `now` in every path of the column, plain or as a `file:` URI."""
    for old, new in ((str(before), file_uri(now)), (before.as_uri(), now.as_uri())):
        database.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # names from PATH_COLUMNS
            f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
        )
