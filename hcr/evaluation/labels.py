"""Labels of points, values and numbers in tables, sentences and pictures."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from math import floor, log10
from typing import Protocol

from hcr.config.replicates import Replicate
from hcr.config.text import printable


class Labelled(Protocol):
    """A point, or a row of a leaderboard."""

    @property
    def label(self) -> str:
        """All overrides of the point, such as "model.depth=3 model.filters=16"."""

    @property
    def values(self) -> Mapping[str, object]:
        """Its values by axis."""


def format_value(value: object) -> str:
    """A swept value as in YAML: `true`, `null`, `0.001`, `[16,32]`; text is unchanged."""
    return (
        value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
    )


def number_format(means: Sequence[float]) -> Callable[[float], str]:
    """A format with four decimals for numbers of about 1, fewer for larger numbers and more for smaller ones."""
    largest = max(map(abs, means), default=1.0)
    if largest and not 1e-4 <= largest < 1e6:
        return "{:.3e}".format
    size = floor(log10(largest)) if largest else 0
    decimals = max(0, 4 - size if size >= 0 else 3 - size)
    return f"{{:.{decimals}f}}".format


def short_labels(points: Sequence[Labelled]) -> list[str]:
    """One label per point, with only the axes that differ, such as "depth=3 filters=16"."""
    axes = list(dict.fromkeys(axis for point in points for axis in point.values))
    there = {axis: {format_value(point.values.get(axis)) for point in points} for axis in axes}
    differing = [axis for axis in axes if len(there[axis]) > 1]
    names = short_names(differing)
    return [
        printable(" ".join(f"{names[a]}={format_value(point.values[a])}" for a in differing if a in point.values))
        or printable(point.label)
        for point in points
    ]


def short_names(axes: Sequence[str]) -> dict[str, str]:
    """Short names by axis, without groups ("model.depth" is "depth"); an ambiguous name stays long."""
    last = [axis.rpartition(".")[2] for axis in axes]
    return {axis: name if last.count(name) == 1 else axis for axis, name in zip(axes, last, strict=True)}


def counted(number: int, what: str) -> str:
    """The number with its noun: `1 run`, `2 runs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def counted_replicates(replicates: Collection[Replicate], seed: str = "seed") -> str:
    """What a mean over `replicates` is over: `4 seeds`, `5 folds × 2 seeds`, `9 runs of 5 folds × 2 seeds`."""
    seeds = {own.seed for own in replicates}
    folds = {own.fold for own in replicates}
    if len(folds) < 2:
        return counted(len(seeds), seed)
    text = f"{counted(len(folds), 'fold')} × {counted(len(seeds), seed)}"
    is_whole = len(replicates) == len(folds) * len(seeds)
    return text if is_whole else f"{counted(len(replicates), 'run')} of {text}"
