"""Artifacts of an SQLite store that was moved or copied together with them: MLflow keeps their absolute paths."""

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

from hcr.config.tracking import file_uri, sqlite_uri
from hcr.tracking.events import first_event
from hcr.tracking.place import plain_uri, reading, store_of
from hcr.tracking.status import run_folders

WAIT_S = 20.0  # for a database that another process is writing; MLflow's own
# Every column of MLflow's database that holds the place of artifacts.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def moved_from(path: Path, here: Path | None = None) -> list[Path]:
    """The folders from which the artifacts of the database `path` have come to `here`, while it names the old place.

    Args:
        here: where the artifacts are now; None: beside the database.

    Raises:
        sqlite3.Error: it cannot be read, or stays locked.
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
    """Have the database `path` name artifacts where they are now; nothing is written where it does.

    What was recorded of any other place stays. The caller holds the lock of the database.

    Args:
        here: as for `moved_from`.

    Raises:
        sqlite3.Error: it cannot be read or written, or stays locked.
    """
    moved = moved_from(path, here)
    if not moved:
        return
    here = here or path.parent
    with closing(sqlite3.connect(plain_uri(path, "rw"), uri=True, timeout=WAIT_S, isolation_level=None)) as database:
        tables = _tables(database)
        database.execute("BEGIN IMMEDIATE")
        for before in moved:
            for table, column in PLACES:
                if table in tables:
                    _replace(database, table, column, before / "artifacts", here / "artifacts")
        database.execute("COMMIT")


def _tables(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _root_of(location: str | None) -> Path | None:
    """The folder that the database was in when an experiment got this place for its artifacts; None for others'."""
    if location is None or not location.endswith("/artifacts"):
        return None
    if location.startswith("file:///"):
        return Path(unquote(location.removeprefix("file://"))).parent
    return Path(location).parent if location.startswith("/") else None


def _is_same(one: Path, other: Path) -> bool:
    """The same folder by another name, such as through a symbolic link."""
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return False


def _came_from(database: sqlite3.Connection, before: Path, here: Path) -> bool:
    """Whether the artifacts of runs that are recorded under `before` lie under `here`, or their journals do."""
    old = file_uri(before / "artifacts")
    rows = database.execute("SELECT run_uuid FROM runs WHERE substr(artifact_uri, 1, ?) = ?", (len(old) + 1, f"{old}/"))
    if any((here / "artifacts" / run_id).is_dir() for (run_id,) in rows):
        return True
    uri = sqlite_uri(before / "mlflow.db")
    headers = ((folder, first_event(folder)) for folder in run_folders(here))
    return any(header.get("uri") == uri and store_of(folder, header) != uri for folder, header in headers)


def _replace(database: sqlite3.Connection, table: str, column: str, before: Path, now: Path) -> None:
    """Where a place is `before` or under it, plain or as a `file:` URI, put `now` there in the same way."""
    for old, new in ((str(before), file_uri(now)), (before.as_uri(), now.as_uri())):
        database.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # names of the table above
            f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
        )
