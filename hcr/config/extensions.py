"""Kinds of one's own: an installed package adds them by entry points, and their names join the gate's tables.

A package declares, for instance,

    [project.entry-points."hcr.models"]
    theirs = "their_package:TheirConfig"

and `model.name=theirs` is a name like any other. What a group's object has to be:

    hcr.models       a frozen dataclass under ModelConfig with `build(self, x)`: scaled images (N, H, W, C) to features
    hcr.optimizers   a frozen dataclass under OptimizerConfig with `build(self, learning_rate)`: a Keras optimizer
    hcr.formats      a frozen dataclass under DatasetConfig with `load(self)`: images, labels, and is_test or None
    hcr.metrics      a function of probabilities (N, K) and labels (N,) that gives a number

YAML only ever names them: no import path passes the gate. Nothing of a package is imported before it is named, and
heavy imports belong inside `build` and `load`, so that a bad config is refused as fast as any other.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from hcr.config.errors import ConfigError, one_line

T = TypeVar("T")

METRICS = "hcr.metrics"


class ExtendedTable(Mapping[str, type[T]], Generic[T]):
    """Our own kinds and those of installed packages; a package's is imported when it is asked for.

    Args:
        own: kinds by name. A package cannot replace them.
        base: what a package's config has to derive from.
        group: the group of entry points.
        method: what a package's config has to have besides.
    """

    def __init__(self, own: Mapping[str, type[T]], base: type[T], group: str, method: str) -> None:
        self.own = own
        self._base, self._group, self._method = base, group, method

    def __getitem__(self, name: str) -> type[T]:
        if name in self.own:
            return self.own[name]
        point = _points(self._group)[name]
        kind = _load(point)
        if not (isinstance(kind, type) and issubclass(kind, self._base) and is_dataclass(kind)):
            raise ConfigError(f"{_source(point)}: expected a dataclass under {self._base.__name__}, got {kind!r}")
        if not callable(getattr(kind, self._method, None)):
            raise ConfigError(f"{_source(point)}: expected a method `{self._method}`, and {kind.__name__} has none")
        return cast(type[T], kind)

    def __iter__(self) -> Iterator[str]:
        return iter([*self.own, *(name for name in _points(self._group) if name not in self.own)])

    def __len__(self) -> int:
        return len(list(iter(self)))


def extra_metrics() -> dict[str, Callable[[Any, Any], float]]:
    """Metrics of installed packages, by name.

    Raises:
        ConfigError: one that cannot be imported or called.
    """
    metrics = {}
    for name, point in _points(METRICS).items():
        metrics[name] = _load(point)
        if not callable(metrics[name]):
            raise ConfigError(f"{_source(point)}: expected a function, got {metrics[name]!r}")
    return metrics


def sources_of(objects: list[Any]) -> dict[str, list[Path]]:
    """The Python files of the packages, other than hcr, that `objects` come from, by package."""
    found: dict[str, list[Path]] = {}
    for thing in objects:
        package = thing.__module__.partition(".")[0]
        file = getattr(sys.modules[package], "__file__", None)
        if package != "hcr" and file is not None:
            path = Path(file)
            found[package] = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    return found


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:  # somebody else's package may fail in any way; the name of it is what helps
        raise ConfigError(
            f"{_source(point)}: cannot be imported ({type(error).__name__}: {one_line(error)})"
        ) from error


def _source(point: EntryPoint) -> str:
    package = point.dist.name if point.dist is not None else "an installed package"
    return f"{point.group}: {point.name!r} of {package}"
