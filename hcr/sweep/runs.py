"""A run of a sweep: where it stands, by the word of its trial and of the journals, and the folder that its trial is
told by."""

import contextlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from hcr.config import TrackingError
from hcr.config.errors import HcrError
from hcr.config.gate import to_yaml
from hcr.config.points import SEED
from hcr.config.tracking import output_root
from hcr.evaluation.leaderboard import short_names
from hcr.sweep.identity import Fingerprints
from hcr.sweep.outcomes import NUMBER_TAG, KnownRuns, Outcome, outcome_of
from hcr.sweep.plan import TRIALS, Plan, PlannedRun, place_of
from hcr.sweep.trial import CONFIG, RUN, TASK, read_result
from hcr.tracking.events import last_event

State = Literal["new", "interrupted", "finished", "reused", "pruned", "failed", "refused", "elsewhere"]


@dataclass
class Run:
    """A planned run, and where it stands.

    Attributes:
        planned: what the plan says.
        state: "new" and "interrupted" are still to be run; "elsewhere" runs on another machine, and "refused" is a
            point that a search asked for and the gate does not take.
        outcome: of one that has finished.
        why: of one that failed, in a line; of one that was pruned, where.
        tries: times that its process was killed.
        started: when its process was there, by `time.monotonic`, where there is a limit to it; None: not yet.
    """

    planned: PlannedRun
    state: State = "new"
    outcome: Outcome | None = None
    why: str = ""
    tries: int = 0
    started: float | None = None
    timed_out: bool = False
    seen: int = field(default=0, repr=False)  # bytes of its epochs that were read


def trial_folder(folder: Path, planned: PlannedRun) -> Path:
    """The folder of a run in that of its sweep."""
    if planned.phase == "confirm":
        return folder / "confirm" / f"{planned.point + 1:04d}-seed{planned.seed}"
    return folder / TRIALS / f"{planned.number + 1:04d}"


def number_tag(planned: PlannedRun) -> str:
    """What tells the runs of a sweep from one another, however it grows."""
    number = f"{planned.number + 1}"
    return f"confirm {planned.point + 1} seed {planned.seed}" if planned.phase == "confirm" else number


def short_name(planned: PlannedRun, plan: Plan) -> str:
    """What a table of MLflow's has room for: `depth=3 seed=1` for `model.depth=3 seed=1`, where that is clear."""
    names = short_names([*plan.axes, SEED])
    words = [word.partition("=") for word in planned.overrides]
    return " ".join(f"{names.get(key, key)}{equals}{value}" for key, equals, value in words) or planned.label


def run_folder(trial: Path) -> Path | None:
    """The folder of the run that the trial in `trial` records; None where it has not begun."""
    try:
        key = (trial / RUN).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return output_root() / "runs" / key if key else None


def write_trial(
    folder: Path, planned: PlannedRun, plan: Plan, parent: str, deleted: Collection[str] = frozenset()
) -> None:
    """All that a trial's process needs to know.

    Args:
        parent: the key of the sweep's own run.
        deleted: keys of runs that were deleted in MLflow, which the trial cannot ask.

    Raises:
        TrackingError: the folder cannot be written.
    """
    tags = {NUMBER_TAG: number_tag(planned), "hcr.sweep_point": str(planned.point + 1)}
    tags |= {f"sweep.{key}": str(value) for key, value in planned.values.items()}
    data = plan.data.get(place_of(planned.cfg.dataset))
    task = {
        "task": "train",
        "output_root": str(output_root()),
        "uri": plan.uri,
        "experiment": plan.experiment,
        "parent": parent,
        "deleted": sorted(deleted),
        "name": short_name(planned, plan),
        "overrides": [*plan.fixed, *planned.overrides],
        "tags": tags,
        "dataset_digest": None if data is None else data["digest"],
        "search": planned.search,
        "planned": asdict(planned),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(to_yaml(planned.cfg), encoding="utf-8")
        new = folder / (TASK + ".new")
        new.write_text(json.dumps(task), encoding="utf-8")
        new.replace(folder / TASK)
    except OSError as error:
        raise TrackingError(f"{folder}: expected a folder that can be written ({error.strerror})") from error


def _is_of(trial: Path, planned: PlannedRun) -> bool:
    """Whether the folder `trial` is of this very run, and not of another that had its number: a search that was begun
    anew, in another database, asks for other points."""
    try:
        told = json.loads((trial / TASK).read_text(encoding="utf-8"))["planned"]["config"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(told == json.loads(json.dumps(planned.config)))


def known_state(
    planned: PlannedRun, folder: Path, plan: Plan, known: KnownRuns, fingerprints: Fingerprints, *, retry_failed: bool
) -> Run:
    """Where a planned run stands before the sweep goes on.

    Its own trial's word comes first, then the journal of the run that it began, then a finished run of the same
    fingerprint, whoever made it.

    Raises:
        DataError: its data cannot be read.
    """
    run = Run(planned)
    trial = trial_folder(folder, planned)
    is_told = _is_of(trial, planned)
    result = read_result(trial) if is_told else None
    if result is not None and result["status"] == "failed" and retry_failed:
        result = None
    if result is not None and result["status"] == "failed":
        run.state, run.why = "failed", str(result["error"])
        return run
    if result is not None and result["status"] == "pruned":
        run.state, run.why = "pruned", f"after epoch {result['epoch']}"
        return run
    own = known.own.get(number_tag(planned)) if is_told else None
    if result is not None and result["status"] == "finished" and str(result["key"]) not in known.deleted:
        journal = output_root() / "runs" / str(result["key"])
        with contextlib.suppress(KeyError, OSError, HcrError):  # it has been taken away: made anew
            if last_event(journal).get("status") == "FINISHED":
                run.outcome = outcome_of(journal, plan.monitor)
                run.state = "reused"
                return run
    if own is not None and own[1].get("status") == "FINISHED":  # its controller died before it could write that down
        run.outcome, run.state = outcome_of(own[0], plan.monitor), "reused"
        return run
    cfg = planned.cfg
    is_anew = cfg.new_run or cfg.resume == "never" or not known.finished
    theirs = None if is_anew else known.finished.get(fingerprints.of(cfg))
    if theirs is not None:
        with contextlib.suppress(KeyError, OSError, HcrError):
            run.outcome, run.state = outcome_of(theirs, plan.monitor), "reused"
            return run
    if own is not None:
        run.state = "interrupted"
    return run
