"""The replay of one run's journal into MLflow, from where the last one stopped: each value arrives exactly once.

Every event can be uploaded twice without harm, so a replay may stop anywhere and begin again: metrics and params
repeat what is there, tags, inputs and artifacts overwrite it, and a run is created only where none has its key.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcr.config.errors import TrackingError
from hcr.tracking.events import ARTIFACTS, JOURNAL, LONGEST_DIGEST, Event, read_events
from hcr.tracking.place import store_of
from hcr.tracking.status import POSITION, read_position
from hcr.tracking.store import (
    database_made_ms,
    experiment_id,
    find_deleted_runs,
    find_runs,
    open_store,
    stage_of,
)
from hcr.tracking.suspicion import take_back_suspicion

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH = 100  # params, tags or metrics MLflow takes in one request
LONGEST_PARAM = 6_000  # characters; MLflow's own limit
LONGEST_NAME = 250  # characters; like the next, a limit that SQLite does not hold, and PostgreSQL does
LONGEST_SOURCE = 500
SOURCE_NAME, USER = "mlflow.source.name", "mlflow.user"
BETWEEN_SAVES_S = 1.0  # of the position: what is uploaded again after a kill does no harm
SILENCE_S = 600.0  # well before anyone is suspected of being dead
MOST_NAMED = 3  # artifacts in a warning


class ParentIsLate(TrackingError):
    """A nested run whose parent is not in the store yet."""


class RunDeleted(TrackingError):
    """A run that somebody deleted in MLflow: nothing is uploaded to it, and it is not made again."""

    def __init__(self, key: str, run_id: str) -> None:
        super().__init__(
            f"run {key} was deleted in MLflow; `mlflow runs restore --run-id {run_id}` restores it,"
            f" `hcr sync --forget {key}` gives it up"
        )


class Replay:
    """Uploads one run's journal from where the last upload stopped.

    Every call waits for its answer, whatever MLFLOW_ENABLE_ASYNC_LOGGING says: what MLflow would log in a thread of its
    own, and lose when that fails, would count as uploaded.

    Args:
        folder: the run's folder; its lock is held by the caller.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        position = read_position(folder)
        self._offset: int = position.get("offset", 0)
        self._run_id: str | None = position.get("run_id")
        whole = self._offset == (folder / JOURNAL).stat().st_size
        self.ended: bool = position.get("ended", False) and whole  # a run that was ended may have been resumed
        self._database: int | None = position.get("database")
        self._client: MlflowClient | None = None
        self._kept: set[str] | None = None  # tags that stay as the store has them
        self._gone: list[str] = []  # artifacts that are not in the run's folder any more
        self._spoke: float | None = None  # when, by `time.monotonic`

    def upload(self, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Upload what the journal holds by now; whether that was anything.

        Args:
            go_on: asked after each event whether to go on.

        Raises:
            RunDeleted: somebody has deleted the run in MLflow.
            Exception: whatever MLflow raises when the store cannot be reached; the position stays where it was.
        """
        saved = time.monotonic()
        if self._client is None and self._offset < (self._folder / JOURNAL).stat().st_size:
            self._client = self._opened()
        before = self._offset
        try:
            for event, offset in read_events(self._folder, self._offset):
                assert self._client is not None, "there is something to upload"
                HANDLERS[event["event"]](self, self._client, event)
                if self._spoke is None or time.monotonic() - self._spoke >= SILENCE_S:
                    take_back_suspicion(self._client, self.run_id)
                self._spoke = time.monotonic()
                self._offset = offset
                self.ended = event["event"] == "end"
                if time.monotonic() - saved >= BETWEEN_SAVES_S:
                    self._save_position()
                    saved = time.monotonic()
                if not go_on():
                    break
        except Exception as error:
            client, self._client = self._client, None  # the next time it is asked anew whether it knows the run
            # What MLflow says of each request to a deleted run, among other things.
            if getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE" and client and self._run_id:
                self._refuse_deleted(client, self._run_id)
            raise
        finally:
            self._tell_gone()
            if self._offset > before:
                self._save_position()
        return self._offset > before

    def begin_anew(self) -> None:
        """Upload the whole journal again, for a store that has lost some of it.

        Tags that the store has stay as they are, our own (`hcr.`) excepted: people edit descriptions.
        """
        self._offset, self.ended, self._kept = 0, False, set()

    def _opened(self) -> "MlflowClient":
        """The store; where it does not know the run any more, all of the journal is to be uploaded again.

        Raises:
            RunDeleted: it was deleted there.
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
        """The run's id in MLflow, once it has one."""
        assert self._run_id is not None, "the first event makes the run"
        return self._run_id

    def create_run(self, client: "MlflowClient", event: Event) -> None:
        """Find the run by its key, or create it."""
        experiment = experiment_id(client, event["experiment"], store_of(self._folder, event))
        self._database = database_made_ms(client)
        found = find_runs(client, experiment, event["key"])
        tags = dict(event["tags"])
        for tag, longest in ((SOURCE_NAME, LONGEST_SOURCE), (USER, LONGEST_NAME)):
            tags |= {tag: _cut(tags[tag], longest)} if tag in tags else {}
        if not found:
            if deleted := find_deleted_runs(client, experiment, event["key"]):
                raise RunDeleted(event["key"], deleted[0])
            if event["parent"] is not None:
                # Under a deleted one too, as if this run had been uploaded before: restoring it shows them together.
                parents = find_runs(client, experiment, event["parent"])
                parents = parents or find_deleted_runs(client, experiment, event["parent"])
                if not parents:
                    raise ParentIsLate(f"its parent run {event['parent']} is not in the store yet")
                tags["mlflow.parentRunId"] = parents[0]
            name = _cut(event["name"], LONGEST_NAME)
            client.create_run(experiment, start_time=event["time_ms"], tags=tags, run_name=name)
            # A request that seemed to fail may have made a run after all: the oldest is the run, others go.
            found = find_runs(client, experiment, event["key"])
            for extra in found[1:]:
                client.delete_run(extra)
        elif self._kept is not None:
            self._run_id = found[0]
            self._kept = {name for name in client.get_run(found[0]).data.tags if not name.startswith("hcr.")}
            self.log_tags(client, {"values": tags})
        self._run_id = found[0]

    def log_metrics(self, client: "MlflowClient", event: Event) -> None:
        """One epoch's metrics, in one request."""
        from mlflow.entities import Metric

        metrics = [Metric(name, value, event["time_ms"], event["step"]) for name, value in event["values"].items()]
        client.log_batch(self.run_id, metrics=metrics, synchronous=True)

    def log_params(self, client: "MlflowClient", event: Event) -> None:
        """Params; one too long for MLflow says where it is whole."""
        from mlflow.entities import Param

        params = [
            Param(name, value if len(value) <= LONGEST_PARAM else "too long to show; see config/config.yaml")
            for name, value in event["values"].items()
        ]
        for start in range(0, len(params), BATCH):
            client.log_batch(self.run_id, params=params[start : start + BATCH], synchronous=True)

    def log_tags(self, client: "MlflowClient", event: Event) -> None:
        """Tags."""
        from mlflow.entities import RunTag

        kept = self._kept or ()
        tags = [RunTag(name, value) for name, value in event["values"].items() if name not in kept]
        client.log_batch(self.run_id, tags=tags, synchronous=True)

    def log_dataset(self, client: "MlflowClient", event: Event) -> None:
        """An input, with as much of our digest as MLflow has room for."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=event["name"],
            digest=event["digest"][:LONGEST_DIGEST],
            source_type="local",
            source=json.dumps({"uri": event["source"]}),
            schema=json.dumps(event["schema"]),
            profile=json.dumps(event["profile"]),
        )
        context = InputTag("mlflow.data.context", "training")
        client.log_inputs(self.run_id, [DatasetInput(dataset, [context])])

    def log_artifact(self, client: "MlflowClient", event: Event) -> None:
        """A file, or a folder with all that is in it. What is gone from the disk holds up nothing behind it."""
        path = Path(event["path"])
        local = self._folder / ARTIFACTS / path
        if not local.exists():
            self._gone.append(path.as_posix())
        elif local.is_dir():
            client.log_artifacts(self.run_id, str(local), path.as_posix())
        else:
            parent = path.parent.as_posix()
            client.log_artifact(self.run_id, str(local), None if parent == "." else parent)

    def end_run(self, client: "MlflowClient", event: Event) -> None:
        """The status, as the last thing: FINISHED says that all of the above is there."""
        client.set_terminated(self.run_id, event["status"], event["time_ms"])

    def resume_run(self, client: "MlflowClient", event: Event) -> None:
        """Running again, and without the error that ended it."""
        client.update_run(self.run_id, status="RUNNING")
        if "hcr.error" in client.get_run(self.run_id).data.tags:
            client.delete_tag(self.run_id, "hcr.error")

    def _tell_gone(self) -> None:
        if not self._gone:
            return
        shown = ", ".join(self._gone[:MOST_NAMED]) + (" ..." if self._gone[MOST_NAMED:] else "")
        what = f"{len(self._gone)} artifact{'s' if self._gone[1:] else ''} ({shown})"
        told = f"hcr: warning: {self._folder}: {what} cannot be delivered, as the files are gone; the rest is"
        print(told, file=sys.stderr, flush=True)
        self._gone.clear()

    def _header(self) -> Event:
        event, _ = next(read_events(self._folder))
        return event

    def _save_position(self) -> None:
        path = self._folder / POSITION
        new = path.with_suffix(".new")
        position: dict[str, object] = {"offset": self._offset, "run_id": self._run_id, "ended": self.ended}
        position["database"] = self._database
        new.write_text(json.dumps(position), encoding="utf-8")
        new.replace(path)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


HANDLERS: dict[str, Callable[[Replay, Any, Event], None]] = {
    "run": Replay.create_run,
    "metrics": Replay.log_metrics,
    "params": Replay.log_params,
    "tags": Replay.log_tags,
    "dataset": Replay.log_dataset,
    "artifact": Replay.log_artifact,
    "end": Replay.end_run,
    "resume": Replay.resume_run,
}
