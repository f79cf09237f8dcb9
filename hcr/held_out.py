"""Predictions of images by runs that were not trained on them: of a cross-validation, or of one run's validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import TrackingError
from hcr.config.tracking import output_root
from hcr.data.splits.kfold import Kfold
from hcr.recorded import RecordedRun, read_run
from hcr.recorded_sweep import RUNS, point_number, point_of, table
from hcr.tracking.events import first_event, read_events

DONE = ("finished", "reused")
EXAMPLE = "hcr train -m split=kfold split.fold=0,1,2,3,4"


@dataclass(frozen=True)
class HeldOut:
    """Out-of-sample predictions, and how they came about.

    Attributes:
        folder: of the run, or of the parent run of the sweep.
        run: the run, or one of the sweep's: it has the config of the data.
        what: one line: which images, predicted by which runs.
        probabilities: (N, K), means over the seeds; rows sum to 1.
        labels: (N,), integers in [0, K).
        index: (N,), positions in the data set in canonical order, ascending.
    """

    folder: Path
    run: RecordedRun
    what: str
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]


def held_out(folder: Path, point: int | None = None) -> HeldOut:
    """The out-of-sample predictions of the run or sweep in `folder`.

    Of a sweep that is a cross-validation, those of all images that test leaves, each by the run whose fold held it out;
    of a run, those of its validation images. Predictions of test images are never read.

    Args:
        point: the rank of a sweep's point in its leaderboard, from 1; None: its only or its best one.

    Raises:
        TrackingError: a run has not finished or cannot be read, a fold is missing, or the sweep has no folds.
    """
    if "hcr.sweep_id" in first_event(folder).get("tags", {}):
        return _of_sweep(folder, point)
    if point is not None:
        raise TrackingError(f"{folder.name}/{point}: expected the key of a sweep before the number, got that of a run")
    run = read_run(folder)
    found = run.predictions("val")
    what = f"{len(found.labels):,} validation images of run {run.key}, which was not trained on them"
    return HeldOut(folder, run, what, found.probabilities.astype(np.float64), found.labels, found.index)


def _of_sweep(folder: Path, point: int | None) -> HeldOut:
    label, rows = _rows_of_point(folder, point)
    if not any(row["fold"] for row in rows):
        raise TrackingError(
            f"sweep {folder.name}: expected a cross-validation, as of `{EXAMPLE}`, got runs without folds; name one of"
            " its runs to look at the validation images of that one"
        )
    runs = {(int(row["seed"]), int(row["fold"])): _run_of(row) for row in rows}
    read = {place: run for place, run in runs.items() if run is not None}
    num_folds = {run.cfg.split.folds for run in read.values() if isinstance(run.cfg.split, Kfold)}
    seeds = sorted({seed for seed, _ in runs})
    wanted = [(seed, fold) for seed in seeds for fold in range(max(num_folds, default=0))]
    missing = [place for place in wanted or runs if place not in read]
    if missing:
        named = ", ".join(f"fold {fold} of seed {seed}" for seed, fold in missing[:5])
        more = f" and {len(missing) - 5} more" if missing[5:] else ""
        raise TrackingError(
            f"sweep {folder.name}: expected a finished run of every fold, missing {named}{more}; the same command"
            " trains what is left, sweep.retry_failed=true what failed"
        )
    digests = {run.tags.get("hcr.dataset_digest") for run in read.values()}
    if len(digests) > 1:
        raise TrackingError(f"sweep {folder.name}: expected runs of one data set, got {len(digests)} digests of data")
    of_seed = [_joined([read[seed, fold] for fold in range(max(num_folds))]) for seed in seeds]
    _, labels, index = of_seed[0]
    if any(not np.array_equal(index, other) for *_, other in of_seed) or (np.diff(index) == 0).any():
        raise TrackingError(f"sweep {folder.name}: expected folds that hold out every image once, for each seed")
    mean = np.mean([own for own, *_ in of_seed], axis=0)
    seeds_told = "" if len(seeds) == 1 else f", averaged over {len(seeds)} seeds"
    what = (
        f"{len(labels):,} images, each predicted by a run of {label} that held it out in"
        f" {max(num_folds)} folds{seeds_told}"
    )
    return HeldOut(folder, next(iter(read.values())), what, mean, labels, index)


def _joined(runs: Sequence[RecordedRun]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Probabilities, labels and index of the validation images of all `runs`, in canonical order."""
    found = [run.predictions("val") for run in runs]
    index = np.concatenate([one.index for one in found])
    order = np.argsort(index, kind="stable")
    probabilities = np.concatenate([one.probabilities for one in found]).astype(np.float64)
    return probabilities[order], np.concatenate([one.labels for one in found])[order], index[order]


def _rows_of_point(folder: Path, rank: int | None) -> tuple[str, Sequence[Mapping[str, str]]]:
    """The name of a point, and its rows of the sweep's table of runs."""
    rows = [row for row in table(folder, RUNS) if row.get("state") != "refused"]
    points = sorted({int(row["point"]) for row in rows})
    if rank is not None:
        point = point_number(folder, rank)
    else:
        best = _tags(folder).get("hcr.best_key")
        point = next((int(row["point"]) for row in rows if row["run"] == best), points[0])
    of_point = [row for row in rows if int(row["point"]) == point]
    return f"point {point_of(of_point[0])}" if len(points) > 1 else "the sweep", of_point


def _run_of(row: Mapping[str, str]) -> RecordedRun | None:
    """The finished run of a row; None if there is none."""
    if row["state"] not in DONE or not row["run"]:
        return None
    return read_run(output_root() / "runs" / row["run"])


def _tags(folder: Path) -> dict[str, str]:
    tags: dict[str, str] = {}
    for event, _ in read_events(folder):
        tags |= event["tags"] if event["event"] == "run" else event["values"] if event["event"] == "tags" else {}
    return tags
