"""Replay of one run's journal into MLflow, from where the last replay stopped: each value arrives exactly once.

Every event is idempotent, so a replay may stop anywhere and begin again: MLflow stores equal metrics and params once,
tags, inputs and artifacts are overwritten, and a run or a logged model is created only if none has its key.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcr.config.errors import TrackingError
from hcr.tracking.deletion import delete_run
from hcr.tracking.events import (
    ARTIFACTS,
    DESCRIPTION,
    JOURNAL,
    LONGEST_DIGEST,
    Event,
    is_removed,
    read_events,
)
from hcr.tracking.index import POSITION
from hcr.tracking.logged_model import MLMODEL, ModelsRun, find_models, upload_model
from hcr.tracking.pages import write_views
from hcr.tracking.place import store_of
from hcr.tracking.status import read_position
from hcr.tracking.store import (
    database_made_ms,
    experiment_id,
    find_deleted_runs,
    find_runs,
    open_store,
    stage_of,
)
from hcr.tracking.suspicion import clear_suspicion
from hcr.tracking.views import HERE, settled

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH = 100  # params or tags that MLflow accepts in one request
METRICS_BATCH = 1_000  # metrics alone
LONGEST_PARAM = 6_000  # characters; MLflow's limit
LONGEST_NAME = 250  # characters; PostgreSQL enforces this limit and the next, SQLite does not
LONGEST_SOURCE = 500
SOURCE_NAME, USER = "mlflow.source.name", "mlflow.user"
BETWEEN_SAVES_S = 1.0  # of the position; after a kill, events since the last save are uploaded again
SILENCE_S = 600.0  # well below the time after which a silent run is suspected
MOST_NAMED = 3  # artifacts in a warning


class ParentIsLate(TrackingError):
    """The parent of a nested run is not in the store yet."""


class RunDeleted(TrackingError):
    """The run was deleted in MLflow: nothing is uploaded to it, and it is not created again."""

    def __init__(self, key: str, run_id: str) -> None:
        super().__init__(
            f"run {key} was deleted in MLflow; `mlflow runs restore --run-id {run_id}` restores it,"
            f" `hcr sync --forget {key}` gives up its upload"
        )


class Replay:
    """Uploads one run's journal from where the last upload stopped.

    Every request is synchronous, whatever MLFLOW_ENABLE_ASYNC_LOGGING says: values that MLflow's logging thread fails
    to send would count as uploaded.

    Args:
        folder: the run's folder; the caller holds its lock.

    Attributes:
        ended: all events are uploaded, and the last one ended the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        position = read_position(folder)
        self._offset: int = position.get("offset", 0)
        self._run_id: str | None = position.get("run_id")
        is_complete = self._offset == (folder / JOURNAL).stat().st_size
        self.ended: bool = position.get("ended", False) and is_complete  # an ended run may have been resumed since
        self._database: int | None = position.get("database")
        self._client: MlflowClient | None = None
        self._experiment: str | None = position.get("experiment_id")  # ids, once they are known
        self._model_id: str | None = None
        self._preserved: set[str] | None = None  # tags that keep the value that the store has
        self._missing: list[str] = []  # artifacts that are no longer in the run's folder
        self._last_event_s: float | None = None  # by `time.monotonic`

    def upload(self, should_continue: Callable[[], bool] = lambda: True) -> bool:
        """Upload the events that the journal has now.

        Args:
            should_continue: called after each event; if it returns False, the upload stops.

        Returns:
            True if anything was uploaded.

        Raises:
            RunDeleted: the run was deleted in MLflow.
            Exception: any error that MLflow raises, such as for an unreachable store; the next upload repeats the
                event that failed.
        """
        if is_removed(self._folder):
            return self._delete()
        saved = time.monotonic()
        if self._client is None and self._offset < (self._folder / JOURNAL).stat().st_size:
            self._client = self._open()
        before = self._offset
        try:
            for event, offset in read_events(self._folder, self._offset):
                assert self._client is not None, "there is something to upload"
                HANDLERS[event["event"]](self, self._client, event)
                if self._last_event_s is None or time.monotonic() - self._last_event_s >= SILENCE_S:
                    clear_suspicion(self._client, self.run_id)
                self._last_event_s = time.monotonic()
                self._offset = offset
                self.ended = event["event"] == "end"
                if time.monotonic() - saved >= BETWEEN_SAVES_S:
                    self._save_position()
                    saved = time.monotonic()
                if not should_continue():
                    break
        except Exception as error:
            client, self._client = self._client, None  # the next upload checks again that the store has the run
            # One of the meanings of this code is that the run was deleted.
            if getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE" and client and self._run_id:
                self._refuse_deleted(client, self._run_id)
            raise
        finally:
            self._warn_of_missing_artifacts()
            if self._offset > before:
                self._save_position()
        return self._offset > before

    def restart(self) -> None:
        """Make the next `upload` begin at the first event, for a store that has lost some of the run.

        Tags that the store has keep their values, except `hcr.` tags: people edit descriptions.
        """
        self._offset, self.ended, self._preserved = 0, False, set()

    def _delete(self) -> bool:
        """Delete the run in the store instead of uploading it: the user removed it."""
        size = (self._folder / JOURNAL).stat().st_size
        if self._offset == size and self.ended:
            return False
        header = self._header()
        delete_run(open_store(store_of(self._folder, header)), header)
        self._offset, self.ended = size, True
        self._save_position()
        return True

    def _open(self) -> "MlflowClient":
        """Open the store; if it no longer has the run, go back to the first event.

        Raises:
            RunDeleted: the run was deleted there.
        """
        client = open_store(store_of(self._folder, self._header()))
        if self._run_id is not None and self._refuse_deleted(client, self._run_id) is None:
            self._offset, self._run_id, self.ended = 0, None, False
        return client

    def _refuse_deleted(self, client: "MlflowClient", run_id: str) -> str | None:
        stage = stage_of(client, run_id)
        if stage == "deleted":
            raise RunDeleted(self._folder.name, run_id)
        return stage

    @property
    def run_id(self) -> str:
        """The run's id in MLflow, after `create_run`."""
        assert self._run_id is not None, "the first event creates the run"
        return self._run_id

    def create_run(self, client: "MlflowClient", event: Event) -> None:
        """Find the run by its key, or create it."""
        experiment = self._experiment = experiment_id(client, event["experiment"], store_of(self._folder, event))
        self._database = database_made_ms(client)
        found = find_runs(client, experiment, event["key"])
        tags = {name: settled(value, experiment) for name, value in event["tags"].items()}
        for tag, longest in ((SOURCE_NAME, LONGEST_SOURCE), (USER, LONGEST_NAME)):
            tags |= {tag: _cut(tags[tag], longest)} if tag in tags else {}
        if not found:
            if deleted := find_deleted_runs(client, experiment, event["key"]):
                raise RunDeleted(event["key"], deleted[0])
            if event["parent"] is not None:
                # A deleted parent counts too: restoring it shows parent and child together.
                parents = find_runs(client, experiment, event["parent"])
                parents = parents or find_deleted_runs(client, experiment, event["parent"])
                if not parents:
                    raise ParentIsLate(f"its parent run {event['parent']} is not in the store yet")
                tags["mlflow.parentRunId"] = parents[0]
            name = _cut(event["name"], LONGEST_NAME)
            client.create_run(experiment, start_time=event["time_ms"], tags=tags, run_name=name)
            # An earlier request that seemed to fail may have created a run: keep the oldest, delete the others.
            found = find_runs(client, experiment, event["key"])
            for extra in found[1:]:
                client.delete_run(extra)
        elif self._preserved is not None:
            self._run_id = found[0]
            self._preserved = {name for name in client.get_run(found[0]).data.tags if not name.startswith("hcr.")}
            self.log_tags(client, {"values": tags})
        self._run_id = found[0]

    def log_metrics(self, client: "MlflowClient", event: Event) -> None:
        """Log the metrics of one step, in one request; those of the run's model are linked to it and to their data."""
        from mlflow.entities import Metric

        of_model = event.get("of_model", {})
        model_id = self._find_model(client) if of_model else None
        metrics = []
        for name, value in event["values"].items():
            links: dict[str, str] = {}
            if name in of_model and model_id is not None:
                data, digest = of_model[name]
                links = {"model_id": model_id, "dataset_name": data, "dataset_digest": digest[:LONGEST_DIGEST]}
            metrics.append(Metric(name, value, event["time_ms"], event["step"], **links))
        client.log_batch(self.run_id, metrics=metrics, synchronous=True)

    def log_system(self, client: "MlflowClient", event: Event) -> None:
        """Log samples of system metrics, each with its time; a step is a sample."""
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, time_ms, step)
            for step, (time_ms, values) in enumerate(event["samples"], start=event["step"])
            for name, value in values.items()
        ]
        for start in range(0, len(metrics), METRICS_BATCH):
            client.log_batch(self.run_id, metrics=metrics[start : start + METRICS_BATCH], synchronous=True)

    def log_params(self, client: "MlflowClient", event: Event) -> None:
        """Log params; the value of one too long for MLflow says which artifact has it."""
        from mlflow.entities import Param

        params = [
            Param(name, value if len(value) <= LONGEST_PARAM else "too long to show; see config/config.yaml")
            for name, value in event["values"].items()
        ]
        for start in range(0, len(params), BATCH):
            client.log_batch(self.run_id, params=params[start : start + BATCH], synchronous=True)

    def log_tags(self, client: "MlflowClient", event: Event) -> None:
        """Log tags, except preserved ones; links in a description get the id of the run's experiment."""
        from mlflow.entities import RunTag

        values, kept = event["values"], self._preserved or ()
        if HERE in values.get(DESCRIPTION, ""):
            values = values | {DESCRIPTION: settled(values[DESCRIPTION], self._experiment_of(client))}
        tags = [RunTag(name, value) for name, value in values.items() if name not in kept]
        client.log_batch(self.run_id, tags=tags, synchronous=True)

    def log_dataset(self, client: "MlflowClient", event: Event) -> None:
        """Log one data set as an input."""
        self.log_datasets(client, {"datasets": [event]})

    def log_datasets(self, client: "MlflowClient", event: Event) -> None:
        """Log data sets as inputs, in one request, with their digests cut to the length that MLflow stores."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = []
        for facts in event["datasets"]:
            dataset = Dataset(
                name=facts["name"],
                digest=facts["digest"][:LONGEST_DIGEST],
                source_type="local",
                source=json.dumps({"uri": facts["source"]}),
                schema=json.dumps(facts["schema"]),
                profile=json.dumps(facts["profile"]),
            )
            context = InputTag("mlflow.data.context", facts.get("context", "training"))
            inputs.append(DatasetInput(dataset, [context]))
        client.log_inputs(self.run_id, inputs)

    def log_artifact(self, client: "MlflowClient", event: Event) -> None:
        """Log a file, or a folder recursively. One that is gone from the disk is skipped."""
        path = Path(event["path"])
        local = self._folder / ARTIFACTS / path
        if not local.exists():
            self._missing.append(path.as_posix())
        elif local.is_dir():
            client.log_artifacts(self.run_id, str(local), path.as_posix())
        else:
            parent = path.parent.as_posix()
            client.log_artifact(self.run_id, str(local), None if parent == "." else parent)

    def log_model(self, client: "MlflowClient", event: Event) -> None:
        """Log the run's model. One whose files are gone from the disk is skipped."""
        folder = self._folder / ARTIFACTS / event["path"]
        if not (folder / MLMODEL).exists():
            self._missing.append(event["path"])
            return
        facts = {name: event[name] for name in ("architecture", "step")}
        params = {name: _cut(value, LONGEST_PARAM) for name, value in event["params"].items()}
        run = ModelsRun(self._experiment_of(client), self.run_id, self._header()["key"])
        self._model_id = upload_model(client, run, folder, name=event["path"], params=params, **facts)

    def log_views(self, client: "MlflowClient", event: Event) -> None:
        """Write the run's views on its experiment."""
        write_views(client, self._experiment_of(client), self.run_id, event["views"])

    def _find_model(self, client: "MlflowClient") -> str | None:
        """The id of the run's model; None if the store has none, such as one that was deleted there."""
        if self._model_id is None:
            found = find_models(client, ModelsRun(self._experiment_of(client), self.run_id, self._header()["key"]))
            self._model_id = found[0].model_id if found else None
        return self._model_id

    def _experiment_of(self, client: "MlflowClient") -> str:
        if self._experiment is None:
            self._experiment = str(client.get_run(self.run_id).info.experiment_id)
        return self._experiment

    def end_run(self, client: "MlflowClient", event: Event) -> None:
        """Set the status, last: FINISHED means that everything before is uploaded."""
        client.set_terminated(self.run_id, event["status"], event["time_ms"])

    def resume_run(self, client: "MlflowClient", event: Event) -> None:
        """Set the status to RUNNING and remove the error of the interrupted run."""
        client.update_run(self.run_id, status="RUNNING")
        if "hcr.error" in client.get_run(self.run_id).data.tags:
            client.delete_tag(self.run_id, "hcr.error")

    def _warn_of_missing_artifacts(self) -> None:
        if not self._missing:
            return
        shown = ", ".join(self._missing[:MOST_NAMED]) + (" ..." if self._missing[MOST_NAMED:] else "")
        what = f"{len(self._missing)} artifact{'s' if self._missing[1:] else ''} ({shown})"
        warning = f"hcr: warning: {self._folder}: {what} cannot be uploaded: the files are gone; the rest is uploaded"
        print(warning, file=sys.stderr, flush=True)
        self._missing.clear()

    def _header(self) -> Event:
        event, _ = next(read_events(self._folder))
        return event

    def _save_position(self) -> None:
        path = self._folder / POSITION
        new = path.with_suffix(".new")
        position: dict[str, object] = {"offset": self._offset, "run_id": self._run_id, "ended": self.ended}
        position |= {"database": self._database, "experiment_id": self._experiment}
        new.write_text(json.dumps(position), encoding="utf-8")
        new.replace(path)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


HANDLERS: dict[str, Callable[[Replay, Any, Event], None]] = {
    "run": Replay.create_run,
    "metrics": Replay.log_metrics,
    "system": Replay.log_system,
    "params": Replay.log_params,
    "tags": Replay.log_tags,
    "dataset": Replay.log_dataset,
    "datasets": Replay.log_datasets,
    "artifact": Replay.log_artifact,
    "model": Replay.log_model,
    "views": Replay.log_views,
    "end": Replay.end_run,
    "resume": Replay.resume_run,
}
