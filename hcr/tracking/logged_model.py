"""A run's model as a logged model of MLflow, which its Models page lists and its registry takes.

It carries the run's hcr key as a tag and is searched for before it is created, so that a repeated upload makes no
second one. Until all of its files are there its status is PENDING.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.tracking import MlflowClient

MLMODEL = "MLmodel"  # the file that describes a model


class ModelsRun(NamedTuple):
    """The run that made a model: the id of its experiment, its own id, its hcr key."""

    experiment: str
    run_id: str
    key: str


def upload_model(
    client: "MlflowClient",
    run: ModelsRun,
    folder: Path,
    *,
    name: str,
    architecture: str,
    params: Mapping[str, str],
    step: int,
) -> str:
    """Upload the model in `folder` as the model of a run; return its id.

    Args:
        name, architecture, params, step: as for `Journal.model`.
    """
    found = find_models(client, run)
    is_new = not found
    if is_new:
        tags = {"hcr.key": run.key}
        client.create_logged_model(run.experiment, name, run.run_id, tags, dict(params), architecture)
        # An earlier request that seemed to fail may have created one: keep the oldest, delete the others.
        found = find_models(client, run)
        for extra in found[1:]:
            client.delete_logged_model(extra.model_id)
    model = found[0]
    client.log_model_artifacts(model.model_id, str(folder))
    with tempfile.TemporaryDirectory(prefix="hcr-") as scratch:
        described = Path(scratch) / MLMODEL
        described.write_text(_with_ids((folder / MLMODEL).read_text(encoding="utf-8"), model), encoding="utf-8")
        client.log_model_artifact(model.model_id, str(described))
    client.finalize_logged_model(model.model_id, "READY")
    if is_new or model.model_id not in outputs_of(client.get_run(run.run_id)):  # MLflow refuses the same output twice
        from mlflow.entities import LoggedModelOutput

        client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step)])
    return str(model.model_id)


def find_models(client: "MlflowClient", run: ModelsRun) -> "list[LoggedModel]":
    """The logged models of a run, oldest first; not those that were deleted."""
    query = f"tags.`hcr.key` = '{run.key}' AND source_run_id = '{run.run_id}'"
    found = client.search_logged_models([run.experiment], query)
    return sorted(found, key=lambda model: (model.creation_timestamp, model.model_id))


def model_of(client: "MlflowClient", run: "Run") -> "LoggedModel | None":
    """The complete logged model of a run; None if it has none, or it was deleted."""
    from mlflow.exceptions import MlflowException

    for model_id in reversed(outputs_of(run)):
        try:
            model = client.get_logged_model(model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            continue
        if str(model.status) == "READY":
            return model
    return None


def outputs_of(run: "Run") -> list[str]:
    """The ids of the logged models that a run has made."""
    return [output.model_id for output in run.outputs.model_outputs] if run.outputs is not None else []


def _with_ids(described: str, model: "LoggedModel") -> str:
    """The MLmodel file of a model that was saved before MLflow knew it, with its id, its run and its place."""
    values = yaml.safe_load(described)
    values |= {
        "artifact_path": model.artifact_location,
        "model_id": model.model_id,
        "model_uuid": model.model_id,
        "run_id": model.source_run_id,
    }
    return str(yaml.safe_dump(values, allow_unicode=True))
