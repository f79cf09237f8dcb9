"""From overrides to a checked config, by Hydra's composition, before Hydra acts on anything."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from hcr.config.as_written import quote_text, restore_text
from hcr.config.errors import ConfigError, one_line
from hcr.config.gate import CHOICES, FROM, INSTANTIATE_KEYS, RunConfig, config_hints, parse_config
from hcr.config.hydra_node import check_hydra_node, check_search_path
from hcr.config.keys import Keys
from hcr.config.points import AskedRun, Space, grid, search_samples, space_of
from hcr.config.remedies import several_values, unknown_flag, unreadable, write
from hcr.config.resolvers import restrict_resolvers
from hcr.config.schema import unknown_key
from hcr.config.spelling import did_you_mean

if TYPE_CHECKING:
    from hydra.core.default_element import ResultDefault
    from hydra.core.override_parser.types import Override

CONFIG_MODULE = "pkg://hcr.conf"
CONFIG_NAME = "config"

# What a run that starts `from` another does not take over: where it is recorded, and how it is asked for.
OF_THE_SWEEP = ("sweep", "check_only", "resume", "new_run")
NOT_OF_THE_RUN = ("tracking", "sweep", "check_only", "resume", "new_run", FROM, "notes", "tags", "score_test")


@dataclass(frozen=True)
class Checked:
    """The runs that a command line asks for, and whether it asks for several (even if it is one).

    Of a sweep that searches, whose runs are not known yet, `configs` are some at the edges of its `space`; of a grid,
    `runs` are all there are.
    """

    configs: list[RunConfig]
    multirun: bool
    space: Space | None = None
    runs: list[AskedRun] = field(default_factory=list)


class Composer:
    """Composes configs from `hcr.conf`, and from a user's own folder of YAML behind it.

    Args:
        config_dir: a folder laid out like `conf/`; None finds one as `user_config_dir` does.
        config_name: the primary config.
        config_of_run: the config of a finished run by its name, for `from`.

    Raises:
        ConfigError: `config_dir` is no folder.
    """

    def __init__(
        self,
        config_dir: str | Path | None = None,
        config_name: str = CONFIG_NAME,
        config_of_run: Callable[[str], DictConfig] | None = None,
    ) -> None:
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from hydra._internal.utils import create_config_search_path
        from hydra.core.config_search_path import SearchPathQuery
        from hydra.core.utils import setup_globals

        setup_globals()  # Hydra's own resolvers, such as ${now:%H}
        restrict_resolvers()
        search_path = create_config_search_path(CONFIG_MODULE)
        folder = config_dir or user_config_dir()
        if folder is not None:
            if not Path(folder).is_dir():
                raise ConfigError(f"--config-dir: expected a folder, got {str(folder)!r}")
            _check_no_clash(Path(folder))
            search_path.prepend("command-line", f"file://{Path(folder).absolute()}", SearchPathQuery("schema", None))
        self._loader = ConfigLoaderImpl(config_search_path=search_path)
        self._config_name = config_name
        self._config_of_run = config_of_run

    def check(self, overrides: Sequence[str], *, multirun: bool = False) -> Checked:
        """Every run that `overrides` ask for, through the gate: one, or with `multirun` one per combination.

        Hydra's own node has been checked when this returns.
        """
        whole = self.compose(overrides, multirun=multirun)
        if not (multirun or _asks_for_multirun(whole)):
            return Checked([self._parse(whole)], multirun=False)
        space = self._space(whole)
        runs = search_samples(space) if space.sweep.is_search else grid(space)
        configs = [run.cfg for run in runs]
        _check_common(configs)
        return Checked(configs, multirun=True, space=space, runs=[] if space.sweep.is_search else runs)

    def compose(self, overrides: Sequence[str], *, multirun: bool = False) -> DictConfig:
        """The whole composed config, with a checked `hydra` node; the rest has yet to pass the gate.

        Raises:
            ConfigError: an override that cannot be read or applied, an unknown group or name, a bad `hydra` node.
        """
        try:
            self._check_search_path(overrides)
            whole = self._load_as_written(overrides, multirun)
        except ConfigError:
            raise
        except Exception as error:
            # Composition has many ways to fail, each with a class of its own; all of them are the user's.
            raise self._explain(error, overrides, multirun) from error
        check_hydra_node(whole.hydra)
        return whole

    def unknown_flag(self, flag: str, words: Sequence[str], flags: Sequence[str]) -> ConfigError:
        """The error for a flag that there is not: of one that means a setting, it says how that is written.

        Args:
            flag: as it was given.
            words: the whole command line.
            flags: those that there are.
        """
        overrides = [word for word in words if not word.startswith("-")]
        return ConfigError(unknown_flag(flag, words, flags, self._keys_behind(overrides)))

    def _load(self, overrides: Sequence[str], multirun: bool) -> DictConfig:
        from hydra.types import RunMode

        if not multirun:
            # As Hydra itself finds the mode: MULTIRUN may be asked for in YAML, so sweeps are let through first.
            tried = self._loader.load_configuration(
                self._config_name, list(overrides), run_mode=RunMode.MULTIRUN, validate_sweep_overrides=False
            )
            multirun = _asks_for_multirun(tried)
        mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        return self._loader.load_configuration(self._config_name, list(overrides), run_mode=mode)

    def _load_as_written(self, overrides: Sequence[str], multirun: bool) -> DictConfig:
        """What Hydra composes, with text as it was written where Hydra or YAML reads a number."""
        whole = self._load(overrides, multirun)
        hint = self.keys_of(whole).hint
        words = quote_text(overrides, hint)
        if words != list(overrides):
            whole = self._load(words, multirun)
        restore_text(whole, hint, lambda: self._defaults(words), self._loader.repository)
        return whole

    def _defaults(self, overrides: Sequence[str]) -> "list[ResultDefault]":
        from hydra.types import RunMode

        found = self._loader.compute_defaults_list(self._config_name, list(overrides), RunMode.MULTIRUN)
        return list(found.defaults)

    def keys_of(self, whole: DictConfig) -> Keys:
        """The keys that a composed config has."""
        values = {str(name): whole._get_node(name) for name in whole if name != "hydra"}
        plain = {
            name: OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node
            for name, node in values.items()
        }
        chosen = {str(group): str(name) for group, name in whole.hydra.runtime.choices.items()}
        return Keys(plain, config_hints(), CHOICES, chosen, self._kinds_of)

    def _kinds_of(self, group: str) -> dict[str, str]:
        """The files of a group, each with the name of its kind as far as it says so itself."""
        found = {}
        for name in self._loader.repository.get_group_options(group):
            file = self._loader.repository.load_config(f"{group}/{name}")
            raw = file.config if file is not None else None
            selector, _ = CHOICES.get(group, ("", {}))
            found[name] = str(raw.get(selector)) if isinstance(raw, DictConfig) else ""
        return found

    def _check_search_path(self, overrides: Sequence[str]) -> None:
        """Before composing, which would import what is in it."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        primary = self._loader.repository.load_config(self._config_name)
        if primary is not None:
            check_search_path(OmegaConf.select(primary.config, "hydra.searchpath") or [])
        for override in overrides:
            if override.partition("=")[0].lstrip("+~") == "hydra.searchpath":
                check_search_path(OverridesParser.create().parse_override(override).value())

    def _parse(self, whole: DictConfig) -> RunConfig:
        return parse_config(self._job(whole))

    def _job(self, whole: DictConfig) -> DictConfig:
        """The config without Hydra's own node; of a run that it starts `from`, with what is overridden."""
        job = _without_hydra(whole)
        name = job.get(FROM)
        if name is None:
            return job
        if self._config_of_run is None:
            raise ConfigError(f"{FROM}: expected null here, got {name!r}")
        base = self._config_of_run(str(name))
        keys = [override.partition("=")[0].lstrip("+~") for override in whole.hydra.overrides.task]
        for key in [*keys, *NOT_OF_THE_RUN]:
            group = key.partition("@")[0]
            if group == "experiment":
                raise ConfigError(f"{FROM}: a run's config takes the place of an experiment; expected one of the two")
            if self._loader.repository.group_exists(group) and group not in job:
                raise ConfigError(f"{FROM}: {group} is no part of a run's config")
            value = OmegaConf.select(job, group)
            OmegaConf.update(base, group, value, merge=not OmegaConf.is_config(value), force_add=True)
        OmegaConf.set_struct(base, True)
        return base

    def _space(self, whole: DictConfig) -> Space:
        """What the command line and `hydra.sweeper.params` give several values; the command line has the last word."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parser = OverridesParser.create(config_loader=self._loader)
        params = whole.hydra.sweeper.get("params") or {}
        given = parser.parse_overrides(list(whole.hydra.overrides.task))
        keys = {override.key_or_group for override in given}
        several = quote_text([f"{k}={v}" for k, v in params.items()], self.keys_of(whole).hint)
        asked = list(parser.parse_overrides(several))
        asked = [override for override in asked if override.key_or_group not in keys] + given
        fixed = [str(override.input_line) for override in asked if not override.is_sweep_override()]
        fixed += list(whole.hydra.overrides.hydra)

        def compose(words: Sequence[str]) -> DictConfig:
            return self._job(self.compose([*fixed, *words], multirun=True))

        for i, override in enumerate(given):
            if override.is_sweep_override() and override.key_or_group in [
                later.key_or_group for later in given[i + 1 :] if not later.is_sweep_override()
            ]:
                raise ConfigError(f"{override.key_or_group}: is given several values, and then one; expected either")
        swept = [override for override in asked if override.is_sweep_override()]
        chosen = self.compose(fixed, multirun=True).hydra.runtime.choices
        choices = {str(group): str(name) for group, name in chosen.items() if name is not None}
        words = [str(override.input_line) for override in given if not override.is_sweep_override()]
        of_the_run = [word for word in words if re.split("[.=]", word.lstrip("+~"), maxsplit=1)[0] not in OF_THE_SWEEP]
        return space_of(swept, compose, self._loader.repository.group_exists, choices, of_the_run)

    def _explain(self, error: Exception, overrides: Sequence[str], multirun: bool) -> ConfigError:
        """Hydra's error in one line of ours, naming the key."""
        from hydra.errors import HydraException, MissingConfigException, OverrideParseException

        if isinstance(error, OverrideParseException):
            words = list(overrides)
            return ConfigError(unreadable(words, words.index(error.override), self._keys_behind(words)))
        if isinstance(error, MissingConfigException):
            return self._explain_missing(error)
        mark = getattr(error, "problem_mark", None)
        if mark is not None:
            return ConfigError(f"{mark.name}, line {mark.line + 1}: expected YAML ({getattr(error, 'problem', error)})")
        if isinstance(error, OmegaConfBaseException):
            return ConfigError(f"{error.full_key or 'config'}: {one_line(error)}")
        found = self._explain_override(overrides, multirun)
        if found is None and isinstance(error, HydraException):
            found = one_line(error).removesuffix(".") + _cause(error)
        return ConfigError(found or f"config: {one_line(error)}")

    def _keys_behind(self, overrides: Sequence[str]) -> Keys:
        """The keys there are with those of `overrides` that can be applied, or at least with the groups they choose."""
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        readable = []
        for override in overrides:
            try:
                found = OverridesParser.create().parse_override(override)
            except HydraException:
                continue
            readable += [override] if not found.is_sweep_override() else []
        groups = [word for word in readable if self._loader.repository.group_exists(word.partition("=")[0])]
        for words in (readable, groups):
            try:
                return self.keys_of(self._load(words, multirun=False))
            except Exception:  # whatever is wrong there too: it is told when what is told now has been mended
                continue
        return self.keys_of(self._load([], multirun=False))

    def _explain_missing(self, error: Exception) -> ConfigError:
        missing = str(getattr(error, "missing_cfg_file", None) or "")
        options = list(getattr(error, "options", None) or [])
        told = re.sub(r"\s+", " ", one_line(error))
        parts = missing.split("/")
        groups = ["/".join(parts[:i]) for i in range(len(parts) - 1, 0, -1) if parts[i - 1]]
        group = next((name for name in groups if self._loader.repository.group_exists(name)), None)
        if group is not None:
            name = missing[len(group) + 1 :]
            if "/" in name:
                return ConfigError(f"{group}: {_no_path(group, name)}")
            if options:
                near = did_you_mean(name, options)
                return ConfigError(f"{group}: no {name!r} here{near} (one of {', '.join(options)})")
        if "hydra/launcher" in told:
            return ConfigError(f"hydra/launcher: {told} pip install 'hcr[slurm]' or 'hcr[ray]' brings launchers")
        if missing == self._config_name:
            return ConfigError(f"--config-name: no {missing!r} in the config folders")
        # A file of the user's own that names what is not there.
        return ConfigError(told)

    def _explain_override(self, overrides: Sequence[str], multirun: bool) -> str | None:
        """The message for the first override that cannot be applied to the config composed without it."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parsed = OverridesParser.create(config_loader=self._loader).parse_overrides(list(overrides))
        good: list[str] = []
        # Groups first, as Hydra takes them: they decide which keys there are.
        for override in sorted(parsed, key=lambda one: not self._loader.repository.group_exists(one.key_or_group)):
            try:
                self._load([*good, str(override.input_line)], multirun)
                good.append(str(override.input_line))
            except Exception as error:  # of any kind: that it is this one is what was to be found out
                whole = self._load(good, multirun)
                return _explain_key(override, whole, self.keys_of(whole), one_line(error))
        return None


def compose(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> RunConfig:
    """The checked config that `hcr train OVERRIDES` would run.

    Raises:
        ConfigError: as `parse_config`, and for overrides that cannot be read or applied.
    """
    (cfg,) = Composer(config_dir).check(list(overrides)).configs
    return cfg


def user_config_dir() -> Path | None:
    """A user's own YAML: HCR_CONF_DIR, else `./conf` where there is one.

    Raises:
        ConfigError: HCR_CONF_DIR is no folder.
    """
    named = os.environ.get("HCR_CONF_DIR")
    if named:
        if not Path(named).is_dir():
            raise ConfigError(f"HCR_CONF_DIR: expected a folder, got {named!r}")
        return Path(named)
    return Path("conf") if Path("conf").is_dir() else None


def _without_hydra(whole: DictConfig) -> DictConfig:
    with open_dict(whole):
        job = DictConfig({key: whole._get_node(key) for key in whole if key != "hydra"})
    OmegaConf.set_struct(job, True)
    return job


def _check_common(configs: Sequence[RunConfig]) -> None:
    """Refuse a sweep over what its runs have to share, such as the store of their parent."""
    shared: dict[str, set[object]] = {
        "tracking.uri": {cfg.tracking.uri for cfg in configs},
        "tracking.experiment_name": {cfg.tracking.experiment_name for cfg in configs},
        "check_only": {cfg.check_only for cfg in configs},
    }
    for key, values in shared.items():
        if len(values) > 1:
            told = ", ".join(sorted(map(str, values)))
            raise ConfigError(f"{key}: expected one value for all runs of a sweep, got {told}")


def _check_no_clash(folder: Path) -> None:
    """Refuse a user's file that Hydra would never read, because hcr has another one of that name."""
    ours = Path(str(files("hcr.conf")))
    for file in sorted(folder.glob("*/**/*.yaml")):
        own = ours / file.relative_to(folder)
        if own.is_file() and own.read_bytes() != file.read_bytes():
            group, name = own.parent.relative_to(ours).as_posix(), own.stem
            raise ConfigError(f"{file}: hcr has a {group}={name} of its own; expected another name for yours")


def _asks_for_multirun(whole: DictConfig) -> bool:
    return str(whole.hydra.mode).endswith("MULTIRUN")


def _explain_key(override: "Override", whole: DictConfig, keys: Keys, why: str) -> str:
    word = str(override.input_line)
    key, _, value = word.lstrip("+~").partition("=")
    if not key:
        return f"{word!r}: expected an override (KEY=VALUE or GROUP=NAME)"
    if key.rpartition(".")[2] in INSTANTIATE_KEYS:
        return f"{key}: not allowed; YAML names things (model.name, ...), it never imports them"
    group, _, package = key.partition("@")
    if group.partition(".")[0].partition("/")[0] == "hydra":
        node = OmegaConf.select(whole, group.rpartition(".")[0], throw_on_missing=False)
        known = [f"{group.rpartition('.')[0]}.{name!s}" for name in node] if isinstance(node, DictConfig) else []
        if known and group not in known:
            return unknown_key(group, known)
    elif group not in keys.all() and keys.hint(group) is None:
        return keys.unknown(group)
    if override.is_sweep_override():
        return several_values(word, keys)
    if package:
        return f"{key}: unknown group or package"
    if override.is_add() and OmegaConf.select(whole, group, throw_on_missing=False) is not None:
        return f"{group}: is in the config already; write {group}=... without the +"
    if not override.is_add() and keys.hint(group) is not None and keys.has_to_be_added(group):
        return f"{group}: is not in the config yet; {write(f'+{group}={value}')}"
    if is_dataclass(keys.hint(group)) and not (keys.choices_of is not None and value in keys.choices_of(group)):
        return f"{group}: cannot be set to {value!r}; write {group}=NAME, or {group}.KEY=VALUE"
    return f"{group}: cannot be set to {value!r} ({why})"


def _no_path(group: str, name: str) -> str:
    """What to write instead of the path of a file where a name of a group's is expected."""
    path = Path(name)
    if path.suffix not in ("", ".yaml", ".yml"):
        told = "; a data file is named by dataset.path" if group == "dataset" else ""
        return f"expected a name, got the path {name!r}{told}"
    told = f"expected a name, got the path {name!r}"
    if path.parent.name == group:
        return f"{told}; write --config-dir {path.parent.parent} {group}={path.stem}"
    return f"{told}; put the file at FOLDER/{group}/{path.stem}.yaml and write --config-dir FOLDER {group}={path.stem}"


def _cause(error: Exception) -> str:
    return f" ({one_line(error.__cause__)})" if isinstance(error.__cause__, OmegaConfBaseException) else ""
