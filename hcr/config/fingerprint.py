"""What decides a run's numbers, as digests."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hcr.config.gate import RunConfig, to_dict

# The rooms of the house whose code changes numbers, and the libraries that do.
DECIDING_SOURCES = ("config", "data", "evaluation", "model", "training")
DECIDING_PACKAGES = ("tensorflow", "keras", "numpy")

# Names, notes and places: they say where and why, and change no number.
NOT_DECIDING = ("notes", "tags", "tracking", "check_only")
NOT_DECIDING_OF_DATASET = ("name", "path", "files", "url", "sha256")


def fingerprint(cfg: RunConfig, *, dataset_digest: str, split_digest: str, code: str) -> str:
    """SHA-256 of what decides the numbers of a run: equal fingerprints, equal numbers (on one kind of machine)."""
    return _digest([deciding_config(cfg), dataset_digest, split_digest, code])


def deciding_config(cfg: RunConfig) -> dict[str, Any]:
    """The resolved config without names, notes and places."""
    values = {key: value for key, value in to_dict(cfg).items() if key not in NOT_DECIDING}
    values["dataset"] = {k: v for k, v in values["dataset"].items() if k not in NOT_DECIDING_OF_DATASET}
    return values


def code_version() -> str:
    """SHA-256 of the sources that decide numbers and of the versions of the libraries that do."""
    package = Path(__file__).parents[1]
    files = sorted(file for room in DECIDING_SOURCES for file in (package / room).rglob("*.py"))
    sources = {file.relative_to(package).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return _digest([sources, {name: version(name) for name in DECIDING_PACKAGES}])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
