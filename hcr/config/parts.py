"""Parts: the choices of a config group. Each is a class in a module of its own, or in an installed package.

The folder is the table: `hcr/model/architectures/cnn.py` holds the class behind `model.name=cnn`. An installed package
adds a part with an entry point,

    [project.entry-points."hcr.models"]
    theirs = "their_package:Theirs"

and then `model.name=theirs` works like any other name. Each table names its group of entry points; `hcr.metrics` holds
functions of probabilities (N, K) and labels (N,) that return a number.

YAML names parts and nothing else: the gate refuses import paths. A part is imported when a config names it, and imports
heavy packages only in its methods, so that a bad config is refused at once.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field

from hcr.config.errors import ConfigError, one_line
from hcr.config.settings import Settings

METRICS = "hcr.metrics"


class Part(Settings):
    """Base class of the choices of a config group."""

    name: Annotated[str, Field(description="name of the choice in this group")]


P = TypeVar("P", bound=Settings)


class Parts(Mapping[str, type[P]], Generic[P]):
    """The parts of a config group by name: hcr's own, and those of installed packages.

    Args:
        package: the package with hcr's own parts, one per module. An installed package cannot replace them.
        base: the base class of the parts.
        entry_points: the group of entry points.
        method: the method that a part must implement; `base` may have a default.
    """

    def __init__(self, package: str, base: type[P], entry_points: str, method: str) -> None:
        self._package, self._base, self._entry_points, self._method = package, base, entry_points, method
        self._names: list[str] = []

    def __getitem__(self, name: str) -> type[P]:
        if name in self._own_names():
            return self._only_part(import_module(f"{self._package}.{name}"))
        point = _points(self._entry_points)[name]
        kind = _load(point)
        if not (isinstance(kind, type) and issubclass(kind, self._base) and kind is not self._base):
            raise ConfigError(f"{_source(point)}: expected a class under {self._base.__name__}, got {kind!r}")
        if is_dataclass(kind):
            raise ConfigError(
                f"{_source(point)}: expected {kind.__name__} without @dataclass; its annotations declare its settings"
            )
        if getattr(kind, self._method) is getattr(self._base, self._method):
            raise ConfigError(f"{_source(point)}: expected a method `{self._method}`; {kind.__name__} has none")
        return kind

    def __iter__(self) -> Iterator[str]:
        own = self._own_names()
        return iter([*own, *(name for name in _points(self._entry_points) if name not in own)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    @property
    def own(self) -> dict[str, type[P]]:
        """hcr's own parts by name."""
        return {name: self[name] for name in self._own_names()}

    def _own_names(self) -> list[str]:
        if not self._names:  # a config asks for them a hundred times
            self._names = sorted(module.name for module in iter_modules(sys.modules[self._package].__path__))
        return self._names

    def _only_part(self, module: ModuleType) -> type[P]:
        """The public subclass of `base` that `module` defines."""
        (kind,) = (
            kind
            for kind in vars(module).values()
            if isinstance(kind, type)
            and issubclass(kind, self._base)
            and kind.__module__ == module.__name__
            and not kind.__name__.startswith("_")
        )
        return kind


def extra_metrics() -> dict[str, Callable[[Any, Any], float]]:
    """Metrics of installed packages, by name.

    Raises:
        ConfigError: a metric cannot be imported or is not callable.
    """
    metrics = {}
    for name, point in _points(METRICS).items():
        metrics[name] = _load(point)
        if not callable(metrics[name]):
            raise ConfigError(f"{_source(point)}: expected a function, got {metrics[name]!r}")
    return metrics


def sources_of(objects: list[Any]) -> dict[str, list[Path]]:
    """The Python files of the packages that define `objects`, by package, without hcr."""
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
    except Exception as error:  # another package may raise anything; the message names it
        raise ConfigError(
            f"{_source(point)}: cannot be imported ({type(error).__name__}: {one_line(error)})"
        ) from error


def _source(point: EntryPoint) -> str:
    package = point.dist.name if point.dist is not None else "an installed package"
    return f"{point.group}: {point.name!r} of {package}"
