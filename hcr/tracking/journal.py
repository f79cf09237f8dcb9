"""The journal: every event of a run is written to disk before anything is uploaded.

A run's folder is `<output root>/runs/<key>/`:

    journal.jsonl    one event per line, appended and synced; a line without its newline counts as never written
    artifacts/       files, laid out as in the store
    lock             held (flock) by the process that trains or uploads the run
    delivered.json   the offset up to which the journal is uploaded
    store.json       the choice made by `hcr sync --to` or `--forget`, which overrides the journal (see `place`)
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any, Self

from hcr import stopping
from hcr.config.errors import HcrError, TrackingError, one_line
from hcr.tracking.events import ARTIFACTS, JOURNAL, LONGEST_EVENT, UNBUNDLED, Event, Status, read_events
from hcr.tracking.lock import lock_run, this_boot, this_host
from hcr.tracking.place import store_of

# The fields of a run's first event that are its places: another machine has others.
PLACES = ("uri", "host", "boot", "root", "scratch", UNBUNDLED)
Sample = tuple[int, Mapping[str, float]]  # milliseconds since 1970, and metrics of that moment by name
MOST_SAMPLES = 500  # in an event
Measured = tuple[str, str]  # name and digest of the data set that a metric was measured on


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """A data set that a run uses.

    Only what the digest determines: MLflow keeps the first record of a digest for all runs of an experiment.

    Attributes:
        name, digest, source: its own.
        schema: of an image.
        profile: numbers of images and classes.
        context: what the run uses it for: training, validation, testing or another word.
    """

    name: str
    digest: str
    source: str
    schema: Mapping[str, Any]
    profile: Mapping[str, int]
    context: str = "training"


class Journal:
    """Writes the events of one run. Nothing is on disk before `begin` or `resume`.

    As a context manager it ends the run: FINISHED, FAILED with the error as a tag, or KILLED when interrupted.

    Args:
        root: the output root.
        uri: the store that the run belongs to.
        experiment: the MLflow experiment.
        parent: the key of the run under which this one is nested.

    Attributes:
        on_event: if set, called with each event once it is on disk.
        gave_up: an event could not be written; the journal has no end event then.
        shared_views: the run's views of MLflow's pages by name, as `views` logged them last.
    """

    def __init__(
        self,
        root: Path,
        *,
        uri: str,
        experiment: str,
        parent: str | None = None,
    ) -> None:
        # It begins with a letter: Hydra would read 12e45 as a number.
        self.key = secrets.choice("abcdef") + secrets.token_hex(6)[1:]
        self.parent = parent
        self.uri = uri
        self.folder = root / "runs" / self.key
        self.on_event: Callable[[Event], None] | None = None
        self.header: Event = {"key": self.key, "uri": uri, "experiment": experiment, "parent": parent}
        self.header |= {"host": this_host(), "boot": this_boot(), "root": str(root)}
        self.root = root
        self._logged_metrics: set[tuple[str, int]] = set()  # name and step
        self._logged_params: set[str] = set()
        self._num_samples = 0
        self.gave_up = False
        self.shared_views: dict[str, str] = {}
        self._file: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def is_open(self) -> bool:
        """True if the run has begun and not ended."""
        return self._file is not None

    @property
    def artifacts(self) -> Path:
        """The folder that `artifact` writes to."""
        return self.folder / ARTIFACTS

    def begin(self, *, name: str, tags: Mapping[str, str], scratch: str | None = None, key: str | None = None) -> None:
        """Create the run's folder and write its first event.

        Args:
            scratch: name of a folder to create in it, which is deleted when the run has FINISHED.
            key: the run's key, if it was chosen before; replaces the journal's own.

        Raises:
            TrackingError: the folder cannot be written.
        """
        if key is not None:
            self.take_key(key)
        with stopping.deferred():
            self._open_new(name, tags, scratch)

    def take_key(self, key: str) -> None:
        """Replace the journal's own key by one that was chosen before. Call before `begin`."""
        self.key = self.header["key"] = key
        self.folder = self.root / "runs" / key

    def _open_new(self, name: str, tags: Mapping[str, str], scratch: str | None) -> None:
        try:
            self.artifacts.mkdir(parents=True)
            if scratch is not None:
                (self.folder / scratch).mkdir()
            self._lock = lock_run(self.folder)
            path = self.folder / JOURNAL
            path.touch(mode=0o600)  # the store's address in it may hold a password
            self._file = path.open("ab")
        except OSError as error:
            raise TrackingError(f"{self.root}: expected a folder that can be written ({one_line(error)})") from error
        self.header |= {
            "scratch": scratch,
            "name": name,
            "tags": {**tags, "hcr.key": self.key, "hcr.host": this_host()},
        }
        self._write("run", **self.header)

    def resume(self, folder: Path, *, lock: IO[bytes] | None = None, reopen: bool = False) -> None:
        """Continue the interrupted run in `folder` instead of beginning a new one.

        Args:
            lock: the run's lock, if the caller holds it; the journal takes it over.
            reopen: continue a finished run too, such as a sweep that gets more trials.

        Raises:
            BlockingIOError: the run is alive.
            TrackingError: the run has finished, or its journal is damaged or cannot be written.
        """
        with stopping.deferred():
            self._open_again(folder, lock or lock_run(folder), reopen=reopen)

    def _open_again(self, folder: Path, lock: IO[bytes], *, reopen: bool) -> None:
        try:
            events = _repaired(folder)
            if events[-1].get("status") == "FINISHED" and not reopen:  # by another process, a moment ago
                raise TrackingError(f"{folder}: expected an interrupted run, but it has finished")
            file = (folder / JOURNAL).open("ab")
        except OSError as error:
            lock.close()
            raise TrackingError(f"{folder}: expected a journal that can be written ({one_line(error)})") from error
        except TrackingError:
            lock.close()
            raise
        self._lock, self._file = lock, file
        self.folder = folder
        self.header = {name: value for name, value in events[0].items() if name not in ("event", "time_ms")}
        self.key, self.uri = self.header["key"], store_of(folder, self.header)
        self._logged_params = {name for e in events if e["event"] == "params" for name in e["values"]}
        self._logged_metrics = {(name, e["step"]) for e in events if e["event"] == "metrics" for name in e["values"]}
        self._num_samples = sum(len(e["samples"]) for e in events if e["event"] == "system")
        self.shared_views = next((e["views"] for e in reversed(events) if e["event"] == "views"), {})
        self._write("resume")

    def metrics(
        self,
        values: Mapping[str, float],
        *,
        step: int,
        time_ms: int | None = None,
        of_model: Mapping[str, Measured] = MappingProxyType({}),
    ) -> None:
        """Log metrics of one step; a metric already logged at this step is skipped.

        Args:
            time_ms: when they were measured, in milliseconds since 1970; None: now.
            of_model: the metrics that measure the run's model, which `model` logged before; each with the data set that
                it was measured on.
        """
        new = {name: value for name, value in values.items() if (name, step) not in self._logged_metrics}
        if new:
            event = metrics_event(new, step=step, of_model=of_model)
            self._write(**event | {"time_ms": time_ms or now_ms()})
            self._logged_metrics |= {(name, step) for name in new}

    def system(self, samples: Sequence[Sample]) -> None:
        """Log samples of system metrics; their steps count the samples of the whole run, from 0."""
        for start in range(0, len(samples), MOST_SAMPLES):
            some = samples[start : start + MOST_SAMPLES]
            self._write("system", step=self._num_samples, samples=[[time_ms, dict(values)] for time_ms, values in some])
            self._num_samples += len(some)

    def params(self, values: Mapping[str, str]) -> None:
        """Log params. One already logged is skipped: MLflow refuses to change a param, so a resumed run keeps it."""
        new = {name: value for name, value in values.items() if name not in self._logged_params}
        if new:
            self._write("params", values=new)
            self._logged_params |= set(new)

    def tags(self, values: Mapping[str, str]) -> None:
        """Log tags; a later value replaces an earlier one."""
        self._write("tags", values=dict(values))

    def datasets(self, facts: Sequence[DatasetFacts]) -> None:
        """Log data sets that the run uses."""
        self._write("datasets", datasets=[asdict(data) for data in facts])

    def model(self, path: str, *, architecture: str, params: Mapping[str, str], step: int) -> None:
        """Log the folder `path` under `artifacts`, which is complete, as the run's model.

        Args:
            path: also the model's name in MLflow; "model", for `runs:/ID/model` to load it.
            architecture: its type in MLflow.
            params: settings by which models are told apart.
            step: the epoch whose weights it has.
        """
        self._write("model", path=path, architecture=architecture, params=dict(params), step=step)

    def views(self, views: Mapping[str, str]) -> None:
        """Log the run's views of MLflow's pages, texts by name (see `tracking.views`); they replace earlier ones."""
        if views != self.shared_views:
            self._write("views", views=dict(views))
            self.shared_views = dict(views)

    def artifact(self, path: str) -> Path:
        """The path to write the artifact `path` to; call `artifact_written` when it is complete."""
        stopping.check()
        target = self.artifacts / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def artifact_written(self, path: str) -> None:
        """Log the file or folder `path` under `artifacts`, which is complete."""
        self._write("artifact", path=path)

    def end(self, status: Status) -> None:
        """Write the last event and close the journal; a FINISHED run's scratch folder is deleted."""
        with stopping.deferred():
            self._write("end", status=status)
            assert self._file is not None
            self._file.close()
            self._file = None
            scratch = self.header.get("scratch")
            if status == "FINISHED" and scratch is not None:  # after the last event: a kill before it can be resumed
                shutil.rmtree(self.folder / Path(scratch).name, ignore_errors=True)

    def release(self) -> None:
        """Release the run's lock, so that another process can upload the rest."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with stopping.deferred():
            if error is not None:
                stopping.begin_cleanup()
            if not self.is_open:
                return
            if error is None:
                self.end("FINISHED")
            elif isinstance(error, KeyboardInterrupt | SystemExit) or stopping.is_requested():
                self.tags({"hcr.error": "interrupted"})
                self.end("KILLED")
            else:
                why = one_line(error) if isinstance(error, HcrError) else f"{type(error).__name__}: {one_line(error)}"
                self.tags({"hcr.error": why})
                self.end("FAILED")

    def _write(self, event: str, **values: Any) -> None:
        assert self._file is not None, "begin() comes first"
        written = _stamped({"event": event, **values})
        with stopping.deferred():
            self._append(_line(written))
            if self.on_event is not None:
                self.on_event(written)

    def _append(self, line: bytes) -> None:
        assert self._file is not None
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            # The lines before are complete. No further line may follow a partial one.
            self._give_up()
            raise TrackingError(
                f"{self.folder / JOURNAL}: cannot be written ({one_line(error)}); the run ends here"
            ) from error

    def _give_up(self) -> None:
        """Close the file and discard what could not be written."""
        assert self._file is not None
        self.gave_up = True
        with contextlib.suppress(OSError):  # closing retries the write
            self._file.close()
        self._file = None


def metrics_event(
    values: Mapping[str, float], *, step: int, of_model: Mapping[str, Measured] = MappingProxyType({})
) -> Event:
    """The event of metrics of one step, as for `Journal.metrics`."""
    event: Event = {"event": "metrics", "step": step, "values": dict(values)}
    measured = {name: data for name, data in of_model.items() if name in values}
    return event | ({"of_model": measured} if measured else {})


def append_event(folder: Path, event: str, **values: Any) -> None:
    """Append one event to the journal in `folder`; the file is created if there is none.

    Several processes may append to one journal: each holds a lock while it writes.

    Args:
        event: the kind of event.
        values: its fields; `time_ms` defaults to now.

    Raises:
        OSError: the event cannot be written; the journal is unchanged.
    """
    _append(folder, [_stamped({"event": event, **values})])


def add_events(folder: Path, events: Sequence[Event]) -> None:
    """Add events to a run that has ended, such as means over seeds; its end event is repeated after them.

    All are written at once or not at all: without an end, the run would look as if its process had died.

    Args:
        folder: the run's folder; the caller holds its lock.
        events: each with "event" and its fields; the time is now.

    Raises:
        OSError, TrackingError: the journal cannot be written, or is damaged.
    """
    _append(folder, [*map(_stamped, events), _repaired(folder)[-1]])


def end_dead_run(folder: Path) -> bool:
    """Mark a run FAILED whose process died without ending it, such as by SIGKILL.

    Args:
        folder: the run's folder; the caller holds its lock, so no other process writes.

    Returns:
        False if the run had ended already.
    """
    if _repaired(folder)[-1]["event"] == "end":
        return False
    tags = {"event": "tags", "values": {"hcr.error": "its process died without ending the run"}}
    _append(folder, [_stamped(tags), _stamped({"event": "end", "status": "FAILED", "died": True})])
    return True


def append_end(folder: Path, status: Status) -> None:
    """Write another end of a run that no process is writing; the caller holds its lock."""
    _repaired(folder)
    _append(folder, [_stamped({"event": "end", "status": status})])


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _stamped(event: Event) -> Event:
    return {"event": event["event"], "time_ms": now_ms(), **event}


def _line(event: Event) -> bytes:
    return (json.dumps(event) + "\n").encode()


def _repaired(folder: Path) -> list[Event]:
    """The events of a run that no process is writing; a partial last line is removed from the file.

    Raises:
        TrackingError: there is no event, or a line is damaged.
    """
    with (folder / JOURNAL).open("r+b", buffering=0) as file:
        _cut_unfinished(file)
    events = [event for event, _ in read_events(folder)]
    if not events:
        raise TrackingError(f"{folder / JOURNAL}: expected at least one event, got none")
    return events


def _append(folder: Path, events: Sequence[Event]) -> None:
    """Write `events` at once and sync them; if that fails, the journal is unchanged."""
    lines = b"".join(map(_line, events))
    path = folder / JOURNAL
    path.touch(mode=0o600)  # the store's address in it may hold a password
    with path.open("r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = _cut_unfinished(file)
        try:
            if file.write(lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def _cut_unfinished(file: IO[bytes]) -> int:
    """Remove a last line without a newline; seek to the new end and return it."""
    size = file.seek(0, os.SEEK_END)
    begin = max(0, size - LONGEST_EVENT)
    file.seek(begin)
    tail = file.read()
    if b"\n" not in tail:
        begin = file.seek(0)
        tail = file.read()
    if not tail.endswith(b"\n"):
        size = begin + tail.rfind(b"\n") + 1
        file.truncate(size)
    return file.seek(size)
