"""Comparison of two or more sides, each one run or several over seeds, paired over images that both were scored on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import inf
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from hcr.config.replicates import Replicate, sorted_replicates
from hcr.evaluation.best_of_many import critical_t
from hcr.evaluation.claims import Scale, claim
from hcr.evaluation.image_scores import ImageNoise, ImageScores, correctness, losses
from hcr.evaluation.metrics import Labels, Probabilities
from hcr.evaluation.paired_tests import Welch, mcnemar_p, welch
from hcr.evaluation.score_model import Basis, Estimate, ScoreModel, detectable, mean_over_folds
from hcr.evaluation.statistics import CONFIDENCE, Kind, holm, permutation_p, smallest_p

ABOUT_MODELS = " (of these trained models, on new images; other seeds may differ)"
ALPHA = 0.05  # significance level, after Holm's correction for all pairs of sides
FEWEST = 6  # images that only one of two runs has right, at least, for McNemar's p to be at most ALPHA


@dataclass(frozen=True)
class SideRun:
    """One run of a side.

    Attributes:
        replicate: the run's seed and, in a cross-validation, its fold.
        scores: of the images that it did not train on, one kind for all runs of a comparison.
    """

    replicate: Replicate
    scores: ImageScores


@dataclass(frozen=True)
class Side:
    """What is compared: one run, or the runs of one config over several seeds.

    Attributes:
        label: names it in sentences.
        runs: one or more, of different replicates.
        num_folds: number of folds of its cross-validation; None: none, or its runs are all of one fold.
    """

    label: str
    runs: Sequence[SideRun]
    num_folds: int | None = None


@dataclass(frozen=True)
class SingleRuns:
    """Two single runs whose answers are right or wrong: McNemar's exact test.

    Attributes:
        replicate: the seed and fold of both; None: they differ.
        only_first, only_second: numbers of images that only one of the two has right.
        p: two-sided; it holds for these trained models.
    """

    replicate: Replicate | None
    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class Seeds:
    """Two samples of runs, by the runs' means alone.

    Attributes:
        num_first, num_second: numbers of runs.
        permutation_p: two-sided.
        smallest_p: the smallest p that a permutation test of so many runs can give.
        welch: None for fewer than two runs of a side.
    """

    num_first: int
    num_second: int
    permutation_p: float
    smallest_p: float
    welch: Welch | None


@dataclass(frozen=True)
class Pair:
    """Two sides, compared on the images that both were scored on.

    Attributes:
        first, second: the labels.
        num_images: number of images that both sides were scored on, by at least one run each.
        num_groups: number of groups of these images; None: each image is drawn by itself.
        means: of each side, the mean of its runs' scores on these images.
        difference: second minus first, with the noise that `basis` names; of losses the logarithm of the ratio.
        is_ratio: the difference is the logarithm of a ratio, as that of losses.
        basis: with one run each images alone, else seeds and images; in a cross-validation folds and seeds.
        over_images: the same difference with the noise of images alone: about these trained models.
        seeds: by the runs' means alone; None if each side has one run.
        single: of two single runs scored on the same images, without groups, by right and wrong; else None.
        by_seed: the same for each replicate that both sides have, where a side has several runs.
        p: two-sided, of `difference`; of two single runs McNemar's.
        p_adjusted: Holm's, for all pairs.
        smallest: the size of a difference that such data shows in four of five cases, on the scale of `difference`.
    """

    first: str
    second: str
    num_images: int
    num_groups: int | None
    means: tuple[float, float]
    difference: Estimate
    is_ratio: bool
    basis: Basis
    over_images: Estimate
    seeds: Seeds | None
    single: SingleRuns | None
    by_seed: tuple[SingleRuns, ...]
    p: float
    p_adjusted: float
    smallest: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference; of a ratio, that of the ratio, which is above 0."""
        low, high = self.difference.ends()
        return (float(np.exp(low)), float(np.exp(high))) if self.is_ratio else (low, high)


@dataclass(frozen=True)
class Comparison:
    """All pairs of sides, the first with each later one first; `kind` is what the scores are."""

    kind: Kind
    higher_is_better: bool
    pairs: tuple[Pair, ...]

    def scale(self, pair: Pair) -> Scale:
        """How the difference of `pair` is told."""
        if pair.is_ratio:
            return Scale.RATIO
        return Scale.POINTS if self.kind is Kind.ACCURACY else Scale.PLAIN

    def verdict(self) -> list[str]:
        """One sentence for each pair, with its difference, interval and p, and what the claim is about."""
        return [self._sentence(pair) for pair in self.pairs]

    def _sentence(self, pair: Pair) -> str:
        text = claim(
            pair.first,
            pair.second,
            pair.difference,
            scale=self.scale(pair),
            higher_is_better=self.higher_is_better,
            p=pair.p_adjusted,
            alpha=ALPHA,
            smallest=pair.smallest,
            data=_data(pair),
            metric=str(self.kind) if pair.is_ratio else "",
        )
        return text + ABOUT_MODELS if pair.basis is Basis.IMAGES else text


def scores_of(
    probabilities: Probabilities,
    labels: Labels,
    index: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    kind: Kind,
) -> ImageScores:
    """The scores of a run's images, from its predictions.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).
        index: (N,), positions in the data set.
        groups: (N,), or None.
        kind: ACCURACY: 1 where it is right, else 0; LOSS: the cross-entropy.
    """
    values = losses(probabilities, labels) if kind is Kind.LOSS else correctness(probabilities, labels).astype(float)
    return ImageScores(index, values, groups)


def compare(sides: Sequence[Side], kind: Kind, *, higher_is_better: bool) -> Comparison:
    """Compare all pairs of sides.

    Both sides of a pair are scored on the images that both held out: with validation images drawn by each seed, those
    that at least one run of each side has. `ScoreModel` gives the difference, its standard error and p.

    Args:
        sides: two or more, each with one or more runs, with the scores of one kind on images of one data set.
        kind: of the scores.
        higher_is_better: False for a loss.

    Raises:
        ValueError: fewer than two sides, a side without runs, or two sides without a common image; it names them.
    """
    if len(sides) < 2:
        raise ValueError(f"expected two or more sides to compare, got {len(sides)}")
    for side in sides:
        if not side.runs:
            raise ValueError(f"{side.label}: expected at least one run, got none")
    found = [_compare(first, second, kind) for first, second in combinations(sides, 2)]
    adjusted = holm([pair.p for pair in found])
    pairs = tuple(replace(pair, p_adjusted=p) for pair, p in zip(found, adjusted, strict=True))
    return Comparison(kind, higher_is_better, pairs)


def common_images(first: Side, second: Side) -> NDArray[np.int64]:
    """The images that at least one run of each side was scored on, in order."""
    one, other = (np.unique(np.concatenate([run.scores.index for run in side.runs])) for side in (first, second))
    common: NDArray[np.int64] = np.intersect1d(one, other).astype(np.int64)
    return common


def _compare(first: Side, second: Side, kind: Kind) -> Pair:
    common = common_images(first, second)
    if not len(common):
        raise ValueError(f"{first.label} and {second.label} were not scored on any common image")
    kept = [_on_common(side, common) for side in (first, second)]
    images = [list(runs.values()) for runs in kept]
    means = [[own.mean for own in some] for some in images]
    model = ScoreModel(means, [[own.seed for own in runs] for runs in kept], images, kind)
    difference, over_images, basis = model.difference(0, 1), model.difference_on_images(0, 1), model.basis
    groups = images[0][0].groups
    num_groups = None if groups is None else ImageNoise([own for some in images for own in some]).num_units
    if kind is Kind.ACCURACY and over_images.error == 0:
        over_images = _none_differs(num_groups or len(common))
        difference = over_images if basis is Basis.IMAGES else difference
    counts = [len(some) for some in means]
    single, by_seed = _mcnemar(kept[0], kept[1]) if kind is Kind.ACCURACY else (None, ())
    if first.num_folds is not None and first.num_folds == second.num_folds:
        difference, basis = _over_folds(kept[0], kept[1], model, first.num_folds), Basis.FOLDS
    assert basis is not None, "images are known"
    smallest = detectable(difference, critical_t(2, difference.df, ALPHA))
    if single is not None:
        smallest = max(smallest, FEWEST / len(common))
    return Pair(
        first=first.label,
        second=second.label,
        num_images=len(common),
        num_groups=num_groups,
        means=(float(model.point_means[0]), float(model.point_means[1])),
        difference=difference,
        is_ratio=model.is_log,
        basis=basis,
        over_images=over_images,
        seeds=None if counts == [1, 1] else _seeds(*means),
        single=single,
        by_seed=by_seed,
        p=difference.p if single is None else single.p,
        p_adjusted=1.0,
        smallest=smallest,
    )


def _none_differs(count: int) -> Estimate:
    """The difference of two accuracies if both sides have the same of `count` images right: 0, with an error.

    Its 95 % interval is Clopper and Pearson's for a proportion of which none of `count` was seen, to both sides.
    """
    half = 1 - ((1 - CONFIDENCE) / 2) ** (1 / count)
    return Estimate(0.0, half / NormalDist().inv_cdf((1 + CONFIDENCE) / 2), inf)


def _on_common(side: Side, common: NDArray[np.int64]) -> dict[Replicate, ImageScores]:
    """The scores of the side's runs on `common` images, without runs that have none of them."""
    found = {run.replicate: run.scores.on(common) for run in side.runs}
    return {own: found[own] for own in sorted_replicates(found) if len(found[own])}


def _over_folds(
    first: dict[Replicate, ImageScores], second: dict[Replicate, ImageScores], model: ScoreModel, num_folds: int
) -> Estimate:
    """The difference of two cross-validations, paired by fold and seed, with Nadeau and Bengio's error of the mean."""
    pairs = sorted_replicates(first.keys() & second.keys())
    slopes = 1 / model.point_means if model.is_log else np.ones(2)
    differences = [second[own].mean * slopes[1] - first[own].mean * slopes[0] for own in pairs]
    return replace(mean_over_folds(differences, 1 / (num_folds - 1)), value=model.difference(0, 1).value)


def _mcnemar(
    first: dict[Replicate, ImageScores], second: dict[Replicate, ImageScores]
) -> tuple[SingleRuns | None, tuple[SingleRuns, ...]]:
    """McNemar's test of two single runs; and of each replicate that both sides have, if a side has several runs."""
    if len(first) == len(second) == 1:
        (one,), (other,) = first, second
        return _single(one if one == other else None, first[one], second[other]), ()
    shared = sorted_replicates(first.keys() & second.keys())
    found = (_single(own, first[own], second[own]) for own in shared)
    return None, tuple(single for single in found if single is not None)


def _single(replicate: Replicate | None, first: ImageScores, second: ImageScores) -> SingleRuns | None:
    if first.groups is not None or not np.array_equal(first.index, second.index):
        return None
    only_first = int(((first.values == 1) & (second.values == 0)).sum())
    only_second = int(((first.values == 0) & (second.values == 1)).sum())
    return SingleRuns(replicate, only_first, only_second, mcnemar_p(only_first, only_second))


def _seeds(first: Sequence[float], second: Sequence[float]) -> Seeds:
    counts = len(first), len(second)
    return Seeds(*counts, permutation_p(first, second), smallest_p(*counts), welch(first, second))


def _data(pair: Pair) -> str:
    """`3 and 5 seeds on 6,000 images`."""
    images = f"{pair.num_images:,} images" if pair.num_groups is None else f"{pair.num_groups:,} groups of images"
    if pair.seeds is None:
        return images
    ns = dict.fromkeys([pair.seeds.num_first, pair.seeds.num_second])
    return f"{' and '.join(map(str, ns))} {'runs' if pair.basis is Basis.FOLDS else 'seeds'} on {images}"
