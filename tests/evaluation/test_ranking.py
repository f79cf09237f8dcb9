"""The order of points, and which are tied with the best."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from boards import board_of, crossed, imaged, point, random_images, random_points, tied
from scipy.stats import t

from hcr.evaluation.score_model import Basis
from hcr.evaluation.verdict import verdict


def test_rows_are_ordered_by_their_mean_and_those_without_a_run_come_last():
    points = [point("a", 1.0, 3.0), point("none", num_planned=2), point("b", 4.0, 2.0)]
    assert [row.label for row in board_of(*points).rows] == ["b", "a", "none"]
    assert [row.label for row in board_of(*points, higher_is_better=False).rows] == ["a", "b", "none"]
    assert [row.rank for row in board_of(*points).rows] == [1, 2, 3]


def test_of_equal_means_the_smaller_model_comes_first():
    board = board_of(point("large", 1.0, 2.0, num_params=9), point("small", 2.0, 1.0, num_params=5))
    assert [row.label for row in board.rows] == ["small", "large"]


def test_a_row_is_worked_by_hand():
    row = board_of(
        point("a", 1.0, 2.0, 3.0, num_params=7, train_s=1.5, num_failed=1), point("b", 0, 0, 0), monitor="score"
    ).rows[0]
    assert (row.n, row.mean, row.sd) == (3, 2.0, 1.0)
    # t with 2 degrees of freedom at 0.975 is 4.3027, over the square root of 3.
    assert row.interval == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert (row.num_params, row.train_s, row.num_failed, row.num_pruned) == (7, 1.5, 1, 0)


def test_relabelling_and_reordering_points_only_permutes_the_rows():
    points = random_points()
    rows = {row.label: (row.mean, row.p_adjusted, row.is_tied) for row in board_of(*points).rows}
    for order in list(permutations(points))[::29]:
        for row in board_of(*order).rows:
            mean, p, is_tied = rows[row.label]
            assert (row.mean, row.is_tied) == (mean, is_tied)
            assert row.p_adjusted == (None if p is None else pytest.approx(p, rel=1e-6))


@pytest.mark.parametrize("constant", [1.0, -1000.0, 1e-9])
@pytest.mark.parametrize("n", [6, 12])
def test_adding_a_constant_to_every_score_changes_no_p(constant, n):
    points = random_points(n=n, effect=0.4)
    moved = [point(p.label, *(score + constant for score in p.scores.values())) for p in points]
    before, after = (board_of(*some) for some in (points, moved))
    for one, other in zip(before.rows[1:], after.rows[1:], strict=True):
        assert one.p_adjusted == pytest.approx(other.p_adjusted, rel=1e-6)
    assert len({row.p_adjusted for row in before.rows}) > 2


def test_a_loss_and_its_negative_give_the_same_tied_points():
    points = random_points(effect=0.7)
    negative = [point(p.label, *(-score for score in p.scores.values()), num_params=p.num_params) for p in points]
    assert tied(board_of(*points)) == tied(board_of(*negative, higher_is_better=False))
    assert 1 < len(tied(board_of(*points))) < 5


def test_the_order_in_which_runs_finished_changes_nothing():
    points = random_points(n=12, effect=0.4)
    later = [replace(p, scores=dict(reversed(p.scores.items()))) for p in points]
    assert [row.p_adjusted for row in board_of(*points).rows] == [row.p_adjusted for row in board_of(*later).rows]


def test_half_pruned_is_incomplete_as_only_the_lucky_half_is_left():
    assert board_of(point("a", 1, 2), point("b", 3, num_planned=2, num_pruned=1)).rows[0].num_missing == 1


def test_scores_that_are_not_finite_and_no_points_are_refused():
    with pytest.raises(ValueError, match="a seed=1: expected a finite val/accuracy, got nan"):
        board_of(point("a", 1.0, float("nan")))
    with pytest.raises(ValueError, match="at least one point"):
        board_of()


def test_all_scores_the_same_are_all_tied():
    board = board_of(*(point(f"p{k}", 1.0, 1.0, 1.0, 1.0) for k in range(2)))
    assert board.rows[1].p_adjusted == 1
    assert tied(board) == ["p0", "p1"]
    assert "nan" not in " ".join(verdict(board))


@pytest.mark.slow
@pytest.mark.parametrize(("num_points", "n"), [(2, 2), (2, 5), (3, 3)])
def test_among_equal_points_any_is_called_worse_in_5_of_100_sweeps(num_points, n):
    random = np.random.default_rng(0)
    claims = 0
    for _ in range(400):
        points = [point(f"p{k}", *random.normal(size=n)) for k in range(num_points)]
        claims += len(tied(board_of(*points, monitor="score"))) < num_points
    assert claims == pytest.approx(20, abs=2.5 * (400 * 0.05 * 0.95) ** 0.5)


def test_two_seeds_tell_a_loss_of_0_023_from_one_of_0_156():
    board = board_of(
        point("deep", 0.021, 0.025), point("flat", 0.171, 0.141), monitor="val/loss", higher_is_better=False
    )
    assert tied(board) == ["deep"]
    assert board.rows[1].p_adjusted < 0.01


def test_the_interval_of_a_loss_is_above_zero_and_that_of_an_accuracy_within_0_to_1():
    points = [point("a", 0.001, 0.03), point("b", 0.2, 0.9)]
    for row in board_of(*points, monitor="val/loss", higher_is_better=False).rows:
        assert 0 < row.interval[0] < row.mean < row.interval[1]
    assert [row.interval for row in board_of(*points).rows] == [(0, 1), (0, pytest.approx(0.1997, abs=1e-3))]


def test_images_tell_single_runs_apart_and_say_that_they_are_of_these_models():
    points = random_images(num_seeds=1, effect=1.0)
    board = board_of(*points)
    assert (board.basis, board.num_images, tied(board)) == (Basis.IMAGES, 2000, ["p0"])
    assert all(row.interval is not None for row in board.rows)
    assert board_of(*(replace(own, images={}) for own in points)).basis is None


def test_images_and_seeds_are_both_allowed_for():
    board = board_of(*random_images(num_seeds=3, effect=1.0))
    assert (board.basis, board.num_images, tied(board)) == (Basis.BOTH, 2000, ["p0"])
    assert len(tied(board_of(*random_images(num_seeds=3)))) == 3


def test_images_that_each_seed_draws_are_paired_between_points():
    random = np.random.default_rng(0)
    index = [np.sort(random.choice(5000, 500, replace=False)) for _ in range(12)]
    difficulty = 3 * random.normal(size=5000)
    margin = [difficulty[own] + 0.5 * random.normal(size=(3, 500)) for own in index]
    points = [imaged(f"p{k}", *(own[k] > -3 for own in margin), index=index) for k in range(3)]
    shuffled = [replace(own, images={}) for own in points]
    with_images, without = board_of(*points), board_of(*shuffled)
    assert with_images.num_images == len(np.unique(np.concatenate(index)))
    # The difficulty of the images that a seed draws is in all points' scores of that seed: it is no noise of seeds.
    assert with_images.rows[1].gap.error < 0.8 * without.rows[1].gap.error


def test_images_of_a_run_that_are_missing_leave_the_seeds_alone():
    points = random_images(num_seeds=3, effect=1.0)
    board = board_of(replace(points[0], images={}), *points[1:], no_images_why="why")
    assert (board.basis, board.num_images, board.no_images_why) == (Basis.SEEDS, None, "why")


def test_points_whose_means_and_geometric_means_are_in_opposite_orders_are_not_told_apart():
    steady, wild = point("steady", *(0.1 for _ in range(6)), 0.101), point("wild", *(0.01 for _ in range(6)), 5.0)
    board = board_of(steady, wild, monitor="val/loss", higher_is_better=False)
    assert [row.label for row in board.rows] == ["steady", "wild"]
    assert board.rows[1].gap.value < 0
    assert board.rows[1].p_adjusted == 1


def test_a_point_that_is_much_worse_is_not_tied():
    random = np.random.default_rng(0)
    for _ in range(50):
        points = [point(f"p{k}", *random.normal(loc=-10 * (k == 3), size=6)) for k in range(4)]
        assert "p3" not in tied(board_of(*points))


A = [[0.90, 0.92, 0.91, 0.95, 0.92], [0.91, 0.92, 0.93, 0.94, 0.93]]
B = [[0.89, 0.90, 0.90, 0.93, 0.91], [0.90, 0.91, 0.91, 0.92, 0.92]]


def test_a_cross_validated_row_is_worked_by_hand():
    board = board_of(crossed("a", A), crossed("b", B))
    scores, differences = np.ravel(A), np.ravel(A) - np.ravel(B)
    # 10 scores, 5 folds: the variance of a run times 1 / 10 + 1 / 4; t of 9 degrees of freedom is 2.26216 at 0.975.
    half = 2.26216 * scores.std(ddof=1) * np.sqrt(0.35)
    row = board.rows[0]
    assert (row.label, row.n, row.num_folds) == ("a", 10, 5)
    assert row.interval == pytest.approx((scores.mean() - half, scores.mean() + half), abs=1e-6)
    statistic = differences.mean() / (differences.std(ddof=1) * np.sqrt(0.35))
    assert board.rows[1].p_adjusted == pytest.approx(2 * t.sf(statistic, 9))
    assert tied(board) == ["a"]  # not though their intervals overlap: folds and seeds are compared in pairs
    assert board.rows[1].interval[1] > row.interval[0]


def test_points_are_paired_by_fold_and_seed_in_whatever_order_runs_finish():
    points = [crossed("a", A), crossed("b", B)]
    random = np.random.default_rng(0)
    for _ in range(3):
        mixed = [replace(p, scores=dict(random.permutation(np.array(list(p.scores.items()), object)))) for p in points]
        assert [row.p_adjusted for row in board_of(*mixed).rows] == [row.p_adjusted for row in board_of(*points).rows]
    moved = crossed("b", [row[1:] + row[:1] for row in B])
    assert board_of(points[0], moved).rows[1].p_adjusted > board_of(*points).rows[1].p_adjusted


def test_a_missing_fold_withholds_the_statistics_unless_it_may_be_missing():
    few = replace(
        crossed("b", B), scores={own: score for own, score in crossed("b", B).scores.items() if own.fold != 3}
    )
    board = board_of(crossed("a", A), few)
    assert [row.num_missing for row in board.rows] == [0, 2]
    assert board.rows[1].p_adjusted is None
    allowed = board_of(crossed("a", A), few, allow_incomplete=True)
    differences = np.delete(np.array(A) - np.array(B), 3, axis=1).ravel()
    statistic = differences.mean() / (differences.std(ddof=1) * np.sqrt(1 / 8 + 1 / 4))
    assert allowed.rows[1].p_adjusted == pytest.approx(2 * t.sf(statistic, 7))


def test_points_of_different_numbers_of_folds_are_not_tested():
    board = board_of(crossed("a", [[1.0, 2.0, 3.0]]), crossed("b", [[1.0, 2.0, 3.0]], num_folds=9))
    assert [row.p_adjusted for row in board.rows] == [row.is_tied for row in board.rows] == [None, None]
    assert verdict(board)[0].startswith("The points differ in split.folds")
