"""p adjusted for the number of points and for the choice of the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, studentized_range, t

from hcr.evaluation.best_of_many import adjusted_for_best, critical_t, range_p

T_VALUES = st.lists(st.floats(0, 20), min_size=1, max_size=6)


@pytest.mark.parametrize("df", [1, 2, 9.5, 300])
def test_for_two_points_it_is_students_p(df):
    for value in (0.0, 0.5, -2.0, 30.0):
        assert range_p(value, 2, df) == pytest.approx(2 * t.sf(abs(value), df), abs=1e-15)
    assert range_p(1.96, 2, np.inf) == pytest.approx(2 * norm.sf(1.96), abs=1e-15)


@pytest.mark.parametrize("num_points", [3, 12, 30])
@pytest.mark.parametrize("df", [2, 10, 270, np.inf])
def test_for_more_it_is_scipys_studentized_range(num_points, df):
    for value in (0.5, 2.0, 4.0):
        theirs = studentized_range.sf(value * 2**0.5, num_points, df)
        assert range_p(value, num_points, df) == pytest.approx(theirs, abs=1e-12)


def test_tukeys_table_is_met():
    # The upper 5 % points of the studentized range of 3 and 10 means: 3.88 with 10 degrees of freedom, 5.01 with 20.
    assert critical_t(3, 10, 0.05) * 2**0.5 == pytest.approx(3.88, abs=0.005)
    assert critical_t(10, 20, 0.05) * 2**0.5 == pytest.approx(5.01, abs=0.005)


def test_a_huge_difference_has_a_tiny_p_that_is_not_noise_of_the_quadrature():
    assert 0 < range_p(12.0, 30, 300) < 1e-20


def test_steps_are_worked_by_hand():
    adjusted = adjusted_for_best([2.0, 5.0, 3.0], [20, 20, 20])
    # The largest is tested among all four points, the next among three, the last between two.
    assert adjusted[1] == range_p(5.0, 4, 20)
    assert adjusted[2] == range_p(3.0, 3, 20)
    assert adjusted[0] == range_p(2.0, 2, 20)
    # A smaller p never follows a larger one.
    assert adjusted_for_best([2.0, 2.01], [20, 20]) == [range_p(2.01, 3, 20)] * 2


@settings(max_examples=40, deadline=None)
@given(values=T_VALUES)
def test_adjusted_p_keep_the_order_and_are_never_smaller(values):
    adjusted = adjusted_for_best(values, [8.0] * len(values))
    for own, p in zip(values, adjusted, strict=True):
        assert min(1.0, range_p(own, 2, 8.0)) <= p + 1e-12 <= 1 + 1e-12
    by_size = [p for _, p in sorted(zip(values, adjusted, strict=True), key=lambda pair: -pair[0])]
    assert by_size == sorted(by_size)


def test_among_equal_points_any_claim_against_the_best_has_probability_alpha():
    random = np.random.default_rng(0)
    means = np.sort(random.normal(size=(4000, 8)))
    critical = critical_t(8, np.inf, 0.05)
    is_claimed = (means[:, -1] - means[:, 0]) / 2**0.5 > critical
    assert is_claimed.mean() == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / 4000) ** 0.5)
    # Holm's factor for 7 comparisons does not allow for the choice of the best.
    assert (((means[:, -1] - means[:, 0]) / 2**0.5) > norm.isf(0.05 / 7 / 2)).mean() > 0.08
