"""Differences of the mean scores of points, with the noise of seeds and of images in one standard error."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

import numpy as np
from numpy.typing import NDArray

from hcr.evaluation.best_of_many import range_p
from hcr.evaluation.image_scores import ImageNoise, ImageScores
from hcr.evaluation.paired_tests import mcnemar_p
from hcr.evaluation.seed_noise import SeedNoise, SeedResiduals
from hcr.evaluation.statistics import CONFIDENCE, Kind, error_of_mean

FEWEST_FOLDS = 3  # differences of folds, for a claim
POWER = 0.8  # the probability that a difference of the detectable size is found


class Basis(StrEnum):
    """The noise that a comparison allows for, and so what it is about."""

    BOTH = "seeds and images"  # the recipe: its expected score over seeds, on new images
    SEEDS = "seeds"  # the recipe, where the scores of single images are not known
    FOLDS = "folds and seeds"  # the recipe, by a cross-validation
    IMAGES = "images"  # these trained models, on new images: one seed each tells nothing of other seeds


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error, on the scale where its noise is even.

    Attributes:
        value: of a loss a logarithm.
        error: its standard error.
        df: degrees of freedom of the error; may be infinite.
    """

    value: float
    error: float
    df: float

    @property
    def t_value(self) -> float:
        """The value over its error; 0 if the error is 0: equal runs say nothing of how much others would differ."""
        return self.value / self.error if self.error else 0.0

    @property
    def p(self) -> float:
        """Two-sided p of the value being 0."""
        return range_p(self.t_value, 2, self.df)

    def ends(self) -> tuple[float, float]:
        """The interval at level CONFIDENCE."""
        half = self.error * _quantile((1 + CONFIDENCE) / 2, self.df)
        return self.value - half, self.value + half


class ScoreModel:
    """Points with runs of several seeds, each scored on images.

    The score of a run is the mean of its point, plus what its seed adds, plus what its images add.

    - Images: runs that were scored on the same images share their noise, as far as they agree about them. Variances and
      covariances follow from the scores of single images.
    - Seeds: what the runs of a point differ by beyond their images. Its standard deviation is taken as proportional to
      sqrt(p (1 - p)) for an accuracy p; the factor is estimated from all points by restricted likelihood. Two points
      whose runs vary significantly more are compared by their own factor.

    Losses enter as logarithms, run by run: seeds change a loss by a factor, and now and then by a large one.
    The degrees of freedom of a difference are Satterthwaite's.

    Args:
        scores: for each of K points, the scores of its runs, one or more.
        seeds: the seed of each run.
        images: for each run, the scores of its images, whose mean is its score; None: unknown.
        kind: what the scores are.

    Source:
        Searle, Casella and McCulloch 1992, "Variance Components"; Satterthwaite 1946, "An Approximate Distribution of
        Estimates of Variance Components". That runs differ mostly by chance on single images: Jordan 2023, "Calibrated
        Chaos: Variance Between Runs of Neural Network Training is Harmless and Inevitable".
    """

    def __init__(
        self,
        scores: Sequence[Sequence[float]],
        seeds: Sequence[Sequence[int]],
        images: Sequence[Sequence[ImageScores]] | None,
        kind: Kind,
    ) -> None:
        self.counts = [len(own) for own in scores]
        self._points = np.repeat(np.arange(len(scores)), self.counts)
        means = np.concatenate([np.asarray(own, dtype=np.float64) for own in scores])
        self.point_means = np.array([np.mean(own) for own in scores])
        self.is_log = kind is Kind.LOSS and bool((means > 0).all())
        self._values = np.log(means) if self.is_log else means
        self._slopes = 1 / means if self.is_log else np.ones(len(means))  # of the values, by the means
        self._images = images
        self._image_noise = None if images is None else ImageNoise([run for own in images for run in own])
        self._is_accuracy = kind is Kind.ACCURACY
        self._scales = self._noise_scales()
        self._covariance = self._even_covariance(np.concatenate([np.asarray(own) for own in seeds]))
        self.seed_noise = self._residuals(range(len(scores))).fit()

    @property
    def num_images(self) -> int | None:
        """Number of images, or groups, that any run was scored on; None: unknown."""
        return None if self._image_noise is None else self._image_noise.num_units

    @property
    def basis(self) -> Basis | None:
        """What the comparisons are about; None: one seed each, without scores of images, says nothing."""
        if self._image_noise is None:
            return Basis.SEEDS if self.seed_noise.num_free else None
        return Basis.BOTH if self.seed_noise.num_free else Basis.IMAGES

    def mean(self, point: int) -> Estimate:
        """The mean score of a point, with the error of the mean of its values; of losses its logarithm."""
        center = float(np.log(self.point_means[point]) if self.is_log else self.point_means[point])
        return replace(self._estimate({point: 1.0}, self.seed_noise), value=center)

    def difference(self, first: int, second: int) -> Estimate:
        """The score of point `second` minus that of `first`; of losses the log ratio of their geometric means."""
        noise = self.seed_noise
        own = self._residuals([first, second])
        if noise.num_free > len(own.values) > 0 and own.exceed(noise):
            noise = own.fit()
        return self._estimate({first: -1.0, second: 1.0}, noise)

    def difference_on_images(self, first: int, second: int) -> Estimate:
        """The same with the noise of images alone: of these trained models."""
        return self._estimate({first: -1.0, second: 1.0}, SeedNoise(0.0, inf, 0))

    def single_p(self, first: int, second: int) -> float | None:
        """McNemar's mid-p of two single runs scored on the same images; None where it does not apply."""
        if self._images is None or not self._is_accuracy or self.counts[first] != 1 or self.counts[second] != 1:
            return None
        one, other = self._images[first][0], self._images[second][0]
        if one.groups is not None or not np.array_equal(one.index, other.index):
            return None
        only_one = int(((one.values == 1) & (other.values == 0)).sum())
        only_other = int(((one.values == 0) & (other.values == 1)).sum())
        return mcnemar_p(only_one, only_other, is_mid=True)

    def unlinked(self, value: float) -> float:
        """A mean on its own scale; an accuracy is kept within 0 to 1."""
        if self.is_log:
            return float(np.exp(value))
        return min(1.0, max(0.0, value)) if self._is_accuracy else value

    def _noise_scales(self) -> NDArray[np.float64]:
        """(K,): what a point's noise of seeds is proportional to."""
        if not self._is_accuracy or self._images is None:
            return np.ones(len(self.counts))
        numbers = np.array([sum(map(len, own)) for own in self._images])
        shares = (self.point_means * numbers + 1) / (numbers + 2)  # so that a point without an error has noise
        scales: NDArray[np.float64] = np.sqrt(shares * (1 - shares))
        return scales

    def _residuals(self, points: Sequence[int]) -> SeedResiduals:
        kept = np.flatnonzero(np.isin(self._points, points))
        own = self._points[kept]
        scaled = self._values[kept] / self._scales[own]
        return SeedResiduals(scaled, own.tolist(), self._covariance[np.ix_(kept, kept)])

    def _even_covariance(self, seeds: NDArray[np.int64]) -> NDArray[np.float64]:
        """The covariance of the scaled values from images, (R, R), averaged over pairs of runs of the same relation.

        The relations are same point or not, and same seed or not. Single entries are too noisy to weigh runs by: a few
        images with a large loss decide both an entry and the means, and the noise of seeds would come out too small.
        """
        count = len(self._values)
        if self._image_noise is None:
            return np.zeros((count, count))
        factors = self._slopes / self._scales[self._points]
        found = self._image_noise.covariance() * np.outer(factors, factors)
        relation = 2 * np.equal.outer(self._points, self._points) + np.equal.outer(seeds, seeds)
        sums, numbers = np.bincount(relation.ravel(), found.ravel(), 4), np.bincount(relation.ravel(), minlength=4)
        averages: NDArray[np.float64] = (sums / np.maximum(numbers, 1))[relation]
        return averages

    def _estimate(self, parts: dict[int, float], noise: SeedNoise) -> Estimate:
        """The estimate of a weighted sum of the points' mean values."""
        weights = np.zeros(len(self._values))
        from_seeds = 0.0
        for point, factor in parts.items():
            weights[self._points == point] = factor / self.counts[point]
            from_seeds += (factor * self._scales[point]) ** 2 / self.counts[point]
        value, slopes = float(weights @ self._values), weights * self._slopes
        if abs(value) <= 1e-12 * np.abs(self._values).max():  # rounding, where all runs are the same
            value = 0.0
        from_images, image_df = (0.0, inf) if self._image_noise is None else self._image_noise.variance(slopes)
        variance = from_images + from_seeds * noise.variance
        doubt = 2 * from_images**2 / image_df + from_seeds**2 / noise.information
        return Estimate(value, float(variance**0.5), 2 * variance**2 / doubt if doubt and variance else inf)


def mean_over_folds(differences: Sequence[float], test_to_train: float) -> Estimate:
    """The mean of differences that are paired by fold and seed, with Nadeau and Bengio's corrected error.

    Args:
        differences: n differences of two scores, each on the same fold and with the same seed.
        test_to_train: as for `error_of_mean`.

    Returns:
        With n - 1 degrees of freedom; its p is that of the corrected resampled t test, and 1 for n < FEWEST_FOLDS.

    Source:
        As `error_of_mean`.
    """
    n = len(differences)
    if n < FEWEST_FOLDS:  # of two, the spread can be 0 by one image, and the error with it
        return Estimate(float(np.mean(differences)) if n else 0.0, inf, inf)
    return Estimate(float(np.mean(differences)), error_of_mean(differences, test_to_train), n - 1)


def detectable(estimate: Estimate, t_needed: float) -> float:
    """The size of a true difference that is found with probability POWER, on the scale of `estimate`.

    Args:
        estimate: of a difference.
        t_needed: the t value from which a difference is significant.

    Source:
        The minimum detectable effect of Bloom 1995, "Minimum Detectable Effects".
    """
    return estimate.error * (t_needed + _quantile(POWER, estimate.df))


def _quantile(probability: float, df: float) -> float:
    from scipy.stats import norm, t

    return float(t.ppf(probability, df) if np.isfinite(df) else norm.ppf(probability))
