"""The words of a claim; p and an interval are in each of them."""

from math import inf, log

import pytest

from hcr.evaluation.claims import Scale, claim, told_difference, told_p, told_size
from hcr.evaluation.score_model import Estimate


def said(value, error, p, scale=Scale.POINTS, **more):
    given = {"higher_is_better": scale is Scale.POINTS, "alpha": 0.05} | more
    return claim("A", "B", Estimate(value, error, inf), scale=scale, p=p, **given)


def test_a_difference_that_is_shown_is_claimed_with_its_interval_and_p():
    assert said(0.0012, 0.00046, 0.004) == "B is better than A: +0.12 points [0.03, 0.21], p = 0.0040"
    assert said(-0.0012, 0.00046, 0.004) == "B is worse than A: -0.12 points [-0.21, -0.03], p = 0.0040"


def test_a_lower_loss_is_better_and_is_told_as_a_ratio():
    text = said(log(0.5), 0.1, 0.0001, Scale.RATIO)
    assert text == "B is better than A: 0.50 times [0.41, 0.61], p < 0.001"
    assert "A: loss 0.50 times [" in said(log(0.5), 0.1, 0.0001, Scale.RATIO, metric="loss")
    assert said(log(2), 0.1, 0.0001, Scale.RATIO).startswith("B is worse than A: 2.00 times [1.64, 2.43]")


def test_a_difference_that_is_not_shown_says_what_could_be():
    text = said(0.0002, 0.00071, 0.8, smallest=0.002, data="3 seeds on 6,000 images")
    assert text == (
        "no difference shown between B and A: +0.02 points [-0.12, 0.16], p = 0.80;"
        " 3 seeds on 6,000 images can only show differences above 0.2 points"
    )


@pytest.mark.parametrize(
    ("size", "scale", "text"),
    [
        (0.002, Scale.POINTS, "0.2 points"),
        (0.0234, Scale.POINTS, "2.3 points"),
        (log(1.123), Scale.RATIO, "12 %"),
        (log(3.14), Scale.RATIO, "a factor of 3.1"),
        (0.0123, Scale.PLAIN, "0.012"),
        (inf, Scale.PLAIN, "any size"),
    ],
)
def test_sizes_have_two_digits(size, scale, text):
    assert told_size(size, scale) == text


def test_p_is_never_zero():
    assert [told_p(p) for p in (0.0, 0.00099, 0.0312, 0.5, 1.0)] == [
        *("p < 0.001", "p < 0.001", "p = 0.031", "p = 0.50", "p = 1.0"),
    ]


def test_the_digits_of_a_difference_follow_its_interval():
    assert told_difference(Estimate(12.3456, 0.01, inf), Scale.PLAIN) == "+12.346 [12.326, 12.365]"
    assert told_difference(Estimate(-1e-6, 0.001, inf), Scale.POINTS) == "0.00 points [-0.20, 0.20]"
    assert told_difference(Estimate(0.01, 0.03, inf), Scale.POINTS) == "+1 point [-5, 7]"
    assert told_difference(Estimate(0.0, 0.0, inf), Scale.POINTS).startswith("0")
    assert told_difference(Estimate(log(9), 3.0, 1), Scale.RATIO).endswith("]")
