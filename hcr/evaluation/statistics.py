"""Intervals of a measured fraction and of a mean, and permutation tests of two samples."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95  # of every interval
MOST_ARRANGEMENTS = 20_000  # up to this a permutation test counts every one; beyond, so many are drawn


def proportion_interval(successes: int, trials: int) -> tuple[float, float]:
    """The interval in which the true proportion lies with CONFIDENCE, given the counts.

    Args:
        successes: 0..trials.
        trials: 1 or more.

    Returns:
        Lower and upper end, fractions in [0, 1].

    Source:
        Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    from scipy.stats import binomtest  # half a second, which a sweep need not wait for before it begins

    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """Student's interval for the mean that `scores` were drawn around; None for fewer than two of them.

    Source:
        "Student" 1908, "The Probable Error of a Mean".
    """
    n = len(scores)
    if n < 2:
        return None
    mean, error = float(np.mean(scores)), float(np.std(scores, ddof=1)) / n**0.5
    from scipy.stats import t

    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    return mean - half, mean + half


def permutation_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of the difference of two means, were it indifferent which score belongs to which side.

    Twice the smaller tail, as `scipy.stats.permutation_test` has it. Every arrangement is counted, equal scores
    among them as often as they stand there; where there are more than MOST_ARRANGEMENTS, so many are drawn with a
    fixed seed, and the observed one counts as one more, (b + 1) / (m + 1), so that p is never 0.

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
    # Sums of the same scores in another order differ by rounding, and are ties.
    tolerance = 1e-9 * np.abs(pooled).max()
    tails = np.array([(sums <= observed + tolerance).sum(), (sums >= observed - tolerance).sum()])
    unseen = 0 if comb(total, n) <= MOST_ARRANGEMENTS else 1
    return float(min(1.0, 2 * (tails.min() + unseen) / (len(sums) + unseen)))


@lru_cache(maxsize=8)  # a leaderboard asks for the same one again and again
def _arrangements(n: int, total: int) -> NDArray[np.intp]:
    """(A, n): which of `total` scores go to the first side, in each of A arrangements."""
    if comb(total, n) <= MOST_ARRANGEMENTS:
        return np.array(list(combinations(range(total), n)), dtype=np.intp)
    random = np.random.default_rng(0)
    drawn = [random.permutation(total)[:n] for _ in range(MOST_ARRANGEMENTS)]
    return np.array(drawn, dtype=np.intp)


def smallest_p(n: int, m: int) -> float:
    """The smallest p that `permutation_p` can give for n against m scores, however far apart they are."""
    arrangements = comb(n + m, n)
    return min(1.0, 2 / (arrangements if arrangements <= MOST_ARRANGEMENTS else MOST_ARRANGEMENTS + 1))


def smallest_n(num_comparisons: int, alpha: float) -> int | None:
    """Scores a side from which on one of `num_comparisons` permutation tests could be significant after `holm`.

    Returns:
        At least 2; None where drawn arrangements are too few for it, beyond 500 comparisons at alpha 0.05.
    """
    n = 2
    while smallest_p(n, n) * num_comparisons > alpha:
        if comb(2 * n, n) > MOST_ARRANGEMENTS:
            return None
        n += 1
    return n


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several: those at most alpha hold together, all of them, with 1 - alpha.

    Args:
        p_values: K of them, in [0, 1], of tests that may depend on one another.

    Returns:
        K, in the same order and never smaller, in [0, 1].

    Source:
        Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    count = len(p_values)
    adjusted, highest = [0.0] * count, 0.0
    for step, place in enumerate(sorted(range(count), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (count - step) * p_values[place]))
        adjusted[place] = highest
    return adjusted
