"""The YAML of installed packages, hcr's own and Hydra's: a file is parsed once a process, and again when it changes."""

import copy
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra._internal.config_repository import IConfigRepository
    from hydra.plugins.config_source import ConfigResult, ConfigSource

State = tuple[int, int]  # of a file: when it was changed, in nanoseconds, and its size in bytes

_parsed: "dict[tuple[str, str, str], tuple[State, ConfigResult]]" = {}


def keep_package_files(repository: "IConfigRepository") -> None:
    """Have the sources of `repository` that are packages keep what they have parsed.

    A composition reads some twenty of their files, which is half of its time, and to explain a bad override takes
    several compositions.
    """
    sources = repository.get_sources()
    sources[:] = [_keeping(source) if source.scheme() == "pkg" else source for source in sources]


def _keeping(source: "ConfigSource") -> "ConfigSource":
    from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource

    class KeepingSource(ImportlibResourcesConfigSource):
        def load_config(self, config_path: str) -> "ConfigResult":
            file = files(self.path).joinpath(self._normalize_file_name(config_path))
            if not isinstance(file, Path) or not file.is_file():  # in a zip archive, or refused by Hydra
                return super().load_config(config_path)
            found = file.stat()
            state = (found.st_mtime_ns, found.st_size)
            place = (self.provider, self.path, config_path)
            if place not in _parsed or _parsed[place][0] != state:
                _parsed[place] = (state, super().load_config(config_path))
            return copy.deepcopy(_parsed[place][1])  # Hydra changes what it is given

    return KeepingSource(source.provider, f"pkg://{source.path}")
