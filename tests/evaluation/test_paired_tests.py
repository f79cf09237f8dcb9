"""McNemar's and Welch's test against statsmodels, SciPy and the formula."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, t, ttest_ind

from hcr.evaluation.paired_tests import mcnemar_p, welch


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    # statsmodels 0.15.0: mcnemar([[50, b], [c, 40]], exact=True).pvalue
    [(3, 11, 0.057373046875), (12, 30, 0.007915897334896727), (0, 6, 0.03125), (7, 7, 1.0)],
)
def test_mcnemars_exact_p_is_that_of_statsmodels_and_of_scipys_binomial_test(only_first, only_second, p):
    assert mcnemar_p(only_first, only_second) == pytest.approx(p, abs=1e-12)
    assert mcnemar_p(only_first, only_second) == pytest.approx(
        binomtest(only_first, only_first + only_second).pvalue, abs=1e-12
    )
    assert mcnemar_p(only_second, only_first) == mcnemar_p(only_first, only_second)


def test_models_that_differ_on_no_image_are_not_told_apart():
    assert mcnemar_p(0, 0) == mcnemar_p(0, 0, is_mid=True) == 1


def test_mid_p_counts_the_observed_outcome_half():
    # 1 of 5: (1 + 5) / 32 each side; the mid-p takes one of the 5s away again.
    assert mcnemar_p(1, 4) == pytest.approx(2 * 6 / 32)
    assert mcnemar_p(1, 4, is_mid=True) == pytest.approx(2 * 6 / 32 - 5 / 32)


@pytest.mark.parametrize("total", [10, 25, 60])
def test_the_exact_test_is_never_above_its_level_and_mid_p_is_nearer_to_it(total):
    chances = binom.pmf(np.arange(total + 1), total, 0.5)
    exact, mid = (
        sum(chance for k, chance in enumerate(chances) if mcnemar_p(k, total - k, is_mid=is_mid) <= 0.05)
        for is_mid in (False, True)
    )
    assert exact <= 0.05
    assert exact <= mid < 0.06


def test_welchs_test_is_that_of_statsmodels():
    first, second = [0.91, 0.95, 0.93, 0.99, 0.90], [0.97, 0.98, 0.99]
    found = welch(first, second)
    assert found is not None
    # statsmodels 0.15.0: ttest_ind(second, first, usevar="unequal"), and
    # CompareMeans.from_data(second, first).tconfint_diff(usevar="unequal")
    assert (found.p, found.df) == pytest.approx((0.049577765896835845, 4.941911108778928), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((0.00011987382673620678, 0.08788012617326343), abs=1e-12)
    assert found.difference == pytest.approx(0.98 - 0.936)
    assert found.p == ttest_ind(second, first, equal_var=False).pvalue


def test_welchs_test_needs_two_runs_a_side_that_differ():
    assert welch([0.9], [0.8, 0.7]) is None
    assert welch([0.9, 0.9], [0.8, 0.8]) is None


@pytest.mark.filterwarnings("error")
def test_welchs_test_takes_scores_of_one_side_that_differ_by_rounding_as_equal_and_warns_of_nothing():
    same, other = [0.1 + 0.2, 0.3, 0.3], [0.5, 0.6, 0.7]
    found = welch(same, other)
    assert found is not None
    assert found.df == pytest.approx(2, rel=1e-12)  # of the side whose scores differ
    assert found.p == pytest.approx(2 * t.sf(0.3 / (0.01 / 3) ** 0.5, 2), abs=1e-12)
    assert welch(same, [0.3, 0.3]) is None
