"""What Hydra composes from `hcr.conf` and a user's own folder of YAML: configs, and the keys that they have."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hcr.config.errors import ConfigError
from hcr.gate.as_written import quote_text, restore_text
from hcr.gate.hydra_node import check_search_path
from hcr.gate.keys import Keys
from hcr.gate.resolvers import restrict_resolvers
from hcr.gate.run_config import CHOICES, config_hints

if TYPE_CHECKING:
    from hydra._internal.config_repository import IConfigRepository
    from hydra.core.default_element import ResultDefault

CONFIG_MODULE = "pkg://hcr.conf"
CONFIG_NAME = "config"


class Loader:
    """Hydra's config loader, before Hydra acts on anything.

    Args:
        config_dir: a folder laid out like `conf/`; None finds one as `user_config_dir` does.
        config_name: the primary config.

    Attributes:
        config_name: the same.
        hydra_loader: Hydra's own loader.

    Raises:
        ConfigError: `config_dir` is no folder.
    """

    def __init__(self, config_dir: str | Path | None, config_name: str) -> None:
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from hydra._internal.utils import create_config_search_path
        from hydra.core.config_search_path import SearchPathQuery
        from hydra.core.utils import setup_globals

        setup_globals()  # Hydra's own resolvers, such as ${now:%H}
        restrict_resolvers()
        search_path = create_config_search_path(CONFIG_MODULE)
        _open_sweep_params()
        folder = config_dir or user_config_dir()
        if folder is not None:
            if not Path(folder).is_dir():
                raise ConfigError(f"--config-dir: expected a folder, got {str(folder)!r}")
            _check_no_clash(Path(folder))
            search_path.prepend("command-line", f"file://{Path(folder).absolute()}", SearchPathQuery("schema", None))
        self.hydra_loader = ConfigLoaderImpl(config_search_path=search_path)
        self.config_name = config_name

    @property
    def repository(self) -> "IConfigRepository":
        """The config files that there are."""
        return self.hydra_loader.repository

    def load(self, overrides: Sequence[str], multirun: bool) -> DictConfig:
        from hydra.types import RunMode

        if not multirun:
            # As Hydra itself finds the mode: MULTIRUN may be asked for in YAML, so sweeps are let through first.
            tried = self.hydra_loader.load_configuration(
                self.config_name, list(overrides), run_mode=RunMode.MULTIRUN, validate_sweep_overrides=False
            )
            multirun = asks_for_multirun(tried)
        mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        return self.hydra_loader.load_configuration(self.config_name, list(overrides), run_mode=mode)

    def load_as_written(self, overrides: Sequence[str], multirun: bool) -> DictConfig:
        """What Hydra composes, with text as it was written where Hydra or YAML reads a number."""
        whole = self.load(overrides, multirun)
        hint = self.keys_of(whole).hint
        words = quote_text(overrides, hint)
        if words != list(overrides):
            whole = self.load(words, multirun)
        restore_text(whole, hint, lambda: self._defaults(words), self.hydra_loader.repository)
        return whole

    def _defaults(self, overrides: Sequence[str]) -> "list[ResultDefault]":
        from hydra.types import RunMode

        found = self.hydra_loader.compute_defaults_list(self.config_name, list(overrides), RunMode.MULTIRUN)
        return list(found.defaults)

    def keys_of(self, whole: DictConfig) -> Keys:
        """The keys that a composed config has."""
        plain = OmegaConf.to_container(whole, resolve=False)
        assert isinstance(plain, dict)
        values = {str(name): value for name, value in plain.items() if name != "hydra"}
        chosen = {str(group): str(name) for group, name in whole.hydra.runtime.choices.items()}
        return Keys(values, config_hints(), CHOICES, chosen, self._kinds_of, self.names_of)

    def names_of(self, group: str) -> list[str]:
        """The names of a group's files."""
        return list(self.repository.get_group_options(group))

    def _kinds_of(self, group: str) -> dict[str, str]:
        """The files of a group that can be read, each with the name of its kind as far as it says so itself."""
        from hydra.errors import HydraException

        found = {}
        selector, _ = CHOICES.get(group, ("", {}))
        for name in self.names_of(group):
            try:
                file = self.repository.load_config(f"{group}/{name}")
            # Damaged in any way that a YAML file can be: it is refused where it is chosen.
            except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError):
                continue
            raw = file.config if file is not None else None
            found[name] = str(raw.get(selector)) if isinstance(raw, DictConfig) else ""
        return found

    def check_search_path(self, overrides: Sequence[str]) -> None:
        """Before composing, which would import what is in it."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        primary = self.hydra_loader.repository.load_config(self.config_name)
        if primary is not None:
            check_search_path(OmegaConf.select(primary.config, "hydra.searchpath") or [])
        for override in overrides:
            if override.partition("=")[0].lstrip("+~") == "hydra.searchpath":
                check_search_path(OverridesParser.create().parse_overrides([override])[0].value())


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


def asks_for_multirun(whole: DictConfig) -> bool:
    """Whether a composed config is of several runs, as `-m` or its own YAML says."""
    return str(whole.hydra.mode).endswith("MULTIRUN")


def _open_sweep_params() -> None:
    """Let `hydra.sweeper.params` be what YAML can say, such as null, and leave the checks to us.

    Hydra's own schema of it has text alone, and an error there names the file but not the key.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeperConf
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store("basic", asdict(BasicSweeperConf()), group="hydra/sweeper", provider="hydra")


def _check_no_clash(folder: Path) -> None:
    """Refuse a user's file that Hydra would never read, because hcr has another one of that name."""
    ours = Path(str(files("hcr.conf")))
    for file in sorted(folder.glob("*/**/*.yaml")):
        own = ours / file.relative_to(folder)
        if own.is_file() and own.read_bytes() != file.read_bytes():
            group, name = own.parent.relative_to(ours).as_posix(), own.stem
            raise ConfigError(f"{file}: hcr has a {group}={name} of its own; expected another name for yours")
