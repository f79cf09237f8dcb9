"""Loads configs with Hydra, from `hcr.conf` and a user's own folder of YAML, and lists their keys."""

import copy
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
from hcr.gate.package_files import keep_package_files
from hcr.gate.resolvers import restrict_resolvers
from hcr.gate.run_config import CHOICES, config_hints

if TYPE_CHECKING:
    from hydra._internal.config_repository import IConfigRepository
    from hydra.core.default_element import ResultDefault

CONFIG_MODULE = "pkg://hcr.conf"
CONFIG_NAME = "config"
MOST_KEPT = 8  # composed configs; to explain a bad override takes as many, and a sweep may have a thousand


class Loader:
    """Hydra's config loader, before Hydra acts on anything.

    Args:
        config_dir: a folder laid out like `conf/`; None: that of `user_config_dir`.
        config_name: the primary config.

    Attributes:
        config_name: the primary config.
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
        keep_package_files(self.hydra_loader.repository)
        self.config_name = config_name
        self._loaded: dict[tuple[tuple[str, ...], bool], DictConfig | Exception] = {}

    @property
    def repository(self) -> "IConfigRepository":
        """The repository of the config files."""
        return self.hydra_loader.repository

    def load(self, overrides: Sequence[str], multirun: bool) -> DictConfig:
        """The config that Hydra composes, a copy for each caller; composed once for the same arguments.

        Raises:
            Exception: Hydra's or OmegaConf's; `hcr.gate.explaining` turns it into a ConfigError.
        """
        asked = (tuple(overrides), multirun)
        if asked not in self._loaded:
            if len(self._loaded) == MOST_KEPT:
                del self._loaded[next(iter(self._loaded))]  # the oldest
            try:
                self._loaded[asked] = self._load(overrides, multirun)
            except Exception as error:
                self._loaded[asked] = error
        found = self._loaded[asked]
        if isinstance(found, Exception):
            raise found
        return copy.deepcopy(found)

    def _load(self, overrides: Sequence[str], multirun: bool) -> DictConfig:
        from hydra.types import RunMode

        def load(mode: RunMode, **keywords: bool) -> DictConfig:
            return self.hydra_loader.load_configuration(self.config_name, list(overrides), run_mode=mode, **keywords)

        if not multirun:
            try:
                whole = load(RunMode.RUN)
                if not asks_for_multirun(whole):
                    return whole
                multirun = True
            except Exception:
                # Find the mode as Hydra does: YAML may ask for MULTIRUN, so sweep overrides are accepted at first.
                multirun = asks_for_multirun(load(RunMode.MULTIRUN, validate_sweep_overrides=False))
        return load(RunMode.MULTIRUN if multirun else RunMode.RUN)

    def load_as_written(self, overrides: Sequence[str], multirun: bool) -> DictConfig:
        """The composed config, with the original text where Hydra or YAML would read a number."""
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
        """The keys of a composed config."""
        plain = OmegaConf.to_container(whole, resolve=False)
        assert isinstance(plain, dict)
        values = {str(name): value for name, value in plain.items() if name != "hydra"}
        chosen = {str(group): str(name) for group, name in whole.hydra.runtime.choices.items()}
        return Keys(values, config_hints(), CHOICES, chosen, self._kinds_of, self.names_of)

    def names_of(self, group: str) -> list[str]:
        """The names of a group's files."""
        return list(self.repository.get_group_options(group))

    def _kinds_of(self, group: str) -> dict[str, str]:
        """The readable files of a group, each with the name of its part, or "" if it names none."""
        from hydra.errors import HydraException

        found = {}
        selector, _ = CHOICES.get(group, ("", {}))
        for name in self.names_of(group):
            try:
                file = self.repository.load_config(f"{group}/{name}")
            # A damaged file is refused when it is chosen.
            except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError):
                continue
            raw = file.config if file is not None else None
            found[name] = str(raw.get(selector)) if isinstance(raw, DictConfig) else ""
        return found

    def check_search_path(self, overrides: Sequence[str]) -> None:
        """Check the search path before composing, which would import its packages."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        primary = self.hydra_loader.repository.load_config(self.config_name)
        if primary is not None:
            check_search_path(OmegaConf.select(primary.config, "hydra.searchpath") or [])
        for override in overrides:
            if override.partition("=")[0].lstrip("+~") == "hydra.searchpath":
                check_search_path(OverridesParser.create().parse_overrides([override])[0].value())


def user_config_dir() -> Path | None:
    """The folder of the user's own YAML: HCR_CONF_DIR, else `./conf` if it exists.

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
    """True if a composed config is a sweep, by `-m` or by its own YAML."""
    return str(whole.hydra.mode).endswith("MULTIRUN")


def _open_sweep_params() -> None:
    """Let `hydra.sweeper.params` have any YAML values; hcr checks them.

    Hydra's own schema allows only text, and its errors name the file but not the key.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeperConf
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store("basic", asdict(BasicSweeperConf()), group="hydra/sweeper", provider="hydra")


def _check_no_clash(folder: Path) -> None:
    """Refuse a user's file that Hydra would never read, because hcr has a file of the same name."""
    ours = Path(str(files("hcr.conf")))
    for file in sorted(folder.glob("*/**/*.yaml")):
        own = ours / file.relative_to(folder)
        if own.is_file() and own.read_bytes() != file.read_bytes():
            group, name = own.parent.relative_to(ours).as_posix(), own.stem
            raise ConfigError(f"{file}: hcr already has {group}={name}; expected another name")
