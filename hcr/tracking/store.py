"""The MLflow store: opened without races, and asked for runs by our own keys."""

import fcntl
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hcr.config.errors import TrackingError
from hcr.config.tracking import file_uri, output_root, sqlite_path, sqlite_uri
from hcr.tracking.place import settle, without_mlflow_s_folder

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

# With a server gone, MLflow's own defaults retry for minutes; our replay tries again by itself.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
FIRST_EXPERIMENT = "0"  # which MLflow makes together with a database
RUNS_AT_A_TIME = 1000  # of a search


# Held by whoever imports what is late: threads that import what imports one another at once fail now and then.
IMPORTING = threading.RLock()


def import_mlflow() -> Any:
    """MLflow, quiet and impatient."""
    with IMPORTING:
        return _import_mlflow()


def _import_mlflow() -> Any:
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    # In a notebook without widgets tqdm, which MLflow would show the copying of artifacts with, says so.
    warnings.filterwarnings("ignore", message="IProgress not found")
    # Where Python keeps no docstrings (-OO), MLflow cannot fill in those of kinds of data sets that hcr does not use.
    warnings.filterwarnings("ignore", message="Failed to register a dataset source")
    import mlflow

    for name in ("mlflow", "alembic", "sqlalchemy"):  # MLflow logs a traceback of every error that it also raises
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


def import_store(uri: str) -> None:
    """Import MLflow and what it imports on opening the store at `uri`, which takes seconds on a slow disk."""
    with IMPORTING:
        import_mlflow()
        kind = "rest_store" if uri.startswith("http") else "sqlalchemy_store"
        import_module(f"mlflow.store.tracking.{kind}")


def warm_up() -> None:
    """Have what MLflow imports and looks up once in a process, the first time it saves a model: most of a second."""
    with IMPORTING:
        mlflow = import_mlflow()
        import_module("mlflow.pyfunc.loaders")
        _ = (mlflow.keras.save_model, mlflow.models.ModelSignature, mlflow.types.Schema)  # imported late, by name
        look_up = getattr(import_module("mlflow.utils.requirements_utils"), "_init_modules_to_packages_map", None)
        if look_up is not None:  # MLflow's own affair: without it, it looks up later
            look_up()


def open_store(uri: str) -> "MlflowClient":
    """A client of the store at `uri`, whose tables exist when this returns."""
    mlflow = import_mlflow()
    with _alone(uri), without_mlflow_s_folder(uri):
        if uri.startswith("sqlite:") and not sqlite_path(uri).exists():
            # Under another name until it is whole: MLflow refuses for ever what a kill leaves of half its tables.
            new = sqlite_path(uri).with_suffix(".new")
            new.unlink(missing_ok=True)
            mlflow.MlflowClient(tracking_uri=sqlite_uri(new)).search_experiments(max_results=1)
            new.replace(sqlite_path(uri))
        elif uri.startswith("sqlite:"):
            settle(sqlite_path(uri))
        client = mlflow.MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def experiment_id(client: "MlflowClient", name: str, uri: str) -> str:
    """The id of the experiment called `name`, made if there is none.

    Raises:
        TrackingError: it has been deleted.
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
            f"tracking.experiment_name: {name!r} has been deleted in the store;"
            " restore it with `mlflow experiments restore`, or choose another name"
        )
    return str(found.experiment_id)


def artifact_root(uri: str) -> Path | None:
    """Where an experiment of the store at `uri` keeps its artifacts: beside an SQLite file, under the output root for
    another database, and where it likes for a server (None)."""
    if uri.startswith("sqlite:"):
        return sqlite_path(uri).parent / "artifacts"
    return None if urlsplit(uri).scheme in ("http", "https", "") else output_root() / "artifacts"


def settle_store(uri: str) -> None:
    """Have an SQLite store name artifacts where they are now; nothing for other stores, or where there is none yet."""
    if uri.startswith("sqlite:") and sqlite_path(uri).exists():
        with _alone(uri):
            settle(sqlite_path(uri))


def all_runs(client: "MlflowClient") -> dict[str, "Run"]:
    """Every run of the store that has a key of ours, by that key; deleted ones only where no other has it."""
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


def database_made_ms(client: "MlflowClient") -> int | None:
    """When the database was made, in milliseconds since 1970: one that replaces it has another time."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_experiment(FIRST_EXPERIMENT).creation_time or None
    except MlflowException:  # removed by hand
        return None


def is_deleted(client: "MlflowClient", experiment: str, key: str) -> bool:
    """Whether a run tagged with our `key` was deleted, and can still be restored."""
    from mlflow.entities import ViewType

    return bool(client.search_runs([experiment], f"tags.`hcr.key` = '{key}'", ViewType.DELETED_ONLY))


def stage_of(client: "MlflowClient", run_id: str) -> str | None:
    """ "active" or "deleted"; None where the store does not know the run."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_run(run_id).info.lifecycle_stage)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def find_runs(client: "MlflowClient", experiment: str, key: str) -> list[str]:
    """The ids of the runs tagged with our `key` in the experiment of that id, oldest first."""
    runs = client.search_runs([experiment], f"tags.`hcr.key` = '{key}'")
    return [run.info.run_id for run in sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))]


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """One process at a time: several that make the tables of a fresh SQLite file at once crash."""
    if not uri.startswith("sqlite:"):
        yield
        return
    path = sqlite_path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
