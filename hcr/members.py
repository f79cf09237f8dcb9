"""The members of an ensemble: the best runs of a sweep by validation, which must share one split."""

from collections.abc import Callable, Sequence
from typing import Any

from hcr.config import DataError, TrackingError
from hcr.data.splits.kfold import Kfold
from hcr.evaluation.labels import counted
from hcr.recorded import RecordedRun, read_run
from hcr.recorded_sweep import RecordedSweep

FEWEST = 2


def choose_members(sweep: RecordedSweep, top: int, *, allow_incomplete: bool = False) -> list[RecordedRun]:
    """The `top` runs of `sweep` with the best monitored validation metric, best first; test is not looked at.

    Several runs of one point may be among them, and runs of different architectures.

    Args:
        top: 2 or more.
        allow_incomplete: choose among the runs that have finished, even if others are left to train.

    Raises:
        TrackingError: runs are left to train, too few have finished, or a member's record is damaged.
        DataError: the members do not share split, images or classes.
    """
    if not sweep.is_complete and not allow_incomplete:
        raise TrackingError(
            f"sweep {sweep.key}: {sweep.standing}; its command trains the rest,"
            " or --allow-incomplete chooses among those that have finished"
        )
    if len(sweep.runs) < top:
        few = f"expected at most {len(sweep.runs)}" if len(sweep.runs) >= FEWEST else "expected a sweep with 2 or more"
        raise TrackingError(f"--top: {few}, got {top}; of sweep {sweep.key} {sweep.standing}")
    members = [read_run(run.folder) for run in sweep.runs[:top]]
    _check_split(members)
    for what, of in SHARED.items():
        _check_shared(members, what, of)
    return members


SHARED: dict[str, Callable[[RecordedRun], Any]] = {
    "images": lambda run: run.tags.get("hcr.dataset_digest"),
    "preparation": lambda run: run.tags.get("hcr.preparation_digest"),
    "image size": lambda run: "×".join(map(str, run.image_shape)),
    "classes": lambda run: run.class_names,
}


def _check_split(members: Sequence[RecordedRun]) -> None:
    """Refuse members of different splits of the same images.

    Raises:
        DataError: some members have validation images that others were trained on.
    """
    splits = {run.tags.get("hcr.split_digest") for run in members}
    if len({run.tags.get("hcr.dataset_digest") for run in members}) == 1 and len(splits) > 1:
        raise DataError(
            f"the {len(members)} best runs have {counted(len(splits), 'split')}: validation images of one are training"
            f" images of another, so none can judge their mean; sweep again with {_one_split(members[0])}"
        )


def _one_split(run: RecordedRun) -> str:
    """The override that gives all runs of a sweep one split."""
    return "one fold (split.fold=0 split.seed=0)" if isinstance(run.cfg.split, Kfold) else "split.seed=0"


def _check_shared(members: Sequence[RecordedRun], what: str, of: Callable[[RecordedRun], Any]) -> None:
    """Refuse members that differ in `what`, such as in their classes.

    Raises:
        DataError: names two of them.
    """
    first = members[0]
    for run in members[1:]:
        if of(run) != of(first):
            raise DataError(
                f"runs {first.key} and {run.key} were not trained on the same {what}; expected members that share them:"
                " sweep what belongs to the model, or choose a smaller --top"
            )
