"""Differences of mean scores against SciPy's t tests, and what each noise adds."""

from math import exp, log

import numpy as np
import pytest
from scipy.stats import t, ttest_ind, ttest_rel

from hcr.evaluation.image_scores import ImageScores
from hcr.evaluation.score_model import Basis, Estimate, ScoreModel, detectable
from hcr.evaluation.statistics import Kind


def by_scores(*scores, kind=Kind.OTHER):
    return ScoreModel(scores, [range(len(own)) for own in scores], None, kind)


def by_images(*points, kind=Kind.OTHER, index=None):
    """Each point has runs, each run the scores of its images."""
    images = [[ImageScores(np.arange(len(run)), np.asarray(run, dtype=float)) for run in own] for own in points]
    means = [[run.mean for run in own] for own in images]
    return ScoreModel(means, [range(len(own)) for own in points], images, kind)


def test_by_seeds_alone_it_is_the_pooled_t_test():
    first, second = [0.91, 0.95, 0.93, 0.99], [0.97, 0.98, 0.96]
    model = by_scores(first, second)
    theirs = ttest_ind(second, first)
    found = model.difference(0, 1)
    assert model.basis is Basis.SEEDS
    assert (found.t_value, found.df, found.p) == pytest.approx((theirs.statistic, theirs.df, theirs.pvalue), abs=1e-12)
    interval = theirs.confidence_interval(0.95)
    assert found.ends() == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_seeds_of_other_points_tell_of_the_noise_too():
    random = np.random.default_rng(0)
    scores = random.normal(size=(6, 3))
    found = by_scores(*scores).difference(0, 1)
    pooled = scores.var(axis=1, ddof=1).mean()
    assert found.error == pytest.approx((pooled * 2 / 3) ** 0.5, rel=1e-9)
    assert found.df == pytest.approx(12)


def test_two_points_that_vary_far_more_than_the_others_are_compared_by_their_own_noise():
    random = np.random.default_rng(0)
    scores = random.normal(size=(12, 5))
    scores[0] *= 20
    model = by_scores(*scores)
    found = model.difference(0, 1)
    assert found.df == pytest.approx(8)
    assert found.error == pytest.approx((scores[:2].var(axis=1, ddof=1).mean() * 2 / 5) ** 0.5, rel=1e-9)
    assert model.difference(1, 2).df == pytest.approx(48)


def test_one_run_each_is_the_paired_t_test_over_images():
    random = np.random.default_rng(0)
    first = random.normal(size=500)
    second = first + random.normal(0.05, 0.4, size=500)
    model = by_images([first], [second])
    found = model.difference(0, 1)
    assert model.basis is Basis.IMAGES
    assert found.t_value == pytest.approx(ttest_rel(second, first).statistic, rel=1e-12)
    assert found.df == pytest.approx(499, rel=0.2)
    assert found == model.difference_on_images(0, 1)


def test_one_run_each_without_images_says_nothing():
    assert by_scores([0.9], [0.8]).basis is None


def test_both_sources_add_up():
    random = np.random.default_rng(0)
    difficulty = random.normal(size=2000)
    points = [[difficulty + shift + random.normal(size=2000) for shift in random.normal(size=4)] for _ in range(5)]
    model = by_images(*points)
    found, over_images = model.difference(0, 1), model.difference_on_images(0, 1)
    assert model.basis is Basis.BOTH
    # Runs differ by about 1 from seed to seed, images add 2 / 4 / 2000 to the variance of a difference.
    assert over_images.error == pytest.approx((2 / 4 / 2000) ** 0.5, rel=0.1)
    expected = over_images.error**2 + model.seed_noise.variance * 2 / 4
    assert found.error == pytest.approx(expected**0.5, rel=1e-12)
    assert model.seed_noise.variance == pytest.approx(1.0, rel=0.6)
    assert found.df == pytest.approx(15, rel=0.05)


def test_without_noise_of_seeds_the_images_decide():
    random = np.random.default_rng(0)
    difficulty = random.normal(size=4000)
    points = [[difficulty + random.normal(size=4000) for _ in range(8)] for _ in range(6)]
    found = by_images(*points).difference(0, 1)
    assert found.error == pytest.approx((2 / 8 / 4000) ** 0.5, rel=0.35)


def test_a_loss_is_compared_by_its_ratio_and_its_interval_is_above_zero():
    model = by_scores([0.02, 0.05], [0.3, 0.02], kind=Kind.LOSS)
    found = model.difference(0, 1)
    assert model.is_log
    assert exp(found.value) == pytest.approx((0.3 * 0.02 / (0.02 * 0.05)) ** 0.5)  # of geometric means
    low, high = model.mean(0).ends()
    assert 0 < model.unlinked(low) < 0.035 < model.unlinked(high)
    scaled = by_scores([2.0, 5.0], [30.0, 2.0], kind=Kind.LOSS).difference(0, 1)
    assert (scaled.value, scaled.error, scaled.df) == pytest.approx((found.value, found.error, found.df))


def test_a_loss_of_zero_has_no_logarithm_and_is_compared_by_differences():
    model = by_scores([0.0, 0.0], [0.3, 0.2], kind=Kind.LOSS)
    assert not model.is_log
    assert model.difference(0, 1).value == pytest.approx(0.25)


def test_the_interval_of_an_accuracy_stays_within_0_to_1():
    right = np.ones(200)
    right[0] = 0
    model = by_images([right], [1 - right], kind=Kind.ACCURACY)
    low, high = model.mean(0).ends()
    assert high > 1
    assert 0.9 < model.unlinked(low) < model.unlinked(high) == 1


def test_points_without_an_error_can_be_compared():
    right = np.ones((3, 100))
    model = by_images(right, right, kind=Kind.ACCURACY)
    assert model.difference(0, 1).p == 1


def test_two_single_runs_have_mcnemars_p():
    first = np.array([1] * 11 + [0] * 3 + [1] * 50)
    second = np.array([0] * 11 + [1] * 3 + [1] * 50)
    model = by_images([first], [second], kind=Kind.ACCURACY)
    # The exact p, 0.0574, less the probability of 3 of 14.
    assert model.single_p(0, 1) == pytest.approx(0.057373046875 - 364 / 2**14, abs=1e-12)
    assert by_images([first], [second], kind=Kind.LOSS).single_p(0, 1) is None
    assert by_images([first, first], [second], kind=Kind.ACCURACY).single_p(0, 1) is None


def test_more_images_and_more_seeds_make_the_error_smaller():
    random = np.random.default_rng(0)

    def error(num_seeds, num_images):
        shifts = random.normal(0, 0.1, size=(4, num_seeds, 1))
        return by_images(*(random.normal(size=(4, num_seeds, num_images)) + shifts)).difference(0, 1).error

    assert error(8, 200) < error(2, 200)
    assert error(4, 5000) < error(4, 50)


def test_a_difference_of_the_detectable_size_is_found_in_four_of_five_cases():
    error, df, n = 1.0, 10, 40_000
    random = np.random.default_rng(0)
    needed = float(t.ppf(0.975, df))
    size = detectable(Estimate(0.0, error, df), needed)
    errors = error * np.sqrt(random.chisquare(df, size=n) / df)
    found = ((size + error * random.normal(size=n)) / errors > needed).mean()
    assert found == pytest.approx(0.8, abs=0.02)


def test_a_spread_of_0_supports_no_claim():
    """Equal scores of two seeds do not say how much others would differ."""
    assert by_scores([1.0, 1.0], [1.0, 1.0]).difference(0, 1).p == 1
    assert by_scores([1.0, 1.0], [2.0, 2.0]).difference(0, 1).p == 1
    assert by_scores([2.0, 2.0], [1.0, 1.0]).difference(0, 1).p == 1
    assert log(1) == 0
