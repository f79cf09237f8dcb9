"""Sides compared over the images that both held out."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_ind, ttest_rel

from hcr.config.replicates import Replicate
from hcr.evaluation.comparison import Side, SideRun, common_images, compare, scores_of
from hcr.evaluation.image_scores import ImageScores
from hcr.evaluation.score_model import Basis, mean_over_folds
from hcr.evaluation.statistics import Kind, holm, permutation_p


def side(label, *runs, index=None, groups=None, seeds=None, **more):
    """Of runs, each the scores of its images."""
    found = []
    for place, values in enumerate(runs):
        own = np.arange(len(values)) if index is None else np.asarray(index[place])
        seed = place if seeds is None else seeds[place]
        found.append(SideRun(Replicate(seed), ImageScores(own, np.asarray(values, dtype=float), groups)))
    return Side(label, found, **more)


def random_sides(num_sides=2, num_seeds=3, num_images=400, effect=0.0, seed=0):
    random = np.random.default_rng(seed)
    difficulty = random.normal(size=num_images)
    return [
        side(
            f"side {k}",
            *(
                (difficulty + random.normal(size=num_images) + effect * k > -1.8).astype(float)
                for _ in range(num_seeds)
            ),
        )
        for k in range(num_sides)
    ]


def accuracy(*sides):
    return compare(sides, Kind.ACCURACY, higher_is_better=True)


def loss(*sides):
    return compare(sides, Kind.LOSS, higher_is_better=False)


@pytest.mark.parametrize("num_images", [1, 17, 4000])
def test_runs_that_have_the_same_images_right_can_still_differ_on_others(num_images):
    same = np.ones(num_images)
    found = accuracy(side("A", same), side("B", same))
    (pair,) = found.pairs
    assert (pair.difference.value, pair.p) == (0, 1)
    # Of so many images none differs: as binomtest says of the share of those that do.
    assert pair.interval[1] == pytest.approx(binomtest(0, num_images).proportion_ci(method="exact").high, rel=1e-9)
    assert pair.interval[0] == -pair.interval[1]
    assert pair.smallest >= 6 / num_images, "five of one side alone have p = 0.0625"
    assert "above 0 points" not in found.verdict()[0]


def test_two_single_runs_have_mcnemars_exact_p_and_a_paired_interval():
    first = np.array([1] * 11 + [0] * 3 + [1] * 86)
    second = np.array([0] * 11 + [1] * 3 + [1] * 86)
    (pair,) = accuracy(side("A", first), side("B", second)).pairs
    assert (pair.single.only_first, pair.single.only_second) == (11, 3)
    assert pair.p == pair.p_adjusted == pytest.approx(binomtest(3, 14).pvalue, abs=1e-12)
    assert pair.difference.value == pytest.approx(-0.08)
    assert pair.difference.error == pytest.approx(abs(-0.08 / ttest_rel(second, first).statistic), rel=1e-12)
    assert (pair.basis, pair.seeds, pair.num_images, pair.num_groups) == (Basis.IMAGES, None, 100, None)
    low, high = pair.interval
    assert low < -0.08 < high


def test_two_single_runs_are_compared_by_loss_with_the_paired_t_test_on_ratios():
    random = np.random.default_rng(0)
    first = random.exponential(0.1, size=300)
    second = first * random.uniform(0.5, 1.2, size=300)
    (pair,) = loss(side("A", first), side("B", second)).pairs
    ratio = ttest_rel(second / second.mean(), first / first.mean()).statistic
    assert np.isnan(ratio) or abs(ratio) < 1e-9  # the influences of both have mean 0
    spread = (second / second.mean() - first / first.mean()).std(ddof=1) / 300**0.5
    assert pair.difference.error == pytest.approx(spread, rel=1e-12)
    assert pair.difference.value == pytest.approx(np.log(second.mean() / first.mean()), rel=1e-12)
    assert pair.single is None and pair.is_ratio
    low, high = pair.interval
    assert 0 < low < second.mean() / first.mean() < high


def test_seeds_are_told_with_their_number_and_scipys_welch_test():
    comparison = accuracy(*random_sides(num_seeds=4))
    (pair,) = comparison.pairs
    means = [[run.scores.mean for run in own.runs] for own in random_sides(num_seeds=4)]
    assert (pair.seeds.num_first, pair.seeds.num_second) == (4, 4)
    assert pair.seeds.permutation_p == permutation_p(*means)
    assert pair.seeds.smallest_p == pytest.approx(2 / 70)
    assert pair.seeds.welch.p == pytest.approx(ttest_ind(means[1], means[0], equal_var=False).pvalue, abs=1e-12)
    assert pair.basis is Basis.BOTH
    assert pair.over_images.error <= pair.difference.error


def test_one_run_against_several_has_a_permutation_test_but_no_welch_test():
    (pair,) = accuracy(random_sides(num_seeds=1)[0], random_sides(num_seeds=3)[1]).pairs
    assert (pair.seeds.welch, pair.seeds.smallest_p) == (None, pytest.approx(0.5))
    assert pair.basis is Basis.BOTH


def test_only_images_that_both_held_out_are_compared():
    random = np.random.default_rng(0)
    a = side("A", random.integers(0, 2, 60), random.integers(0, 2, 60), index=[range(60), range(40, 100)])
    b = side("B", random.integers(0, 2, 50), index=[range(30, 80)], seeds=[7])
    assert common_images(a, b).tolist() == list(range(30, 80))
    (pair,) = accuracy(a, b).pairs
    assert pair.num_images == 50
    means = [a.runs[0].scores.values[30:].mean(), a.runs[1].scores.values[:40].mean()]
    assert pair.means == pytest.approx((np.mean(means), b.runs[0].scores.mean))


def test_a_run_without_a_common_image_is_left_out_and_sides_without_any_are_refused():
    a = side("A", [1, 0], [1, 1], index=[[1, 2], [8, 9]])
    (pair,) = accuracy(a, side("B", [1, 1, 0], index=[[1, 2, 3]])).pairs
    assert (pair.num_images, pair.seeds) == (2, None)
    with pytest.raises(ValueError, match="A and C were not scored on any common image"):
        accuracy(a, side("C", [1], index=[[5]]))
    with pytest.raises(ValueError, match="two or more sides"):
        accuracy(a)
    with pytest.raises(ValueError, match="D: expected at least one run"):
        accuracy(a, side("D"))


def test_pairs_of_more_than_two_sides_are_corrected_by_holm():
    sides = random_sides(num_sides=4, effect=0.15)
    pairs = accuracy(*sides).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [
        (one.label, other.label) for one, other in combinations(sides, 2)
    ]
    assert [pair.p_adjusted for pair in pairs] == holm([pair.p for pair in pairs])
    # statsmodels 0.15.0: multipletests([0.01, 0.04, 0.03, 0.005, 0.2], method="holm")[1]
    assert holm([0.01, 0.04, 0.03, 0.005, 0.2]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.2], abs=1e-12)


def test_exchanging_the_sides_only_changes_the_sign():
    first, second = random_sides(effect=0.3)
    (one,), (other,) = accuracy(first, second).pairs, accuracy(second, first).pairs
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert (one.p, one.difference.error) == pytest.approx((other.p, other.difference.error))


def test_whole_groups_make_the_interval_wider_where_their_images_are_alike():
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    hard = np.repeat(random.random(40) < 0.3, 10)
    first, second = np.ones(400), np.where(hard, 0.0, 1.0)
    (alone,) = accuracy(side("A", first), side("B", second)).pairs
    (grouped,) = accuracy(side("A", first, groups=groups), side("B", second, groups=groups)).pairs
    assert grouped.difference.error == pytest.approx(alone.difference.error * 10**0.5, rel=0.02)
    assert (grouped.num_groups, grouped.num_images, grouped.single) == (40, 400, None)
    assert (
        "40 groups of images" in accuracy(side("A", first, groups=groups), side("B", first, groups=groups)).verdict()[0]
    )


def test_two_cross_validations_are_compared_by_the_corrected_t_test_of_their_folds():
    random = np.random.default_rng(0)
    images = np.arange(50).reshape(5, 10)
    sides = [
        Side(
            label,
            [
                SideRun(Replicate(0, fold), ImageScores(own, (random.random(10) < p).astype(float)))
                for fold, own in enumerate(images)
            ],
            num_folds=5,
        )
        for label, p in (("A", 0.4), ("B", 0.9))
    ]
    (pair,) = accuracy(*sides).pairs
    differences = [b.scores.mean - a.scores.mean for a, b in zip(*(own.runs for own in sides), strict=True)]
    assert pair.p == pytest.approx(mean_over_folds(differences, 1 / 4).p, abs=1e-12)
    assert (pair.basis, pair.difference.df) == (Basis.FOLDS, 4)
    assert "5 runs on 50 images" in compare(sides, Kind.ACCURACY, higher_is_better=True).verdict()[0] or pair.p <= 0.05


def test_the_verdict_claims_what_is_shown_and_says_what_could_be_shown_otherwise():
    good, bad = random_sides(num_images=4000, effect=1.0)
    (line,) = accuracy(good, bad).verdict()
    assert line.startswith("side 1 is better than side 0: +")
    assert "points [" in line and line.endswith("p < 0.001")
    (line,) = accuracy(*random_sides(num_images=4000)).verdict()
    assert line.startswith("no difference shown between side 1 and side 0: ")
    assert "3 seeds on 4,000 images can only show differences above " in line and " p = " in line


def test_no_noise_of_seeds_is_needed_for_models_that_never_differ():
    (pair,) = accuracy(side("A", [1, 0, 1]), side("B", [1, 0, 1])).pairs
    assert (pair.p, pair.difference.value) == (1, 0)


def test_scores_come_from_predictions():
    probabilities, labels = np.array([[0.9, 0.1], [0.6, 0.4]], dtype=np.float32), np.array([0, 1])
    index = np.array([4, 7])
    right = scores_of(probabilities, labels, index, None, Kind.ACCURACY)
    lost = scores_of(probabilities, labels, index, np.array([1, 1]), Kind.LOSS)
    assert (right.index.tolist(), right.values.tolist(), right.groups) == ([4, 7], [1, 0], None)
    assert lost.values == pytest.approx([-np.log(0.9), -np.log(0.4)], abs=1e-6)
    assert lost.groups.tolist() == [1, 1]


def test_a_claim_on_single_runs_is_said_to_be_about_the_trained_models():
    right = np.ones(200)
    right[:40] = 0
    (line,) = accuracy(side("A", right), side("B", np.ones(200))).verdict()
    assert line.startswith("B is better than A: +20")
    assert line.endswith("p < 0.001 (of these trained models, on new images; other seeds may differ)")
    (line,) = accuracy(*random_sides()).verdict()
    assert "trained models" not in line


def test_with_groups_the_interval_is_that_of_resampling_whole_groups():
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 10)
    hard = np.repeat(random.normal(size=60), 10)
    first, second = ((hard + random.normal(scale=0.3, size=600) + up > -0.5).astype(float) for up in (0.0, 0.15))
    (pair,) = accuracy(side("A", first, groups=groups), side("B", second, groups=groups)).pairs
    assert (pair.num_groups, pair.single, pair.by_seed) == (60, None, ())
    sums = (second - first).reshape(60, 10).mean(axis=1)
    drawn = sums[random.integers(0, 60, (20_000, 60))].mean(axis=1)
    assert pair.difference.error == pytest.approx(drawn.std(), rel=0.03)
    (alone,) = accuracy(side("A", first), side("B", second)).pairs
    assert alone.single is not None and pair.difference.error != pytest.approx(alone.difference.error, rel=0.03)


def test_each_seed_that_both_sides_have_has_mcnemars_exact_test():
    first, second = random_sides(num_seeds=3)
    other = Side("side 1", [*second.runs[:2], SideRun(Replicate(9), second.runs[2].scores)])
    (pair,) = accuracy(first, other).pairs
    assert pair.single is None
    assert [single.replicate for single in pair.by_seed] == [Replicate(0), Replicate(1)]
    for single in pair.by_seed:
        total = single.only_first + single.only_second
        assert single.p == pytest.approx(binomtest(single.only_first, total).pvalue, abs=1e-12)
    assert loss(*random_sides(num_seeds=2)).pairs[0].by_seed == ()
