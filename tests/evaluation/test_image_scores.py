"""Scores of single images and the noise that the choice of images adds to the runs' means."""

import numpy as np
import pytest
from scipy.stats import sem, ttest_rel

from hcr.evaluation.image_scores import BLOCK, ImageNoise, ImageScores, correctness, losses
from hcr.evaluation.metrics import accuracy, cross_entropy

DIFFERENCE = np.array([-1.0, 1.0])


def run(values, index=None, groups=None):
    values = np.asarray(values, dtype=float)
    return ImageScores(np.arange(len(values)) if index is None else np.asarray(index), values, groups)


def test_their_means_are_the_metrics():
    random = np.random.default_rng(0)
    probabilities, labels = random.dirichlet(np.ones(5), size=200), random.integers(0, 5, size=200)
    assert correctness(probabilities, labels).mean() == pytest.approx(accuracy(probabilities, labels))
    assert losses(probabilities, labels).mean() == pytest.approx(cross_entropy(probabilities, labels), abs=1e-12)


def test_the_error_of_a_mean_and_of_a_paired_difference_are_scipys():
    random = np.random.default_rng(0)
    first = random.normal(size=100)
    second = first + random.normal(0.1, 0.3, size=100)
    noise = ImageNoise([run(first), run(second)])
    assert noise.variance(np.array([1.0, 0.0]))[0] ** 0.5 == pytest.approx(sem(first), rel=1e-12)
    paired = ttest_rel(second, first)
    error = noise.variance(DIFFERENCE)[0] ** 0.5
    assert (second - first).mean() / error == pytest.approx(paired.statistic, rel=1e-12)
    assert noise.covariance() == pytest.approx(np.cov(first, second) / 100, rel=1e-12)
    assert noise.num_units == 100


def test_whole_groups_give_the_cluster_robust_error_of_statsmodels():
    difference = np.array([0, 1, 0, -1, 1, 1, 0, 0, 1, -1, 0, 1], dtype=float)
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4])
    noise = ImageNoise([run(np.zeros(12), groups=groups), run(difference, groups=groups)])
    # statsmodels 0.15.0: OLS(difference, ones).fit(cov_type="cluster", cov_kwds={"groups": groups}).bse[0]
    assert noise.variance(DIFFERENCE)[0] ** 0.5 == pytest.approx(0.08715208609729957, abs=1e-12)
    assert noise.num_units == 5
    single = ImageNoise([run(np.zeros(12)), run(difference)])
    # statsmodels 0.15.0: DescrStatsW(difference).std_mean
    assert single.variance(DIFFERENCE)[0] ** 0.5 == pytest.approx(0.21759706994462233, abs=1e-12)


def test_runs_on_other_images_share_no_noise_and_half_of_them_half_of_it():
    random = np.random.default_rng(0)
    values = random.normal(size=200)
    apart = ImageNoise([run(values[:100]), run(values[100:], index=range(100, 200))])
    assert apart.covariance()[0, 1] == 0
    assert apart.variance(DIFFERENCE)[0] == pytest.approx(sem(values[:100]) ** 2 + sem(values[100:]) ** 2, rel=1e-12)
    half = ImageNoise([run(values[:100]), run(values[50:150], index=range(50, 150))]).covariance()
    assert half[0, 1] / half[0, 0] == pytest.approx(0.5, abs=0.1)


def test_it_is_the_variance_that_resampling_images_gives():
    random = np.random.default_rng(0)
    first, second = (random.random((2, 300)) < [[0.8], [0.9]]).astype(float)
    drawn = random.integers(0, 300, size=(20_000, 300))
    resampled = (second[drawn] - first[drawn]).mean(axis=1).var()
    assert ImageNoise([run(first), run(second)]).variance(DIFFERENCE)[0] == pytest.approx(resampled, rel=0.05)


def test_groups_may_have_any_numbers():
    values = np.random.default_rng(0).normal(size=(2, 6))
    small, large = np.array([0, 0, 1, 1, 2, 2]), np.array([-7, -7, 10**15, 10**15, 3, 3])
    found = [ImageNoise([run(own, groups=groups) for own in values]) for groups in (small, large)]
    assert found[0].covariance() == pytest.approx(found[1].covariance())
    assert found[0].num_units == found[1].num_units == 3


def test_images_beyond_a_block_count_too():
    values = np.random.default_rng(0).normal(size=(2, 2 * BLOCK + 7))
    noise = ImageNoise([run(own) for own in values])
    assert noise.covariance() == pytest.approx(np.cov(values) / values.shape[1], rel=1e-9)


def test_few_images_that_differ_give_few_degrees_of_freedom():
    same = np.ones(10_000)
    other = same.copy()
    other[:6] = 0
    _, df = ImageNoise([run(same), run(other)]).variance(DIFFERENCE)
    assert df == pytest.approx(12, rel=0.01)
    values = np.random.default_rng(0).normal(size=(2, 10_000))
    assert ImageNoise([run(own) for own in values]).variance(DIFFERENCE)[1] == pytest.approx(10_000, rel=0.1)


def test_runs_that_agree_on_every_image_do_not_differ():
    assert ImageNoise([run([1, 0, 1]), run([1, 0, 1])]).variance(DIFFERENCE) == (0.0, np.inf)


def test_only_the_wanted_images_are_kept():
    kept = run([1, 0, 1, 1], index=[3, 5, 7, 9], groups=np.array([0, 0, 1, 1])).on(np.array([5, 9, 11]))
    assert (kept.index.tolist(), kept.values.tolist(), kept.groups.tolist()) == ([5, 9], [0, 1], [0, 1])
