"""What a sweep may say: order, ties with the best, and when it has to keep silent."""

import csv
from itertools import permutations

import numpy as np
import pytest

from hcr.evaluation.leaderboard import (
    TABLE_WIDTH,
    PointScores,
    format_table,
    format_value,
    leaderboard,
    short_labels,
    short_names,
    winner_bias,
    write_csv,
)


def point(label, *scores, num_planned=None, seeds=None, values=None, **more):
    seeds = range(len(scores)) if seeds is None else seeds
    return PointScores(
        label=label,
        values={"model.depth": label} if values is None else values,
        scores=dict(zip(seeds, scores, strict=True)),
        num_planned=len(scores) if num_planned is None else num_planned,
        **more,
    )


def board_of(*points, higher_is_better=True, **more):
    return leaderboard(points, monitor="val/accuracy", higher_is_better=higher_is_better, **more)


def random_points(num_points=5, n=6, effect=1.0):
    random = np.random.default_rng(3)
    return [point(f"p{k}", *(random.normal(size=n) + k * effect), num_params=100 + k) for k in range(num_points)]


def tied(board):
    return [row.label for row in board.rows if row.is_tied]


def verdict(board):
    return " ".join(board.verdict)


def test_rows_are_ordered_by_their_mean_and_those_without_a_run_come_last():
    points = [point("a", 1.0, 3.0), point("none", num_planned=2), point("b", 4.0, 2.0)]
    assert [row.label for row in board_of(*points).rows] == ["b", "a", "none"]
    assert [row.label for row in board_of(*points, higher_is_better=False).rows] == ["a", "b", "none"]
    assert [row.rank for row in board_of(*points).rows] == [1, 2, 3]


def test_of_equal_means_the_smaller_model_comes_first():
    board = board_of(point("large", 1.0, 2.0, num_params=9), point("small", 2.0, 1.0, num_params=5))
    assert [row.label for row in board.rows] == ["small", "large"]


def test_a_row_is_worked_by_hand():
    row = board_of(point("a", 1.0, 2.0, 3.0, num_params=7, train_s=1.5, num_failed=1), point("b", 0, 0, 0)).rows[0]
    assert (row.n, row.mean, row.sd) == (3, 2.0, 1.0)
    # t with 2 degrees of freedom at 0.975 is 4.3027, over the square root of 3.
    assert row.interval == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert (row.num_params, row.train_s, row.num_failed, row.num_pruned) == (7, 1.5, 1, 0)


def test_p_is_adjusted_by_hand():
    # 4 against 4 that do not overlap: 2 of 70 arrangements; the smaller of two such p is doubled, as is the other.
    board = board_of(
        point("a", 10, 11, 12, 13), point("b", 1, 2, 3, 4), point("c", 5, 6, 7, 8), alpha=0.06, higher_is_better=True
    )
    assert [row.p_adjusted for row in board.rows] == [None, pytest.approx(4 / 70), pytest.approx(4 / 70)]
    assert tied(board) == ["a"]
    assert board.verdict[0].startswith("a can be told from all of the 2 other points")


def test_relabelling_and_reordering_points_only_permutes_the_rows():
    points = random_points()
    rows = {row.label: (row.mean, row.p_adjusted, row.is_tied) for row in board_of(*points).rows}
    for order in list(permutations(points))[::17]:
        assert {row.label: (row.mean, row.p_adjusted, row.is_tied) for row in board_of(*order).rows} == rows


@pytest.mark.parametrize("constant", [1.0, -1000.0, 1e-9])
@pytest.mark.parametrize("n", [6, 12])
def test_adding_a_constant_to_every_score_changes_no_p(constant, n):
    points = random_points(n=n, effect=0.4)
    moved = [point(p.label, *(score + constant for score in p.scores.values())) for p in points]
    before, after = (board_of(*some) for some in (points, moved))
    assert [row.p_adjusted for row in before.rows] == [row.p_adjusted for row in after.rows]
    assert len({row.p_adjusted for row in before.rows}) > 2


def test_a_loss_and_its_negative_give_the_same_tied_points():
    points = random_points(effect=0.7)
    negative = [point(p.label, *(-score for score in p.scores.values()), num_params=p.num_params) for p in points]
    assert tied(board_of(*points)) == tied(board_of(*negative, higher_is_better=False))
    assert 1 < len(tied(board_of(*points))) < 5


def test_the_order_in_which_runs_finished_changes_nothing():
    points = random_points(n=12, effect=0.4)
    later = [point(p.label, *reversed(p.scores.values()), seeds=list(p.scores)[::-1]) for p in points]
    assert [row.p_adjusted for row in board_of(*points).rows] == [row.p_adjusted for row in board_of(*later).rows]


def test_the_smallest_model_among_the_tied_ones_is_named_and_a_smaller_one_that_is_worse_is_not():
    board = board_of(
        point("best", 5.0, 6, 7, 8, 9, 10, num_params=3000),
        point("lean", 5.5, 6, 7, 8, 9, 9, num_params=2000),
        point("tiny", -5.0, -6, -7, -8, -9, -10, num_params=1),
    )
    assert tied(board) == ["best", "lean"]
    assert "2 of 3 points cannot be told from the best" in board.verdict[0]
    assert board.verdict[0].endswith("best, the best; lean.")
    assert board.verdict[1] == "The smallest model of these is lean: 2,000 parameters, the best has 3,000."


def test_three_seeds_against_three_are_said_to_show_nothing_and_four_are_named():
    board = board_of(point("a", 7.0, 8, 9), point("b", 1.0, 2, 3))
    assert board.rows[1].p_adjusted == pytest.approx(0.1)
    assert tied(board) == ["a", "b"]
    assert "the smallest two-sided permutation p is 0.10." in board.verdict[0]
    assert board.verdict[1].startswith("4 seeds each are the fewest")


def test_the_n_that_is_named_can_indeed_tell_points_apart_and_one_less_cannot():
    def separate(n):
        return board_of(*(point(f"p{k}", *(np.arange(n) + 100.0 * k)) for k in range(12)))

    assert "6 seeds each are the fewest" in verdict(separate(5))
    assert len(tied(separate(5))) == 12
    assert "fewest" not in verdict(separate(6))
    assert tied(separate(6)) == ["p11"]


def test_one_seed_each_says_nothing_of_noise_and_names_how_many_seeds_would():
    board = board_of(point("a", 2.0), point("b", 1.0))
    row = board.rows[0]
    assert (row.n, row.sd, row.interval, row.p_adjusted, row.is_tied) == (1, None, None, None, None)
    assert "nothing can be said about seed noise" in board.verdict[0]
    assert board.verdict[1].startswith("4 seeds each")
    assert "nan" not in verdict(board) + format_table(board)


def test_a_single_point_has_nothing_to_be_compared_with():
    board = board_of(point("a", 1.0, 2.0))
    assert board.verdict == ["One point has finished runs: there is nothing to compare."]
    assert board.rows[0].is_tied is None


def test_missing_runs_withhold_every_statistic_and_are_named():
    board = board_of(
        point("a", *range(6)),
        point("b", 1.0, 2.0, 3.0, 4.0, num_planned=6, num_failed=1),
        point("none", num_planned=6),
    )
    assert [row.is_tied for row in board.rows] == [row.p_adjusted for row in board.rows] == [None] * 3
    assert [(row.label, row.num_missing) for row in board.rows] == [("a", 0), ("b", 2), ("none", 6)]
    assert board.verdict == [
        "Incomplete: the statistics are withheld, 8 runs of 2 points are missing.",
        "Incomplete: missing are b: 2 of 6, 1 failed; none: 6 of 6.",
    ]


def test_other_seeds_are_no_comparison():
    board = board_of(point("a", 1, 2, 3, seeds=[0, 1, 2]), point("b", 1, 2, 3, seeds=[0, 1, 5]))
    assert [row.num_missing for row in board.rows] == [1, 1]
    assert board.is_incomplete
    assert "withheld" in board.verdict[0]


def test_with_leave_an_incomplete_sweep_is_tested_by_what_is_there_and_every_line_says_so():
    board = board_of(point("a", *range(10, 16)), point("b", 1, 2, 3, num_planned=6), allow_incomplete=True)
    # 2 of the 84 arrangements of 6 and 3.
    assert board.rows[1].p_adjusted == pytest.approx(2 / 84)
    assert board.verdict and all(line.startswith("Incomplete: ") for line in board.verdict)
    assert "3 to 6 seeds each" in board.verdict[0]
    assert [row.is_incomplete for row in board.rows] == [False, True]
    assert [line.endswith("incomplete") for line in format_table(board).splitlines()] == [False, False, True]


def test_leave_changes_nothing_where_nothing_is_missing():
    assert board_of(*random_points()) == board_of(*random_points(), allow_incomplete=True)


def test_a_point_that_the_sweep_gave_up_is_neither_missing_nor_compared():
    points = [point("a", 1, 2, 3, 4), point("b", 6, 7, 8, 9), point("given up", num_planned=4, num_pruned=4)]
    board = board_of(*points)
    assert not board.is_incomplete
    assert board.rows[1].p_adjusted == pytest.approx(2 / 70)  # one comparison, not two
    assert (board.rows[2].mean, board.rows[2].is_tied) == (None, None)
    assert board.verdict[0] == "1 point had all runs pruned and cannot be compared."
    assert format_table(board).splitlines()[3].endswith("pruned")


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
    assert "nan" not in verdict(board)


def test_the_true_best_is_among_the_tied_in_at_least_95_of_100_sweeps_of_equal_points():
    random = np.random.default_rng(0)
    missed = {(2, 5): 0, (5, 6): 0}
    for (num_points, n), _ in missed.items():
        for _ in range(400):
            points = [point(f"p{k}", *random.normal(size=n)) for k in range(num_points)]
            missed[num_points, n] += "p0" not in tied(board_of(*points))
    assert all(0 < number <= 0.05 * 400 for number in missed.values()), missed


def test_a_point_that_is_much_worse_is_not_tied():
    random = np.random.default_rng(0)
    for _ in range(50):
        points = [point(f"p{k}", *random.normal(loc=-10 * (k == 3), size=6)) for k in range(4)]
        assert "p3" not in tied(board_of(*points))


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
    assert "0.28 standard deviations of a run, here 0.36," in board.verdict[-1]


LONG = {"model.dense_units": [128, 64, 32], "augmentation": "elastic", "optimizer.learning_rate": 1e-5}


def long_points(num_points, n, scale=1.0):
    random = np.random.default_rng(0)
    values = [{**LONG, f"group.axis_with_a_long_name_{k % 8}": k, "model.filters": k} for k in range(num_points)]
    return [
        point(
            " ".join(f"{axis}={value}" for axis, value in own.items()),
            *(scale * random.normal(1, 0.1, size=n)),
            values=own,
            num_params=12_345_678 * k + 9,
        )
        for k, own in enumerate(values)
    ]


@pytest.mark.parametrize("n", [1, 5, 10])
@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 1e4, 1e9])
def test_a_table_of_long_labels_fits_a_terminal_and_shows_what_differs(n, scale):
    board = board_of(*long_points(12, n, scale))
    table = format_table(board)
    assert max(map(len, table.splitlines())) <= TABLE_WIDTH
    words = table.split()
    assert all(f"filters={row.values['model.filters']}" in words for row in board.rows)


def test_a_table_is_aligned_and_says_what_is_left_out():
    board = board_of(point("model.depth=3", 0.99, 0.97, num_params=1234), point("model.depth=10", 0.5, 0.7))
    assert format_table(board).splitlines() == [
        "    point           n    mean     ± sd      95 % interval  params",
        "=1  model.depth=3   2  0.9800  ±0.0141   0.8529 to 1.1071   1,234",
        "=2  model.depth=10  2  0.6000  ±0.1414  -0.6706 to 1.8706",
        "= cannot be told from the best",
    ]
    assert format_table(board, limit=1).splitlines()[2] == "and 1 more point, 1 of them tied (=)"


def test_a_csv_has_a_row_a_point_and_a_column_an_axis(tmp_path):
    values = {"model.filters": [16, 32], "augmentation": "shift, then\nrotate", "nesterov": True}
    points = [
        point("one", 1.0, 2.0, 4.0, values=values, num_params=5, train_s=0.5),
        point("two", 2.0, 0.0, 0.0, values={"model.filters": 8, "extra": None}),
        point("three", num_planned=3, num_pruned=3, values={}),
    ]
    board = board_of(*points)
    write_csv(board, tmp_path / "leaderboard.csv")
    with (tmp_path / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    axes = ["model.filters", "augmentation", "nesterov", "extra"]
    names = "n mean sd low high p_adjusted tied_with_best num_params train_s failed pruned incomplete"
    assert list(rows[0]) == ["rank", "point", *axes, *names.split()]
    assert [rows[0][axis] for axis in axes] == ["[16,32]", "shift, then\nrotate", "true", ""]
    assert [rows[1][axis] for axis in axes] == ["8", "", "", "null"]
    assert [float(rows[0][name]) for name in ("mean", "sd", "low")] == [
        board.rows[0].mean,
        board.rows[0].sd,
        board.rows[0].interval[0],
    ]
    assert [row["tied_with_best"] for row in rows] == ["true", "true", ""]
    assert [row["p_adjusted"] for row in rows] == ["", str(board.rows[1].p_adjusted), ""]
    assert [(row["pruned"], row["incomplete"]) for row in rows] == [("0", "false"), ("0", "false"), ("3", "false")]


def test_values_are_shown_as_yaml_has_them():
    values = [True, None, 3, 0.001, "adam", [16, 32], (1, "a"), {"a": 1}]
    assert [format_value(value) for value in values] == [
        *("true", "null", "3", "0.001", "adam", "[16,32]", '[1,"a"]', '{"a":1}'),
    ]


def test_a_short_label_names_only_what_differs_and_keeps_names_apart():
    both = [point("whole", 1.0, values={"a.b": 1, "c": 2, "d.e": k}) for k in (1, 2)]
    assert short_labels(both) == ["e=1", "e=2"]
    assert short_labels(both[:1]) == ["whole"]
    assert short_names(["model.depth", "optimizer.rate", "schedule.rate"]) == {
        "model.depth": "depth",
        "optimizer.rate": "optimizer.rate",
        "schedule.rate": "schedule.rate",
    }
