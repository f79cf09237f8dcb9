"""The ledger: the state of every run of a sweep, read from the journals, its only source.

A run's own journal records its result. Events that it cannot record are in the trial's journal, in the trial's folder:

    asked      a search proposed this point: its values as Optuna stores them, and the sampler's notes
    noted      the pruner's notes after an epoch
    refused    the point is invalid: the gate refused its config
    failed     the run failed and could not record that itself
    retry      the run failed before and is retried
"""

import contextlib
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hcr.config.errors import HcrError
from hcr.config.replicates import REPLICATE_KEYS, point_words
from hcr.config.tracking import output_root
from hcr.evaluation.labels import counted, short_names
from hcr.gate import RunConfig
from hcr.gate.resolve import with_precision
from hcr.model_facts import POINT
from hcr.recorded_sweep import CONFIRM, NUMBER_TAG
from hcr.sweep.identity import Fingerprints
from hcr.sweep.plan import TRIALS, Plan, PlannedRun, place_of
from hcr.sweep.trial import FAILED, WHY, Task, write_trial
from hcr.tracking.events import JOURNAL, Event, first_event, last_event, read_events
from hcr.tracking.index import indexed_runs
from hcr.tracking.journal import append_event, end_dead_run
from hcr.tracking.known import LONGEST_WAIT_S, ask, deleted_keys, lost_runs, run_ids_of
from hcr.tracking.lock import lock_run
from hcr.tracking.status import finished_runs, is_delivered
from hcr.tracking.views import IN_SWEEP

ASKED, NOTED, REFUSED, RETRY = "asked", "noted", "refused", "retry"

State = Literal["new", "interrupted", "finished", "reused", "pruned", "failed", "refused"]


@dataclass(frozen=True)
class Outcome:
    """The result of a finished run.

    Attributes:
        key: the run's.
        value: the monitored validation metric, at the best epoch.
        val_accuracy, val_loss: at the same epoch.
        epochs: number of epochs trained.
        train_s: seconds of training, summed over its epochs.
        num_params: parameters of its model.
        temperature: by which the logits of its model are divided, after the value was measured.
    """

    key: str
    value: float
    val_accuracy: float
    val_loss: float
    epochs: int
    train_s: float
    num_params: int
    temperature: float = 1.0


@dataclass
class Run:
    """A planned run and its state.

    Attributes:
        planned: its entry in the plan.
        state: "new" and "interrupted" are still to be run; "refused" is an invalid point of a search.
        outcome: the result of a finished run, else None.
        why: one line: why it failed or was refused, or after which epoch it was pruned.
        key: the key of the run; None if it has not started.
        is_retry: True if it failed before and is to be retried.
    """

    planned: PlannedRun
    state: State = "new"
    outcome: Outcome | None = None
    why: str = ""
    key: str | None = None
    is_retry: bool = False

    @property
    def is_left(self) -> bool:
        """True if it is still to be run."""
        return self.state in ("new", "interrupted")

    @property
    def folder(self) -> Path | None:
        """The run's folder; None if it has not started."""
        return None if self.key is None else output_root() / "runs" / self.key


class Ledger:
    """The runs of a sweep and their states.

    Args:
        plan: the sweep's plan.
        folder: the sweep's folder.
        fingerprints: of the runs.
        deleted: keys of runs that were deleted in MLflow.
        retry_failed: True to retry failed runs.

    Attributes:
        runs: every known run, by number.
    """

    def __init__(
        self, plan: Plan, folder: Path, fingerprints: Fingerprints, *, deleted: Collection[str], retry_failed: bool
    ) -> None:
        self.runs: dict[int, Run] = {}
        self._plan, self._folder, self._fingerprints, self._retries = plan, folder, fingerprints, retry_failed
        root = output_root()
        self._finished = finished_runs(root, uri=plan.uri, experiment=plan.experiment, without=deleted)
        self._own: dict[str, Event] = {}  # the first event of each run of this sweep, by number tag
        self._deleted_numbers: set[str] = set()  # number tags of runs that were deleted in MLflow
        own = [run for run in indexed_runs(root) if run.header.get("parent") in plan.parents and NUMBER_TAG in run.tags]
        for run in sorted(own, key=lambda run: run.begun_ms):
            if run.key in deleted:
                self._deleted_numbers.add(run.tags[NUMBER_TAG])
            else:
                self._own[run.tags[NUMBER_TAG]] = first_event(run.folder)

    def add(self, planned: PlannedRun) -> Run:
        """Add a planned run to the ledger, in the state that earlier commands left it in.

        Its trial's journal is read first, then its own run's, then those of finished runs with the same fingerprint,
        in any sweep.

        Raises:
            DataError: its data cannot be read.
        """
        run = self.runs[planned.number] = Run(planned)
        header = self._own.get(number_tag(planned))
        if header is not None:
            run.key = header["key"]
        self._read(run)
        if run.state == "failed" and self._retries:
            run.is_retry, run.why = True, ""
            run.state = "new" if run.folder is None else "interrupted"
        if run.state == "finished":
            run.state = "reused"
        if not run.is_left:
            return run
        cfg = planned.cfg
        fingerprint = self._fingerprints.of(cfg)
        if not (cfg.new_run or cfg.resume == "never"):
            with contextlib.suppress(KeyError, OSError, HcrError):  # its folder is gone: train it again
                if fingerprint in self._finished:
                    run.outcome, run.state = outcome_of(self._finished[fingerprint], self._plan.monitor), "reused"
                    run.key = run.outcome.key
                    return run
        # It resumes only with the same fingerprint, and under a parent run that still exists.
        is_same = header is not None and header["tags"].get("hcr.fingerprint") == fingerprint
        if header is None or not is_same or header["parent"] != self._plan.parents[-1]:
            run.state, run.key = "new", None
        return run

    def refuse(self, planned: PlannedRun, why: str) -> Run:
        """Add an invalid point of a search to the ledger, with the reason."""
        run = self.runs[planned.number] = Run(planned, "refused", why=why)
        if not any(event["event"] == REFUSED for event in _events(self.trial(planned))):
            append_event(self.trial(planned), REFUSED, **{WHY: why})
        return run

    def write_trial(self, run: Run, *, waits: bool) -> Path:
        """Write the task of `run` for a worker; returns the trial's folder.

        Args:
            waits: True if the trial waits after each epoch for the pruner's decision.
        """
        planned, plan = run.planned, self._plan
        run.key = run.key or new_key()
        tags = {NUMBER_TAG: number_tag(planned), "hcr.sweep_point": str(planned.point + 1)}
        tags |= {f"{POINT}{key}": str(value) for key, value in planned.values.items()}
        if planned.phase != "confirm":  # fresh seeds of the best points would flatter them in a comparison
            tags[f"{IN_SWEEP}.{plan.parents[-1]}"] = point_name(planned, plan)
        data = plan.data.get(place_of(planned.cfg.dataset))
        task = Task(
            key=run.key,
            root=str(output_root()),
            uri=plan.uri,
            experiment=plan.experiment,
            parent=plan.parents[-1],
            name=short_name(planned, plan),
            overrides=[*plan.fixed, *planned.overrides],
            tags=tags,
            dataset_digest=None if data is None else data["digest"],
            monitor=plan.monitor,
            waits=waits,
        )
        write_trial(self.trial(planned), task, with_precision(planned.cfg))
        if run.is_retry:  # recorded only now, so that a retry that never starts changes nothing
            run.is_retry = False
            append_event(self.trial(planned), RETRY)
        return self.trial(planned)

    def look(self, run: Run) -> None:
        """Update the state of `run` from its journals, after its process ended."""
        self._read(run)
        if run.state == "new":  # it left no journal: start it under a new key
            run.key = None
        if run.outcome is not None and run.folder is not None:
            self._finished[self._fingerprints.of(run.planned.cfg)] = run.folder  # a search may propose the point again

    def fail(self, run: Run, why: str) -> None:
        """Record that `run` failed, where it could not do so itself."""
        append_event(self.trial(run.planned), FAILED, **{WHY: why})
        if run.folder is not None:
            with contextlib.suppress(OSError, HcrError), lock_run(run.folder):
                end_dead_run(run.folder)
        self._read(run)

    def trial(self, planned: PlannedRun) -> Path:
        """The trial folder of a planned run."""
        if planned.phase == "confirm":
            fold = "" if planned.replicate.fold is None else f"-fold{planned.replicate.fold}"
            return self._folder / "confirm" / f"{planned.point + 1:04d}-seed{planned.seed}{fold}"
        return self._folder / TRIALS / f"{planned.number + 1:04d}"

    def asked(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The points that a search has proposed, in order: values as Optuna stores them, and its notes on each."""
        found: list[tuple[dict[str, Any], dict[str, Any]]] = []
        while events := _events(self._folder / TRIALS / f"{len(found) + 1:04d}"):
            if events[0]["event"] != ASKED:
                break
            notes: dict[str, Any] = {}
            for event in events:
                notes |= event.get("notes", {})
            found.append((events[0]["params"], notes))
        return found

    def ask(self, number: int, params: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Record a point that a search proposed, as the first event of its trial."""
        folder = self._folder / TRIALS / f"{number + 1:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        append_event(folder, ASKED, params=dict(params), notes=dict(notes))

    def note(self, run: Run, notes: Mapping[str, Any]) -> None:
        """Record the pruner's notes on a trial."""
        append_event(self.trial(run.planned), NOTED, notes=dict(notes))

    def history(self, run: Run) -> dict[int, float]:
        """The monitored metric of `run` by epoch, counted from 1."""
        found: dict[int, float] = {}
        with contextlib.suppress(OSError, HcrError):
            for event, _ in read_events(run.folder) if run.folder is not None else ():
                if event["event"] == "metrics" and "train/loss" in event["values"]:
                    found[int(event["step"])] = float(event["values"][self._plan.monitor])
        return found

    @property
    def all(self) -> list[Run]:
        """Every known run, in order of numbers."""
        return [self.runs[number] for number in sorted(self.runs)]

    @property
    def candidates(self) -> list[Run]:
        """The runs that the leaderboard compares: all but those that confirm its best points."""
        return [run for run in self.all if run.planned.phase != "confirm"]

    def new_configs(self) -> list[RunConfig]:
        """The configs of runs that have never started."""
        return [run.planned.cfg for run in self.all if run.state == "new"]

    def num_made_again(self) -> int:
        """Number of runs that are trained again because they were deleted in MLflow."""
        return sum(run.state == "new" and number_tag(run.planned) in self._deleted_numbers for run in self.all)

    def left_to_upload(self) -> Iterable[tuple[Path, bool]]:
        """Ended runs that the store does not have completely: the folder, and True if the store lost the run."""
        lost = set(lost_runs(output_root(), self._plan.uri))
        for header in self._own.values():
            folder = output_root() / "runs" / header["key"]
            if last_event(folder).get("event") == "end" and (not is_delivered(folder) or folder in lost):
                yield folder, folder in lost

    def _read(self, run: Run) -> None:
        """Set state, outcome and why of `run` from the journals."""
        run.state, run.outcome, run.why = "new", None, ""
        retried_ms = 0
        for event in _events(self.trial(run.planned)):
            if event["event"] == RETRY:
                run.state, run.why, retried_ms = "new", "", event["time_ms"]
            elif event["event"] in (FAILED, REFUSED):
                run.state, run.why = ("failed" if event["event"] == FAILED else "refused"), str(event[WHY])
        if run.state != "new" or run.folder is None or not (run.folder / JOURNAL).exists():
            return
        run.state = "interrupted"
        last = last_event(run.folder)
        if last.get("event") != "end":
            return
        with contextlib.suppress(OSError, HcrError):
            tags = _tags(run.folder)
            if last["status"] == "FINISHED":
                run.state, run.outcome = "finished", outcome_of(run.folder, self._plan.monitor)
            elif last["status"] == "KILLED" and "hcr.pruned" in tags:
                run.state, run.why = "pruned", f"after epoch {max(self.history(run), default=0)}"
            elif last["status"] == "FAILED" and not last.get("died") and last["time_ms"] >= retried_ms:
                run.state, run.why = "failed", tags.get("hcr.error", "")


def deleted_runs(uri: str) -> frozenset[str]:
    """The keys of runs under the output root that were deleted in the store at `uri`; empty if it does not answer."""
    root = output_root()
    run_ids = run_ids_of(root)
    return deleted_keys(root, uri, ask(uri, LONGEST_WAIT_S, run_ids)) if run_ids else frozenset()


def new_key() -> str:
    """A new run key: hex digits that begin with a letter, as YAML would read a key such as 12e45 as a number."""
    return secrets.choice("abcdef") + secrets.token_hex(6)[1:]


def number_tag(planned: PlannedRun) -> str:
    """The value of NUMBER_TAG, unique in the sweep: the number, or point, seed and fold of a confirming run."""
    if planned.phase != "confirm":
        return f"{planned.number + 1}"
    fold = "" if planned.replicate.fold is None else f" fold {planned.replicate.fold}"
    return f"{CONFIRM} {planned.point + 1} seed {planned.seed}{fold}"


def short_name(planned: PlannedRun, plan: Plan) -> str:
    """A short name for MLflow's table: `depth=3 seed=1` for `model.depth=3 seed=1`, unless it would be ambiguous."""
    return _shortened(planned.overrides, plan) or planned.label


def point_name(planned: PlannedRun, plan: Plan) -> str:
    """A short name of a run's point for MLflow's charts, such as `depth=3`."""
    return _shortened(point_words(planned.overrides), plan) or planned.point_label


def _shortened(overrides: Iterable[str], plan: Plan) -> str:
    names = short_names([*plan.axes, *REPLICATE_KEYS])
    words = [word.partition("=") for word in overrides]
    return " ".join(f"{names.get(key, key)}{equals}{value}" for key, equals, value in words)


def outcome_of(folder: Path, monitor: str) -> Outcome:
    """The result of the finished run in `folder`, read from its journal.

    Raises:
        KeyError, TrackingError: the journal lacks the result or is damaged.
    """
    last: dict[str, float] = {}
    epochs, train_s, key = 0, 0.0, ""
    for event, _ in read_events(folder):
        if event["event"] == "run":
            key = event["key"]
        if event["event"] == "metrics":
            last |= event["values"]
            if "train/loss" in event["values"]:
                epochs = max(epochs, event["step"])
                train_s += event["values"].get("time/epoch_s", 0.0)
    return Outcome(
        key=key,
        value=last[f"best/{monitor.replace('/', '_')}"],
        val_accuracy=last["best/val_accuracy"],
        val_loss=last["best/val_loss"],
        epochs=epochs,
        train_s=train_s,
        num_params=int(last["model/params"]),
        temperature=last.get("calibration/temperature", 1.0),
    )


def counts(ledger: Ledger, num_left: int, *, is_search: bool) -> str:
    """`9 reused, 1 resumed, 2 to run` (for a search, `to try`), and runs pruned or failed before."""
    states = [run.state for run in ledger.all]
    resumed = states.count("interrupted")
    reused = states.count("reused") + states.count("finished")
    # "To try": a search does not run a point that it proposes again.
    line = f"{reused} reused, {resumed} resumed, {num_left - resumed} {'to try' if is_search else 'to run'}"
    if pruned := states.count("pruned"):
        line += f", {pruned} pruned before"
    if failed := states.count("failed"):
        line += f", {failed} failed before (sweep.retry_failed=true retries them)"
    if again := ledger.num_made_again():
        line += f"\nnote: {counted(again, 'run')} deleted in MLflow will be trained again"
    return line


def _events(trial: Path) -> list[Event]:
    """The events in the journal of a trial; empty if there is no journal."""
    try:
        return [event for event, _ in read_events(trial)]
    except FileNotFoundError:
        return []


def _tags(folder: Path) -> dict[str, str]:
    """The current tags of a run."""
    tags: dict[str, str] = {}
    for event, _ in read_events(folder):
        if event["event"] == "run":
            tags |= event["tags"]
        elif event["event"] == "tags":
            tags |= event["values"]
    return tags
