"""The variance that seeds add, from what the runs of a point differ by."""

import numpy as np
import pytest

from hcr.evaluation.seed_noise import SAME_NOISE, SeedNoise, SeedResiduals


def residuals(table, covariance=None):
    """Of points (rows) with runs (columns)."""
    table = np.asarray(table, dtype=float)
    points = np.repeat(np.arange(len(table)), table.shape[1])
    return SeedResiduals(table.ravel(), points, np.zeros((table.size,) * 2) if covariance is None else covariance)


def test_without_images_it_is_the_pooled_variance_within_points():
    table = np.random.default_rng(0).normal(size=(4, 3))
    noise = residuals(table).fit()
    assert noise.variance == pytest.approx(table.var(axis=1, ddof=1).mean(), rel=1e-12)
    assert noise.num_free == 8
    # The variance of s^2 is 2 sigma^4 / degrees of freedom.
    assert 1 / noise.information == pytest.approx(2 * noise.variance**2 / 8, rel=1e-9)


def test_what_images_add_is_taken_off_and_nothing_less_than_zero_is_left():
    table = np.random.default_rng(0).normal(size=(4, 3))
    pooled = table.var(axis=1, ddof=1).mean()
    assert residuals(table, 0.4 * pooled * np.eye(12)).fit().variance == pytest.approx(0.6 * pooled, rel=1e-9)
    assert residuals(table, 3 * pooled * np.eye(12)).fit().variance == 0


def test_what_all_points_share_on_a_seeds_images_is_no_noise_of_seeds():
    random = np.random.default_rng(0)
    shared, own = 100.0 * random.normal(size=3), random.normal(size=(6, 3))
    seeds = np.tile(np.arange(3), 6)
    covariance = 1e4 * np.equal.outer(seeds, seeds)
    noise = residuals(shared + own, covariance).fit()
    # Nearly the mean square of the interaction of points and seeds.
    centred = own - own.mean(axis=0) - own.mean(axis=1, keepdims=True) + own.mean()
    assert noise.variance == pytest.approx((centred**2).sum() / 10, rel=0.01)


def test_it_is_unbiased_over_many_sweeps():
    random = np.random.default_rng(0)
    found = [residuals(random.normal(size=(5, 4)) * 2, np.eye(20)).fit().variance for _ in range(800)]
    assert np.mean(found) == pytest.approx(3.0, rel=0.06)


def test_points_of_one_run_add_nothing():
    assert residuals([[1.0], [2.0]]).fit() == SeedNoise(0.0, np.inf, 0)
    mixed = SeedResiduals(np.array([1.0, 5.0, 7.0]), [0, 1, 1], np.zeros((3, 3))).fit()
    assert (mixed.variance, mixed.num_free) == (pytest.approx(2.0), 1)


def test_runs_that_vary_far_more_than_the_others_are_noticed():
    noise = SeedNoise(1.0, 50.0, 100)
    assert residuals([[0, 9, -9], [0, 0.1, 0.2]]).exceed(noise)
    assert not residuals([[0, 1, -1], [0, 0.1, 0.2]]).exceed(noise)
    random = np.random.default_rng(0)
    rate = np.mean([residuals(random.normal(size=(2, 4))).exceed(SeedNoise(1.0, 50.0, 10**6)) for _ in range(1000)])
    assert rate == pytest.approx(SAME_NOISE, abs=0.021)


@pytest.mark.parametrize("order", [[1, 0, 1, 0], [0, 1, 1, 0]])
def test_the_order_of_runs_does_not_matter(order):
    values = np.array([3.0, 1.0, 4.0, 1.5])
    found = SeedResiduals(values, order, np.zeros((4, 4))).fit().variance
    by_point = [values[np.array(order) == k].var(ddof=1) for k in (0, 1)]
    assert found == pytest.approx(np.mean(by_point))
