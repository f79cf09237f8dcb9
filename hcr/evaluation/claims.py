"""Sentences that claim a difference, or say that none was shown; p is in each of them."""

from collections.abc import Callable
from enum import StrEnum
from math import exp, floor, inf, isfinite, log10

from hcr.evaluation.score_model import Estimate


class Scale(StrEnum):
    """How a difference is told."""

    POINTS = "points"  # of an accuracy, in percentage points
    RATIO = "ratio"  # of a loss; its estimate is the logarithm of the ratio
    PLAIN = "plain"  # of another metric, in its own unit


def claim(
    first: str,
    second: str,
    difference: Estimate,
    *,
    scale: Scale,
    higher_is_better: bool,
    p: float,
    alpha: float,
    smallest: float | None = None,
    data: str = "these runs",
    metric: str = "",
) -> str:
    """The sentence on two sides, without a full stop.

    Args:
        first, second: the labels.
        difference: of the second minus the first, on the scale of `scale`.
        p: of the difference, adjusted if there were several.
        alpha: a difference is claimed if p is at most this.
        smallest: size of a difference that `data` would most probably show, on the same scale; None: unknown.
        data: what there is, such as "3 seeds on 6,000 images".
        metric: what a ratio is of, such as "loss".

    Returns:
        "B is better than A: +0.12 points [0.03, 0.21], p = 0.0040", or "no difference shown between B and A: ...".
    """
    found = f"{f'{metric} ' if metric else ''}{told_difference(difference, scale)}, {told_p(p)}"
    if p <= alpha:
        is_better = (difference.value > 0) == higher_is_better
        return f"{second} is {'better' if is_better else 'worse'} than {first}: {found}"
    limit = "" if smallest is None else f"; {data} can only show differences above {told_size(smallest, scale)}"
    return f"no difference shown between {second} and {first}: {found}{limit}"


def told_difference(difference: Estimate, scale: Scale) -> str:
    """The difference with its 95 % interval: `+0.12 points [0.03, 0.21]`, or `1.12 times [1.03, 1.22]`."""
    low, high = difference.ends()
    if scale is Scale.RATIO:
        value, low, high = (exp(min(end, 700.0)) for end in (difference.value, low, high))
        show = _decimals(value, min(abs(value - 1), max(high - low, 1e-3)))
        return f"{show(value)} times [{show(low)}, {show(high)}]"
    factor = 100 if scale is Scale.POINTS else 1
    value, low, high = (factor * end for end in (difference.value, low, high))
    show = _decimals(value, (high - low) if isfinite(high - low) and high > low else abs(value) or 1.0)
    unit = _points(show(value)) if scale is Scale.POINTS else ""
    return f"{'+' if value > 0 else ''}{show(value)}{unit} [{show(low)}, {show(high)}]"


def told_size(size: float, scale: Scale) -> str:
    """The size of a difference: `0.2 points`, `12 %`, or for ratios of two and more `a factor of 3.1`."""
    if size == inf:
        return "any size"
    if scale is Scale.POINTS:
        return _rounded(100 * size) + _points(_rounded(100 * size))
    if scale is Scale.PLAIN:
        return _rounded(size)
    ratio = exp(min(size, 700.0))
    return f"{_rounded(100 * (ratio - 1))} %" if ratio < 2 else f"a factor of {_rounded(ratio)}"


def told_p(p: float) -> str:
    """`p = 0.031`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:#.2g}"


def _points(number: str) -> str:
    return " point" if number in ("1", "-1") else " points"


def _rounded(size: float) -> str:
    """Two significant digits, never as a power of ten below a million."""
    return f"{float(f'{size:.2g}'):,.10g}" if size < 1e6 else f"{size:.1e}"


def _decimals(value: float, width: float) -> Callable[[float], str]:
    """A format in which `width` has two significant digits; a width far below `value` is rounding."""
    width = 0.01 * abs(value) if width < 1e-6 * abs(value) else width
    decimals = min(8, max(0, 1 - floor(log10(width)))) if width > 0 and isfinite(width) else 2

    def show(number: float) -> str:
        rounded = round(number, decimals) + 0.0  # no -0.00
        return f"{rounded:.{decimals}f}" if abs(number) < 1e6 else f"{number:.1e}"

    return show
