"""The leaderboard on a terminal and as CSV."""

import csv

import numpy as np
import pytest
from boards import board_of, crossed, point, random_images

from hcr.evaluation.table import TABLE_WIDTH, format_table, write_csv

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
    board = board_of(point("model.depth=3", 0.99, 0.97, num_params=1234), point("model.depth=10", 0.7, 0.9))
    assert format_table(board).splitlines() == [
        "    point           n    mean     ± sd     95 % interval  params",
        "=1  model.depth=3   2  0.9800  ±0.0141  0.8529 to 1.0000   1,234",
        "=2  model.depth=10  2  0.8000  ±0.1414  0.0000 to 1.0000",
        "= not significantly different from the best",
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
    names = (
        "n mean_over corrected mean sd low high noise p_adjusted tied_with_best"
        " num_params train_s failed pruned incomplete"
    )
    assert list(rows[0]) == ["rank", "point", *axes, *names.split()]
    assert [rows[0][axis] for axis in axes] == ["[16,32]", "shift, then\nrotate", "true", ""]
    assert [rows[1][axis] for axis in axes] == ["8", "", "", "null"]
    assert [float(rows[0][name]) for name in ("mean", "sd", "low")] == [
        board.rows[0].mean,
        board.rows[0].sd,
        board.rows[0].interval[0],
    ]
    assert [(row["mean_over"], row["corrected"]) for row in rows] == [("3 seeds", "false")] * 2 + [("", "")]
    assert [row["noise"] for row in rows] == ["seeds", "seeds", ""]
    assert [row["tied_with_best"] for row in rows] == ["true", "true", ""]
    assert [row["p_adjusted"] for row in rows] == ["", str(board.rows[1].p_adjusted), ""]
    assert [(row["pruned"], row["incomplete"]) for row in rows] == [("0", "false"), ("0", "false"), ("3", "false")]


def test_a_csv_says_what_a_mean_is_over_and_that_its_interval_is_corrected(tmp_path):
    board = board_of(crossed("a", [[0.9, 0.8, 0.9], [0.9, 0.8, 0.7]]), crossed("b", [[0.5, 0.4, 0.6], [0.5, 0.4, 0.3]]))
    write_csv(board, tmp_path / "leaderboard.csv")
    with (tmp_path / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["n"], row["mean_over"], row["corrected"]) for row in rows] == [("6", "3 folds × 2 seeds", "true")] * 2


@pytest.mark.parametrize(
    ("num_seeds", "words"), [(2, "seeds and of validation images"), (1, "for these trained models")]
)
def test_a_table_says_which_noise_its_intervals_hold(num_seeds, words):
    board = board_of(*random_images(num_seeds=num_seeds))
    assert words in format_table(board).splitlines()[-1]


def test_the_loss_of_a_table_is_never_below_zero():
    board = board_of(point("a", 0.004, 0.03), point("b", 0.9, 0.1), monitor="val/loss", higher_is_better=False)
    assert "-" not in format_table(board)
