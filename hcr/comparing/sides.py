"""What `hcr compare` compares, read back: runs, points of sweeps, or the best points of sweeps."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hcr.config import TrackingError
from hcr.config.replicates import Replicate
from hcr.config.tracking import output_root
from hcr.data.splits.kfold import Kfold
from hcr.evaluation.comparison import Comparison, Side, SideRun, compare, scores_of
from hcr.evaluation.statistics import Kind
from hcr.gate.fingerprint import NOT_DECIDING, NOT_DECIDING_OF_DATASET
from hcr.gate.run_config import as_param, flatten, to_dict
from hcr.looks import count_look
from hcr.recorded import RecordedRun, read_run, recorded_run
from hcr.recorded_sweep import REUSED_POINT, RecordedSweep, point_number, recorded_sweep
from hcr.tracking.events import first_event, kind_of, read_events
from hcr.tracking.finding import find_folder

POINT = "hcr.sweep_point"
LEFT_OUT = (*NOT_DECIDING, "seed", "split.fold", *(f"dataset.{name}" for name in NOT_DECIDING_OF_DATASET))


@dataclass(frozen=True)
class Compared:
    """One side: a run, or the runs of a point.

    Attributes:
        label: names it in sentences.
        runs: one or more, which differ by seed and fold alone.
        again: what names this side in a command: the key of a run, SWEEP/N, or SWEEP.
        sweep: the folder of the sweep's parent run; None: it is not of a sweep.
    """

    label: str
    runs: tuple[RecordedRun, ...]
    again: str
    sweep: Path | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the runs."""
        return tuple(run.key for run in self.runs)


@dataclass(frozen=True)
class HeldOutImages:
    """Which images the sides were scored on.

    Attributes:
        per_run: the smallest and the largest number of images of a run.
        per_side: the number of images that at least one run of each side was scored on.
        is_one_draw: True if all runs were scored on the same images.
    """

    per_run: tuple[int, int]
    per_side: tuple[int, ...]
    is_one_draw: bool


def compared_sides(names: Sequence[str]) -> list[Compared]:
    """The sides with these names: RUN, SWEEP/N for the point of rank N in its leaderboard, or SWEEP for its best point.

    Raises:
        TrackingError: a name means no run or several, a run has not finished, or two sides are the same.
    """
    sides = [_side(name) for name in names]
    keys = [frozenset(run.key for run in side.runs) for side in sides]
    for i, own in enumerate(keys):
        if own in keys[:i]:
            raise TrackingError(f"{names[i]}: expected another run or point than {names[keys.index(own)]}")
    labels = [side.label for side in sides]
    return [
        side if labels.count(side.label) == 1 else replace(side, label=f"{side.label} ({name})")
        for side, name in zip(sides, names, strict=True)
    ]


def compare_sides(sides: Sequence[Compared], part: str, kind: Kind) -> Comparison:
    """Compare all pairs of sides, paired over the images of `part`, "val" or "test", that both were scored on.

    Raises:
        TrackingError: the sides have other data or classes, no common image, or a run has no predictions of `part`.
    """
    require_comparable(sides, part)
    try:
        return compare([_with_scores(side, part, kind) for side in sides], kind, higher_is_better=kind is Kind.ACCURACY)
    except ValueError as error:
        raise TrackingError(str(error)) from error


def require_comparable(sides: Sequence[Compared], part: str) -> None:
    """Refuse sides that cannot be compared on `part`.

    Raises:
        TrackingError: the sides have other data or classes, or other test images.
    """
    first = sides[0].runs[0]
    for side in sides:
        for run in side.runs:
            _require_same_data(first, run)
    if part == "test":
        _require_same_test(sides)


def count_looks(sides: Sequence[Compared]) -> None:
    """Count a look at test for every run that a journal of this machine has; before it is taken.

    Raises:
        TrackingError: another process holds a run.
    """
    for run in {run.key: run for side in sides for run in side.runs}.values():
        if run.folder is not None:
            with run.lock():
                count_look(run)


def settings_of(run: RecordedRun) -> dict[str, str]:
    """The settings of a run's config that a point has: all but seed, fold, and what decides no number."""
    groups = tuple(f"{left}." for left in LEFT_OUT)
    settings = {key: as_param(value) for key, value in flatten(to_dict(run.cfg)).items()}
    return {key: value for key, value in settings.items() if key not in LEFT_OUT and not key.startswith(groups)}


def held_out_images(sides: Sequence[Compared], part: str) -> HeldOutImages:
    """How many images of `part` the runs were scored on, and whether these are the same ones."""
    found = [[run.predictions(part).index for run in side.runs] for side in sides]
    every = [np.sort(index) for own in found for index in own]
    return HeldOutImages(
        per_run=(min(map(len, every)), max(map(len, every))),
        per_side=tuple(len(np.unique(np.concatenate(own))) for own in found),
        is_one_draw=all(np.array_equal(index, every[0]) for index in every[1:]),
    )


def _side(name: str) -> Compared:
    point = re.fullmatch(r"(.+)/(\d+)", name)
    if point is not None and not name.startswith("models:/"):
        sweep = recorded_sweep(point[1])
        number = point_number(output_root() / "runs" / sweep.key, int(point[2]))
        return _point(sweep, number, f"{sweep.key}/{int(point[2])}")
    folder = None if name.startswith("models:/") else find_folder(output_root(), name)
    if folder is not None and kind_of(first_event(folder).get("tags", {})) == "sweep":
        return _best_point(recorded_sweep(name))
    run = recorded_run(name)
    return Compared(run.name, (run,), run.key)


def _point(sweep: RecordedSweep, number: int, again: str) -> Compared:
    """The point with this number in the plan."""
    numbers = {run.folder: _number(run.folder, sweep.key) for run in sweep.runs}
    folders = [folder for folder, own in numbers.items() if own == number]
    if not folders or number == 0:
        raise TrackingError(f"{again}: expected a point with finished runs, got none")
    runs = sorted((read_run(folder) for folder in folders), key=lambda run: (run.cfg.seed, run.key))
    _require_one_point(runs)
    # By the first event: a sweep that reuses the run adds its own choices to the tags.
    tags = first_event(next(run.folder for run in runs if run.folder is not None)).get("tags", {})
    axes = {name.removeprefix("sweep."): value for name, value in tags.items() if name.startswith("sweep.")}
    label = " ".join(f"{key}={value}" for key, value in axes.items() if key not in ("seed", "split.fold"))
    return Compared(label or sweep.name, tuple(runs), again, output_root() / "runs" / sweep.key)


def _best_point(sweep: RecordedSweep) -> Compared:
    """The point with the best mean of the monitored validation metric."""
    values: dict[int, list[float]] = {}
    for run in sweep.runs:
        values.setdefault(_number(run.folder, sweep.key), []).append(run.value)
    values.pop(0, None)
    if not values:
        raise TrackingError(f"sweep {sweep.key}: expected finished runs to compare, got none")
    choose = max if sweep.monitor == "val/accuracy" else min
    best = choose(values, key=lambda number: (float(np.mean(values[number])), -number))
    return _point(sweep, best, sweep.key)


def _number(folder: Path, sweep: str) -> int:
    """The number of the point of `sweep` that a run belongs to, trained there or reused; 0 if it is of none."""
    header = first_event(folder)
    if header.get("parent") == sweep:
        return int(header.get("tags", {}).get(POINT, 0))
    name = f"{REUSED_POINT}.{sweep}"
    values = (event["values"] for event, _ in read_events(folder) if event["event"] == "tags")
    return next((int(own[name]) for own in values if name in own), 0)


def _require_one_point(runs: Sequence[RecordedRun]) -> None:
    """Refuse runs that differ by more than seed and fold: their mean would be of no model."""
    expected = settings_of(runs[0])
    for run in runs[1:]:
        found = settings_of(run)
        other = next((key for key in expected | found if expected.get(key) != found.get(key)), None)
        if other is not None:
            raise TrackingError(
                f"run {run.key}: expected a run that differs from {runs[0].key} by seed and fold alone, got another"
                f" {other}"
            )


def _require_same_data(first: RecordedRun, run: RecordedRun) -> None:
    digest = "hcr.dataset_digest"
    if run.tags.get(digest) != first.tags.get(digest) or run.class_names != first.class_names:
        raise TrackingError(
            f"run {run.key}: expected the data and classes of run {first.key} ({first.cfg.dataset.name}), got others"
            f" ({run.cfg.dataset.name}): figures on different images cannot be compared"
        )


def _require_same_test(sides: Sequence[Compared]) -> None:
    runs = [run for side in sides for run in side.runs]
    for run in runs:
        if not (run.artifacts / "predictions/test.npz").is_file():
            raise TrackingError(f"run {run.key}: expected a run that scored test; `hcr evaluate {run.key}` does")
    expected = runs[0].predictions("test").index
    for run in runs[1:]:
        if not np.array_equal(run.predictions("test").index, expected):
            raise TrackingError(f"run {run.key}: expected the test images of run {runs[0].key}, got another test set")


def _with_scores(side: Compared, part: str, kind: Kind) -> Side:
    scored = []
    for run in side.runs:
        found = run.predictions(part)
        fold = run.cfg.split.fold if isinstance(run.cfg.split, Kfold) else None
        scores = scores_of(found.probabilities, found.labels, found.index, found.groups, kind)
        scored.append(SideRun(Replicate(run.cfg.seed, fold), scores))
    splits = {run.replicate.fold for run in scored}
    first = side.runs[0].cfg.split
    return Side(side.label, scored, first.folds if isinstance(first, Kfold) and len(splits) > 1 else None)
