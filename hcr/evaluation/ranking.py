"""Ranking of a sweep's points: their order, and which of them are not significantly different from the best.

A point is one combination of the swept values, run with several seeds and, in a cross-validation, on several folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from hcr.config.replicates import Replicate, sorted_replicates
from hcr.evaluation.statistics import corrected_p, holm, mean_interval, permutation_p

ALPHA = 0.05  # significance level: the probability that the truly best point is not among the tied ones


@dataclass(frozen=True, kw_only=True)
class PointScores:
    """The runs of one point of a sweep.

    Attributes:
        label: such as "model.depth=3 model.filters=16".
        values: by axis, such as {"model.depth": 3}: numbers, booleans, text, or lists of them.
        scores: the monitored validation metric of each finished run, by seed and fold; finite.
        num_planned: number of planned runs.
        num_failed, num_pruned: numbers of runs that failed or were pruned.
        num_params: number of the model's parameters; None: unknown.
        train_s: mean training time, in seconds; None: unknown.
        num_folds: number of folds of its cross-validation; None: none, or its runs are all of one fold.
    """

    label: str
    values: Mapping[str, object]
    scores: Mapping[Replicate, float]
    num_planned: int
    num_failed: int = 0
    num_pruned: int = 0
    num_params: int | None = None
    train_s: float | None = None
    num_folds: int | None = None

    @property
    def sorted_scores(self) -> list[float]:
        """The scores by seed and fold: sums, and p, must not depend on which run ended first."""
        return [self.scores[own] for own in sorted_replicates(self.scores)]

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % Student's t interval of the mean, corrected for folds (see `error_of_mean`); None for n < 2."""
        return mean_interval(self.sorted_scores, test_to_train(self.num_folds))

    @property
    def is_pruned(self) -> bool:
        """True if every run was pruned: then no run is missing, and the point cannot be compared."""
        return not self.scores and self.num_pruned > 0 and self.num_pruned >= self.num_planned


@dataclass(frozen=True, kw_only=True)
class LeaderboardRow:
    """One point, with its statistics and its comparison with the best.

    Attributes:
        rank: from 1.
        label, values, scores, num_params, train_s, num_failed, num_pruned, num_folds, interval: as in `PointScores`.
        n: number of finished runs.
        mean: None for n = 0.
        sd: standard deviation of single runs (n - 1); None for n < 2.
        p_adjusted: two-sided p against the best, Holm-adjusted; None for the best, and without a test.
        is_tied: not significantly different from the best, which is tied with itself; None without a test.
        num_missing: number of runs that were planned, or that other points have, and that did not finish.
    """

    rank: int
    label: str
    values: Mapping[str, object]
    scores: Mapping[Replicate, float]
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
    num_folds: int | None

    @property
    def is_incomplete(self) -> bool:
        """True if runs of the point are missing."""
        return self.num_missing > 0


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """A sweep's points in order.

    Attributes:
        rows: best mean first; points without a finished run last.
        monitor: the metric's public name.
        higher_is_better: False for a loss.
        axes: all axes, in order of first appearance.
        allow_incomplete: test points even if runs are missing.
    """

    rows: tuple[LeaderboardRow, ...]
    monitor: str
    higher_is_better: bool
    axes: tuple[str, ...]
    allow_incomplete: bool

    @property
    def is_incomplete(self) -> bool:
        """True if runs of any point are missing."""
        return any(row.is_incomplete for row in self.rows)

    @property
    def folds(self) -> list[int]:
        """The numbers of folds of the points with a finished run; empty if none is cross-validated."""
        return sorted({row.num_folds for row in self.rows if row.n and row.num_folds is not None})


def rank(
    points: Sequence[PointScores],
    *,
    monitor: str,
    higher_is_better: bool,
    allow_incomplete: bool = False,
) -> Leaderboard:
    """Order the points of a sweep, and test each of them against the best.

    The test is for independent samples, although points mostly share their seeds. A paired test (random signs of each
    seed's difference) has 2**n arrangements, this one binomial(2 n, n). A paired test therefore needs 6 seeds instead
    of 4 for a significant difference of two points, and 9 instead of 6 for 12 points, which is too expensive for a
    sweep. What points share by their seed, such as the validation images, makes this test conservative: it calls too
    many points tied. (Source for both tests: Ernst 2004, "Permutation Methods: A Basis for Exact Inference".)

    The best is chosen by the same scores, so Holm's guarantee does not hold for all points at once. In simulations
    with 12 equal points and 6 seeds, a fixed point was left out of the tied set in 1.6 % of the draws, and at least
    one point in 13 %. The truly best point is in the tied set with probability 1 - ALPHA; other points that are as
    good may not be.

    In a cross-validation, the test is the corrected resampled t test on the differences by seed and fold: folds share
    training images, which a permutation test does not allow for (see `error_of_mean`). Points with different numbers of
    folds are not tested: they train on different numbers of images.

    Points with equal means are ordered by number of parameters, then as in `points`.

    Args:
        points: at least one.
        monitor: the metric's public name, such as "val/accuracy".
        higher_is_better: False for a loss.
        allow_incomplete: test points even if runs are missing.

    Returns:
        The leaderboard. Nothing is tested with one seed per point. Without `allow_incomplete`, nothing is tested
        either if a point has fewer scores than planned, or other seeds or folds than other points: runs are seldom
        missing at random.

    Raises:
        ValueError: there are no points, or a score is not finite.
    """
    if not points:
        raise ValueError("a leaderboard needs at least one point, got none")
    for point in points:
        for own, score in point.scores.items():
            if not isfinite(score):
                raise ValueError(f"{point.label} {own}: expected a finite {monitor}, got {score}")
    sign = -1.0 if higher_is_better else 1.0
    ordered = sorted((point for point in points if point.scores), key=lambda point: _place(point, sign))
    ordered += [point for point in points if not point.scores]
    missing = _count_missing(ordered)
    compared = [point for point in ordered if point.scores]
    is_tested = (
        len(compared) > 1
        and (allow_incomplete or not any(missing))
        and max(len(point.scores) for point in compared) > 1
        and len({point.num_folds for point in compared}) == 1
    )
    p_adjusted: list[float | None] = [None] * len(ordered)
    if is_tested:
        p_adjusted[1 : len(compared)] = holm([_p(compared[0], point) for point in compared[1:]])
    rows = tuple(
        _row(place + 1, point, p, num_missing, is_tested)
        for place, (point, p, num_missing) in enumerate(zip(ordered, p_adjusted, missing, strict=True))
    )
    axes = tuple(dict.fromkeys(axis for point in points for axis in point.values))
    return Leaderboard(
        rows=rows,
        monitor=monitor,
        higher_is_better=higher_is_better,
        axes=axes,
        allow_incomplete=allow_incomplete,
    )


def _place(point: PointScores, sign: float) -> tuple[float, float]:
    params = float("inf") if point.num_params is None else point.num_params
    return sign * float(np.mean(point.sorted_scores)), params


def _p(best: PointScores, point: PointScores) -> float:
    """Two-sided p for the difference of the means of two points, which have the same number of folds."""
    if point.num_folds is None:
        return permutation_p(best.sorted_scores, point.sorted_scores)
    pairs = sorted_replicates(best.scores.keys() & point.scores.keys())
    return corrected_p([best.scores[own] - point.scores[own] for own in pairs], test_to_train(point.num_folds))


def test_to_train(num_folds: int | None) -> float:
    """The ratio of validation to training images of a cross-validation; 0 for None, as its scores are independent."""
    return 0.0 if num_folds is None else 1 / (num_folds - 1)


def _count_missing(points: Sequence[PointScores]) -> list[int]:
    missing = []
    for point in points:
        alike = [other for other in points if other.num_folds == point.num_folds]
        replicates = {own for other in alike for own in other.scores}
        expected = max(len(replicates), *(other.num_planned for other in alike))
        missing.append(0 if point.is_pruned else expected - len(point.scores))
    return missing


def _row(rank: int, point: PointScores, p: float | None, num_missing: int, is_tested: bool) -> LeaderboardRow:
    scores = point.sorted_scores
    return LeaderboardRow(
        rank=rank,
        label=point.label,
        values=point.values,
        scores=point.scores,
        n=len(scores),
        mean=float(np.mean(scores)) if scores else None,
        sd=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        interval=point.interval,
        p_adjusted=p,
        is_tied=(p is None or p > ALPHA) if is_tested and scores else None,
        num_params=point.num_params,
        train_s=point.train_s,
        num_failed=point.num_failed,
        num_pruned=point.num_pruned,
        num_missing=num_missing,
        num_folds=point.num_folds,
    )
