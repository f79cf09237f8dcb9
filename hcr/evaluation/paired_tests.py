"""Tests of two trained models on the same images, and of two samples of runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def mcnemar_p(only_first: int, only_second: int, *, is_mid: bool = False) -> float:
    """Two-sided p of McNemar's exact test: two models are right equally often.

    Args:
        only_first: number of images that only the first model has right.
        only_second: number of images that only the second has right.
        is_mid: count the observed outcome half. The exact test is conservative, as p takes few values; mid-p has the
            level alpha on average.

    Returns:
        In (0, 1]; 1 if the models differ on no image.

    Source:
        McNemar 1947, "Note on the Sampling Error of the Difference Between Correlated Proportions"; for mid-p
        Fagerland, Lydersen and Laake 2013, "The McNemar Test for Binary Matched-Pairs Data".
    """
    total = only_first + only_second
    if total == 0:
        return 1.0
    from scipy.stats import binom

    fewer = min(only_first, only_second)
    p = 2 * float(binom.cdf(fewer, total, 0.5))
    return min(1.0, p - float(binom.pmf(fewer, total, 0.5)) if is_mid else p)


@dataclass(frozen=True)
class Welch:
    """Welch's t test of two means: `difference` (second minus first), its 95 % interval, `df` and two-sided `p`."""

    difference: float
    low: float
    high: float
    df: float
    p: float


def welch(first: Sequence[float], second: Sequence[float]) -> Welch | None:
    """Welch's test; None if a sample has fewer than two scores, or no score differs within either.

    Source:
        Welch 1947, "The Generalization of Student's Problem when Several Different Population Variances are Involved".
    """
    if min(len(first), len(second)) < 2:
        return None
    # The formula, and not `scipy.stats.ttest_ind`: that warns where the runs of one side have the same score.
    shares = [_variance(own) / len(own) for own in (first, second)]
    total = sum(shares)
    if total == 0:
        return None
    from scipy.stats import t

    df = total**2 / sum(share**2 / (len(own) - 1) for share, own in zip(shares, (first, second), strict=True))
    difference, error = float(np.mean(second) - np.mean(first)), total**0.5
    half = float(t.ppf(0.975, df)) * error
    return Welch(difference, difference - half, difference + half, df, float(2 * t.sf(abs(difference) / error, df)))


def _variance(scores: Sequence[float]) -> float:
    """With n - 1; 0 if the scores differ by rounding alone."""
    is_same = np.ptp(scores) <= 1e-12 * np.abs(scores).max()
    return 0.0 if is_same else float(np.var(scores, ddof=1))
