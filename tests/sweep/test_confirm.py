"""Confirmation: the best points on seeds that the sweep has not used, and in a cross-validation on all of its folds."""

from pathlib import Path

import pytest
from plans import plan

from hcr.config.replicates import Replicate
from hcr.sweep.confirm import confirmation, confirming_runs
from hcr.sweep.identity import Fingerprints
from hcr.sweep.ledger import Ledger, Outcome, Run, number_tag
from hcr.sweep.plan import Plan, PlannedRun
from hcr.sweep.report import board_of

CROSSED = ("split=kfold", "split.fold=0,1,3", "seed=0,1", "model.depth=1,2,3")
TOLD = [
    "On 3 folds × 2 fresh seeds alone, val/loss:",
    "  model.depth=1: mean 0.1517, sd 0.0279, over 3 folds × 2 fresh seeds",
    "model.depth=1: test accuracy 0.9000, sd 0.0000 (mean over 3 folds × 2 fresh seeds, scored once each); quote this,"
    " not the scores it was selected on.",
]


def finished(planned: PlannedRun) -> Run:
    """A run whose loss grows with depth, and a little with seed and fold."""
    own = planned.replicate
    value = planned.values["model.depth"] / 10 + own.seed / 100 + (own.fold or 0) / 50
    outcome = Outcome(
        key="a1", value=value, val_accuracy=0.9, val_loss=value, epochs=1, train_s=1.0, num_params=planned.point
    )
    return Run(planned, "finished", outcome)


def confirming(made: Plan, num_seeds: int) -> list[PlannedRun]:
    runs = [finished(planned) for planned in made.runs]
    board = board_of(made, runs, allow_incomplete=False)
    assert board is not None
    return confirming_runs(made, board, runs, num_seeds)


def test_each_fresh_seed_is_trained_on_every_fold_that_the_sweep_used(tmp_path: Path) -> None:
    made = plan(*CROSSED)
    found = confirming(made, 2)
    expected = [Replicate(seed, fold) for seed in (2, 3) for fold in (0, 1, 3)]
    assert [(run.point_label, run.replicate) for run in found] == [
        (f"model.depth={depth}", own) for depth in (1, 2) for own in expected
    ]
    assert [run.cfg.seed for run in found[:6]] == [2, 2, 2, 3, 3, 3]
    ledger = Ledger(made, tmp_path, Fingerprints(), deleted=(), retry_failed=False)
    assert len({number_tag(run) for run in found}) == len({ledger.trial(run) for run in found}) == len(found) == 12


def test_without_folds_each_point_has_the_fresh_seeds_alone() -> None:
    found = confirming(plan("model.depth=1,2,3", "seed=0,4"), 2)
    assert [(run.point_label, run.replicate) for run in found] == [
        (f"model.depth={depth}", Replicate(seed)) for depth in (1, 2) for seed in (5, 6)
    ]
    assert number_tag(found[0]) == "confirm 1 seed 5"  # as earlier versions wrote it
    assert found[0].overrides == ("model.depth=1", "seed=5")


def test_what_is_quoted_is_a_mean_over_folds_and_fresh_seeds() -> None:
    made = plan(*CROSSED)
    result = confirmation(made, [finished(planned) for planned in confirming(made, 2)], lambda run: 0.9)
    assert result is not None
    assert result.test == pytest.approx([0.9] * 6)
    lines = result.lines()
    assert [lines[0], lines[1], lines[-1]] == TOLD
    assert lines[3] == (
        "model.depth=1 is better than model.depth=2: -0.1000 [-0.1000, -0.1000], p < 0.001"
        " (val/loss, 3 folds × 2 seeds each)."
    )
