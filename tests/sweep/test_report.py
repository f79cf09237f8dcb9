"""What a sweep makes of its runs: points, in the order of the plan."""

from hcr.config.replicates import Replicate
from hcr.sweep.ledger import Outcome, Run, State
from hcr.sweep.plan import PlannedRun
from hcr.sweep.report import points_of


def run(
    number: int, depth: int, *, state: State, value: float | None = None, phase: str = "search", seed: int = 0
) -> Run:
    planned = PlannedRun(
        number=number,
        overrides=(f"model.depth={depth}",),
        values={"model.depth": depth},
        point=number if phase == "search" else depth,
        seed=seed,
        config={},
        phase=phase,
    )
    outcome = None
    if value is not None:
        outcome = Outcome(
            key="abc", value=value, val_accuracy=value, val_loss=1.0, epochs=1, train_s=2.0, num_params=10 * depth
        )
    return Run(planned, state, outcome)


def test_values_that_a_search_tried_twice_are_one_point_that_is_whole() -> None:
    runs = [
        run(0, 2, state="finished", value=0.9),
        run(1, 3, state="pruned"),
        run(2, 2, state="reused", value=0.9),
        run(3, 3, state="finished", value=0.8),
        run(4, 3, state="failed"),
    ]
    first, second = points_of(runs)
    assert (first.values, first.scores, first.num_planned) == ({"model.depth": 2}, {Replicate(0): 0.9}, 1)
    assert (second.values, second.scores, second.num_planned) == ({"model.depth": 3}, {Replicate(0): 0.8}, 1)
    assert (second.num_pruned, second.num_failed, second.num_params) == (0, 0, 30)


def test_the_seeds_of_a_point_of_a_grid_are_together_whatever_came_of_them() -> None:
    runs = [
        run(0, 2, state="finished", value=0.9, phase="grid", seed=0),
        run(2, 3, state="failed", phase="grid", seed=0),
        run(1, 2, state="finished", value=0.7, phase="grid", seed=1),
    ]
    first, second = points_of(runs)
    assert (first.scores, first.num_planned) == ({Replicate(0): 0.9, Replicate(1): 0.7}, 2)
    assert (second.scores, second.num_planned, second.num_failed) == ({}, 1, 1)


def test_the_folds_and_seeds_of_a_point_are_together() -> None:
    runs = []
    for number, (seed, fold) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        planned = PlannedRun(
            number=number,
            overrides=("model.depth=2", f"split.fold={fold}", f"seed={seed}"),
            values={"model.depth": 2},
            point=0,
            seed=seed,
            config={"split": {"name": "kfold", "folds": 4, "fold": fold}},
        )
        outcome = Outcome(
            key="abc", value=number / 10, val_accuracy=0.9, val_loss=1.0, epochs=1, train_s=2.0, num_params=10
        )
        runs.append(Run(planned, "finished", outcome))
    (point,) = points_of(runs)
    assert point.label == "model.depth=2"
    assert point.scores == {Replicate(0, 0): 0.0, Replicate(0, 1): 0.1, Replicate(1, 0): 0.2, Replicate(1, 1): 0.3}
    assert (point.num_planned, point.num_folds) == (4, 4)
    # One fold with several seeds is no cross-validation: nothing is trained on what another run is measured on.
    (point,) = points_of([runs[0], runs[2]])
    assert (point.num_planned, point.num_folds) == (2, None)
