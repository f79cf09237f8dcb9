"""Completions for the command line of `hcr train`, from the YAML files and the typed config.

Composing with Hydra would be exact, but too slow for a Tab key. Only the YAML files that the command line chooses are
read.
"""

from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from omegaconf import OmegaConf

from hcr.config.settings import annotation_of, fields_of, is_group
from hcr.config.words import parts
from hcr.gate.run_config import CHOICES, MONITORS, config_hints

PRIMARY = "config"


class Suggestions:
    """Completes one override.

    Args:
        words: the other words on the line; `GROUP=NAME` among them decides which keys exist.
        config_dir: a user's folder of YAML, which takes precedence over the installed one.
    """

    def __init__(self, words: Sequence[str], config_dir: Path | None) -> None:
        self._words = words
        self._folders = [*([config_dir] if config_dir is not None else []), Path(str(files("hcr.conf")))]

    def complete(self, word: str) -> list[str]:
        """The completions of `word`; one that ends in `=` or `.` is itself incomplete.

        The value may be the last of several, as in `depth=1,2`. The word may begin with Hydra's `+`, `++` or `~`.
        """
        sign = word[: len(word) - len(word.lstrip("+~"))]
        key, equals, value = word[len(sign) :].partition("=")
        if equals:
            before, comma, last = value.rpartition(",")
            taken = before.split(",")
            values = [name for name in self.values(key) if name.startswith(last) and name not in taken]
            return [f"{sign}{key}={before}{comma}{name}" for name in values]
        group, dot, _ = key.partition(".")
        names = self.keys_of(group) if dot else self.top_level
        return [f"{sign}{name}" for name in names if name.startswith(key)]

    @property
    def top_level(self) -> list[str]:
        """Groups and top-level keys: `model=`, `model.`, `seed=` ..."""
        dotted = [f"{group}." for group in config_hints() if group in self.groups]
        plain = [f"{name}=" for name in config_hints() if name not in self.groups]
        return sorted([*plain, *dotted, *(f"{group}=" for group in self.groups)])

    @cached_property
    def groups(self) -> list[str]:
        """The config groups: folders with YAML files."""
        found = {
            path.name
            for folder in self._folders
            for path in folder.iterdir()
            if path.is_dir() and any(path.glob("*.yaml"))
        }
        return sorted(found - {"hydra"})

    def choices(self, group: str) -> list[str]:
        """The values of `group=`."""
        found = {
            path.relative_to(folder / group).with_suffix("").as_posix()
            for folder in self._folders
            for path in (folder / group).rglob("*.yaml")
        }
        return sorted(found)

    def keys_of(self, group: str) -> list[str]:
        """`group.key=` for every setting of the chosen config of `group`."""
        values = self._values_of(group, self._chosen(group))
        return [f"{group}.{name}=" for name in values]

    def values(self, key: str) -> list[str]:
        """The values of `key=` if there is a finite list: choices, true or false, named values."""
        if key in self.groups:
            return self.choices(key)
        if key == "monitor":
            return list(MONITORS)
        group, dot, name = key.partition(".")
        hints = config_hints()
        hint = hints.get(group)
        if dot and hint is not None:
            field = fields_of(self._kind(group, hint)).get(name) if is_group(hint) else None
            hint = None if field is None else annotation_of(field)
        return [value for part in parts(hint) for value in _named_values(part)]

    def _kind(self, group: str, declared: Any) -> Any:
        """The config class of the chosen config of `group`."""
        if group not in CHOICES:
            return declared
        selector, table = CHOICES[group]
        return table.get(str(self._values_of(group, self._chosen(group)).get(selector)), declared)

    def _chosen(self, group: str) -> str | None:
        """The name chosen for `group`: on the line, else by the chosen experiment or data set, else by default."""
        for word in reversed(self._words):
            name, equals, value = word.lstrip("+").partition("=")
            if name == group and equals:
                return value.rpartition(",")[2]
        # An experiment may choose every group, a data set every group except an experiment.
        above = {"experiment": (), "dataset": ("experiment",)}.get(group, ("experiment", "dataset"))
        for other in above:
            chosen = self._defaults(other, self._chosen(other)).get(group)
            if chosen is not None:
                return chosen
        return self._defaults("", PRIMARY).get(group)

    def _defaults(self, group: str, name: str | None) -> dict[str, str]:
        """Names by group in a file's defaults list, including `override /training@_global_.training: small`."""
        found = {}
        for entry in self._read(group, name).get("defaults") or []:
            if isinstance(entry, dict):
                for key, value in entry.items():
                    plain = str(key).removeprefix("override ").strip().lstrip("/").partition("@")[0]
                    if value is not None:
                        found[plain] = str(value)
        return found

    def _values_of(self, group: str, name: str | None) -> dict[str, Any]:
        """The settings in a file of `group` and in the files of its defaults list."""
        raw = self._read(group, name)
        merged: dict[str, Any] = {}
        for entry in raw.get("defaults") or []:
            if isinstance(entry, str) and entry not in ("_self_", name):
                merged |= self._values_of(group, entry)
        return merged | {key: value for key, value in raw.items() if key != "defaults"}

    def _read(self, group: str, name: str | None) -> dict[str, Any]:
        """A YAML file as plain values; empty if it does not exist or cannot be read."""
        for folder in self._folders if name else []:
            path = folder / group / f"{name}.yaml"
            if path.is_file():
                try:
                    values = OmegaConf.to_container(OmegaConf.load(path))
                except Exception:  # completion prints no errors; `hcr train` reports the file
                    return {}
                return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}
        return {}


def _named_values(hint: Any) -> list[str]:
    """The values of a bool, None or Literal type, as YAML writes them."""
    if hint is bool:
        return ["true", "false"]
    if hint is NoneType:
        return ["null"]
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    return []
