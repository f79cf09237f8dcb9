"""Scores and values of a leaderboard's rows, prepared for pictures."""

from collections.abc import Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from hcr.evaluation.labels import format_value
from hcr.evaluation.ranking import Leaderboard, LeaderboardRow


def finished_rows(board: Leaderboard) -> list[LeaderboardRow]:
    """The rows of points with at least one finished run, best first."""
    return [row for row in board.rows if row.n]


def means_of(rows: Sequence[LeaderboardRow]) -> NDArray[np.float64]:
    """The means of R rows, (R,)."""
    return np.array([row.mean for row in rows], dtype=np.float64)


def in_order(values: Sequence[object]) -> list[str]:
    """Distinct values as text, sorted by size if they are numbers or lists of numbers, else by text."""
    different = {format_value(value): value for value in values}
    try:
        return sorted(different, key=different.__getitem__)  # type: ignore[arg-type]
    except TypeError:
        return sorted(different)


def is_number(value: object) -> bool:
    """True for a finite number, which has a position on a numeric scale."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def score_range(scores: Sequence[float], higher_is_better: bool, pad: float = 0.06) -> tuple[float, float]:
    """Ends of a score axis. It leaves out outliers: more than five times as far from the best as the median."""
    low, high = min(scores), max(scores)
    best = high if higher_is_better else low
    reach = 5 * abs(best - float(np.median(scores)))
    if 0 < reach < high - low:
        low, high = (high - reach, high) if higher_is_better else (low, low + reach)
    span = high - low
    if span <= 1e-9 * max(abs(low), abs(high)):
        span = 0.02 * max(abs(low), 1e-6)
        low, high = low - span / 2, low + span / 2
    return low - pad * span, high + pad * span
