"""Intervals and permutation tests against known values and SciPy, at their ends, and by their properties."""

from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, sem, t, ttest_rel

from hcr.evaluation.score_model import mean_over_folds
from hcr.evaluation.statistics import (
    Kind,
    error_of_mean,
    holm,
    mean_interval,
    permutation_p,
    proportion_interval,
    smallest_p,
)

Z = 1.959963984540054  # the 97.5 % point of the normal distribution

COUNTS = st.integers(1, 500).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The formula as Wilson 1927 has it."""
    share = successes / trials
    middle = share + Z**2 / (2 * trials)
    spread = Z * sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2))
    return (middle - spread) / (1 + Z**2 / trials), (middle + spread) / (1 + Z**2 / trials)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (5, 10, 0.2366, 0.7634), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_the_interval_equals_known_values(successes: int, trials: int, low: float, high: float) -> None:
    assert proportion_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@settings(max_examples=100, deadline=None)
@given(counts=COUNTS)
def test_the_interval_equals_the_formula(counts: tuple[int, int]) -> None:
    assert proportion_interval(*counts) == pytest.approx(wilson(*counts), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(counts=COUNTS)
def test_the_interval_lies_in_0_to_1_and_holds_what_was_measured(counts: tuple[int, int]) -> None:
    successes, trials = counts
    low, high = proportion_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert low < high


@settings(max_examples=50, deadline=None)
@given(counts=COUNTS)
def test_failures_have_the_mirrored_interval(counts: tuple[int, int]) -> None:
    successes, trials = counts
    low, high = proportion_interval(successes, trials)
    assert proportion_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize("trials", [1, 10, 1000])
def test_none_and_all_reach_the_ends_and_leave_room_on_the_other_side(trials: int) -> None:
    low, high = proportion_interval(0, trials)
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(Z**2 / (trials + Z**2))
    low, high = proportion_interval(trials, trials)
    assert low == pytest.approx(trials / (trials + Z**2))
    assert high == pytest.approx(1, abs=1e-12)


def test_more_images_narrow_the_interval() -> None:
    def width(successes: int, trials: int) -> float:
        low, high = proportion_interval(successes, trials)
        return high - low

    assert width(900, 1000) < width(90, 100) < width(9, 10)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(share: float) -> None:
    # Exactly, over every outcome of 100 images; Wilson's coverage swings around the nominal 95 %.
    covered = 0.0
    for successes in range(101):
        low, high = proportion_interval(successes, 100)
        if low <= share <= high:
            covered += comb(100, successes) * share**successes * (1 - share) ** (100 - successes)
    assert 0.93 < covered < 0.97


def test_no_trial_is_an_error() -> None:
    with pytest.raises(ValueError, match="n"):
        proportion_interval(0, 0)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 4), (5, 3), (2, 7), (6, 4), (8, 8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_exact_permutation_p_is_scipys(n, m, seed):
    random = np.random.default_rng(seed)
    # Rounded, so that there are ties within and between the two sides.
    first, second = np.round(random.normal(0.8, 1, n), 1), np.round(random.normal(0, 1, m), 1)
    theirs = permutation_test((first, second), lambda a, b: np.mean(a) - np.mean(b), n_resamples=np.inf)
    assert permutation_p(first, second) == pytest.approx(theirs.pvalue)
    assert permutation_p(first, second) == permutation_p(second, first)


def test_ties_are_counted_by_hand():
    # Of the 6 choices of two of 1, 2, 2, 3, sums are 3, 3, 4, 4, 5, 5: those of 3 and less are 2.
    assert permutation_p([1, 2], [2, 3]) == pytest.approx(2 * 2 / 6)
    assert permutation_p([0.1, 0.2], [0.2, 0.3]) == pytest.approx(2 * 2 / 6)
    assert permutation_p([5, 5, 5], [5, 5, 5]) == 1


def test_a_drawn_p_is_near_scipys_and_never_zero():
    random = np.random.default_rng(0)
    first, second = random.normal(0.2, 1, 10), random.normal(0, 1, 10)
    theirs = permutation_test(
        (first, second), lambda a, b, axis: a.mean(axis) - b.mean(axis), vectorized=True, n_resamples=np.inf
    )
    assert permutation_p(first, second) == pytest.approx(theirs.pvalue, rel=0.1)
    assert permutation_p(first, second) == permutation_p(first, second)
    assert permutation_p(range(100, 110), range(10)) == pytest.approx(2 / 20_001) == smallest_p(10, 10)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 3), (4, 4), (2, 6), (1, 30), (8, 8), (9, 9)])
def test_no_scores_have_a_smaller_p_than_the_smallest(n, m):
    p = permutation_p(np.arange(n) + 1000.0, np.arange(m))
    # Among drawn arrangements the observed one may come up by chance.
    assert p == pytest.approx(smallest_p(n, m), rel=1e-9 if n < 9 else 2)
    assert p >= smallest_p(n, m)


def test_three_against_three_can_not_reach_a_smaller_p_than_a_tenth():
    assert smallest_p(3, 3) == pytest.approx(0.1)


def test_holm_is_worked_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1, 1]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_the_interval_of_a_mean_is_scipys_and_needs_two_scores():
    scores = [0.91, 0.95, 0.93, 0.99]
    theirs = t.interval(0.95, 3, np.mean(scores), sem(scores))
    assert mean_interval(scores) == pytest.approx(theirs)
    assert mean_interval([0.9]) is None
    assert mean_interval([0.9, 0.9]) == pytest.approx((0.9, 0.9))


def test_the_corrected_interval_and_p_are_worked_by_hand():
    # 5 folds: mean 3, variance 2.5, so the error is sqrt(2.5 * (1 / 5 + 1 / 4)) = 1.06066; t of 4 at 0.975 is 2.77645.
    assert error_of_mean([1, 2, 3, 4, 5], 1 / 4) == pytest.approx(1.0606602)
    assert mean_interval([1, 2, 3, 4, 5], 1 / 4) == pytest.approx((3 - 2.944855, 3 + 2.944855), abs=1e-5)
    # t = 3 / 1.06066 = 2.828427, with 4 degrees of freedom.
    assert corrected_p([1, 2, 3, 4, 5], 1 / 4) == pytest.approx(2 * t.sf(2.8284271, 4))
    assert corrected_p([1, 2, 3, 4, 5], 1 / 4) == pytest.approx(0.04742, abs=1e-5)
    assert corrected_p([-1, -2, -3, -4, -5], 1 / 4) == corrected_p([1, 2, 3, 4, 5], 1 / 4)


def test_without_a_correction_it_is_the_paired_t_test():
    random = np.random.default_rng(0)
    first, second = random.normal(size=8), random.normal(0.5, size=8)
    assert corrected_p(first - second, 0.0) == pytest.approx(ttest_rel(first, second).pvalue)
    assert mean_interval(first, 0.0) == mean_interval(first)


def test_more_seeds_never_bring_the_error_below_the_correction():
    random = np.random.default_rng(0)
    scores = random.normal(size=5000)
    assert error_of_mean(scores, 1 / 4) > 0.5 * np.std(scores, ddof=1)


def test_too_few_folds_or_equal_differences_support_no_claim():
    assert corrected_p([], 0.25) == corrected_p([1.0], 0.25) == corrected_p([0.0, 0.0], 0.25) == 1
    assert corrected_p([0.5, 0.5001], 1.0) == 1  # of two folds, one image decides the error
    assert corrected_p([0.5, 0.5, 0.5], 0.25) == 1
    assert corrected_p([0.5, 0.51, 0.49], 0.5) < 0.001


def corrected_p(differences: list[float], test_to_train: float) -> float:
    return mean_over_folds(differences, test_to_train).p


HALVES = (slice(0, 4), slice(4, 8))


def classifier_differences(random: np.random.Generator, num_seeds: int, num_folds: int) -> list[float]:
    """Differences in accuracy of two equally good classifiers, over a cross-validation of one random data set.

    Each assigns an image to the nearer of two class means, one by the first half of the features, one by the other.
    """
    labels = np.arange(60) % 2
    features = random.normal(size=(60, 8)) + 0.4 * labels[:, np.newaxis]
    differences = []
    for _ in range(num_seeds):
        fold = random.permutation(60) % num_folds
        for k in range(num_folds):
            train, val = fold != k, fold == k
            means = np.stack([features[train & (labels == c)].mean(axis=0) for c in (0, 1)])
            distances = (features[val][:, np.newaxis] - means) ** 2
            first, second = (distances[..., own].sum(axis=2).argmin(axis=1) == labels[val] for own in HALVES)
            differences.append(float(first.mean() - second.mean()))
    return differences


@pytest.mark.parametrize(("num_seeds", "num_folds", "naive"), [(2, 5, 0.2), (10, 5, 0.5)])
def test_equal_classifiers_are_told_apart_about_as_often_as_alpha_and_without_the_correction_far_more(
    num_seeds: int, num_folds: int, naive: float
) -> None:
    random = np.random.default_rng(0)
    every = [classifier_differences(random, num_seeds, num_folds) for _ in range(400)]
    corrected = np.mean([corrected_p(some, 1 / (num_folds - 1)) <= 0.05 for some in every])
    uncorrected = np.mean([corrected_p(some, 0.0) <= 0.05 for some in every])
    assert 0.02 < corrected < 0.08
    assert uncorrected > naive


def test_the_interval_of_a_loss_is_made_of_its_logarithm_and_that_of_an_accuracy_is_cut():
    scores = [0.02, 0.2]
    low, high = mean_interval(scores, kind=Kind.LOSS)
    # The error is 0.09, relative to the mean 0.8182; t of 1 degree is 12.706.
    assert (low, high) == pytest.approx((0.11 / np.exp(12.7062 * 0.81818), 0.11 * np.exp(12.7062 * 0.81818)), rel=1e-4)
    assert mean_interval([0.9, 0.99], kind=Kind.ACCURACY) == pytest.approx((0.3732, 1.0), abs=1e-3)
    assert mean_interval([0.9, 0.99])[1] > 1
    assert mean_interval([0.0, 0.0], kind=Kind.LOSS) == (0, 0)
