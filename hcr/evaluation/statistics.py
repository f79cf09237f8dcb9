"""Confidence intervals of a proportion and of a mean; a permutation test of two samples; Holm's correction."""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95  # of every interval
MOST_ARRANGEMENTS = 20_000  # a permutation test counts all arrangements up to this number, else draws this many


class Kind(StrEnum):
    """What a score is; it decides the scale on which its noise is even."""

    ACCURACY = "accuracy"  # a share of right answers: differences; intervals are cut at 0 and 1
    LOSS = "loss"  # positive: ratios, so that no interval goes below 0
    OTHER = "other"  # differences


def proportion_interval(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson interval of a proportion, at level CONFIDENCE.

    Args:
        successes: 0..trials.
        trials: 1 or more.

    Returns:
        Lower and upper end, fractions in [0, 1].

    Source:
        Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    from scipy.stats import binomtest  # takes half a second: not at the start of a sweep

    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(
    scores: Sequence[float], test_to_train: float = 0.0, kind: Kind = Kind.OTHER
) -> tuple[float, float] | None:
    """Student's t interval of the mean of `scores`, at level CONFIDENCE; None for fewer than two scores.

    Args:
        scores: n scores.
        test_to_train: as for `error_of_mean`.
        kind: of a loss the interval is that of the logarithm of the mean (delta method).

    Source:
        "Student" 1908, "The Probable Error of a Mean".
    """
    n = len(scores)
    if n < 2:
        return None
    mean, error = float(np.mean(scores)), error_of_mean(scores, test_to_train)
    from scipy.stats import t

    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    if kind is Kind.LOSS and mean > 0:
        factor = float(np.exp(min(half / mean, 700.0)))
        return mean / factor, mean * factor
    low, high = mean - half, mean + half
    return (max(0.0, low), min(1.0, high)) if kind is Kind.ACCURACY else (low, high)


def error_of_mean(scores: Sequence[float], test_to_train: float = 0.0) -> float:
    """The standard error of the mean of `scores`: the root of (1 / n + test_to_train) s², s² their variance (n - 1).

    Scores of a cross-validation are not independent, as its folds train on mostly the same images: s² / n is too small.
    Nadeau and Bengio's variance adds the ratio of test to training images, 1 / (k - 1) for k folds. For repeated
    cross-validation, n counts every fold of every repetition. The added part does not fall with repetitions. So it also
    covers repetitions on the same folds, which only differ in their initial weights.

    Args:
        scores: n scores, n at least 2.
        test_to_train: number of images that a score is measured on, over those trained on; 0 for independent scores.

    Source:
        Nadeau and Bengio 2003, "Inference for the Generalization Error", Machine Learning 52, section 3; for repeated
        cross-validation Bouckaert and Frank 2004, "Evaluating the Replicability of Significance Tests for Comparing
        Learning Algorithms".
    """
    return float(np.std(scores, ddof=1) * np.sqrt(1 / len(scores) + test_to_train))


def permutation_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of a permutation test for the difference of two means.

    It is twice the smaller tail, as in `scipy.stats.permutation_test`. All arrangements are counted, with equal scores
    as distinct. If there are more than MOST_ARRANGEMENTS, that many are drawn with a fixed seed, and the observed one
    is added, (b + 1) / (m + 1), so that p is never 0.

    Args:
        first: n finite scores, n at least 1.
        second: m finite scores, m at least 1.

    Returns:
        In (0, 1]; never below `smallest_p(n, m)`.

    Source:
        Ernst 2004, "Permutation Methods: A Basis for Exact Inference"; for drawn arrangements Phipson and Smyth
        2010, "Permutation P-values Should Never Be Zero".
    """
    n, total = len(first), len(first) + len(second)
    pooled = np.array([*first, *second], dtype=np.float64)
    pooled -= pooled.mean()
    sums = pooled[_arrangements(n, total)].sum(axis=1)
    observed = pooled[:n].sum()
    # Sums of the same scores in another order differ by rounding and count as equal.
    tolerance = 1e-9 * np.abs(pooled).max()
    tails = np.array([(sums <= observed + tolerance).sum(), (sums >= observed - tolerance).sum()])
    unseen = 0 if comb(total, n) <= MOST_ARRANGEMENTS else 1
    return float(min(1.0, 2 * (tails.min() + unseen) / (len(sums) + unseen)))


@lru_cache(maxsize=8)  # a comparison of many sides uses the same ones for every test
def _arrangements(n: int, total: int) -> NDArray[np.intp]:
    """(A, n): in each of A arrangements, the indices of the scores that form the first sample of `total`."""
    if comb(total, n) <= MOST_ARRANGEMENTS:
        return np.array(list(combinations(range(total), n)), dtype=np.intp)
    random = np.random.default_rng(0)
    drawn = [random.permutation(total)[:n] for _ in range(MOST_ARRANGEMENTS)]
    return np.array(drawn, dtype=np.intp)


def smallest_p(n: int, m: int) -> float:
    """The smallest p that `permutation_p` can return for n and m scores."""
    arrangements = comb(n + m, n)
    return min(1.0, 2 / (arrangements if arrangements <= MOST_ARRANGEMENTS else MOST_ARRANGEMENTS + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple tests: rejecting those up to alpha keeps the family-wise error rate below alpha.

    Args:
        p_values: K values in [0, 1], of tests that may be dependent.

    Returns:
        K adjusted values in the same order, never smaller, in [0, 1].

    Source:
        Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    count = len(p_values)
    adjusted, highest = [0.0] * count, 0.0
    for step, place in enumerate(sorted(range(count), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (count - step) * p_values[place]))
        adjusted[place] = highest
    return adjusted
