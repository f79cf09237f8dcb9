"""A series of numbers as one line of block characters."""

import math

import pytest

from hcr.evaluation.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([1.0], "▁"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "▁▂▃▄▅▆▇█"),
        ([2, 2, 2], "▁▁▁"),
        ([0, math.nan, 1, math.inf], "▁ █ "),
        ([math.nan], " "),
    ],
)
def test_the_least_is_low_and_the_greatest_is_high(values: list[float], drawn: str) -> None:
    assert sparkline(values) == drawn


def test_a_long_series_ends_with_its_last_value() -> None:
    drawn = sparkline([*range(99), -1], width=10)
    assert len(drawn) == 10
    assert drawn[-1] == "▁"
