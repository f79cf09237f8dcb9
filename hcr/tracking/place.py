"""Where a run's store is: an output root may be moved or copied, and its own database goes with it.

A journal names its store by an absolute path, which is read relative to where the output root lies now.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hcr.config.tracking import sqlite_path, sqlite_uri

STORE = "store.json"  # in a run's folder, where `hcr sync` was told something else than its journal says


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
        choice = json.loads((folder / STORE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return choice if isinstance(choice, dict) else {}


def write_choice(folder: Path, **choice: object) -> None:
    """Write that down, whole or not at all; readable by its owner alone, as a URI may hold a password."""
    new = folder / (STORE + ".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(choice), encoding="utf-8")
    new.replace(folder / STORE)


def _is_a_store_elsewhere(path: Path, key: str) -> bool:
    """Whether a database outside the output root was chosen, rather than being that of the root's old place."""
    return path.exists() and not (path.parent / "runs" / key).is_dir()


def plain_uri(path: Path, mode: str) -> str:
    """The URI by which Python's `sqlite3` opens a file; `mode` is "ro" (to read) or "rw"."""
    return f"{path.absolute().as_uri()}?mode={mode}"


@contextmanager
def reading(path: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """The database, to read from without MLflow.

    Raises:
        sqlite3.Error: it is not there, is locked for longer, or is no database.
    """
    with closing(sqlite3.connect(plain_uri(path, "ro"), uri=True, timeout=timeout_s)) as database:
        try:
            database.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
                raise
            # Its writer was killed in mid-transaction: who opens it to write puts back what it had changed.
            with closing(sqlite3.connect(plain_uri(path, "rw"), uri=True, timeout=timeout_s)) as whole:
                whole.execute("SELECT 1 FROM sqlite_master")
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
