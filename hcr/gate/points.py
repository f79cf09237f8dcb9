"""The points of a sweep: its axes, and the checked config of each combination.

Hydra composes only the combinations of groups and added keys; other values are then set on a copy, as Hydra would. So a
thousand points take some seconds. A search, whose values are not known yet, is frozen too: later edits of the YAML have
no effect.
"""

import copy
import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hcr.config.errors import ConfigError, one_line
from hcr.config.launcher import LauncherConfig
from hcr.config.replicates import FOLD, REPLICATE_KEYS, SEED
from hcr.config.secrets import override_without_secrets
from hcr.config.sweep import SweepConfig
from hcr.data.formats import DataFormat
from hcr.gate.axes import Axis, axis_of, written
from hcr.gate.resolve import device_of, fill_from_data, with_device
from hcr.gate.run_config import OF_ALL_RUNS, RunConfig, parse_config, parse_launcher, parse_sweep

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

DEVICE = "training.device"
MOST_COMPOSED = 1_000  # combinations of groups; Hydra composes each, in some 10 ms
MOST_TRIED = 1_000  # combinations of the ends of a search's axes, until one is valid


@dataclass(frozen=True)
class AskedRun:
    """One run of a sweep.

    Attributes:
        overrides: its differences from the base config, as on the command line; fold and seed come last.
        values: its values by axis, including fold and seed.
        cfg: the checked config.
    """

    overrides: tuple[str, ...]
    values: Mapping[str, Any]
    cfg: RunConfig

    @property
    def point(self) -> tuple[tuple[str, str], ...]:
        """The point of the run: equal for replicates, which differ only by seed and fold."""
        return tuple((key, repr(value)) for key, value in self.values.items() if key not in REPLICATE_KEYS)


class Space:
    """The base config of a sweep and its axes.

    Args:
        axes: the keys with several values.
        composed: the keys of those axes that Hydra has to compose.
        compose: composes the base config with further overrides, without Hydra's own node.
        choices: the choice of the base config in each group.
        fixed: the overrides of the base config.

    Raises:
        ConfigError: a combination cannot be composed.
    """

    def __init__(
        self,
        axes: Sequence[Axis],
        composed: Sequence[str],
        compose: Callable[[Sequence[str]], DictConfig],
        choices: Mapping[str, str],
        fixed: Sequence[str] = (),
    ) -> None:
        self.axes = tuple(axes)
        self.fixed = tuple(fixed)
        self.choices = dict(choices)
        self.composed = tuple(axis for axis in axes if axis.key in composed)
        for axis in self.composed:
            if not axis.is_discrete:
                raise ConfigError(f"{axis.key}: expected values to try, such as 1,2,3")
        number = 1
        for axis in self.composed:
            number *= len(axis.values())
        if number > MOST_COMPOSED:
            raise ConfigError(f"expected at most {MOST_COMPOSED:,} combinations of groups, got {number:,}")
        self._compose = compose
        self._filled: dict[str, DataFormat] = {}
        self._base = compose([])
        self._templates: dict[tuple[str, ...], DictConfig] = {(): self._base}
        written_choices = [[axis.override(value) for value in axis.values()] for axis in self.composed]
        alone = [(word,) for words in written_choices for word in words]
        for words in [*alone, *itertools.product(*written_choices)]:
            if words not in self._templates:
                with _named(words):
                    self._templates[words] = compose(words)
        for raw in self._templates.values():  # a frozen search resumes on the device that it began on
            if OmegaConf.select(raw, DEVICE) == "auto":
                OmegaConf.update(raw, DEVICE, device_of(self.launcher))

    @property
    def sweep(self) -> SweepConfig:
        """The sweep settings."""
        return parse_sweep(self._base)

    @cached_property
    def launcher(self) -> LauncherConfig:
        """The launcher settings."""
        return parse_launcher(self._base)

    @property
    def has_own_threads(self) -> bool:
        """True if the config or an axis sets `training.threads`."""
        swept = any(axis.key in ("training", "training.threads") for axis in self.axes)
        return swept or OmegaConf.select(self._base, "training.threads") is not None

    def base_values(self) -> dict[str, Any]:
        """The value of the base config at each axis; for a group, the name of its file."""
        groups = {axis.key: self.choices[axis.key] for axis in self.composed if axis.key in self.choices}
        keys = (axis.key for axis in self.axes if axis.key not in groups)
        found = {key: OmegaConf.select(self._base, key) for key in keys}
        return groups | {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value for key, value in found.items()
        }

    def run(self, values: Mapping[str, Any]) -> AskedRun:
        """The run with these values, by axis; other axes keep the value of the base config.

        Fold and seed may be given even if they are no axes.

        Raises:
            ConfigError: the config is invalid; names the combination.
        """
        keys = [axis.key for axis in self.axes if axis.key in values and axis.key not in REPLICATE_KEYS]
        keys += [key for key in REPLICATE_KEYS if key in values]
        overrides = tuple(f"{key}={written(values[key])}" for key in keys)
        with _named(overrides):
            return AskedRun(overrides, {key: values[key] for key in keys}, self._config(values))

    def _config(self, values: Mapping[str, Any]) -> RunConfig:
        composed = [axis for axis in self.composed if axis.key in values]
        words = tuple(axis.override(values[axis.key]) for axis in composed)
        raw = copy.deepcopy(self._templates[words])
        for key in values.keys() - {axis.key for axis in composed}:
            try:
                OmegaConf.update(raw, key, values[key], merge=True)
            except OmegaConfBaseException as error:
                self._compose([*words, f"{key}={written(values[key])}"])  # raises with a better message
                raise ConfigError(f"{key}: {one_line(error)}") from error
        return with_device(fill_from_data(parse_config(raw), self._filled), self.launcher)

    def to_json(self) -> dict[str, Any]:
        """The space as plain values, with unresolved interpolations."""
        templates = [
            {"words": list(words), "config": OmegaConf.to_container(raw)} for words, raw in self._templates.items()
        ]
        return {
            "axes": [axis.to_json() for axis in self.axes],
            "composed": [axis.key for axis in self.composed],
            "choices": self.choices,
            "templates": templates,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Space":
        """The inverse of `to_json`."""
        templates = {tuple(row["words"]): row["config"] for row in values["templates"]}

        def frozen(words: Sequence[str]) -> DictConfig:
            raw = DictConfig(templates[tuple(words)])
            OmegaConf.set_struct(raw, True)
            return raw

        return cls(
            [Axis.from_json(axis) for axis in values["axes"]], values["composed"], frozen, values.get("choices", {})
        )


def space_of(
    overrides: Sequence["Override"],
    compose: Callable[[Sequence[str]], DictConfig],
    is_group: Callable[[str], bool],
    choices: Mapping[str, str],
    fixed: Sequence[str],
) -> Space:
    """The space of a command line.

    Args:
        overrides: the overrides with several values.
        compose, choices, fixed: as for Space.
        is_group: returns True if a key is a config group.

    Raises:
        ConfigError: an axis is invalid or given twice.
    """
    axes = [axis_of(override) for override in overrides]
    for i, axis in enumerate(axes):
        if axis.key.partition(".")[0] in OF_ALL_RUNS:
            raise ConfigError(f"{axis.key}: expected one value for all runs of a sweep, got several")
        if axis.key in [other.key for other in axes[:i]]:
            raise ConfigError(
                f"{axis.key}: given twice with several values; write all of them once, such as {axis.key}=1,2,3"
            )
    composed = [
        axis.key
        for axis, override in zip(axes, overrides, strict=True)
        if is_group(str(override.key_or_group)) or str(override.input_line).startswith(("+", "~"))
    ]
    return Space(axes, composed, compose, choices, fixed)


def grid(space: Space) -> list[AskedRun]:
    """The runs of a grid: every combination, or those around the base config, or a sample; each with its replicates.

    Combinations with equal results are included: only their data can tell (see `hcr.sweep.identity`).

    Raises:
        ConfigError: an axis cannot be listed, or a combination is invalid.
    """
    for axis in space.axes:
        if not axis.is_discrete:
            raise ConfigError(
                f"{axis.key}: expected values to try, such as 1,2,3 or range(1,4), got an interval;"
                " sweep.sampler=tpe searches it"
            )
    sweep = space.sweep
    own = {axis.key: axis for axis in space.axes}
    replicates = list(_product([own[key] for key in (SEED, FOLD) if key in own]))
    others = [axis for axis in space.axes if axis.key not in REPLICATE_KEYS]
    points = list(_around(space, others) if sweep.design == "around" else _product(others))
    if sweep.sample is not None:
        if sweep.sample > len(points):
            raise ConfigError(
                f"sweep.sample: expected at most {len(points)}, the points of the grid; got {sweep.sample}"
            )
        chosen = sorted(random.Random(space.run({}).cfg.seed).sample(range(len(points)), sweep.sample))
        points = [points[i] for i in chosen]
    return [space.run({**point, **replicate}) for point in points for replicate in replicates]


def search_samples(space: Space) -> list[AskedRun]:
    """Runs at the edges of a search space: one near the base config, and each axis at its ends, including every group.

    Raises:
        ConfigError: seed or fold is an axis, or an end of an axis is invalid with all ends of the others.
    """
    for axis in space.axes:
        if axis.key == SEED:
            raise ConfigError(
                "seed: a search tries each point with one seed; sweep.confirm=5 trains the best with more"
            )
        if axis.key == FOLD:
            raise ConfigError(
                f"{FOLD}: a search tries each point on one fold; cross-validate its best points in a sweep of their own"
            )
    base = space.base_values()
    first = {
        axis.key: base[axis.key] if axis.contains(base.get(axis.key)) else axis.ends[0]
        for axis in space.axes
        if axis in space.composed or not axis.contains(base.get(axis.key))
    }
    runs = [_valid_run(space, first, fixed=None)]
    for axis in space.axes:
        runs += [_valid_run(space, {**first, axis.key: end}, fixed=axis) for end in axis.ends]
    return runs


def _valid_run(space: Space, values: Mapping[str, Any], fixed: Axis | None) -> AskedRun:
    """The run with these values, or, where they do not go together, with other axes than `fixed` at other ends.

    A search reports an invalid combination and continues, so only a value that is invalid with all others is refused.

    Raises:
        ConfigError: every combination that was tried is invalid; the error of the first.
    """
    try:
        return space.run(values)
    except ConfigError as error:
        others = [axis for axis in space.axes if axis is not fixed]
        for changed in itertools.islice(_changes(others), MOST_TRIED):
            with suppress(ConfigError):
                return space.run({**values, **changed})
        raise error


def _changes(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Combinations of the ends of `axes`: first of one axis, then of two, and so on."""
    for count in range(1, len(axes) + 1):
        for chosen in itertools.combinations(axes, count):
            for ends in itertools.product(*(axis.ends for axis in chosen)):
                yield dict(zip([axis.key for axis in chosen], ends, strict=True))


@contextmanager
def _named(overrides: Sequence[str]) -> Iterator[None]:
    """Add the combination to the message of a ConfigError."""
    try:
        yield
    except ConfigError as error:
        where = f" (in the combination {' '.join(map(override_without_secrets, overrides))})" if overrides else ""
        raise ConfigError(f"{error}{where}") from error


def _product(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Every combination of the values of `axes`, by key."""
    keys = [axis.key for axis in axes]
    for values in itertools.product(*(axis.values() for axis in axes)):
        yield dict(zip(keys, values, strict=True))


def _around(space: Space, axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """The base config, then each axis varied alone; a value that the base config has gives the base config again."""
    yield {}
    for axis in axes:
        for value in axis.values():
            yield {axis.key: value}
