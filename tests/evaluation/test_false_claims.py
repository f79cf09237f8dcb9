"""The simulation behind the verdict: its runs err as was measured, and equal points are seldom told apart."""

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hcr.evaluation.ranking import rank

CALIBRATION = Path(__file__).parents[2] / "experiments" / "compare" / "calibration.py"


@pytest.fixture(scope="module")
def calibration() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("calibration", CALIBRATION)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration"] = module  # where its data classes look up their types
    spec.loader.exec_module(module)
    yield module
    del sys.modules["calibration"]


def test_simulated_runs_have_the_errors_and_the_losses_that_were_measured(calibration: ModuleType) -> None:
    cell = replace(calibration.CELLS[5], num_points=2, num_images=100_000)
    points = calibration.simulate(cell, np.random.default_rng(0))
    wrong = np.array([[1 - run.values for run in point.images.values()] for point in points])
    assert wrong.mean() == pytest.approx(calibration.ERROR, rel=0.1)
    # The share of images that two runs have both wrong, measured: 0.0052 of all.
    assert (wrong[0, 0] * wrong[1, 1]).mean() == pytest.approx(0.0052, rel=0.15)
    losses = calibration.simulate(replace(cell, monitor="val/loss"), np.random.default_rng(0))[0]
    (first, *_) = losses.images.values()
    assert np.quantile(first.values, [0.5, 0.99]) == pytest.approx([0.09, 0.96], rel=0.4)


def test_the_simulation_decides_as_a_leaderboard_does(calibration: ModuleType) -> None:
    for number, better in ((2, 0.4), (5, 0.4), (8, 0.0)):
        cell = calibration.CELLS[number]
        points = calibration.simulate(replace(cell, num_images=2000), np.random.default_rng(0), better)
        board = rank(points, monitor=cell.monitor, higher_is_better=cell.monitor == "val/accuracy")
        assert calibration.claims(points, cell.monitor) == [not row.is_tied for row in board.rows[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 4])
def test_equal_points_are_told_apart_in_5_of_100_sweeps_at_most(calibration: ModuleType, number: int) -> None:
    cell = replace(calibration.CELLS[number], num_images=1000)
    assert calibration.false_claims(cell, 200) <= 0.05 + 2.5 * (0.05 * 0.95 / 200) ** 0.5
