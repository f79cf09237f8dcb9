"""Wilson's interval against known values, at its ends, and by its properties."""

from math import comb, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcr.evaluation.statistics import proportion_interval

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


def test_more_images_narrow_the_interval_and_more_confidence_widens_it() -> None:
    def width(successes: int, trials: int, confidence: float = 0.95) -> float:
        low, high = proportion_interval(successes, trials, confidence)
        return high - low

    assert width(900, 1000) < width(90, 100) < width(9, 10)
    assert width(90, 100, 0.8) < width(90, 100, 0.95) < width(90, 100, 0.99)


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
