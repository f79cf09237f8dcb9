"""What a sweep makes of its runs: points, in the order of the plan, with the scores of their validation images."""

from pathlib import Path

import numpy as np
import pytest

from hcr.config import TrackingError
from hcr.config.replicates import Replicate
from hcr.sweep.ledger import Outcome, Run, State
from hcr.sweep.plan import PlannedRun
from hcr.sweep.report import VALIDATION, points_of, validation_scores, with_images


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


LABELS = np.array([0, 1, 0, 1])
RIGHT = {"a": [1, 1, 1, 0], "b": [1, 0, 0, 0]}


def write_predictions(root: Path, key: str, right: list[int], **more: np.ndarray) -> None:
    """Predictions that give the label of a right answer the probability 0.8, of a wrong one 0.2."""
    own = np.where(np.array(right) == 1, 0.8, 0.2)
    probabilities = np.where(np.arange(2) == LABELS[:, np.newaxis], own[:, np.newaxis], 1 - own[:, np.newaxis])
    path = root / "runs" / key / "artifacts" / VALIDATION
    path.parent.mkdir(parents=True)
    arrays = {"probabilities": probabilities.astype(np.float32), "labels": LABELS, "index": np.array([3, 5, 8, 9])}
    np.savez_compressed(path, **arrays, **more)


def outcome(key: str, value: float) -> Outcome:
    return Outcome(key=key, value=value, val_accuracy=0.5, val_loss=1.0, epochs=1, train_s=1.0, num_params=1)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path))
    return tmp_path


def two_points(values: dict[str, float]) -> list[Run]:
    runs = [run(k, k + 2, state="finished", value=value, phase="grid") for k, value in enumerate(values.values())]
    for own, (key, value) in zip(runs, values.items(), strict=True):
        own.outcome = outcome(key, value)
    return runs


def test_points_have_the_monitored_metric_of_each_validation_image(root: Path) -> None:
    for key, right in RIGHT.items():
        write_predictions(root, key, right, groups=np.array([7, 7, 8, 8]))
    runs = two_points({"a": 0.75, "b": 0.25})
    points, why = with_images(points_of(runs), runs, "val/accuracy")
    assert why is None
    for point, right in zip(points, RIGHT.values(), strict=True):
        scores = point.images[Replicate(0)]
        assert (scores.values.tolist(), scores.index.tolist()) == (right, [3, 5, 8, 9])
        assert scores.groups is not None and scores.groups.tolist() == [7, 7, 8, 8]
    losses = validation_scores(outcome("a", float(-np.log([0.8, 0.8, 0.8, 0.2]).mean())), "val/loss")
    assert losses.values == pytest.approx(-np.log([0.8, 0.8, 0.8, 0.2]), rel=1e-6)


def test_predictions_that_are_elsewhere_leave_every_point_without_images_and_are_told(root: Path) -> None:
    write_predictions(root, "a", RIGHT["a"])
    runs = two_points({"a": 0.75, "b": 0.25})
    points, why = with_images(points_of(runs), runs, "val/accuracy")
    assert not any(point.images for point in points)
    assert why == "1 of 2 runs, such as b, whose predictions are not on this machine"


def test_damaged_predictions_and_those_of_another_score_are_not_used(root: Path) -> None:
    write_predictions(root, "a", RIGHT["a"])
    with pytest.raises(TrackingError, match=r"a, whose predictions give val/accuracy 0\.75, not 0\.9"):
        validation_scores(outcome("a", 0.9), "val/accuracy")
    (root / "runs" / "a" / "artifacts" / VALIDATION).write_bytes(b"no zip")
    with pytest.raises(TrackingError, match="a, whose predictions cannot be read"):
        validation_scores(outcome("a", 0.75), "val/accuracy")


def test_a_metric_that_is_no_mean_over_images_is_compared_by_seeds(root: Path) -> None:
    runs = two_points({"a": 0.75, "b": 0.25})
    assert with_images(points_of(runs), runs, "val/f1")[1] == "val/f1 is not a mean over images"
