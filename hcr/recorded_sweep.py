"""A sweep, read back from what its runs recorded: those that have finished, by their validation scores."""

import csv
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcr.config import TrackingError
from hcr.config.errors import one_line
from hcr.config.tracking import output_root
from hcr.evaluation.labels import counted
from hcr.gate.run_config import MONITORS
from hcr.tracking.events import ARTIFACTS, Event, first_event, last_event, read_events
from hcr.tracking.finding import find_run, latest_sweep
from hcr.tracking.index import indexed_runs
from hcr.tracking.known import LONGEST_WAIT_S, ask, deleted_keys, run_ids_of
from hcr.tracking.place import store_of

SWEEP_ID = "hcr.sweep_id"  # a tag of the parent run of a sweep, and of no other run
NUMBER_TAG = "hcr.sweep_run"  # the number of a run in its sweep, from 1; begins with CONFIRM if it confirms a point
REUSED_BY = "hcr.reused_by"  # tag hcr.reused_by.<key of a parent run>: a run's number in a sweep that reuses it
REUSED_POINT = "hcr.reused_point"  # and ".PARENT": the number of its point in that sweep
CONFIRM = "confirm"
REPLICATE_WORDS = re.compile(r"(^| )(split\.fold|seed)=\d+(?= |$)")
PLAN = "plan.json"
BASE_CONFIG = "the base config"  # the name of a point without overrides
RUNS, LEADERBOARD = "runs.csv", "leaderboard.csv"  # artifacts of the parent run


@dataclass(frozen=True)
class ScoredRun:
    """A finished run of a sweep, and its value of the monitored validation metric."""

    folder: Path
    value: float


@dataclass(frozen=True, kw_only=True)
class RecordedSweep:
    """A sweep.

    Attributes:
        key, name: of its parent run.
        monitor: the validation metric that its runs are compared by, a key of MONITORS.
        uri, experiment: the store.
        runs: its finished runs, best first: its own, those that it reuses, and those that confirm its best points.
        num_planned: its runs, without those that confirm its best points.
        num_ended: how many of these have finished, were pruned, and failed, by these words.
        is_complete: True if none of these is left to train; a failed one is not left.
    """

    key: str
    name: str
    monitor: str
    uri: str
    experiment: str
    runs: Sequence[ScoredRun]
    num_planned: int
    num_ended: Counter[str]
    is_complete: bool

    @property
    def standing(self) -> str:
        """How many of its runs have finished, and what became of others: "5 of 8 runs have finished, 2 failed"."""
        others = "".join(f", {self.num_ended[how]} {how}" for how in ("pruned", "failed") if self.num_ended[how])
        have = "has" if self.num_planned == 1 else "have"
        return f"{self.num_ended['finished']} of {counted(self.num_planned, 'run')} {have} finished{others}"


def recorded_sweep(name: str) -> RecordedSweep:
    """The sweep called `name`: the key of its parent run, a unique prefix of it, a run id or a run name, or `latest`.

    Raises:
        TrackingError: no run or several match, or it is not a sweep, or its journal is damaged.
    """
    folder = latest_sweep(output_root()) if name == "latest" else find_run(output_root(), name)
    header = first_event(folder)
    if SWEEP_ID not in header.get("tags", {}):
        above = header.get("parent")
        whose = f"; it belongs to sweep {above}" if above else ""
        raise TrackingError(f"run {folder.name}: expected a sweep, got a single run{whose}")
    monitors = [event["values"]["monitor"] for event, _ in read_events(folder) if "monitor" in event.get("values", {})]
    if not monitors:
        raise TrackingError(f"sweep {folder.name}: expected one whose runs have begun; its command continues it")
    monitor = monitors[0]
    uri = store_of(folder, header)
    deleted = deleted_keys(output_root(), uri, ask(uri, LONGEST_WAIT_S, run_ids_of(output_root())))
    runs, ended = _runs_of(folder.name, monitor, deleted)
    # Equal values in the order of the keys, so that a sweep has one order.
    runs.sort(key=lambda run: (-run.value if MONITORS[monitor] else run.value, run.folder.name))
    status, num_planned = last_event(folder).get("status"), _num_planned(folder)
    return RecordedSweep(
        key=folder.name,
        name=str(header["name"]),
        monitor=monitor,
        uri=uri,
        experiment=str(header["experiment"]),
        runs=runs,
        num_planned=num_planned,
        num_ended=ended,
        is_complete=status == "FINISHED" or (status == "FAILED" and ended.total() >= num_planned),
    )


def point_number(folder: Path, rank: int) -> int:
    """The number, in the plan, of the point that has this rank in the leaderboard of the sweep in `folder`.

    Raises:
        TrackingError: the sweep has no leaderboard yet, or no such rank.
    """
    board = table(folder, LEADERBOARD)
    labels = [row["point"] for row in board if row["rank"] == str(rank)]
    if not labels:
        raise TrackingError(
            f"{folder.name}/{rank}: expected the rank of a point in the leaderboard, from 1 to {len(board)}"
        )
    rows = [row for row in table(folder, RUNS) if point_of(row) == labels[0]]
    if not rows:
        raise TrackingError(f"{folder / ARTIFACTS / RUNS}: expected runs of the point {labels[0]}, got none")
    finished = [row for row in rows if row["run"]]  # a search may have proposed the point twice
    return int((finished or rows)[0]["point"])


def point_of(row: Mapping[str, str]) -> str:
    """The name of the point of a row of RUNS: its overrides without seed and fold."""
    return REPLICATE_WORDS.sub("", row["overrides"]) or BASE_CONFIG


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of RUNS or LEADERBOARD of the sweep in `folder`.

    Raises:
        TrackingError: there is no such table yet, or it is damaged.
    """
    try:
        with (folder / ARTIFACTS / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        columns = {RUNS: ("point", "overrides", "state", "run"), LEADERBOARD: ("rank", "point")}[name]
        if any(row.get(column) is None for row in rows for column in columns):
            raise ValueError(f"expected the columns {', '.join(columns)}")
        return rows
    except (OSError, ValueError, csv.Error) as error:
        raise TrackingError(f"sweep {folder.name}: expected a sweep that has ended; it has no {name} yet") from error


def _num_planned(folder: Path) -> int:
    """The number of runs that a sweep plans, or that a search will try.

    Raises:
        TrackingError: the plan is missing or damaged.
    """
    path = folder / ARTIFACTS / PLAN
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        return len(plan["runs"]) or int(plan["sweep"]["n_trials"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrackingError(f"{path}: expected the plan of a sweep ({one_line(error)})") from error


def _runs_of(key: str, monitor: str, deleted: Collection[str]) -> tuple[list[ScoredRun], Counter[str]]:
    """The finished runs of the sweep `key`, and how many of its planned runs have ended, by how."""
    found: list[ScoredRun] = []
    ended: Counter[str] = Counter()
    mark = f"{REUSED_BY}.{key}"
    for run in indexed_runs(output_root()):
        folder, is_own = run.folder, run.header.get("parent") == key
        if folder.name in deleted or not (is_own or key in run.reused_by):
            continue
        events = [event for event, _ in read_events(folder)]
        tags = _last_values(events, "tags", events[0]["tags"])
        number = tags.get(NUMBER_TAG if is_own else mark)
        if number is None:
            continue
        how = _how_it_ended(events[-1], tags)
        if how == "finished":
            metrics = _last_values(events, "metrics", {})
            found.append(ScoredRun(folder, float(metrics[f"best/{monitor.replace('/', '_')}"])))
        if how and not number.startswith(CONFIRM):
            ended[how] += 1
    return found, ended


def _how_it_ended(last: Event, tags: dict[str, str]) -> str:
    """Finished, pruned or failed; empty if the same command of the sweep would resume the run."""
    status = last.get("status")
    if status == "KILLED":
        return "pruned" if "hcr.pruned" in tags else ""
    if status == "FAILED":
        return "" if last.get("died") else "failed"
    return "finished" if status == "FINISHED" else ""


def _last_values(events: Sequence[Event], kind: str, first: dict[str, Any]) -> dict[str, Any]:
    """The last value of each name in events of a kind."""
    values = dict(first)
    for event in events:
        if event["event"] == kind:
            values |= event["values"]
    return values
