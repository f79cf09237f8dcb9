"""The store of a run, found again after its output root was moved or copied together with its database.

A journal names its store by an absolute path. If that path was inside the output root, it is read relative to the
root's present location.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hcr.config.tracking import sqlite_path, sqlite_uri

STORE = "store.json"  # in a run's folder: the choice made by `hcr sync`, which overrides the journal


def store_of(folder: Path, header: dict[str, Any]) -> str:
    """The URI of the store that the run in `folder` belongs to.

    If the output root was moved or copied since, its store is the one inside the root that now holds the run.

    Args:
        header: the first event of the run's journal.
    """
    return store_of_choice(folder, read_choice(folder), header)


def store_of_choice(folder: Path, choice: dict[str, Any], header: dict[str, Any]) -> str:
    """The same, with the choice that `read_choice` returned."""
    uri, root = choice.get("uri", header.get("uri")), choice.get("root", header.get("root"))
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
    """The choice made by `hcr sync --to` (`uri` and `root`) or `--forget` (`forgotten`) for the run in `folder`."""
    try:
        choice = json.loads((folder / STORE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return choice if isinstance(choice, dict) else {}


def write_choice(folder: Path, **choice: object) -> None:
    """Write the choice atomically; only its owner can read it, because a URI may hold a password."""
    new = folder / (STORE + ".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(choice), encoding="utf-8")
    new.replace(folder / STORE)


def _is_a_store_elsewhere(path: Path, key: str) -> bool:
    """True if `path` is a database chosen outside the output root, and not that of the root's old location."""
    return path.exists() and not (path.parent / "runs" / key).is_dir()


def plain_uri(path: Path, mode: str) -> str:
    """The URI with which Python's `sqlite3` opens a file; `mode` is "ro" or "rw"."""
    return f"{path.absolute().as_uri()}?mode={mode}"


@contextmanager
def reading(path: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Open the database read-only, without MLflow.

    Raises:
        sqlite3.Error: it does not exist, stays locked for `timeout_s` seconds, or is not a database.
    """
    with closing(sqlite3.connect(plain_uri(path, "ro"), uri=True, timeout=timeout_s)) as database:
        try:
            database.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
                raise
            # Its writer was killed in mid-transaction: opening it for writing rolls the transaction back.
            with closing(sqlite3.connect(plain_uri(path, "rw"), uri=True, timeout=timeout_s)) as writable:
                writable.execute("SELECT 1 FROM sqlite_master")
        yield database


@contextmanager
def without_stray_folders(uri: str) -> Iterator[None]:
    """Remove the empty folders that MLflow creates when it opens an SQLite URI with escaped characters.

    MLflow creates the database's folder without unescaping its path.
    """
    written = Path(uri.removeprefix("sqlite:///")).parent
    is_other = uri.startswith("sqlite:") and written != sqlite_path(uri).parent
    made = [folder for folder in (written, *written.parents) if is_other and not folder.exists()]
    try:
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: another process uses it
                folder.rmdir()
