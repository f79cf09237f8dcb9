"""The YAML of installed packages, hcr's own and Hydra's: each file is parsed once a process, not once a composition."""

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra._internal.config_repository import IConfigRepository
    from hydra.plugins.config_source import ConfigResult, ConfigSource

_parsed: "dict[tuple[str, str, str], ConfigResult]" = {}
_is_config: dict[tuple[str, str], bool] = {}


def keep_package_files(repository: "IConfigRepository") -> None:
    """Have the sources of `repository` that are packages parse each of their files once a process.

    A composition reads some twenty of them, and to explain a bad override takes several. A user's own folder is read
    anew each time, since its files change.
    """
    sources = repository.get_sources()
    sources[:] = [_kept(source) if source.scheme() == "pkg" else source for source in sources]


def _kept(source: "ConfigSource") -> "ConfigSource":
    from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource

    class KeptSource(ImportlibResourcesConfigSource):
        def load_config(self, config_path: str) -> "ConfigResult":
            place = (self.provider, self.path, config_path)
            if place not in _parsed:
                _parsed[place] = super().load_config(config_path)
            return copy.deepcopy(_parsed[place])  # Hydra changes what it is given

        def is_config(self, config_path: str) -> bool:
            place = (self.path, config_path)
            if place not in _is_config:
                _is_config[place] = super().is_config(config_path)
            return _is_config[place]

    return KeptSource(source.provider, f"pkg://{source.path}")
