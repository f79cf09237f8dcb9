"""Carries a journal to MLflow: during the run in a thread of its own, or later from what is on disk.

Every event can be delivered twice without harm, so a replay may stop anywhere and begin again: metrics and params
repeat what is there, tags, inputs and artifacts overwrite it, and a run is created only where none has its key.
"""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from hcr import stopping
from hcr.config.errors import TrackingError, one_line
from hcr.tracking.events import ARTIFACTS, JOURNAL, LONGEST_DIGEST, Event, first_event, last_event, read_events
from hcr.tracking.journal import Journal
from hcr.tracking.known import Known, lost_runs
from hcr.tracking.lock import is_of_this_host, lock_ended_run, lock_run
from hcr.tracking.place import store_of
from hcr.tracking.status import POSITION, end_dead_runs, is_delivered, oldest_first, read_position, undelivered
from hcr.tracking.store import (
    database_made_ms,
    experiment_id,
    find_deleted_runs,
    find_runs,
    import_store,
    open_store,
    stage_of,
    warm_up,
)
from hcr.tracking.suspicion import take_back_suspicion

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH = 100  # params, tags or metrics MLflow takes in one request
LONGEST_PARAM = 6_000  # characters; MLflow's own limit
LONGEST_NAME = 250  # characters; like the next, a limit that SQLite does not hold, and PostgreSQL does
LONGEST_SOURCE = 500
SOURCE_NAME, USER = "mlflow.source.name", "mlflow.user"
HEAD_START_S = 5.0  # Python runs one thread at a time: importing MLflow would hold up the first steps
BETWEEN_SAVES_S = 1.0  # of the position: what a kill has delivered again does no harm
SILENCE_S = 600.0  # well before anyone is suspected of being dead
MOST_NAMED = 3  # artifacts in a warning
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0  # between two tries of a store that does not answer


class ParentIsLate(TrackingError):
    """A nested run whose parent is still on its way, in a thread of its own."""


class RunDeleted(TrackingError):
    """A run that somebody deleted in MLflow: nothing is delivered to it, and it is not made again."""

    def __init__(self, key: str, run_id: str) -> None:
        super().__init__(
            f"run {key} was deleted in MLflow; `mlflow runs restore --run-id {run_id}` restores it,"
            f" `hcr sync --forget {key}` gives it up"
        )


class Replay:
    """Delivers one run's journal from where the last delivery stopped.

    Every call waits for its answer, whatever MLFLOW_ENABLE_ASYNC_LOGGING says: what MLflow would log in a thread of its
    own, and lose when that fails, would count as delivered.

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

    def deliver(self, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Deliver what the journal holds by now; whether that was anything.

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
                assert self._client is not None, "there is something to deliver"
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
        """Deliver the whole journal again, for a store that has lost some of it.

        Tags that the store has stay as they are, our own (`hcr.`) excepted: people edit descriptions.
        """
        self._offset, self.ended, self._kept = 0, False, set()

    def _opened(self) -> "MlflowClient":
        """The store; where it does not know the run any more, all of the journal is to be delivered again.

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
                # Under a deleted one too, as if this run had been delivered before: restoring it shows them together.
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


def deliver_dead_runs(root: Path) -> None:
    """End the runs under `root` whose processes are gone, and tell the store: nothing there runs without a process.

    A store that is away hears of it from the next command.
    """
    for folder in end_dead_runs(root):
        with contextlib.suppress(Exception), lock_run(folder):
            Replay(folder).deliver()


def deliver_others(root: Path, uri: str, go_on: Callable[[], bool]) -> None:
    """Deliver what earlier runs of this host, in the store at `uri`, ended without having delivered, and what an SQLite
    store has lost since.

    Args:
        go_on: asked before each run and after each event whether there is time; `hcr sync` delivers the rest.
    """
    for folder in oldest_first([*undelivered(root), *lost_runs(root, uri)]):
        header = first_event(folder)
        if not go_on():
            return
        is_over = is_of_this_host(header) and last_event(folder).get("event") == "end"
        if is_over and store_of(folder, header) == uri:
            with contextlib.suppress(Exception), lock_run(folder):  # each of them is told of by `hcr sync`
                deliver_whole(folder, go_on)


def deliver_whole(folder: Path, go_on: Callable[[], bool] = lambda: True) -> bool:
    """Deliver the run in `folder`, whose lock the caller holds; all of it where it had been delivered, and was lost.

    Returns:
        Whether that was anything.
    """
    replay = Replay(folder)
    if is_delivered(folder):
        replay.begin_anew()
    return replay.deliver(go_on)


def deliver_lost_run(folder: Path, known: Known) -> bool:
    """Deliver again the run in `folder`, which its store has lost, and before it the one that it is nested under.

    Args:
        known: what the store has.

    Returns:
        Whether it is there now, as a whole; otherwise `hcr sync` says why not.
    """
    above = folder.parent / str(first_event(folder).get("parent"))
    try:
        for lost in (above, folder):
            if known.standing(lost) == "lost":
                with lock_run(lost):
                    deliver_whole(lost)
    except Exception:  # the store's, of many kinds, or the run is being delivered
        return False
    return is_delivered(folder)


def deliver_lost(root: Path, uri: str) -> int:
    """Deliver again the runs under `root` that the SQLite store at `uri` has lost; how many that were.

    What cannot be delivered now, such as to a database that is locked, is for `hcr sync`, which says why.
    """
    count = 0
    for folder in oldest_first(lost_runs(root, uri)):
        with contextlib.suppress(Exception), lock_run(folder):
            count += deliver_whole(folder)
    return count


def upload_added(folder: Path) -> None:
    """Upload what was added to a run that had ended, such as its pictures.

    Raises:
        TrackingError: the store does not take it; nothing is lost.
    """
    try:
        with lock_ended_run(folder):
            Replay(folder).deliver()
    except Exception as error:  # the store's, of many kinds
        why = f"not all of it is in MLflow yet ({one_line(error)}); nothing is lost, `hcr sync` uploads it"
        raise TrackingError(f"run {folder.name}: {why}") from error


class ReplayThread:
    """Replays a run's journal while it is written. Leaving the `with` waits, within bounds, for the rest.

    The run's lock is the thread's from the first event on: it is given up when the thread is done with the store, so
    that nobody replays beside it.

    Args:
        journal: the run's journal, which wakes the thread at each event.
        timeout_s: how long the end waits while nothing gets through, in seconds.

    Attributes:
        undelivered: after the `with`, why not all was delivered, in a line; None where it was.
        error: the store's last error, if there was one.
    """

    def __init__(self, journal: Journal, timeout_s: float) -> None:
        self.undelivered: str | None = None
        self.error: Exception | None = None
        self._journal = journal
        self._timeout_s = timeout_s
        self._wake = threading.Event()
        self._started = self._delivered = self._given_up = False
        self._closing = threading.Event()
        self._ready = False
        self._last_progress = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        journal.on_event = self.wake

    def wake(self) -> None:
        """There is a new event; the first one starts the thread."""
        if not self._started:
            self._started = True
            self._thread.start()
        self._wake.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with stopping.deferred():
            signals = stopping.count()
            self._closing.set()
            self._last_progress = time.monotonic()
            self._wake.set()
            try:
                while self._thread.is_alive() and not self._out_of_time() and stopping.count() == signals:
                    self._thread.join(0.05)
            finally:  # an interrupt that `stopping` does not handle too, as in a notebook
                self._given_up = True
                if self._thread.is_alive():
                    stopping.leave_threads()
                if self._started and not self._delivered:
                    silent = "its journal has no end" if self._journal.gave_up else "the store does not answer"
                    self.undelivered = silent if self.error is None else one_line(self.error)

    def _out_of_time(self) -> bool:
        """Importing MLflow, seconds on a cold disk, is no silence of the store's."""
        return self._ready and time.monotonic() - self._last_progress >= self._timeout_s

    def _run(self) -> None:
        try:
            self._replay()
        except Exception as error:  # whatever it is, training goes on, and the end of the run says so
            self.error = error
        finally:
            self._closing.wait()  # a run that cannot be replayed is alive all the same, and holds its lock
            self._journal.release()

    def _replay(self) -> None:
        self._closing.wait(HEAD_START_S)
        import_store(self._journal.uri)  # beside training
        if "keras" in sys.modules:  # a model will be saved
            warm_up()
        self._last_progress, self._ready = time.monotonic(), True
        with contextlib.suppress(Exception):  # whatever is wrong with other runs is nothing to this one
            deliver_dead_runs(self._journal.root)
        self._last_progress = time.monotonic()
        replay = Replay(self._journal.folder)
        wait_s = SHORTEST_WAIT_S
        while not ((replay.ended or self._journal.gave_up) and self._closing.is_set()) and not self._given_up:
            self._wake.wait(wait_s)
            self._wake.clear()
            try:
                replay.deliver(self._go_on)
                wait_s = SHORTEST_WAIT_S
            except RunDeleted as error:
                goes_on = "" if self._closing.is_set() else "; training goes on"
                print(f"hcr: {one_line(error)}{goes_on}", file=sys.stderr, flush=True)
                self.error = error
                return
            except Exception as error:  # an outage: tried again until time is up
                if self.error is None and not isinstance(error, ParentIsLate):
                    told = f"hcr: MLflow does not take the run yet ({one_line(error)}); training goes on"
                    print(told, file=sys.stderr, flush=True)
                self.error = error
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        self._delivered = replay.ended
        if self._delivered:  # the rest of the time that this run may take is for others
            until = time.monotonic() + self._timeout_s
            deliver_others(
                self._journal.root,
                self._journal.uri,
                lambda: time.monotonic() < until and not self._given_up,
            )

    def _go_on(self) -> bool:
        """After each event: time starts anew, and a run that was given up gets no further one."""
        self._last_progress = time.monotonic()
        return not self._given_up
