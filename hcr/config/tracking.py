"""The typed config of tracking, and the places on disk that everything uses."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hcr.config.errors import ConfigError
from hcr.config.schema import require
from hcr.config.secrets import redact

URI_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
PROBE_BYTES = 1 << 20
SQLITE_EXAMPLE = "sqlite:////folder/mlflow.db"
SQLITE_MAGIC = b"SQLite format 3\0"  # what every such file begins with


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where a run is recorded, and under what name."""

    uri: str | None
    experiment_name: str
    run_name: str | None
    timeout_s: float

    def __post_init__(self) -> None:
        if self.uri is not None:
            check_tracking_uri("tracking.uri", self.uri)
        require(bool(self.experiment_name.strip()), "tracking.experiment_name", "a name", self.experiment_name)
        require(self.run_name != "", "tracking.run_name", "a name or null", self.run_name)
        require(self.timeout_s > 0, "tracking.timeout_s", "a number of seconds over 0", self.timeout_s)


def check_tracking_uri(key: str, uri: str) -> None:
    """Raise a ConfigError unless `uri` names a server or a database; MLflow's file store is no more."""
    scheme, _, driver = (urlsplit(uri).scheme or uri).partition("+")  # databricks is a word of its own
    require(not (scheme == "sqlite" and driver), key, f"{SQLITE_EXAMPLE}, without a driver", uri)
    is_known = scheme in URI_SCHEMES and uri.startswith(scheme)  # MLflow knows no SQLITE: or HTTP:
    require(is_known, key, f"a URI such as http://host:5000 or {SQLITE_EXAMPLE}", uri)
    if scheme == "sqlite":
        _check_sqlite_uri(key, uri)
    elif scheme in ("http", "https"):
        require(bool(_host(uri)), key, f"a server such as {scheme}://host:5000", redact(uri))
    elif scheme in ("postgresql", "mysql", "mssql"):
        parts = urlsplit(uri)
        require(uri.startswith(f"{parts.scheme}://"), key, f"{scheme}://user@host/database", redact(uri))
        require(bool(parts.path.strip("/") or parts.query), key, f"{scheme}://user@host/database", redact(uri))


def _host(uri: str) -> str | None:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # a port that is no number raises only now
        return parts.hostname
    except ValueError:
        return None


def _check_sqlite_uri(key: str, uri: str) -> None:
    """What SQLAlchemy would take for a database in memory, and MLflow for a file called `sqlite:`, is refused."""
    _, three_slashes, rest = uri.partition("sqlite:///")
    is_file = bool(three_slashes) and rest.strip("/") not in ("", ":memory:")
    require(is_file, key, f"{SQLITE_EXAMPLE}, a file", uri)
    require("?" not in rest, key, f"{SQLITE_EXAMPLE}, without options (a ? in a name is %3F)", uri)
    path = sqlite_path(uri).absolute()
    try:
        require(not path.is_dir(), key, f"{uri.rstrip('/')}/mlflow.db, as {path} is a folder", uri)
        above = next(folder for folder in path.parents if folder.exists())
        require(above.is_dir(), key, f"{SQLITE_EXAMPLE}, and {above} is no folder", uri)
        begin = _first_bytes(path)
    except OSError:  # one that cannot be read is for SQLite to complain of
        return
    require(begin in (b"", SQLITE_MAGIC), key, f"an SQLite database or no file yet, and {path} is neither", uri)


def _first_bytes(path: Path) -> bytes | None:
    """What a file begins with; nothing where there is none, None for what is no file."""
    if not path.is_file():
        return None if path.exists() else b""
    with path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC))


def output_root() -> Path:
    """Where runs and the default store are kept: HCR_OUTPUT_DIR, else `./hcr-output`; absolute."""
    return Path(os.environ.get("HCR_OUTPUT_DIR") or "hcr-output").absolute()


def check_places(tracking: TrackingConfig) -> None:
    """Check that runs and the default store can be written; nothing is left behind.

    Raises:
        ConfigError: the output root or the SQLite file is on a full or read-only disk, another user's, or under a file.
    """
    root = output_root()
    key = "HCR_OUTPUT_DIR" if os.environ.get("HCR_OUTPUT_DIR") else "hcr-output"
    places = {root / name: key for name in ("runs", "sweeps", "artifacts")}
    uri = tracking_uri(tracking.uri)
    if uri.startswith("sqlite:"):
        file = sqlite_path(uri)
        key = "tracking.uri" if tracking.uri else "MLFLOW_TRACKING_URI" if file.parent != root else key
        places.setdefault(file.parent, key)
        if file.exists() and not os.access(file, os.W_OK):
            raise ConfigError(f"{key}: expected a database that can be written, got {file} (Permission denied)")
    probed = set()
    for folder, key in places.items():
        try:
            there = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
            if there in probed:
                continue
            probed.add(there)
            with tempfile.TemporaryFile(dir=there) as probe:  # a file without a name
                probe.write(bytes(PROBE_BYTES))
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            told = f"{key}: expected a folder that can be written, got {folder} ({error.strerror})"
            remedy = "" if key.endswith(("uri", "URI")) else "; HCR_OUTPUT_DIR names another place"
            raise ConfigError(told + remedy) from error


def provide_home() -> None:
    """Give a process without a home folder one, under the output root: MLflow and Matplotlib do not import without.

    In a container that runs under a number, HOME may be absent, and no user database knows the number. A home that
    cannot be written stays, as credentials may be in it; Matplotlib keeps its cache under the output root then.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  # pathlib's own raises where there is none
    own = output_root() / "home"
    if not home.is_absolute() or not home.is_dir():
        os.environ["HOME"] = str(own)
    elif not os.access(home, os.W_OK | os.X_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(own / "matplotlib"))


def tracking_uri(configured: str | None) -> str:
    """The store to use: the configured one, else MLFLOW_TRACKING_URI, else SQLite under the output root.

    Raises:
        ConfigError: the environment's URI names no server and no database.
    """
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(output_root() / "mlflow.db")
    check_tracking_uri("tracking.uri" if configured else "MLFLOW_TRACKING_URI", uri)
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
