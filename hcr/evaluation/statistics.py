"""What can be said of a measured fraction."""

from scipy.stats import binomtest


def proportion_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval in which the true proportion lies with `confidence`, given what was counted.

    Args:
        successes: 0..trials.
        trials: 1 or more.
        confidence: in (0, 1).

    Returns:
        Lower and upper end, fractions in [0, 1].

    Source:
        Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
