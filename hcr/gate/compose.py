"""Composes overrides with Hydra and checks the result, before Hydra acts on anything."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf, open_dict

from hcr.config.errors import ConfigError
from hcr.config.secrets import shown
from hcr.config.settings import expected
from hcr.gate.as_written import quote_patterns, quote_text
from hcr.gate.explaining import explain, keys_behind
from hcr.gate.hydra_node import check_engines, check_hydra_node
from hcr.gate.loading import CONFIG_NAME, Loader, asks_for_multirun
from hcr.gate.points import AskedRun, Space, grid, search_samples, space_of
from hcr.gate.remedies import unknown_flag
from hcr.gate.run_config import FROM, HOW_IT_IS_ASKED, OF_ALL_RUNS, RUN_GROUPS, RunConfig, parse_config

if TYPE_CHECKING:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override

# Settings that a run `from` another does not inherit: those of tracking and launching, notes, tags and score_test.
NOT_OF_THE_RUN = (*OF_ALL_RUNS, "notes", "tags", "score_test")


@dataclass(frozen=True)
class Checked:
    """The checked runs of a command line.

    Attributes:
        configs: of a single run, its config; of a grid, those of all runs; of a search, whose runs are not known yet,
            those of runs at the edges of `space`.
        multirun: True for a sweep, even of one run.
        space: of a sweep.
        runs: all runs of a grid.
        overrides: of a single run, without those of Hydra's own node.
    """

    configs: list[RunConfig]
    multirun: bool
    space: Space | None = None
    runs: list[AskedRun] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)


class Composer:
    """Composes configs from `hcr.conf` and a user's own folder of YAML.

    Args:
        config_dir: a folder laid out like `conf/`; None: that of `user_config_dir`.
        config_name: the primary config.
        config_of_run: returns the config of a finished run by its name, for `from`.

    Attributes:
        loader: loads configs with Hydra.

    Raises:
        ConfigError: `config_dir` is no folder.
    """

    def __init__(
        self,
        config_dir: str | Path | None = None,
        config_name: str = CONFIG_NAME,
        config_of_run: Callable[[str], DictConfig] | None = None,
    ) -> None:
        self.loader = Loader(config_dir, config_name)
        self._config_of_run = config_of_run

    def check(self, overrides: Sequence[str], *, multirun: bool = False) -> Checked:
        """Check every run that `overrides` ask for: one, or with `multirun` one per combination.

        Also checks Hydra's own node.
        """
        from hydra.errors import HydraException

        overrides = quote_patterns(overrides)
        whole = self.compose(overrides, multirun=multirun)
        if not (multirun or asks_for_multirun(whole)):
            return Checked([self._parse(whole)], multirun=False, overrides=_without_hydras(overrides))
        try:
            space = self._space(whole)
        except HydraException as error:
            raise explain(error, overrides, multirun, self.loader) from error
        runs = search_samples(space) if space.sweep.is_search else grid(space)
        configs = [run.cfg for run in runs]
        _check_common(configs)
        return Checked(configs, multirun=True, space=space, runs=[] if space.sweep.is_search else runs)

    def compose(self, overrides: Sequence[str], *, multirun: bool = False) -> DictConfig:
        """The whole composed config, with a checked `hydra` node; the rest is not checked yet.

        Raises:
            ConfigError: an override cannot be read or applied, a group or name is unknown, or the `hydra` node is bad.
        """
        overrides = quote_patterns(overrides)
        check_engines(overrides)
        try:
            self.loader.check_search_path(overrides)
            whole = self.loader.load_as_written(overrides, multirun)
        except ConfigError:
            raise
        except Exception as error:
            # Composition raises many types; all of them are caused by the user's input.
            raise explain(error, overrides, multirun, self.loader) from error
        check_hydra_node(whole.hydra)
        return whole

    def compose_from(self, name: str, overrides: Sequence[str]) -> DictConfig:
        """The config of the run `name` with `overrides`, without Hydra's own node, not checked yet.

        `dataset.limit=100` changes the data set of that run, unless `dataset=...` chooses another.

        Raises:
            ConfigError: as `compose`; also, an override has several values.
        """
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        words = quote_patterns(overrides)
        try:
            parsed = OverridesParser.create().parse_overrides(words)
        except HydraException:
            parsed = []  # `compose` explains it
        chosen = {override.key_or_group for override in parsed}
        of_the_run = []
        for override in parsed:
            if override.is_sweep_override():
                raise ConfigError(f"{override.key_or_group}: expected one value here, got several")
            group, dot, _ = override.key_or_group.partition(".")
            if dot and group in RUN_GROUPS and group not in chosen:
                of_the_run.append(override)  # Hydra would look for the key in the default of the group
                words.remove(str(override.input_line))
        job = self._job(self.compose([*words, f"{FROM}={name}"]))
        OmegaConf.set_struct(job, False)
        for override in of_the_run:
            OmegaConf.update(job, override.key_or_group, override.value())
        return job

    def unknown_flag(self, flag: str, words: Sequence[str], flags: Sequence[str]) -> ConfigError:
        """The error for an unknown flag; if it means a setting, the message says how to write it.

        Args:
            flag: as given.
            words: the whole command line.
            flags: the known flags.
        """
        overrides = [word for word in words if not word.startswith("-")]
        return ConfigError(unknown_flag(flag, words, flags, keys_behind(overrides, self.loader)))

    def _parse(self, whole: DictConfig) -> RunConfig:
        return parse_config(self._job(whole))

    def _job(self, whole: DictConfig) -> DictConfig:
        """The config without Hydra's own node; with `from`, that run's config with the overrides applied."""
        job = _without_hydra(whole)
        name = job.get(FROM)
        if name is None:
            return job
        if self._config_of_run is None:
            raise ConfigError(f"{FROM}: expected null here, got {shown(FROM, name)}")
        base = self._config_of_run(str(name))
        keys = [override.partition("=")[0].lstrip("+~") for override in whole.hydra.overrides.task]
        for key in [*keys, *NOT_OF_THE_RUN]:
            group = key.partition("@")[0]
            if group == "experiment":
                raise ConfigError(f"{FROM}: a run's config replaces an experiment; expected only one of the two")
            if self.loader.repository.group_exists(group) and group not in job:
                raise ConfigError(f"{FROM}: {group} is not part of a run's config")
            value = OmegaConf.select(job, group)
            OmegaConf.update(base, group, value, merge=not OmegaConf.is_config(value), force_add=True)
        OmegaConf.set_struct(base, True)
        return base

    def _space(self, whole: DictConfig) -> Space:
        """The space spanned by the command line and `hydra.sweeper.params`; the command line takes precedence."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parser = OverridesParser.create(config_loader=self.loader.hydra_loader)
        params = whole.hydra.sweeper.get("params") or {}
        if not isinstance(params, Mapping):
            raise expected("a group of settings", "hydra.sweeper.params", params)
        given = parser.parse_overrides(list(whole.hydra.overrides.task))
        keys = {override.key_or_group for override in given}
        several = quote_text([f"{k}={v}" for k, v in params.items()], self.loader.keys_of(whole).hint)
        asked = [_read_param(parser, override) for override in several]
        asked = [override for override in asked if override.key_or_group not in keys] + given
        fixed = [str(override.input_line) for override in asked if not override.is_sweep_override()]
        fixed += list(whole.hydra.overrides.hydra)

        def compose(words: Sequence[str]) -> DictConfig:
            return self._job(self.compose([*fixed, *words], multirun=True))

        for i, override in enumerate(given):
            if override.is_sweep_override() and override.key_or_group in [
                later.key_or_group for later in given[i + 1 :] if not later.is_sweep_override()
            ]:
                raise ConfigError(
                    f"{override.key_or_group}: is given several values, then one; expected only one of these"
                )
        swept = [override for override in asked if override.is_sweep_override()]
        chosen = self.compose(fixed, multirun=True).hydra.runtime.choices
        choices = {str(group): str(name) for group, name in chosen.items() if name is not None}
        words = [str(override.input_line) for override in given if not override.is_sweep_override()]
        of_the_run = [
            word for word in words if re.split("[.=]", word.lstrip("+~"), maxsplit=1)[0] not in HOW_IT_IS_ASKED
        ]
        return space_of(swept, compose, self.loader.repository.group_exists, choices, of_the_run)


def _read_param(parser: "OverridesParser", override: str) -> "Override":
    """An entry of `hydra.sweeper.params`, `KEY=VALUES`.

    Raises:
        ConfigError: Hydra cannot parse it.
    """
    from hydra.errors import HydraException

    try:
        return parser.parse_override(override)
    except HydraException as error:
        key, _, value = override.partition("=")
        raise ConfigError(
            f"hydra.sweeper.params.{key}: expected values as on the command line, such as 1,2,3 or interval(0.1,1),"
            f" got {shown(key, value)}"
        ) from error


def compose(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> RunConfig:
    """The checked config that `hcr train OVERRIDES` would run.

    Raises:
        ConfigError: as `parse_config`; also, an override cannot be read or applied.
    """
    (cfg,) = Composer(config_dir).check(list(overrides)).configs
    return cfg


def _without_hydra(whole: DictConfig) -> DictConfig:
    with open_dict(whole):
        job = DictConfig({key: whole._get_node(key) for key in whole if key != "hydra"})
    OmegaConf.set_struct(job, True)
    return job


def _without_hydras(overrides: Sequence[str]) -> list[str]:
    """The overrides without those of Hydra's own node."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [str(override.input_line) for override in parsed if not override.is_hydra_override()]


def _check_common(configs: Sequence[RunConfig]) -> None:
    """Refuse a sweep over settings that its runs must share, such as the store."""
    shared: dict[str, set[object]] = {
        "tracking.uri": {cfg.tracking.uri for cfg in configs},
        "tracking.experiment_name": {cfg.tracking.experiment_name for cfg in configs},
        "check_only": {cfg.check_only for cfg in configs},
    }
    for key, values in shared.items():
        if len(values) > 1:
            got = ", ".join(sorted(shown(key, value) for value in values))
            raise ConfigError(f"{key}: expected one value for all runs of a sweep, got {got}")
