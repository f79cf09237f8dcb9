"""What a finished sweep can honestly say: its points in order, and which of them are no better than luck.

A point is one combination of the swept values, run with several seeds.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10, sqrt
from pathlib import Path

import numpy as np

from hcr.config.text import csv_line, printable
from hcr.console import num_columns, pad, wrap
from hcr.evaluation.statistics import holm, mean_interval, permutation_p, smallest_n, smallest_p

MOST_NAMED = 8  # points that one sentence names
TABLE_WIDTH = 100  # columns of a terminal


@dataclass(frozen=True, kw_only=True)
class PointScores:
    """The runs of one point of a sweep.

    Attributes:
        label: such as "model.depth=3 model.filters=16".
        values: by axis, such as {"model.depth": 3}: numbers, booleans, text, or lists of them.
        scores: by seed, the monitored validation metric of each finished run; finite.
        num_planned: seeds that were planned.
        num_failed, num_pruned: runs of those that failed, or that the sweep itself gave up.
        num_params: the model's parameters; None: not known.
        train_s: mean time of training, in seconds; None: not known.
    """

    label: str
    values: Mapping[str, object]
    scores: Mapping[int, float]
    num_planned: int
    num_failed: int = 0
    num_pruned: int = 0
    num_params: int | None = None
    train_s: float | None = None

    @property
    def is_pruned(self) -> bool:
        """Whether the sweep gave up every run of it: nothing is missing then, and nothing can be compared."""
        return not self.scores and self.num_pruned > 0 and self.num_pruned >= self.num_planned


@dataclass(frozen=True, kw_only=True)
class LeaderboardRow:
    """One point, and how it stands against the best.

    Attributes:
        rank: from 1.
        label, values, scores, num_params, train_s, num_failed, num_pruned: the point's.
        n: finished runs.
        mean: None for n = 0.
        sd: of single runs, with n - 1; None for n < 2.
        interval: Student's, 95 %, of the mean; None for n < 2.
        p_adjusted: two-sided, against the best, after Holm; None for the best, and where nothing was tested.
        is_tied: cannot be told from the best, which is tied with itself; None where nothing was tested.
        num_missing: runs that are planned, or that other points have, and that did not finish.
    """

    rank: int
    label: str
    values: Mapping[str, object]
    scores: Mapping[int, float]
    n: int
    mean: float | None
    sd: float | None
    interval: tuple[float, float] | None
    p_adjusted: float | None
    is_tied: bool | None
    num_params: int | None
    train_s: float | None
    num_failed: int
    num_pruned: int
    num_missing: int

    @property
    def is_incomplete(self) -> bool:
        """Whether runs of it are missing."""
        return self.num_missing > 0


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """A sweep's points in order.

    Attributes:
        rows: best mean first; points without a finished run last.
        monitor: the metric's public name.
        higher_is_better: whether 1 is its best end.
        axes: every axis, in order of first appearance.
        verdict: sentences to print.
    """

    rows: tuple[LeaderboardRow, ...]
    monitor: str
    higher_is_better: bool
    axes: tuple[str, ...]
    verdict: list[str]

    @property
    def is_incomplete(self) -> bool:
        """Whether runs of some point are missing."""
        return any(row.is_incomplete for row in self.rows)


def leaderboard(
    points: Sequence[PointScores],
    *,
    monitor: str,
    higher_is_better: bool,
    alpha: float = 0.05,
    allow_incomplete: bool = False,
) -> Leaderboard:
    """Order the points of a sweep, and test each of them against the best.

    The test is of independent samples, though points mostly share their seeds. A test of pairs (flipping the signs
    of each seed's difference) has 2**n arrangements against binomial(2 n, n), and so needs 6 seeds to tell two
    points apart where this one needs 4, 9 against 6 for 12 points: beyond what a sweep can pay. What points share by
    their seed, such as the validation images, makes this test err on the careful side: too many are called tied.
    (Source: for both tests, Ernst 2004, "Permutation Methods: A Basis for Exact Inference".)

    As the best is chosen by the same scores, Holm's promise is not for all points at once: with 12 equal points and
    6 seeds, drawn again and again, the one that is called best by definition was left out in 1.6 % of the draws, and
    any at all in 13 %. Whatever point is the best is in the tied set as `alpha` says; not all that are as good are.

    Equal means are put in order of parameters, then of `points`.

    Args:
        points: at least one.
        monitor: the metric's public name, such as "val/accuracy".
        higher_is_better: False for a loss.
        alpha: in (0, 1): how often the point that is truly the best may be missing among the tied ones.
        allow_incomplete: test although runs are missing, and say so in each line of the verdict.

    Returns:
        Without `allow_incomplete`, nothing is tested while a point has fewer scores than it should, or other seeds
        than others: which runs are missing is seldom chance. Nor is it with one seed each.

    Raises:
        ValueError: no points, or a score that is not finite.
    """
    if not points:
        raise ValueError("a leaderboard needs at least one point, got none")
    for point in points:
        for seed, score in point.scores.items():
            if not isfinite(score):
                raise ValueError(f"{point.label} seed={seed}: expected a finite {monitor}, got {score}")
    sign = -1.0 if higher_is_better else 1.0
    ordered = sorted((point for point in points if point.scores), key=lambda point: _place(point, sign))
    ordered += [point for point in points if not point.scores]
    missing = _count_missing(ordered)
    compared = [point for point in ordered if point.scores]
    is_tested = (
        len(compared) > 1
        and (allow_incomplete or not any(missing))
        and max(len(point.scores) for point in compared) > 1
    )
    p_adjusted: list[float | None] = [None] * len(ordered)
    if is_tested:
        best = _by_seed(compared[0])
        p_adjusted[1 : len(compared)] = holm([permutation_p(best, _by_seed(point)) for point in compared[1:]])
    rows = tuple(
        _row(place + 1, point, p, num_missing, alpha, is_tested)
        for place, (point, p, num_missing) in enumerate(zip(ordered, p_adjusted, missing, strict=True))
    )
    is_withheld = any(missing) and not allow_incomplete
    verdict = _withheld(rows) if is_withheld else _verdict(rows, monitor, alpha)
    verdict = [printable(f"Incomplete: {line}" if any(missing) else line) for line in verdict]
    axes = tuple(dict.fromkeys(axis for point in points for axis in point.values))
    return Leaderboard(rows=rows, monitor=monitor, higher_is_better=higher_is_better, axes=axes, verdict=verdict)


def winner_bias(num_points: int, n: int) -> float:
    """How much too good the best mean is on average where all points are equal.

    Args:
        num_points: at least 1.
        n: runs of each point, at least 1.

    Returns:
        In standard deviations of a single run, at least 0; 0.94 for 12 points of 3 runs.

    Source:
        The mean of the largest of K standard normal draws, David and Nagaraja 2003, "Order Statistics", over sqrt(n).
    """
    from scipy.integrate import quad  # half a second, which a sweep need not wait for before it begins
    from scipy.special import ndtr

    above = quad(lambda x: 1 - ndtr(x) ** num_points, 0, np.inf)[0]
    below = quad(lambda x: ndtr(x) ** num_points, -np.inf, 0)[0]
    return max(0.0, float(above - below)) / sqrt(n)


def format_table(board: Leaderboard, limit: int | None = None, *, width: int = TABLE_WIDTH) -> str:
    """The leaderboard for a terminal: aligned, at most `width` columns, the first `limit` rows (None: all)."""
    rows = board.rows[:limit]
    show = number_format([row.mean for row in board.rows if row.mean is not None])
    columns = [
        ["", *(f"{'=' if row.is_tied else ' '}{row.rank:>{len(str(len(rows)))}}" for row in rows)],
        ["n", *(str(row.n) for row in rows)],
        ["mean", *("" if row.mean is None else show(row.mean) for row in rows)],
        ["± sd", *("" if row.sd is None else f"±{show(row.sd)}" for row in rows)],
        ["95 % interval", *("" if row.interval is None else " to ".join(map(show, row.interval)) for row in rows)],
        ["params", *("" if row.num_params is None else f"{row.num_params:,}" for row in rows)],
        ["", *("incomplete" if row.is_incomplete else "" if row.n else "pruned" for row in rows)],
    ]
    widths = [max(map(len, column)) for column in columns]
    labels = _wrap(rows, min(width, TABLE_WIDTH) - sum(widths) - 2 * len(widths))
    label_width = max(num_columns(line) for label in [["point"], *labels] for line in label)
    lines = []
    for cells, label in zip(zip(*columns, strict=True), [["point"], *labels], strict=True):
        mark, *numbers, note = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append("  ".join([mark, pad(label[0], label_width), *numbers, note.strip()]).rstrip())
        lines += [f"{'':{len(mark)}}  {more}" for more in label[1:]]
    left_out = board.rows[len(rows) :]
    if left_out:
        tied = sum(bool(row.is_tied) for row in left_out)
        lines.append(f"and {counted(len(left_out), 'more point')}" + (f", {tied} of them tied (=)" if tied else ""))
    if any(row.is_tied for row in rows[1:]):
        lines.append("= cannot be told from the best")
    return "\n".join(lines)


def write_csv(board: Leaderboard, path: Path) -> None:
    """One row a point, in order: rank, point, a column an axis, and what was measured; empty where there is nothing.

    Lists and booleans are written as JSON.
    """
    measured = ["n", "mean", "sd", "low", "high", "p_adjusted", "tied_with_best", "num_params", "train_s"]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(["rank", "point", *board.axes, *measured, "failed", "pruned", "incomplete"]))
        for row in board.rows:
            values = [format_value(row.values[axis]) if axis in row.values else None for axis in board.axes]
            low, high = row.interval or (None, None)
            tied = None if row.is_tied is None else format_value(row.is_tied)
            numbers = [row.n, row.mean, row.sd, low, high, row.p_adjusted, tied, row.num_params, row.train_s]
            ends = [row.num_failed, row.num_pruned, format_value(row.is_incomplete)]
            file.write(csv_line([row.rank, row.label, *values, *numbers, *ends]))


def format_value(value: object) -> str:
    """A swept value as YAML would show it: `true`, `null`, `0.001`, `[16,32]`, and text as it is."""
    return (
        value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
    )


def number_format(means: Sequence[float]) -> Callable[[float], str]:
    """Four decimals for what is about 1, fewer for larger numbers and more for smaller ones."""
    largest = max(map(abs, means), default=1.0)
    if largest and not 1e-4 <= largest < 1e6:
        return "{:.3e}".format
    size = floor(log10(largest)) if largest else 0
    decimals = max(0, 4 - size if size >= 0 else 3 - size)
    return f"{{:.{decimals}f}}".format


def short_labels(points: Sequence[PointScores | LeaderboardRow]) -> list[str]:
    """A label a point that names only what differs, such as "depth=3 filters=16"."""
    axes = list(dict.fromkeys(axis for point in points for axis in point.values))
    there = {axis: {format_value(point.values.get(axis)) for point in points} for axis in axes}
    differing = [axis for axis in axes if len(there[axis]) > 1]
    names = short_names(differing)
    return [
        printable(" ".join(f"{names[a]}={format_value(point.values[a])}" for a in differing if a in point.values))
        or printable(point.label)
        for point in points
    ]


def short_names(axes: Sequence[str]) -> dict[str, str]:
    """Each axis without its groups ("model.depth" is "depth"), where no other axis is then called the same."""
    last = [axis.rpartition(".")[2] for axis in axes]
    return {axis: name if last.count(name) == 1 else axis for axis, name in zip(axes, last, strict=True)}


def _place(point: PointScores, sign: float) -> tuple[float, float]:
    params = float("inf") if point.num_params is None else point.num_params
    return sign * float(np.mean(_by_seed(point))), params


def _by_seed(point: PointScores) -> list[float]:
    # In order of seeds: a sum, and so a p drawn by chance, then does not depend on which run ended first.
    return [point.scores[seed] for seed in sorted(point.scores)]


def _count_missing(points: Sequence[PointScores]) -> list[int]:
    seeds = {seed for point in points for seed in point.scores}
    expected = max(len(seeds), *(point.num_planned for point in points), 0)
    return [0 if point.is_pruned else expected - len(point.scores) for point in points]


def _row(
    rank: int, point: PointScores, p: float | None, num_missing: int, alpha: float, is_tested: bool
) -> LeaderboardRow:
    scores = _by_seed(point)
    return LeaderboardRow(
        rank=rank,
        label=point.label,
        values=point.values,
        scores=point.scores,
        n=len(scores),
        mean=float(np.mean(scores)) if scores else None,
        sd=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        interval=mean_interval(scores),
        p_adjusted=p,
        is_tied=(p is None or p > alpha) if is_tested and scores else None,
        num_params=point.num_params,
        train_s=point.train_s,
        num_failed=point.num_failed,
        num_pruned=point.num_pruned,
        num_missing=num_missing,
    )


def _withheld(rows: Sequence[LeaderboardRow]) -> list[str]:
    short = [row for row in rows if row.is_incomplete]
    total = sum(row.num_missing for row in short)
    ends = [
        f"{row.label}: {row.num_missing} of {row.n + row.num_missing}"
        + (f", {row.num_failed} failed" if row.num_failed else "")
        + (f", {row.num_pruned} pruned" if row.num_pruned else "")
        for row in short
    ]
    what = f"{counted(total, 'run')} of {counted(len(short), 'point')} {'is' if total == 1 else 'are'} missing"
    return [f"the statistics are withheld, {what}.", f"missing are {_name(ends)}."]


def _verdict(rows: Sequence[LeaderboardRow], monitor: str, alpha: float) -> list[str]:
    compared = [row for row in rows if row.n]
    lines = []
    pruned = sum(row.n == 0 and row.num_pruned > 0 for row in rows)
    if pruned:
        lines.append(f"{counted(pruned, 'point')} had all runs pruned and cannot be compared.")
    if len(compared) < 2:
        what = "one point has finished runs" if compared else "no point has a finished run"
        return [*lines, f"{what.capitalize()}: there is nothing to compare."]
    best = compared[0]
    ns = sorted({row.n for row in compared})
    seeds = f"{counted(ns[0], 'seed')} each" if len(ns) == 1 else f"{ns[0]} to {ns[-1]} seeds each"
    if best.is_tied is None:
        lines.append("One seed each: nothing can be said about seed noise, nor of any point that it is the better one.")
        lines.append(_fewest(len(compared), alpha))
    else:
        smallest = min(smallest_p(best.n, row.n) for row in compared[1:])
        if smallest * (len(compared) - 1) > alpha:
            adjusted = min(1.0, smallest * (len(compared) - 1))
            lines.append(
                f"With {seeds} no point can be told from the best, {best.label}, however far apart they are: the "
                f"smallest two-sided permutation p is {smallest:#.2g}"
                + (
                    f", {adjusted:#.2g} after adjustment for {len(compared) - 1} comparisons."
                    if len(compared) > 2
                    else "."
                )
            )
            lines.append(_fewest(len(compared), alpha))
        else:
            lines += _tied_lines(compared, monitor, alpha, seeds)
    lines.append(_bias_line(compared))
    return lines


def _tied_lines(compared: Sequence[LeaderboardRow], monitor: str, alpha: float, seeds: str) -> list[str]:
    best, tied = compared[0], [row for row in compared if row.is_tied]
    how = f"{monitor}, {seeds}, permutation tests against the best, Holm-adjusted, alpha {alpha:g}"
    if len(tied) == 1:
        return [f"{best.label} can be told from all of the {counted(len(compared) - 1, 'other point')} ({how})."]
    lines = [
        f"{len(tied)} of {len(compared)} points cannot be told from the best ({how}): "
        f"{_name([f'{best.label}, the best', *(row.label for row in tied[1:])])}."
    ]
    sizes = {row.label: row.num_params for row in tied if row.num_params is not None}
    if len(set(sizes.values())) > 1:
        smallest = min(sizes, key=lambda label: sizes[label] or 0)
        against = f", the best has {best.num_params:,}" if best.num_params and smallest != best.label else ""
        lines.append(f"The smallest model of these is {smallest}: {sizes[smallest]:,} parameters{against}.")
    return lines


def _fewest(num_points: int, alpha: float) -> str:
    fewest = smallest_n(num_points - 1, alpha)
    if fewest is None:
        return f"No number of seeds could tell {num_points} points apart by the arrangements that are drawn."
    return f"{fewest} seeds each are the fewest that could tell any of {num_points} points from the best."


def _bias_line(compared: Sequence[LeaderboardRow]) -> str:
    best = compared[0]
    bias = winner_bias(len(compared), best.n)
    spread = [(row.n - 1, row.sd) for row in compared if row.sd is not None]
    pooled = (sum(d * sd**2 for d, sd in spread) / sum(d for d, _ in spread)) ** 0.5 if spread else 0.0
    here = f", here {pooled * bias:.2g}," if pooled else ""
    return (
        f"The score of the best flatters it: of {len(compared)} equal points with {counted(best.n, 'seed')} each the "
        f"best mean is on average {bias:.2f} standard deviations of a run{here} too good. Judge it by new seeds."
    )


def counted(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _name(labels: Sequence[str]) -> str:
    more = len(labels) - MOST_NAMED
    return "; ".join(labels[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _wrap(rows: Sequence[LeaderboardRow], width: int) -> list[list[str]]:
    """Each label in lines of at most `width`: whole if all fit, else what differs, over several lines if need be."""
    labels = [printable(row.label) for row in rows]
    if max(map(num_columns, labels), default=0) > width:
        labels = short_labels(rows)
    return [wrap(label, max(10, width)) for label in labels]
