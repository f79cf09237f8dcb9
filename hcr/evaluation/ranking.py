"""Ranking of a sweep's points: their order, and which of them are not significantly different from the best.

A point is one combination of the swept values, run with several seeds and, in a cross-validation, on several folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from hcr.config.replicates import Replicate, sorted_replicates
from hcr.evaluation.best_of_many import adjusted_for_best
from hcr.evaluation.image_scores import ImageScores
from hcr.evaluation.score_model import Basis, Estimate, ScoreModel, mean_over_folds
from hcr.evaluation.statistics import Kind, mean_interval

ALPHA = 0.05  # significance level: the probability of any false claim among equal points
KINDS = {"val/accuracy": Kind.ACCURACY, "val/loss": Kind.LOSS}  # of monitored metrics; others: differences of seeds


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
        images: the monitored metric of each validation image, by run; empty if that of any run is unknown.
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
    images: Mapping[Replicate, ImageScores] = field(default_factory=dict)

    @property
    def sorted_scores(self) -> list[float]:
        """The scores by seed and fold: sums, and p, must not depend on which run ended first."""
        return [self.scores[own] for own in sorted_replicates(self.scores)]

    def interval(self, monitor: str) -> tuple[float, float] | None:
        """95 % Student's t interval of the mean, corrected for folds (see `error_of_mean`); None for n < 2.

        That of a loss is made on the log scale, and that of an accuracy is cut at 0 and 1.
        """
        return mean_interval(self.sorted_scores, test_to_train(self.num_folds), kind_of(monitor))

    @property
    def is_pruned(self) -> bool:
        """True if every run was pruned: then no run is missing, and the point cannot be compared."""
        return not self.scores and self.num_pruned > 0 and self.num_pruned >= self.num_planned


@dataclass(frozen=True, kw_only=True)
class LeaderboardRow:
    """One point, with its statistics and its comparison with the best.

    Attributes:
        rank: from 1.
        label, values, scores, num_params, train_s, num_failed, num_pruned, num_folds: as in `PointScores`.
        n: number of finished runs.
        mean: None for n = 0.
        sd: standard deviation of single runs (n - 1); None for n < 2.
        interval: 95 % interval of the mean over the noise of `Leaderboard.basis`; without a test over seeds alone.
        gap: its score minus that of the best; None for the best, and without a test.
        p_adjusted: two-sided p of `gap`, adjusted for all points; None as `gap`.
        p_of_models: as `p_adjusted`, with the noise of images alone, and so of these trained models; None unless the
            basis is seeds and images.
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
    gap: Estimate | None
    p_adjusted: float | None
    p_of_models: float | None
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
        basis: the noise that the tests allow for; None: without a test.
        is_ratio: gaps are logarithms of ratios, as losses are compared by ratios.
        num_images: number of validation images, or groups of them, behind the tests; None: not used.
        images_are: "images", or "groups" where those are drawn whole.
        no_images_why: why the tests do not use images, where they could.
    """

    rows: tuple[LeaderboardRow, ...]
    monitor: str
    higher_is_better: bool
    axes: tuple[str, ...]
    allow_incomplete: bool
    basis: Basis | None = None
    is_ratio: bool = False
    num_images: int | None = None
    images_are: str = "images"
    no_images_why: str | None = None

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
    no_images_why: str | None = None,
) -> Leaderboard:
    """Order the points of a sweep, and test each of them against the best.

    The test is a t test of the difference of two means. Its standard error holds the noise of the validation images,
    which the points share, and that of seeds, estimated from all points (`ScoreModel`). Without `images` it is the
    noise of seeds alone, and with one seed for each point that of images alone: then it is about the trained models.
    p is adjusted for the number of points and for the choice of the best (`adjusted_for_best`): among equal points any
    claim has probability ALPHA. `experiments/compare` has the measured rates.

    In a cross-validation, the test is the corrected resampled t test on the differences by seed and fold: folds share
    training images (see `error_of_mean`). Points with different numbers of folds are not tested: they train on
    different numbers of images.

    Points with equal means are ordered by number of parameters, then as in `points`.

    Args:
        points: at least one.
        monitor: the metric's public name, such as "val/accuracy".
        higher_is_better: False for a loss.
        allow_incomplete: test points even if runs are missing.
        no_images_why: why points have no `images`, for the reader.

    Returns:
        The leaderboard. Nothing is tested with one seed per point and no `images`. Without `allow_incomplete`, nothing
        is tested either if a point has fewer scores than planned, or other seeds or folds than other points: runs are
        seldom missing at random.

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
    tests = None
    if len(compared) > 1 and (allow_incomplete or not any(missing)) and len({p.num_folds for p in compared}) == 1:
        if compared[0].num_folds is not None:
            tests = _cross_validated_tests(compared, -1.0 if higher_is_better else 1.0)
        else:
            tests = against_best(compared, monitor, higher_is_better=higher_is_better)
    tested: list[_Tested | None] = [None] * len(ordered)
    if tests is not None:
        tested[: len(compared)] = _by_point(tests, sign)
    rows = tuple(
        _row(place, point, monitor, num_missing, tested[place])
        for place, (point, num_missing) in enumerate(zip(ordered, missing, strict=True))
    )
    return Leaderboard(
        rows=rows,
        monitor=monitor,
        higher_is_better=higher_is_better,
        axes=tuple(dict.fromkeys(axis for point in points for axis in point.values)),
        allow_incomplete=allow_incomplete,
        basis=None if tests is None else tests.basis,
        is_ratio=tests is not None and tests.is_ratio,
        num_images=None if tests is None else tests.num_images,
        images_are="groups" if any(own.groups is not None for p in compared for own in p.images.values()) else "images",
        no_images_why=no_images_why,
    )


class Tests(NamedTuple):
    """Tests of the other points against the best, which is the first.

    Attributes:
        gaps: of the K - 1 others, in order.
        t_values, dfs: of the tests, (K - 1).
        models: the gaps with the noise of images alone; None unless the basis is that of seeds and images.
        intervals: of the K means; None: over seeds alone.
        basis, is_ratio, num_images: as in `Leaderboard`.
    """

    gaps: list[Estimate]
    t_values: list[float]
    dfs: list[float]
    models: list[Estimate] | None
    intervals: list[tuple[float, float]] | None
    basis: Basis | None
    is_ratio: bool
    num_images: int | None


def against_best(points: Sequence[PointScores], monitor: str, *, higher_is_better: bool) -> Tests | None:
    """Test points that are not cross-validated, best mean first, against the first; None if nothing can be said.

    Images are used if those of every run are known.
    """
    replicates = [sorted_replicates(point.scores) for point in points]
    is_known = all(point.images for point in points)
    images = (
        [[p.images[own] for own in of_it] for p, of_it in zip(points, replicates, strict=True)] if is_known else None
    )
    seeds = [[own.seed for own in of_it] for of_it in replicates]
    model = ScoreModel([point.sorted_scores for point in points], seeds, images, kind_of(monitor))
    if model.basis is None:
        return None
    gaps = [model.difference(0, place) for place in range(1, len(points))]
    # Points are in the order of means; losses are tested by geometric means. Where these say the opposite, no claim.
    sign = -1.0 if higher_is_better else 1.0
    t_values, dfs = [max(0.0, sign * gap.t_value) for gap in gaps], [gap.df for gap in gaps]
    for place in range(1, len(points)):
        p = model.single_p(0, place) if model.basis is Basis.IMAGES else None
        if p is not None:
            from scipy.stats import norm

            t_values[place - 1], dfs[place - 1] = float(norm.isf(p / 2)), inf
    intervals = None
    if images is not None:
        ends = [model.mean(place).ends() for place in range(len(points))]
        intervals = [(model.unlinked(low), model.unlinked(high)) for low, high in ends]
    models = None
    if model.basis is Basis.BOTH:
        models = [model.difference_on_images(0, place) for place in range(1, len(points))]
    return Tests(gaps, t_values, dfs, models, intervals, model.basis, model.is_log, model.num_images)


def kind_of(monitor: str) -> Kind:
    """What the metric is, for its scale."""
    return KINDS.get(monitor, Kind.OTHER)


def _place(point: PointScores, sign: float) -> tuple[float, float]:
    params = float("inf") if point.num_params is None else point.num_params
    return sign * float(np.mean(point.sorted_scores)), params


def _cross_validated_tests(points: Sequence[PointScores], sign: float) -> Tests | None:
    """Corrected resampled t tests; points are paired by seed and fold. None if each has one run.

    A point that is better than the best on the folds that both have, which can be where runs are missing, is not
    claimed to be worse.

    Args:
        points: best first.
        sign: 1 if lower is better, else -1.
    """
    if max(len(point.scores) for point in points) < 2:
        return None
    best, gaps = points[0], []
    for point in points[1:]:
        pairs = sorted_replicates(best.scores.keys() & point.scores.keys())
        differences = [point.scores[own] - best.scores[own] for own in pairs]
        gaps.append(mean_over_folds(differences, test_to_train(point.num_folds)))
    t_values = [max(0.0, sign * gap.t_value) for gap in gaps]
    return Tests(gaps, t_values, [gap.df for gap in gaps], None, None, Basis.FOLDS, False, None)


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


class _Tested(NamedTuple):
    """What the tests say of one point; None: nothing, as of the best."""

    gap: Estimate | None
    p: float | None
    p_of_models: float | None
    interval: tuple[float, float] | None


def _by_point(tests: Tests, sign: float) -> list[_Tested]:
    """The tests of each of the K points."""
    adjusted = adjusted_for_best(tests.t_values, tests.dfs)
    of_models: list[float | None] = [None] * len(adjusted)
    if tests.models is not None:
        sizes = [max(0.0, sign * gap.t_value) for gap in tests.models]
        of_models = [*adjusted_for_best(sizes, [gap.df for gap in tests.models])]
    intervals: list[tuple[float, float] | None] = [None] * (len(adjusted) + 1)
    if tests.intervals is not None:
        intervals = [*tests.intervals]
    others = zip(tests.gaps, adjusted, of_models, intervals[1:], strict=True)
    return [_Tested(None, None, None, intervals[0]), *(_Tested(*own) for own in others)]


def _row(place: int, point: PointScores, monitor: str, num_missing: int, tested: _Tested | None) -> LeaderboardRow:
    scores = point.sorted_scores
    found = tested or _Tested(None, None, None, None)
    return LeaderboardRow(
        rank=place + 1,
        label=point.label,
        values=point.values,
        scores=point.scores,
        n=len(scores),
        mean=float(np.mean(scores)) if scores else None,
        sd=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        interval=found.interval or point.interval(monitor),
        gap=found.gap,
        p_adjusted=found.p,
        p_of_models=found.p_of_models,
        is_tied=None if tested is None else found.p is None or found.p > ALPHA,
        num_params=point.num_params,
        train_s=point.train_s,
        num_failed=point.num_failed,
        num_pruned=point.num_pruned,
        num_missing=num_missing,
        num_folds=point.num_folds,
    )
