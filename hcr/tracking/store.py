"""Access to the MLflow store: opening it without races, and searching it for runs by their hcr keys."""

import fcntl
import logging
import os
import sqlite3
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hcr.config.errors import TrackingError, one_line
from hcr.config.tracking import file_uri, output_root, sqlite_path, sqlite_uri
from hcr.tracking.place import reading, without_stray_folders
from hcr.tracking.relocation import WAIT_S, moved_from, relocate_artifacts

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

# With an unreachable server MLflow's defaults retry for minutes; the uploader has its own retries.
MLFLOW_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
FIRST_EXPERIMENT = "0"  # MLflow creates it together with a database
RUNS_AT_A_TIME = 1000  # page size of a search


# Held during late imports: two threads that import modules with circular imports at once sometimes fail.
IMPORTING = threading.RLock()


def import_mlflow() -> Any:
    """Import MLflow with little logging and short timeouts."""
    with IMPORTING:
        return _import_mlflow()


def _import_mlflow() -> Any:
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    # tqdm, MLflow's progress bar for artifacts, warns in a notebook without widgets.
    warnings.filterwarnings("ignore", message="IProgress not found")
    # Without docstrings (-OO) MLflow cannot register some kinds of data sets, which hcr does not use.
    warnings.filterwarnings("ignore", message="Failed to register a dataset source")
    import mlflow

    for name in ("mlflow", "alembic", "sqlalchemy"):  # MLflow logs a traceback of every error that it raises
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


def import_store(uri: str) -> None:
    """Import MLflow and the modules for the store at `uri`; takes seconds on a slow disk."""
    with IMPORTING:
        import_mlflow()
        kind = "rest_store" if uri.startswith("http") else "sqlalchemy_store"
        import_module(f"mlflow.store.tracking.{kind}")


def warm_up() -> None:
    """Do what MLflow does when a process first saves a model, imports and a package look-up: most of a second."""
    with IMPORTING:
        mlflow = import_mlflow()
        import_module("mlflow.pyfunc.loaders")
        _ = (mlflow.keras.save_model, mlflow.models.ModelSignature, mlflow.types.Schema)  # lazy imports
        look_up = getattr(import_module("mlflow.utils.requirements_utils"), "_init_modules_to_packages_map", None)
        if look_up is not None:  # a private function: if it is gone, MLflow looks up when it saves
            look_up()


def open_store(uri: str) -> "MlflowClient":
    """Open a client of the store at `uri`; its tables exist when this returns."""
    mlflow = import_mlflow()
    with _exclusive(uri), without_stray_folders(uri):
        if uri.startswith("sqlite:") and not sqlite_path(uri).exists():
            # Created under another name and renamed: MLflow can never open a database that a kill left half created.
            new = sqlite_path(uri).with_suffix(".new")
            new.unlink(missing_ok=True)
            mlflow.MlflowClient(tracking_uri=sqlite_uri(new)).search_experiments(max_results=1)
            new.replace(sqlite_path(uri))
        elif uri.startswith("sqlite:"):
            relocate_artifacts(sqlite_path(uri))
        client = mlflow.MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def experiment_id(client: "MlflowClient", name: str, uri: str) -> str:
    """The id of the experiment called `name`, which is created if it does not exist.

    Raises:
        TrackingError: the experiment was deleted.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        root = artifact_root(uri)
        location = file_uri(root) if root is not None else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was first
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"tracking.experiment_name: {name!r} was deleted in the store;"
            " restore it with `mlflow experiments restore`, or choose another name"
        )
    return str(found.experiment_id)


def artifact_root(uri: str) -> Path | None:
    """The artifact folder for experiments of the store at `uri`.

    It is beside an SQLite file, and under the output root for another database. A server chooses itself (None).
    """
    if uri.startswith("sqlite:"):
        return sqlite_path(uri).parent / "artifacts"
    return None if urlsplit(uri).scheme in ("http", "https", "") else output_root() / "artifacts"


def relocate_store(uri: str) -> None:
    """Update the artifact paths of an SQLite store that was moved; other stores and a missing file are skipped.

    A moved store that cannot be written, such as a colleague's, is unchanged, and a note says so.

    Raises:
        TrackingError: the database is damaged, or stays locked by another process.
    """
    path = sqlite_path(uri)
    if not uri.startswith("sqlite:") or not path.exists():
        return
    try:
        moved = moved_from(path)
        if moved and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            print(f"note: {path} cannot be written; its artifact paths still point to {moved[0]}", flush=True)
        elif moved:
            with _exclusive(uri):
                relocate_artifacts(path)
    except (sqlite3.Error, OSError) as error:
        raise TrackingError(f"{path}: expected a readable MLflow database ({one_line(error)})") from error


@contextmanager
def copy_of_store(uri: str) -> Iterator["MlflowClient"]:
    """Open a client for reading. For an SQLite file it reads a copy: MLflow writes to a file when it opens it."""
    if not uri.startswith("sqlite:"):
        yield open_store(uri)
        return
    path = sqlite_path(uri)
    with tempfile.TemporaryDirectory(prefix="hcr-") as folder:
        copy = Path(folder) / path.name
        with reading(path, WAIT_S) as database, closing(sqlite3.connect(copy)) as target:
            database.backup(target)
        relocate_artifacts(copy, path.parent)
        yield open_store(sqlite_uri(copy))


@contextmanager
def store_to_read(uri: str) -> Iterator["MlflowClient"]:
    """Open a client for reading: of the store itself, and of an SQLite file that cannot be written of a copy."""
    if uri.startswith("sqlite:") and not os.access(sqlite_path(uri), os.W_OK):
        with copy_of_store(uri) as client:
            yield client
    else:
        yield open_store(uri)


def all_runs(client: "MlflowClient") -> dict[str, "Run"]:
    """Every run of the store with an hcr key, by that key; a deleted run only if no active one has the key."""
    from mlflow.entities import ViewType

    found: dict[str, Run] = {}
    experiments = [experiment.experiment_id for experiment in client.search_experiments(ViewType.ALL)]
    page = None
    while experiments:
        runs = client.search_runs(
            experiments, "tags.`hcr.key` LIKE '%'", ViewType.ALL, RUNS_AT_A_TIME, ["attributes.start_time"], page
        )
        for run in runs:
            key = run.data.tags["hcr.key"]
            if key not in found or (found[key].info.lifecycle_stage, run.info.lifecycle_stage) == ("deleted", "active"):
                found[key] = run
        page = runs.token
        if not page:
            break
    return found


def deleted_run_ids(client: "MlflowClient") -> dict[str, set[str]]:
    """The ids of the deleted runs of every experiment, by hcr key."""
    from mlflow.entities import ViewType

    found: dict[str, set[str]] = {}
    experiments = [experiment.experiment_id for experiment in client.search_experiments(ViewType.ALL)]
    page = None
    while experiments:
        runs = client.search_runs(
            experiments, "tags.`hcr.key` LIKE '%'", ViewType.DELETED_ONLY, RUNS_AT_A_TIME, page_token=page
        )
        for run in runs:
            found.setdefault(run.data.tags["hcr.key"], set()).add(run.info.run_id)
        page = runs.token
        if not page:
            break
    return found


def stages_of_key(client: "MlflowClient", key: str) -> frozenset[str]:
    """The lifecycle stages, "active" and "deleted", of the runs with this hcr key in every experiment."""
    from mlflow.entities import ViewType

    experiments = [experiment.experiment_id for experiment in client.search_experiments(ViewType.ALL)]
    runs = client.search_runs(experiments, f"tags.`hcr.key` = '{key}'", ViewType.ALL) if experiments else []
    return frozenset(str(run.info.lifecycle_stage) for run in runs)


def database_made_ms(client: "MlflowClient") -> int | None:
    """Creation time of the database, in milliseconds since 1970; it identifies the database."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_experiment(FIRST_EXPERIMENT).creation_time or None
    except MlflowException:  # removed by hand
        return None


def find_deleted_runs(client: "MlflowClient", experiment: str, key: str) -> list[str]:
    """The ids of the deleted runs with this hcr key that can still be restored."""
    from mlflow.entities import ViewType

    runs = client.search_runs([experiment], f"tags.`hcr.key` = '{key}'", ViewType.DELETED_ONLY)
    return [run.info.run_id for run in runs]


def stage_of(client: "MlflowClient", run_id: str) -> str | None:
    """The lifecycle stage of the run, "active" or "deleted"; None if the store does not have the run."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_run(run_id).info.lifecycle_stage)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def find_runs(client: "MlflowClient", experiment: str, key: str) -> list[str]:
    """The ids of the active runs with this hcr key in the experiment with the id `experiment`, oldest first."""
    runs = client.search_runs([experiment], f"tags.`hcr.key` = '{key}'")
    return [run.info.run_id for run in sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))]


@contextmanager
def _exclusive(uri: str) -> Iterator[None]:
    """Admit one process at a time: processes that create the tables of an SQLite file at the same time crash."""
    if not uri.startswith("sqlite:"):
        yield
        return
    path = sqlite_path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
