"""The numbers behind the pictures of a sweep, and that every picture can be drawn."""

import struct
import warnings
from functools import partial
from itertools import product

import numpy as np
import pytest

from hcr.config.replicates import Replicate
from hcr.evaluation.axis_plots import (
    draw_heat,
    draw_importance,
    draw_parallel,
    heat_info,
    importance_info,
    parallel_info,
)
from hcr.evaluation.canvas import save_figure
from hcr.evaluation.ranking import PointScores, rank
from hcr.evaluation.sweep_plots import MOST_ROWS, draw_effects, draw_leaderboard, effects_info, leaderboard_info


def scores_of(scores):
    return {Replicate(seed): score for seed, score in enumerate(scores)}


def point(values, *scores, num_planned=None):
    label = " ".join(f"{axis}={value}" for axis, value in values.items())
    planned = len(scores) if num_planned is None else num_planned
    return PointScores(label=label, values=values, scores=scores_of(scores), num_planned=planned)


def board_of(*points, higher_is_better=True):
    return rank(points, monitor="val/accuracy", higher_is_better=higher_is_better)


def grid(axes, score, n=1, most=None):
    """A board of every combination, or of `most` of them drawn by chance; `score(values, seed)` gives each score."""
    combinations = list(product(*axes.values()))
    if most is not None:
        chosen = np.random.default_rng(0).choice(len(combinations), most, replace=False)
        combinations = [combinations[k] for k in chosen]
    every = [dict(zip(axes, values, strict=True)) for values in combinations]
    return board_of(*(point(values, *(float(score(values, seed)) for seed in range(n))) for values in every))


def noisy(n_seed=0):
    random = np.random.default_rng(n_seed)
    return lambda values, seed: 0.97 + 0.01 * random.normal()


def test_the_leaderboard_has_every_seed_best_first_and_counts_what_it_leaves_out():
    points = [point({"a": k}, k, k + 1.0, k + 2.0) for k in range(30)]
    info = leaderboard_info(board_of(*points, point({"a": 99}, num_planned=3)))
    assert info.labels[:4] == ("a=29", "a=28", "a=27", "a=26")
    assert info.scores[0] == (29, 30, 31)
    assert info.means[:4].tolist() == [30, 29, 28, 27]
    assert info.num_left_out == 30 - MOST_ROWS
    assert info.is_incomplete and not info.was_tested
    assert leaderboard_info(board_of(*points)).means.shape == (MOST_ROWS,)


def test_tied_points_are_those_of_the_board():
    board = board_of(point({"a": 1}, 5, 6, 7, 8), point({"a": 2}, 1, 2, 3, 4))
    info = leaderboard_info(board)
    assert info.was_tested
    assert info.is_tied == (True, False)
    assert info.intervals == tuple(row.interval for row in board.rows)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_one_point_that_diverged_does_not_squeeze_the_others(higher_is_better):
    sign = 1 if higher_is_better else -1
    scores = [0.990, 0.989, 0.988, 0.987, 0.986, 0.1]
    board = board_of(*(point({"a": k}, sign * s) for k, s in enumerate(scores)), higher_is_better=higher_is_better)
    info = leaderboard_info(board)
    assert info.low <= sign * 0.986 <= info.high and info.low <= sign * 0.990 <= info.high
    assert info.high - info.low < 0.02
    assert not info.low <= sign * 0.1 <= info.high
    heights = parallel_info(board).heights
    assert heights[-1] == (0 if higher_is_better else 1)
    assert len(set(heights.tolist())) == 6


def test_a_board_without_a_finished_run_has_no_picture():
    board = board_of(point({"a": 1}, num_planned=1), point({"a": 2}, num_planned=1))
    assert [make(board) for make in (leaderboard_info, parallel_info, heat_info, importance_info)] == [None] * 4


def test_parallel_axes_hold_numbers_in_proportion_and_categories_evenly_spaced():
    values = [(1, "c", True), (2, "a", False), (5, "b", True)]
    board = board_of(*(point({"n": n, "text": t, "flag": f}, -k) for k, (n, t, f) in enumerate(values)))
    info = parallel_info(board)
    assert info.positions.tolist() == [[0, 1, 1], [0.25, 0, 0], [1, 0.5, 1]]
    assert info.scales[1].ticks == ((0, "a"), (0.5, "b"), (1, "c"))
    assert info.heights.tolist() == [1, 0.5, 0]


@pytest.mark.parametrize(
    ("rates", "is_log"), [((0.1, 0.2, 3.0), False), ((1e-4, 1e-3, 1e-2), True), ((0, 1, 1000), False)]
)
def test_an_axis_is_logarithmic_beyond_a_factor_of_30(rates, is_log):
    info = parallel_info(board_of(*(point({"rate": rate}, 1.0 - k) for k, rate in enumerate(rates))))
    assert info.scales[0].is_log == is_log
    if is_log:
        assert info.positions[:, 0] == pytest.approx([0, 0.5, 1])


def test_an_axis_with_a_value_that_is_no_number_or_missing_has_categories():
    board = board_of(point({"limit": None}, 3), point({"limit": 100}, 2), point({}, 1))
    scale = parallel_info(board).scales[0]
    assert [text for _, text in scale.ticks] == ["100", "null", "–"]


def test_axes_that_do_not_vary_are_left_out_and_of_too_many_those_that_explain_least():
    axes = {f"g.axis{k}": [0, 1] for k in range(10)}
    board = grid({**axes, "same": [3]}, lambda v, seed: sum(v[f"g.axis{k}"] * (k + 1) for k in range(10)))
    info = parallel_info(board)
    assert [scale.name for scale in info.scales] == [f"axis{k}" for k in range(2, 10)]
    assert info.left_out == ("axis0", "axis1")


def test_a_map_has_the_mean_of_each_cell_averaged_over_the_other_axes():
    board = grid(
        {"x": [1, 2], "y": ["a", "b", "c"], "z": [0, 1]}, lambda v, seed: 10 * v["x"] + "abc".index(v["y"]) + v["z"]
    )
    info = heat_info(board)  # x and y explain more than z
    assert info.rows == ("x", ("1", "2"))
    assert info.columns == ("y", ("a", "b", "c"))
    assert info.means.tolist() == [[10.5, 11.5, 12.5], [20.5, 21.5, 22.5]]
    assert info.counts.tolist() == [[2, 2, 2]] * 2
    assert info.others == ("z",)


def test_numbers_are_in_order_of_size_on_a_map():
    board = grid({"x": [10, 9, 100], "y": [1e-3, 1e-5]}, noisy())
    assert heat_info(board).rows[1] == ("9", "10", "100")
    assert heat_info(board).columns[1] == ("1e-05", "0.001")


def test_a_pair_without_a_point_is_counted_zero_and_not_nan():
    info = heat_info(board_of(point({"x": 1, "y": 1}, 2.0), point({"x": 2, "y": 2}, 1.0)))
    assert info.counts.tolist() == [[1, 0], [0, 1]]
    assert info.means.tolist() == [[2, 0], [0, 1]]


def test_one_axis_or_too_many_values_make_no_map():
    assert heat_info(grid({"x": [1, 2], "y": [3]}, noisy())) is None
    assert heat_info(grid({"x": range(20), "y": [1, 2]}, noisy())) is None


def test_importance_is_worked_by_hand():
    # Means 0, 1, 4, 5: a total of 17 around 2.5, of which x explains 4 * 2**2 and y 4 * 0.5**2.
    info = importance_info(grid({"y": [0, 1], "x": [0, 4]}, lambda v, seed: v["x"] + v["y"]))
    assert info.names == ("x", "y")
    assert info.shares == pytest.approx([16 / 17, 1 / 17])
    assert info.by_chance == pytest.approx([1 / 3, 1 / 3])


def test_shares_on_a_full_grid_add_up_to_at_most_1_and_to_1_without_interactions():
    axes = {"a": [1, 2, 3], "b": [0, 1], "c": ["u", "v", "w"]}
    assert importance_info(grid(axes, noisy())).shares.sum() < 1
    additive = grid(axes, lambda v, seed: v["a"] ** 2 - 3 * v["b"] + len(v["c"]) + ord(v["c"]))
    assert importance_info(additive).shares.sum() == pytest.approx(1)


def test_noise_explains_on_average_what_chance_is_said_to():
    axes = {"a": [1, 2, 3, 4], "b": [0, 1], "c": [0, 1]}
    found = [importance_info(grid(axes, noisy(k))) for k in range(200)]
    share = np.mean([info.shares[info.names.index("a")] for info in found])
    assert found[0].by_chance[found[0].names.index("a")] == pytest.approx(3 / 15)
    assert share == pytest.approx(3 / 15, abs=0.03)


def test_equal_scores_are_explained_by_nothing():
    assert importance_info(grid({"a": [1, 2], "b": [1, 2]}, lambda v, seed: 0.1)).shares.tolist() == [0, 0]


def test_importances_that_are_given_are_taken_as_they_are():
    info = importance_info(grid({"a": [1, 2]}, noisy()), {"m.a": 0.2, "m.b": 0.8})
    assert (info.names, info.shares.tolist(), info.by_chance) == (("b", "a"), [0.8, 0.2], None)
    assert importance_info(grid({"a": [1, 2]}, noisy()), {}) is None


def effects_of(axes, n, score):
    base = point({axis: values[0] for axis, values in axes.items()}, *(score(None, k) for k in range(n)))
    others = {
        axis: [(v, point({**base.values, axis: v}, *(score(None, k) for k in range(n)))) for v in values[1:]]
        for axis, values in axes.items()
    }
    return effects_info(base, others, monitor="val/accuracy", higher_is_better=True)


def test_effects_put_the_base_among_its_values_and_leave_unfinished_points_out():
    base = point({"m.depth": 2, "opt": "sgd"}, 5.0, 7.0)
    effects = {
        "m.depth": [
            (3, point({"m.depth": 3}, 8.0, 10.0)),
            (1, point({"m.depth": 1}, 1.0)),
            (4, point({}, num_planned=2)),
        ],
        "opt": [("adam", point({"opt": "adam"}, 6.0)), ("sgd", base)],
    }
    info = effects_info(base, effects, monitor="val/accuracy", higher_is_better=True)
    depth, optimizer = info.panels
    assert (depth.name, depth.values, depth.base) == ("depth", ("1", "2", "3"), 1)
    assert depth.means.tolist() == [1, 6, 9]
    assert [interval is None for interval in depth.intervals] == [True, False, False]
    assert (optimizer.values, optimizer.means.tolist(), optimizer.base) == (("adam", "sgd"), [6, 6], 1)
    assert (info.base_mean, info.num_unfinished) == (6, 1)
    assert info.low < 1 and info.high > 10


def test_no_effects_without_a_base_or_an_axis():
    base = point({"a": 1}, num_planned=1)
    assert effects_info(base, {"a": []}, monitor="m", higher_is_better=True) is None
    assert effects_info(point({"a": 1}, 1.0), {}, monitor="m", higher_is_better=True) is None


EIGHT = {
    "model.depth": [1, 2, 3],
    "model.filters": [[16, 32], [32, 64, 128]],
    "optimizer.learning_rate": [1e-5, 1e-3, 1e-1],
    "augmentation": ["none", r"$\frac", "a really long name of an augmentation"],
    "model.a_rather_long_name_of_the_momentum_of_normalization": [0.9, 0.99],
    "training.batch_size": [32, 64, 128, 256],
    "optimizer.nesterov": [True, False],
    "dataset.limit": [None, 100],
}


slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("axes", "n", "most"),
    [
        pytest.param({"a": [1, 2]}, 1, None, id="two points of one seed"),
        pytest.param({"a": [1e-4, 1e-2], "b": ["x", "y", "z"]}, 6, None, id="a small grid"),
        slow(EIGHT, 2, 100, id="eight axes with long names"),
        slow({"a": np.linspace(0, 1, 40).tolist(), "b": np.geomspace(1, 999, 40).tolist()}, 1, 80, id="drawn"),
        slow({"a": list(range(16)), "b": [f"a long name {k}" for k in range(16)]}, 1, 100, id="a large map"),
    ],
)
@pytest.mark.parametrize("score", [noisy(), lambda v, seed: 0.5], ids=["noise", "all equal"])
def test_every_picture_is_a_png_of_a_readable_size_and_drawn_without_a_warning(tmp_path, axes, n, most, score):
    board = grid(axes, score, n, most)
    infos = {
        draw_leaderboard: leaderboard_info(board),
        draw_parallel: parallel_info(board),
        draw_heat: heat_info(board),
        draw_importance: importance_info(board),
        draw_effects: effects_of(axes, n, score=score),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for draw, info in infos.items():
            if info is None:
                continue
            save_figure(draw(info), tmp_path / "picture.png")
            width, height = struct.unpack(">II", (tmp_path / "picture.png").read_bytes()[16:24])
            assert 900 <= width <= 1250, draw.__name__
            assert 130 <= height <= 1800, draw.__name__
