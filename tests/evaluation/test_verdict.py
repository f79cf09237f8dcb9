"""What a sweep may say: ties with the best, and when it has to keep silent."""

import re

import numpy as np
import pytest
from boards import board_of, crossed, imaged, point, random_images, random_points, tied

from hcr.evaluation.best_of_many import range_p
from hcr.evaluation.table import format_table
from hcr.evaluation.verdict import verdict, winner_bias


def test_p_is_adjusted_by_hand():
    # The variance within points is 2.5, so a difference of two means of 5 has the error 1, with 12 degrees of freedom.
    board = board_of(
        point("a", 10, 11, 12, 13, 14), point("b", 0, 1, 2, 3, 4), point("c", 5, 6, 7, 8, 9), monitor="score"
    )
    assert [row.label for row in board.rows] == ["a", "c", "b"]
    expected = [None, pytest.approx(range_p(5, 2, 12)), pytest.approx(range_p(10, 3, 12))]
    assert [row.p_adjusted for row in board.rows] == expected
    assert tied(board) == ["a"]
    assert verdict(board)[0] == "a is better than each of the 2 other points (score, 5 seeds each; every p < 0.001)."


def test_the_smallest_model_among_the_tied_ones_is_named_and_a_smaller_one_that_is_worse_is_not():
    board = board_of(
        point("best", 5.0, 6, 7, 8, 9, 10, num_params=3000),
        point("lean", 5.5, 6, 7, 8, 9, 9, num_params=2000),
        point("tiny", -5.0, -6, -7, -8, -9, -10, num_params=1),
        monitor="score",
    )
    assert tied(board) == ["best", "lean"]
    first, second, third, *_ = verdict(board)
    assert first == (
        "best, the best, is better than 1 of the 2 other points (score, 6 seeds each; p < 0.001)."
        " Not significantly different: lean (p = 0.94)."
    )
    assert second.startswith("6 seeds each can only show differences from the best above ")
    assert third == "The smallest model of these is lean: 2,000 parameters, the best has 3,000."


def test_two_points_are_named_with_their_difference_its_interval_and_p():
    found = verdict(board_of(point("a", 0.95, 0.96, 0.97), point("b", 0.91, 0.92, 0.93)))
    # 4 points, and 2.7764 errors of sqrt(2 / 3) of a point.
    assert found[0] == "a is better than b: +4.0 points [1.7, 6.3], p = 0.0080 (val/accuracy, 3 seeds each)."
    assert "points and the choice" not in " ".join(found)
    same = verdict(board_of(point("a", 0.95, 0.97), point("b", 0.94, 0.96)))
    assert same[0].startswith("No difference shown between a and b: +1 point [-5, 7]") and " p = 0." in same[0]
    assert same[1].startswith("2 seeds each can only show differences above ") and same[1].endswith(" points.")


def test_a_loss_is_told_by_the_ratio_of_the_worse_point():
    lines = verdict(
        board_of(point("a", 0.021, 0.025), point("b", 0.171, 0.141), monitor="val/loss", higher_is_better=False)
    )
    assert lines[0].startswith("a is better than b, whose val/loss is 6.8 times [")
    assert lines[0].endswith("] as large, p = 0.0046 (2 seeds each).")


def test_points_of_which_none_is_told_from_the_best_are_said_to_show_no_difference():
    lines = verdict(board_of(*(point(f"p{k}", 0.90 + k / 1000, 0.92, 0.94) for k in range(3))))
    assert lines[0] == (
        "No difference shown between the best, p2, and the 2 other points (val/accuracy, 3 seeds each; every p at least"
        " 0.99)."
    )
    assert "above " in lines[1]


def test_seeds_and_images_are_named_and_so_is_what_a_single_seed_cannot_say():
    lines = verdict(board_of(*random_images(num_seeds=3, effect=1.0)))
    assert lines[0].startswith(
        "p0 is better than each of the 2 other points (val/accuracy, 3 seeds each on 2,000 validation images; every p "
    )
    assert lines[1].startswith("t tests against the best with the noise of seeds and of the validation images")
    assert "adjusted for 3 points and the choice of the best" in lines[1]
    lines = verdict(board_of(*random_images(num_seeds=1, effect=1.0)))
    assert "1 seed each on 2,000 validation images" in lines[0]
    assert lines[1].startswith("One seed each: tests paired over the same images")
    assert "trained models is better on new images, not which config is" in lines[1]


def test_two_seeds_that_cannot_tell_configs_apart_still_tell_their_trained_models_apart():
    random = np.random.default_rng(0)
    shares = {"a": (0.99, 0.95), "b": (0.93, 0.90)}
    points = [imaged(name, *(random.random(4000) < share for share in own)) for name, own in shares.items()]
    board = board_of(*points)
    assert tied(board) == ["a", "b"] and board.rows[1].p_of_models < 0.001 < board.rows[1].p_adjusted
    assert (
        "On new images these trained models of a are better than those of b (p < 0.001, without the noise of seeds);"
        " more seeds would tell whether the configs are."
    ) in verdict(board)


def test_groups_are_counted_as_groups():
    groups = np.repeat(np.arange(50), 4)
    random = np.random.default_rng(0)
    points = [imaged(name, *(random.random((2, 200)) < 0.9), groups=groups) for name in "ab"]
    assert "2 seeds each on 50 validation groups" in verdict(board_of(*points))[0]


def test_it_says_why_images_are_not_used():
    why = "1 of 4 runs, such as abc, whose predictions are not on this machine"
    lines = verdict(board_of(point("a", 0.9, 0.8), point("b", 0.8, 0.7), no_images_why=why))
    assert any(f"the noise of seeds alone, as scores of single images are not known: {why}" in line for line in lines)
    lines = verdict(board_of(point("a", 0.9), point("b", 0.8), no_images_why=why))
    assert lines[0].startswith(f"One seed each, and scores of single images are not known ({why})")


def test_one_seed_each_without_images_says_nothing_of_noise():
    board = board_of(point("a", 2.0), point("b", 1.0))
    row = board.rows[0]
    assert (row.n, row.sd, row.interval, row.p_adjusted, row.is_tied) == (1, None, None, None, None)
    assert "the noise is unknown" in verdict(board)[0]
    assert "nan" not in " ".join(verdict(board)) + format_table(board)


@pytest.mark.parametrize("num_points", [2, 3])
@pytest.mark.parametrize("gap", [0.0, 0.1, 5.0])
@pytest.mark.parametrize("monitor", ["val/accuracy", "val/loss", "score"])
def test_every_claim_has_its_p_and_nothing_is_called_one_points(num_points, gap, monitor):
    random = np.random.default_rng(0)
    points = [point(f"x{k}", *(1 + gap * k + random.random(3) / 10)) for k in range(num_points)]
    text = " ".join(verdict(board_of(*points, monitor=monitor)))
    assert " p " in text.split(").")[0]
    assert not re.search(r"\b1 other points|(?<![\d.])1 points", text)
    assert monitor in text


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
    # Pooled over both: variances 3.5 and 1 with 5 and 2 degrees of freedom.
    error = ((3.5 * 5 + 1 * 2) / 7 * (1 / 6 + 1 / 3)) ** 0.5
    assert board.rows[1].p_adjusted == pytest.approx(range_p(10.5 / error, 2, 7))
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
    # The variance is 5 / 3, over 4 runs each: one comparison, not two.
    assert board.rows[1].p_adjusted == pytest.approx(range_p(5 / (5 / 6) ** 0.5, 2, 6))
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
    assert lines[0].startswith("a is better than b: +1.4 points [0.7, 2.1]")
    assert lines[0].endswith(", p = 0.0013 (val/accuracy, 5 folds × 2 seeds each).")
    assert lines[1] == (
        "Corrected resampled t tests against the best, alpha 0.05. Folds share training images: intervals and tests use"
        " Nadeau and Bengio's corrected variance of a mean. More seeds never bring it below 0.25 of the variance of a"
        " single run."
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
    assert any("3 to 5 runs each" in line for line in lines)
    lines = verdict(board_of(*(crossed(name, [[0.5]], num_folds=5) for name in "ab"), allow_incomplete=True))
    assert lines[0].startswith("One run each: the noise of folds and seeds is unknown")


def test_points_of_another_kind_of_split_are_not_called_missing():
    lines = verdict(board_of(point("stratified", 0.9, 0.8), CROSSED[0]))
    assert not any("missing" in line for line in lines)
    assert lines[0].startswith("The points differ in split.folds")
