"""The typed config of tracking, and the addresses of stores."""

import os
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import unquote

from pydantic import Field, model_validator

from hcr.config.addresses import split_address
from hcr.config.errors import ConfigError
from hcr.config.secrets import without_credentials
from hcr.config.settings import Positive, Settings, expected
from hcr.config.words import Expected

URI_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
SQLITE_EXAMPLE = "sqlite:////folder/mlflow.db"
SQLITE_MAGIC = b"SQLite format 3\0"  # first bytes of every such file


class TrackingConfig(Settings):
    """The store, experiment and name that a run is recorded under."""

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
        Positive, Field(description="seconds that the end of a run waits for a store that does not answer")
    ]
    system_metrics: Annotated[
        bool, Field(description="true: CPU and memory while it trains, for MLflow's System metrics page")
    ] = False

    @model_validator(mode="after")
    def _names_a_store(self) -> "TrackingConfig":
        if self.uri is not None:
            check_tracking_uri("tracking.uri", self.uri)
        return self


def check_tracking_uri(key: str, uri: str) -> None:
    """Refuse a URI that names neither a server nor a database; MLflow has dropped its file store.

    Raises:
        ConfigError: the message says what to write, and quotes `uri` without credentials.
    """
    scheme, _, driver = uri.partition(":")[0].partition("+")  # databricks may come without a colon
    is_known = scheme in URI_SCHEMES  # MLflow accepts schemes in lower case only
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
    """Refuse URIs that SQLAlchemy would read as an in-memory database, or MLflow as a file called `sqlite:`."""
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
    except OSError:  # SQLite reports a file that cannot be read
        return
    if begin not in (b"", SQLITE_MAGIC):
        raise expected(f"an SQLite database or a new file, but {path} is another file", key, uri)


def _first_bytes(path: Path) -> bytes | None:
    """The first bytes of a file; empty if it does not exist, None if it is not a regular file."""
    if not path.is_file():
        return None if path.exists() else b""
    with path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC))


def output_root() -> Path:
    """The folder of runs and of the default store: HCR_OUTPUT_DIR, else `./hcr-output`; absolute."""
    return Path(os.environ.get("HCR_OUTPUT_DIR") or "hcr-output").absolute()


def output_key() -> str:
    """The name of the output root in messages: the variable that sets it, or the folder."""
    return "HCR_OUTPUT_DIR" if os.environ.get("HCR_OUTPUT_DIR") else "hcr-output"


def store_key(configured: str | None) -> str:
    """The name of the store in messages: the key or the variable that sets it, or the output root that holds it."""
    if configured:
        return "tracking.uri"
    return "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else output_key()


def tracking_uri(configured: str | None) -> str:
    """The store to use: the configured one, else MLFLOW_TRACKING_URI, else SQLite under the output root.

    Raises:
        ConfigError: the URI names neither a server nor a database.
    """
    named = configured or os.environ.get("MLFLOW_TRACKING_URI")
    uri = named or sqlite_uri(output_root() / "mlflow.db")
    check_tracking_uri(store_key(configured), uri)
    if uri.startswith("sqlite:"):  # made absolute: a server or a worker may have another current folder
        return sqlite_uri(sqlite_path(uri).absolute())
    return uri


def sqlite_uri(path: Path) -> str:
    """The URI of an SQLite file, with `%` and `?` percent-encoded."""
    return f"sqlite:///{str(path).replace('%', '%25').replace('?', '%3F')}"


def sqlite_path(uri: str) -> Path:
    """The file of an SQLite URI."""
    return Path(unquote(uri.removeprefix("sqlite:///")))


def file_uri(path: Path) -> str:
    """An artifact folder as MLflow accepts it: the path, or a `file:` URI if the path has characters with a meaning in
    a URI."""
    return path.as_uri() if set("%?#") & set(str(path)) else str(path)
