"""Where a run's store is: an output root may be moved or copied, and its own database goes with it.

A journal names its store by an absolute path, and MLflow keeps the absolute path of every artifact. Both are read
relative to where the output root lies now.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hcr.config.tracking import file_uri, sqlite_path, sqlite_uri

STORE = "store.json"  # in a run's folder, where `hcr sync` was told something else than its journal says
WAIT_S = 20.0  # for a database that another process is writing; MLflow's own
# Every column of MLflow's database that holds the place of artifacts.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def store_of(folder: Path, header: dict[str, Any]) -> str:
    """The URI of the store that the run in `folder` belongs to, from the first event of its journal.

    A store inside an output root that has been moved or copied since is the one inside the root that the run is in.
    """
    told = read_choice(folder)
    uri, root = told.get("uri", header.get("uri")), told.get("root", header.get("root"))
    if not isinstance(uri, str) or not uri.startswith("sqlite:"):
        return str(uri)
    here, path = folder.parent.parent, sqlite_path(uri)
    before = Path(root) if isinstance(root, str) else path.parent  # journals of earlier versions name no root
    if before == here or not path.is_relative_to(before):
        return uri
    if root is None and (path.name != "mlflow.db" or _is_a_store_elsewhere(path, folder.name)):
        return uri
    return sqlite_uri(here / path.relative_to(before))


def read_choice(folder: Path) -> dict[str, Any]:
    """What `hcr sync --to` or `--forget` was told of the run in `folder`: `uri` and `root`, or `forgotten`."""
    try:
        choice = json.loads((folder / STORE).read_text())
    except (OSError, ValueError):
        return {}
    return choice if isinstance(choice, dict) else {}


def write_choice(folder: Path, **choice: object) -> None:
    """Write that down, whole or not at all; readable by its owner alone, as a URI may hold a password."""
    new = folder / (STORE + ".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(choice))
    new.replace(folder / STORE)


def _is_a_store_elsewhere(path: Path, key: str) -> bool:
    """Whether a database outside the output root was chosen, rather than being that of the root's old place."""
    return path.exists() and not (path.parent / "runs" / key).is_dir()


def settle(path: Path) -> None:
    """Have the database `path` name artifacts beside it, where it was moved or copied together with them.

    What was recorded of any other place stays. The caller holds the lock of the database.
    """
    here = path.parent
    with closing(sqlite3.connect(_plain_uri(path, "rw"), uri=True, timeout=WAIT_S, isolation_level=None)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"experiments", "runs"} <= tables:
            return
        found = database.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        for before in {_root_of(location) for (location,) in found} - {None, here}:
            assert before is not None
            if _is_same(before, here) or not _came_from(database, before, here):
                continue
            database.execute("BEGIN IMMEDIATE")
            for table, column in PLACES:
                if table in tables:
                    _replace(database, table, column, before / "artifacts", here / "artifacts")
            database.execute("COMMIT")


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
    for journal in (here / "runs").glob("*/journal.jsonl"):
        with contextlib.suppress(OSError, ValueError), journal.open() as file:
            header = json.loads(file.readline())
            if header.get("uri") == uri and store_of(journal.parent, header) != uri:
                return True
    return False


def _replace(database: sqlite3.Connection, table: str, column: str, before: Path, now: Path) -> None:
    """Where a place is `before` or under it, plain or as a `file:` URI, put `now` there in the same way."""
    for old, new in ((str(before), file_uri(now)), (before.as_uri(), now.as_uri())):
        database.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # names of the table above
            f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
        )


def _plain_uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"


@contextmanager
def reading(path: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """The database, to read from without MLflow.

    Raises:
        sqlite3.Error: it is not there, is locked for longer, or is no database.
    """
    with closing(sqlite3.connect(_plain_uri(path, "ro"), uri=True, timeout=timeout_s)) as database:
        yield database


@contextmanager
def without_mlflow_s_folder(uri: str) -> Iterator[None]:
    """Take away the empty folders that MLflow makes on opening an SQLite URI with escaped characters: it takes the
    URI's text, with its escapes, for the path of a folder that has to be there."""
    written = Path(uri.removeprefix("sqlite:///")).parent
    is_other = uri.startswith("sqlite:") and written != sqlite_path(uri).parent
    made = [folder for folder in (written, *written.parents) if is_other and not folder.exists()]
    try:
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: it was somebody else's after all
                folder.rmdir()
