"""What a sweep may say: ties with the best, and when it has to keep silent."""

import numpy as np
import pytest
from boards import board_of, crossed, point, random_points, tied

from hcr.evaluation.table import format_table
from hcr.evaluation.verdict import verdict, winner_bias


def test_p_is_adjusted_by_hand():
    # 5 against 5 that do not overlap: 2 of 252 arrangements; the smaller of two such p is doubled, as is the other.
    board = board_of(
        point("a", 10, 11, 12, 13, 14), point("b", 0, 1, 2, 3, 4), point("c", 5, 6, 7, 8, 9), higher_is_better=True
    )
    assert [row.p_adjusted for row in board.rows] == [None, pytest.approx(4 / 252), pytest.approx(4 / 252)]
    assert tied(board) == ["a"]
    assert verdict(board)[0].startswith("a differs significantly from all of the 2 other points")


def test_the_smallest_model_among_the_tied_ones_is_named_and_a_smaller_one_that_is_worse_is_not():
    board = board_of(
        point("best", 5.0, 6, 7, 8, 9, 10, num_params=3000),
        point("lean", 5.5, 6, 7, 8, 9, 9, num_params=2000),
        point("tiny", -5.0, -6, -7, -8, -9, -10, num_params=1),
    )
    assert tied(board) == ["best", "lean"]
    assert "2 of 3 points are not significantly different from the best" in verdict(board)[0]
    assert verdict(board)[0].endswith("best, the best; lean.")
    assert verdict(board)[1] == "The smallest model of these is lean: 2,000 parameters, the best has 3,000."


def test_three_seeds_against_three_are_said_to_show_nothing_and_four_are_named():
    board = board_of(point("a", 7.0, 8, 9), point("b", 1.0, 2, 3))
    assert board.rows[1].p_adjusted == pytest.approx(0.1)
    assert tied(board) == ["a", "b"]
    assert "the smallest possible two-sided permutation p is 0.10." in verdict(board)[0]
    assert verdict(board)[1].endswith("needs at least 4 seeds each.")


def test_the_n_that_is_named_can_indeed_tell_points_apart_and_one_less_cannot():
    def separate(n):
        return board_of(*(point(f"p{k}", *(np.arange(n) + 100.0 * k)) for k in range(12)))

    assert "needs at least 6 seeds each" in " ".join(verdict(separate(5)))
    assert len(tied(separate(5))) == 12
    assert "at least" not in " ".join(verdict(separate(6)))
    assert tied(separate(6)) == ["p11"]


def test_one_seed_each_says_nothing_of_noise_and_names_how_many_seeds_would():
    board = board_of(point("a", 2.0), point("b", 1.0))
    row = board.rows[0]
    assert (row.n, row.sd, row.interval, row.p_adjusted, row.is_tied) == (1, None, None, None, None)
    assert "the seed noise is unknown" in verdict(board)[0]
    assert verdict(board)[1].endswith("at least 4 seeds each.")
    assert "nan" not in " ".join(verdict(board)) + format_table(board)


def test_a_single_point_has_nothing_to_be_compared_with():
    board = board_of(point("a", 1.0, 2.0))
    assert verdict(board) == ["One point has finished runs: there is nothing to compare."]
    assert board.rows[0].is_tied is None


def test_missing_runs_withhold_every_statistic_and_are_named():
    board = board_of(
        point("a", *range(6)),
        point("b", 1.0, 2.0, 3.0, 4.0, num_planned=6, num_failed=1),
        point("none", num_planned=6),
    )
    assert [row.is_tied for row in board.rows] == [row.p_adjusted for row in board.rows] == [None] * 3
    assert [(row.label, row.num_missing) for row in board.rows] == [("a", 0), ("b", 2), ("none", 6)]
    assert verdict(board) == [
        "Incomplete: the statistics are withheld, 8 runs of 2 points are missing.",
        "Incomplete: missing: b: 2 of 6, 1 failed; none: 6 of 6.",
    ]


def test_other_seeds_are_no_comparison():
    board = board_of(point("a", 1, 2, 3, seeds=[0, 1, 2]), point("b", 1, 2, 3, seeds=[0, 1, 5]))
    assert [row.num_missing for row in board.rows] == [1, 1]
    assert board.is_incomplete
    assert "withheld" in verdict(board)[0]


def test_with_leave_an_incomplete_sweep_is_tested_by_what_is_there_and_every_line_says_so():
    board = board_of(point("a", *range(10, 16)), point("b", 1, 2, 3, num_planned=6), allow_incomplete=True)
    # 2 of the 84 arrangements of 6 and 3.
    assert board.rows[1].p_adjusted == pytest.approx(2 / 84)
    assert verdict(board) and all(line.startswith("Incomplete: ") for line in verdict(board))
    assert "3 to 6 seeds each" in verdict(board)[0]
    assert [row.is_incomplete for row in board.rows] == [False, True]
    assert [line.endswith("incomplete") for line in format_table(board).splitlines()] == [False, False, True]


def test_leave_changes_nothing_where_nothing_is_missing():
    boards = [board_of(*random_points(), allow_incomplete=allowed) for allowed in (False, True)]
    assert boards[0].rows == boards[1].rows
    assert verdict(boards[0]) == verdict(boards[1])


def test_a_point_that_the_sweep_gave_up_is_neither_missing_nor_compared():
    points = [point("a", 1, 2, 3, 4), point("b", 6, 7, 8, 9), point("given up", num_planned=4, num_pruned=4)]
    board = board_of(*points)
    assert not board.is_incomplete
    assert board.rows[1].p_adjusted == pytest.approx(2 / 70)  # one comparison, not two
    assert (board.rows[2].mean, board.rows[2].is_tied) == (None, None)
    assert verdict(board)[0] == "1 point had all runs pruned and cannot be compared."
    assert format_table(board).splitlines()[3].endswith("pruned")


@pytest.mark.parametrize(
    ("num_points", "n", "expected"),
    # The mean of the largest of 2 is 1 / sqrt(pi), of 3 is 1.5 / sqrt(pi); of 12, from tables, 1.6292.
    [(1, 3, 0), (2, 1, np.pi**-0.5), (3, 4, 0.75 * np.pi**-0.5), (12, 3, 1.6292 / 3**0.5)],
)
def test_winner_bias_is_the_mean_of_the_largest_of_so_many_normal_draws(num_points, n, expected):
    assert winner_bias(num_points, n) == pytest.approx(expected, abs=1e-4)


def test_winner_bias_is_what_a_simulation_gives():
    means = np.random.default_rng(0).normal(size=(100_000, 12, 3)).mean(axis=2)
    assert winner_bias(12, 3) == pytest.approx(means.max(axis=1).mean(), abs=0.005)


def test_the_verdict_gives_the_bias_in_the_metric_itself():
    board = board_of(point("a", 1, 2, 3, 4), point("b", 1, 2, 3, 4))
    # 0.5642 / 2 of a standard deviation of 1.2910.
    assert "0.28 standard deviations of a run (here 0.36)" in verdict(board)[-1]


CROSSED = (
    crossed("a", [[0.90, 0.92, 0.91, 0.95, 0.92], [0.91, 0.92, 0.93, 0.94, 0.93]], num_params=9),
    crossed("b", [[0.89, 0.90, 0.90, 0.93, 0.91], [0.90, 0.91, 0.91, 0.92, 0.92]], num_params=5),
)


def test_a_cross_validation_is_never_called_a_number_of_seeds():
    board = board_of(*CROSSED)
    lines = verdict(board)
    assert lines[0] == (
        "a differs significantly from the other point (val/accuracy, 5 folds × 2 seeds each, corrected"
        " resampled t tests against the best, Holm-adjusted, alpha 0.05)."
    )
    assert lines[1] == (
        "Folds share training images: intervals and tests use Nadeau and Bengio's corrected variance of a mean."
        " More seeds never bring it below 0.25 of the variance of a single run."
    )
    assert "among 2 equal points with 5 folds × 2 seeds each" in lines[2]
    # 10 runs of 5 folds are worth 1 / (1 / 10 + 1 / 4) independent ones.
    assert f"{np.pi**-0.5 * 0.35**0.5:.2f} standard deviations" in lines[2]
    assert not any("permutation" in line or "10 seeds" in line for line in lines)
    assert format_table(board).splitlines() == [
        "    point  runs    mean     ± sd     95 % interval  params",
        "=1  a        10  0.9230  ±0.0149  0.9030 to 0.9430       9",
        " 2  b        10  0.9090  ±0.0120  0.8930 to 0.9250       5",
        "mean over 5 folds × 2 seeds; intervals and tests are corrected, as folds share training images",
    ]


def test_incomplete_folds_are_counted_as_runs():
    few = crossed("b", [[0.5, 0.4, 0.6]], num_folds=5)
    lines = verdict(board_of(crossed("a", [[0.9, 0.8, 0.9, 0.9, 0.9]]), few, allow_incomplete=True))
    assert "3 to 5 runs each" in lines[0]
    lines = verdict(board_of(*(crossed(name, [[0.5]], num_folds=5) for name in "ab"), allow_incomplete=True))
    assert lines[0].startswith("One run each: the noise of folds and seeds is unknown")


def test_points_of_another_kind_of_split_are_not_called_missing():
    lines = verdict(board_of(point("stratified", 0.9, 0.8), CROSSED[0]))
    assert not any("missing" in line for line in lines)
    assert lines[0].startswith("The points differ in split.folds")
