"""What decides a run's numbers, as digests."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hcr.config.parts import extra_metrics, sources_of
from hcr.environment import deciding_settings
from hcr.gate.run_config import FROM, RUN_GROUPS, RunConfig, to_dict

# The folders and modules whose code changes numbers, and the libraries that do. Pictures change none.
DECIDING_SOURCES = (
    "config",
    "data",
    "environment.py",
    "evaluation/metrics.py",
    "evaluation/statistics.py",
    "model",
    "training",
)
DECIDING_PACKAGES = ("tensorflow", "keras", "numpy")

# Names, notes and places: they say where and why, and change no number. Nor does a look at test change the run.
NOT_DECIDING = ("notes", "tags", "tracking", "check_only", "resume", "new_run", "score_test", FROM)
NOT_DECIDING_OF_DATASET = ("name", "path", "files", "url", "sha256")


def fingerprint(cfg: RunConfig, *, dataset_digest: str, split_digest: str, code: str) -> str:
    """SHA-256 of what decides the numbers of a run: equal fingerprints, equal numbers (on one kind of machine)."""
    return _digest([deciding_config(cfg), dataset_digest, split_digest, code])


def deciding_config(cfg: RunConfig) -> dict[str, Any]:
    """The resolved config without names, notes and places."""
    values = {key: value for key, value in to_dict(cfg).items() if key not in NOT_DECIDING}
    values["dataset"] = {k: v for k, v in values["dataset"].items() if k not in NOT_DECIDING_OF_DATASET}
    return values


def code_version(cfg: RunConfig) -> str:
    """SHA-256 of what decides the numbers of a run beside its config: sources, library versions, settings of the shell.

    Of installed packages those count whose kinds `cfg` names, and those that add metrics.
    """
    return _digest(code_sources(cfg))


def code_sources(cfg: RunConfig) -> dict[str, str]:
    """What `code_version` digests: SHA-256 of each source by its path, and the version of each library by its name.

    Variables of the shell that decide numbers are among it where they are set: their values by their names.
    """
    digests = dict(_held.get("hcr") or _own_digests())
    for name, files in extension_sources(cfg).items():
        digests |= _held.get(name) or _package_digests(name, files)
    return digests | {name: version(name) for name in DECIDING_PACKAGES} | deciding_settings()


_held: dict[str, dict[str, str]] = {}  # digests by package


def hold_sources(cfg: RunConfig) -> None:
    """From now on, in this process and its forks, the code of a run such as `cfg` is what its files hold now.

    It has been imported, and what is written into the files later is not what runs.
    """
    _held.setdefault("hcr", _own_digests())
    for name, files in extension_sources(cfg).items():
        _held.setdefault(name, _package_digests(name, files))


def _own_digests() -> dict[str, str]:
    package = Path(__file__).parents[1]
    places = [package / name for name in DECIDING_SOURCES]
    files = (file for place in places for file in ([place] if place.is_file() else place.rglob("*.py")))
    return {file.relative_to(package.parent).as_posix(): _file_digest(file) for file in files}


def _package_digests(name: str, files: list[Path]) -> dict[str, str]:
    return {
        "/".join(file.parts[file.parts.index(name) :] if name in file.parts else file.parts[-1:]): _file_digest(file)
        for file in files
    }


def extension_sources(cfg: RunConfig) -> dict[str, list[Path]]:
    """The Python files of the installed packages that take part in a run of `cfg`, by package."""
    kinds = [type(getattr(cfg, group)) for group in RUN_GROUPS]
    return sources_of([*kinds, *extra_metrics().values()])


def _file_digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
