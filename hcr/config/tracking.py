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
    require(not (scheme == "sqlite" and driver), key, "sqlite:////folder/mlflow.db, without a driver", uri)
    require(scheme in URI_SCHEMES, key, "a URI such as http://host:5000 or sqlite:////folder/mlflow.db", uri)


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
