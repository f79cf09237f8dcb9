"""What decides a run's numbers, as digests."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hcr.config.parts import extra_metrics, sources_of
from hcr.environment import deciding_settings
from hcr.gate.run_config import FROM, RUN_GROUPS, RunConfig, to_dict
from hcr.sources import own_sources, package_sources

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
    sources = own_sources(_is_deciding)
    for name, files in extension_sources(cfg).items():
        sources |= package_sources(name, files)
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in sources.items()}
    return digests | {name: version(name) for name in DECIDING_PACKAGES} | deciding_settings()


def _is_deciding(path: str) -> bool:
    places = [f"hcr/{place}" for place in DECIDING_SOURCES]
    return path.endswith(".py") and any(path == place or path.startswith(f"{place}/") for place in places)


def extension_sources(cfg: RunConfig) -> dict[str, list[Path]]:
    """The Python files of the installed packages that take part in a run of `cfg`, by package."""
    kinds = [type(getattr(cfg, group)) for group in RUN_GROUPS]
    return sources_of([*kinds, *extra_metrics().values()])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
