"""Deletion of a removed run in its store, which can restore it until `mlflow gc`."""

from pathlib import Path
from typing import TYPE_CHECKING

from hcr.config.errors import TrackingError, one_line
from hcr.config.secrets import redact
from hcr.tracking.events import Event, first_event
from hcr.tracking.logged_model import ModelsRun, find_models
from hcr.tracking.pages import remove_views
from hcr.tracking.place import store_of
from hcr.tracking.status import read_position
from hcr.tracking.store import find_runs, open_store
from hcr.tracking.views import keys_of

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def delete_run(client: "MlflowClient", header: Event) -> None:
    """Delete every active run with the key of the journal that begins with `header`, its logged model and its views.

    Raises:
        TrackingError: the run is a version of a registered model.
        Exception: any error that MLflow raises.
    """
    experiment = client.get_experiment_by_name(header["experiment"])
    if experiment is None:
        return
    for run_id in find_runs(client, experiment.experiment_id, header["key"]):
        if versions := versions_of(client, run_id):
            name, number = versions[0]
            raise TrackingError(
                f"run {header['key']} is version {number} of the registered model {name!r}; delete that version first"
            )
        for model in find_models(client, ModelsRun(experiment.experiment_id, run_id, header["key"])):
            client.delete_logged_model(model.model_id)
        views = keys_of(client.get_run(run_id).data.tags)
        remove_views(client, experiment.experiment_id, set(views.values()))
        client.delete_run(run_id)


def registered_versions(folder: Path) -> list[tuple[str, int]]:
    """Names and versions of the registered models that the run in `folder` made.

    Raises:
        TrackingError: its store does not answer.
    """
    run_id = read_position(folder).get("run_id")
    if run_id is None:
        return []
    uri = store_of(folder, first_event(folder))
    try:
        return versions_of(open_store(uri), str(run_id))
    except Exception as error:  # any error of the store
        raise TrackingError(
            f"run {folder.name}: {redact(uri)} cannot say whether a registered model needs it ({one_line(error)})"
        ) from error


def versions_of(client: "MlflowClient", run_id: str) -> list[tuple[str, int]]:
    """Names and versions of the registered models that a run made."""
    found = client.search_model_versions(f"run_id = '{run_id}'")
    return sorted((version.name, int(version.version)) for version in found)
