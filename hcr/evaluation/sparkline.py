"""A series of numbers as one line of block characters."""

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
WIDEST = 40  # characters


def sparkline(values: Sequence[float], width: int = WIDEST) -> str:
    """Draw `values` from their least (▁) to their greatest (█), at most `width` characters.

    A longer series is cut into parts of equal length, of which the last value is drawn. A value that is not finite is a
    blank; equal values are all drawn low.
    """
    count = min(len(values), width)
    shown = [values[(i + 1) * len(values) // count - 1] for i in range(count)]
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return " " * count
    low, high = min(finite), max(finite)
    size = (high - low) or 1.0

    def block(value: float) -> str:
        return BLOCKS[round((value - low) / size * (len(BLOCKS) - 1))] if math.isfinite(value) else " "

    return "".join(map(block, shown))
