"""The typed config of tracking, and the addresses of stores."""

import os
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import unquote

from pydantic import Field, model_validator

from hcr.config.addresses import split_address
from hcr.config.errors import ConfigError
from hcr.config.secrets import redact, without_credentials
from hcr.config.settings import Positive, Settings, expected
from hcr.config.words import Expected

URI_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
SQLITE_EXAMPLE = "sqlite:////folder/mlflow.db"
SQLITE_MAGIC = b"SQLite format 3\0"  # what every such file begins with


class TrackingConfig(Settings):
    """Where a run is recorded, and under what name."""

    group: ClassVar[str] = "tracking"

    uri: Annotated[
        str | None,
        Field(description="MLflow tracking URI; null: MLFLOW_TRACKING_URI, else SQLite under the output root"),
    ]
    experiment_name: Annotated[str, Expected("a name"), Field(pattern=r"\S", description="the MLflow experiment")]
    run_name: Annotated[
        str | None,
        Expected("a name or null"),
        Field(min_length=1, description="name of the MLflow run; null: data set, model and seed"),
    ]
    timeout_s: Annotated[
        Positive, Field(description="how long the end of a run waits for a store that does not answer, in seconds")
    ]

    @model_validator(mode="after")
    def _names_a_store(self) -> "TrackingConfig":
        if self.uri is not None:
            check_tracking_uri("tracking.uri", self.uri)
        return self


def check_tracking_uri(key: str, uri: str) -> None:
    """Refuse what names neither a server nor a database; MLflow's file store is no more.

    Raises:
        ConfigError: it says what to write, and quotes `uri` without what may be a password.
    """
    scheme, _, driver = uri.partition(":")[0].partition("+")  # databricks is a word of its own
    is_known = scheme in URI_SCHEMES  # MLflow knows no SQLITE: or HTTP:
    _require(is_known, key, f"a URI such as http://host:5000 or {SQLITE_EXAMPLE}", uri)
    if scheme == "sqlite":
        _require(not driver, key, f"{SQLITE_EXAMPLE}, without a driver", uri)
        _check_sqlite_uri(key, uri)
    elif scheme in ("http", "https"):
        parts = split_address(uri)
        _require(parts is not None and bool(parts.hostname), key, f"a server such as {scheme}://host:5000", uri)
    elif scheme in ("postgresql", "mysql", "mssql"):
        parts = split_address(uri)
        has_database = parts is not None and bool(parts.path.strip("/") or parts.query)
        _require(has_database and "://" in uri, key, f"{scheme}://user@host/database", uri)


def _require(condition: bool, key: str, what: str, uri: str) -> None:
    if not condition:
        remedy = "; in a password write / as %2F, @ as %40, [ as %5B" if "@" in uri and "://" in uri else ""
        raise ConfigError(f"{key}: expected {what}, got {without_credentials(uri)!r}{remedy}")


def _check_sqlite_uri(key: str, uri: str) -> None:
    """What SQLAlchemy would take for a database in memory, and MLflow for a file called `sqlite:`, is refused."""
    _, three_slashes, rest = uri.partition("sqlite:///")
    is_file = bool(three_slashes) and rest.strip("/") not in ("", ":memory:")
    _require(is_file, key, f"{SQLITE_EXAMPLE}, a file", uri)
    _require("?" not in rest, key, f"{SQLITE_EXAMPLE}, without options (a ? in a name is %3F)", uri)
    path = sqlite_path(uri).absolute()
    try:
        if path.is_dir():
            raise expected(f"{uri.rstrip('/')}/mlflow.db, as {path} is a folder", key, uri)
        above = next(folder for folder in path.parents if folder.exists())
        if not above.is_dir():
            raise expected(f"{SQLITE_EXAMPLE}, and {above} is no folder", key, uri)
        begin = _first_bytes(path)
    except OSError:  # one that cannot be read is for SQLite to complain of
        return
    if begin not in (b"", SQLITE_MAGIC):
        raise expected(f"an SQLite database or no file yet, and {path} is neither", key, uri)


def _first_bytes(path: Path) -> bytes | None:
    """What a file begins with; nothing where there is none, None for what is no file."""
    if not path.is_file():
        return None if path.exists() else b""
    with path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC))


def output_root() -> Path:
    """Where runs and the default store are kept: HCR_OUTPUT_DIR, else `./hcr-output`; absolute."""
    return Path(os.environ.get("HCR_OUTPUT_DIR") or "hcr-output").absolute()


def output_key() -> str:
    """What a message calls the output root: the variable that names it, or the folder."""
    return "HCR_OUTPUT_DIR" if os.environ.get("HCR_OUTPUT_DIR") else "hcr-output"


def store_key(configured: str | None) -> str:
    """What a message calls the store: the key or the variable that names it, or the output root that it is in."""
    if configured:
        return "tracking.uri"
    return "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else output_key()


def tracking_uri(configured: str | None) -> str:
    """The store to use: the configured one, else MLFLOW_TRACKING_URI, else SQLite under the output root.

    Raises:
        ConfigError: it names no server and no database.
    """
    named = configured or os.environ.get("MLFLOW_TRACKING_URI")
    uri = named or sqlite_uri(output_root() / "mlflow.db")
    check_tracking_uri(store_key(configured), uri)
    if uri.startswith("sqlite:"):  # relative to where we are now, not to where a server or a worker is later
        return sqlite_uri(sqlite_path(uri).absolute())
    return uri


def how_to_see(uri: str) -> str:
    """The line that says how to open the store at `uri`."""
    if uri.startswith("http"):
        return f"see it in MLflow: {redact(uri)}"
    if uri == tracking_uri(None):
        return "see it in MLflow: hcr ui"
    return f"see it in MLflow: MLFLOW_TRACKING_URI={redact(uri)} hcr ui"


def sqlite_uri(path: Path) -> str:
    """The URI of an SQLite file; `%` and `?`, which mean something in a URI, are written so that they do not."""
    return f"sqlite:///{str(path).replace('%', '%25').replace('?', '%3F')}"


def sqlite_path(uri: str) -> Path:
    """The file of an SQLite URI."""
    return Path(unquote(uri.removeprefix("sqlite:///")))


def file_uri(path: Path) -> str:
    """A folder of artifacts as MLflow takes it: the path, or a `file:` URI where the path has characters that MLflow
    would read as parts of a URI."""
    return path.as_uri() if set("%?#") & set(str(path)) else str(path)
