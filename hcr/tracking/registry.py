"""MLflow's model registry: versions of named models, each made by a run, and aliases such as champion."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hcr.config.errors import TrackingError
from hcr.tracking.events import DESCRIPTION, KIND
from hcr.tracking.fetching import MODEL
from hcr.tracking.logged_model import MLMODEL, model_of
from hcr.tracking.store import import_mlflow, open_store

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

KEPT = ("hcr.key", KIND, "hcr.fingerprint", "hcr.dataset_digest", "hcr.split_digest", "hcr.code")
VARIABLE = "MLFLOW_TRACKING_URI"
VERSIONS = "mlflow.modelVersions"  # a logged model's tag
SCORES = ("best/", "test/", "model/params")  # metrics that become tags begin with these


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        number: from 1.
        is_new: False if the run was registered before.
    """

    number: int
    is_new: bool


def register(uri: str, run_id: str, name: str, alias: str | None) -> Version:
    """Register the model of a run, with the run card as description, and its digests and end metrics as tags.

    A run that was registered under this name before gets no second version.

    Args:
        uri: the store that has the run.
        run_id: the run's.
        name: of the registered model, which is created if it does not exist.
        alias: to be moved to the version; None: none.

    Raises:
        TrackingError: the run is not complete in the store, or has no model there.
        MlflowException: the registry refuses the name or the alias, or cannot be reached.
    """
    client = open_store(uri)
    with _tracking_at(uri):
        return _register(client, run_id, name, alias)


def _register(client: "MlflowClient", run_id: str, name: str, alias: str | None) -> Version:
    run = client.get_run(run_id)
    source, model_id = _model_of(client, run)
    number = _version_of(client, run_id, name)
    is_new = number is None
    if number is None:
        is_first = _create_model(client, name)
        try:
            number = int(
                client.create_model_version(
                    name, source, run_id, tags=_tags(run), description=run.data.tags.get(DESCRIPTION), model_id=model_id
                ).version
            )
        except BaseException:
            if is_first:
                client.delete_registered_model(name)
            raise
    if model_id is not None:
        _show_version(client, model_id, name, number)
    if alias is not None:
        client.set_registered_model_alias(name, alias, str(number))
    return Version(number, is_new)


@contextmanager
def _tracking_at(uri: str) -> Iterator[None]:
    """A database's registry looks the model up in MLflow's global store, whatever store its client was made for."""
    mlflow, before = import_mlflow(), os.environ.get(VARIABLE)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # which also unsets the variable
        if before is not None:
            os.environ[VARIABLE] = before


def _model_of(client: "MlflowClient", run: "Run") -> tuple[str, str | None]:
    """Where the run's model is, and its id if it is a logged model."""
    key = run.data.tags.get("hcr.key", run.info.run_id)
    if run.info.lifecycle_stage != "active":
        raise TrackingError(f"run {key}: expected a run that is in the store, got one that was deleted there")
    if run.info.status != "FINISHED":
        raise TrackingError(f"run {key}: expected a run that has finished, got one that is {run.info.status}")
    if (model := model_of(client, run)) is not None:
        return f"models:/{model.model_id}", model.model_id
    if any(entry.path == f"{MODEL}/{MLMODEL}" for entry in client.list_artifacts(run.info.run_id, MODEL)):
        return f"{run.info.artifact_uri}/{MODEL}", None  # of an earlier version of hcr
    raise TrackingError(f"run {key}: expected a run with a model, got one without")


def _show_version(client: "MlflowClient", model_id: str, name: str, number: int) -> None:
    """Make the page of the logged model show its version, as `mlflow.register_model` does."""
    shown = json.loads(client.get_logged_model(model_id).tags.get(VERSIONS, "[]"))
    version = {"name": name, "version": str(number)}
    if version not in shown:
        client.set_logged_model_tags(model_id, {VERSIONS: json.dumps([*shown, version])})


def _version_of(client: "MlflowClient", run_id: str, name: str) -> int | None:
    """The version of the registered model that this run made; None if there is none."""
    mark = '"' if "'" in name else "'"
    found = client.search_model_versions(f"name = {mark}{name}{mark} AND run_id = '{run_id}'")
    return min((int(version.version) for version in found), default=None)


def _create_model(client: "MlflowClient", name: str) -> bool:
    """Create the registered model; False if it exists."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return False
    return True


def _tags(run: "Run") -> Mapping[str, str]:
    tags = {name: run.data.tags[name] for name in KEPT if name in run.data.tags}
    return tags | {name: f"{value:g}" for name, value in run.data.metrics.items() if name.startswith(SCORES)}
