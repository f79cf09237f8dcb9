"""Digests of everything that determines a run's results."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hcr.config.parts import extra_metrics, sources_of
from hcr.environment import deciding_settings
from hcr.gate.run_config import FROM, RUN_GROUPS, RunConfig, to_dict
from hcr.sources import own_sources, package_sources

# The folders, modules and libraries whose code can change results. Code that only draws pictures cannot.
DECIDING_SOURCES = (
    "config",
    "data",
    "environment.py",
    "evaluation/calibration.py",
    "evaluation/metrics.py",
    "evaluation/statistics.py",
    "model",
    "training",
)
DECIDING_PACKAGES = ("tensorflow", "keras", "numpy")

# Names, notes, paths, the look at test, and how images for prediction are prepared do not change results.
NOT_DECIDING = ("notes", "tags", "tracking", "check_only", "resume", "new_run", "score_test", FROM)
NOT_DECIDING_OF_DATASET = ("name", "path", "test_path", "files", "url", "sha256", "made_as")
# Keys of a group that earlier versions lacked, each with the value that means the same as its absence.
ADDED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "split": {"seed": None},
        "training": {"calibrate": "none", "tta": "none", "shards": 1, "device": "cpu"},
        "dataset": {
            "pixels": "auto",
            "invert": "auto",
            "image_size": None,
            "fit": "pad",
            "color": None,
            "classes": None,
            "min_per_class": 1,
        },
    }
)


def fingerprint(
    cfg: RunConfig, *, dataset_digest: str, split_digest: str, code: str, preparation_digest: str | None = None
) -> str:
    """SHA-256 of everything that determines a run's results; equal fingerprints, equal results on equal machines."""
    prepared = [] if preparation_digest is None else [preparation_digest]
    return _digest([deciding_config(cfg), dataset_digest, split_digest, code, *prepared])


def ensemble_fingerprint(members: Sequence[str], code: str) -> str:
    """SHA-256 of everything that determines an ensemble's predictions: the fingerprints of its members, in order."""
    return _digest(["ensemble", *members, code])


def deciding_config(cfg: RunConfig) -> dict[str, Any]:
    """The resolved config without names, notes and paths, and without new keys that change nothing."""
    values = {key: value for key, value in to_dict(cfg).items() if key not in NOT_DECIDING}
    values["dataset"] = {k: v for k, v in values["dataset"].items() if k not in NOT_DECIDING_OF_DATASET}
    return values | {group: without_added(group, values[group]) for group in ADDED}


def without_added(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a group without keys that earlier versions lacked, if they change nothing."""
    added = ADDED[group]
    return {key: value for key, value in values.items() if key not in added or value != added[key]}


def code_version(cfg: RunConfig) -> str:
    """SHA-256 of everything but config and data that determines results: sources, library versions, shell variables.

    Includes installed packages whose parts `cfg` names, and those that add metrics.
    """
    return _digest(code_sources(cfg))


def code_sources(cfg: RunConfig) -> dict[str, str]:
    """The input of `code_version`: SHA-256 of each source by path, and the version of each library by name.

    Shell variables that can change results are included, value by name, if they are set.
    """
    sources = own_sources(is_deciding)
    for name, files in extension_sources(cfg).items():
        sources |= package_sources(name, files)
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in sources.items()}
    return digests | {name: version(name) for name in DECIDING_PACKAGES} | deciding_settings()


def is_deciding(path: str) -> bool:
    """True if hcr's source file `path`, such as `hcr/model/muon.py`, is part of the code version."""
    places = [f"hcr/{place}" for place in DECIDING_SOURCES]
    return path.endswith(".py") and any(path == place or path.startswith(f"{place}/") for place in places)


def extension_sources(cfg: RunConfig) -> dict[str, list[Path]]:
    """The Python files of the installed packages that a run of `cfg` uses, by package."""
    kinds = [type(getattr(cfg, group)) for group in RUN_GROUPS]
    return sources_of([*kinds, *extra_metrics().values()])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
