"""The keys of a config: their types, and the message for an unknown key."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from hcr.config.errors import ConfigError
from hcr.config.parts import Parts
from hcr.config.settings import annotation_of, fields_of, is_group, names_of, unknown_key
from hcr.config.spelling import ELSEWHERE, alias_targets, key_meant, simplified
from hcr.config.words import parts

Tables = Mapping[str, tuple[str, Mapping[str, type]]]

MOST_OWNERS = 4  # named in a message


@dataclass(frozen=True)
class Keys:
    """The keys of a config, and those that it would have with other choices.

    Args:
        values: the config as plain values.
        hints: the annotation of every top-level key.
        tables: of each group whose class is chosen by name, the key that holds the name, and the classes.
        chosen: the chosen file of each group; None if the config was not composed from files.
        choices_of: returns the files of a group, each with the name of its part.
        names_of: returns only the names of these files.
    """

    values: Mapping[str, Any]
    hints: Mapping[str, Any]
    tables: Tables
    chosen: Mapping[str, str] | None = None
    choices_of: Callable[[str], Mapping[str, str]] | None = None
    names_of: Callable[[str], Sequence[str]] | None = None

    def hint(self, key: str) -> Any:
        """The annotation of a dotted key, including a tag; None for an unknown key."""
        top, _, rest = key.partition(".")
        hint = self.hints.get(top)
        if not rest or hint is None:
            return hint
        if top in self.tables:
            hint = self._kind(top) or hint
        if is_group(hint):
            field = fields_of(hint).get(rest)
            return None if field is None else annotation_of(field)
        item = part_of(hint, dict)
        return get_args(item)[1] if item is not None else None

    def has_to_be_added(self, key: str) -> bool:
        """True if a valid key, such as a tag, is not in the config yet, so that Hydra needs a + before it."""
        top, _, rest = key.partition(".")
        given = self.values.get(top)
        return bool(rest) and not (isinstance(given, Mapping) and rest in given)

    def all(self) -> list[str]:
        """Every dotted key, including groups, but not names chosen by the user, such as tags."""
        found = []
        for name, value in self.values.items():
            found.append(str(name))
            if isinstance(value, Mapping) and is_group(self.hints.get(str(name))):
                found += [f"{name}.{inner}" for inner in value]
        return [*found, *(name for name in self.chosen or {} if name not in found and "/" not in name)]

    def unknown(self, key: str) -> str:
        """The message for the unknown `key`: which part has it, or what it most likely means."""
        group, _, last = key.replace("/", ".").rpartition(".")
        if group in self.tables:
            owners = self._owners(group, last)
            if owners:
                return f"{key}: unknown key of {self._label(group)}; {owners}"
        known = [other for other in self.all() if other != key]  # `values` may contain the unknown key
        if simplified(last) in ELSEWHERE and last not in known:
            return f"{key}: unknown key; {ELSEWHERE[simplified(last)]}"
        if key_meant(key, known) is not None:
            return unknown_key(key, known)
        for other in (*alias_targets(last), *([] if group else (f"{name}.{last}" for name in self.tables))):
            there, _, name = other.partition(".")
            owners = self._owners(there, name) if there in self.tables else ""
            if owners:
                return f"{key}: unknown key; {owners.removesuffix('it')}{other!r}"
        return unknown_key(key, known)

    def _owners(self, group: str, name: str) -> str:
        """`model=cnn has it`, if other parts of `group` have a setting of this name and the chosen one lacks it."""
        selector, table = self.tables[group]
        kinds = table.own if isinstance(table, Parts) else table
        chosen = self._kind(group)
        plain = simplified(name)
        if chosen is not None and plain in map(simplified, names_of(chosen)):
            return ""
        owners = [kind for kind, cls in kinds.items() if plain in map(simplified, names_of(cls))]
        if not owners:
            return ""
        texts = [f"{group}={kind}" if selector == "name" else f"{group}.{selector}={kind}" for kind in owners]
        if self.choices_of is not None:
            choices = self.choices_of(group)
            texts = [f"{group}={choice}" for choice, kind in choices.items() if kind in owners] or texts
        if len(texts) == 1:
            return f"{texts[0]} has it"
        if len(texts) > MOST_OWNERS:
            texts = [*texts[: MOST_OWNERS - 1], f"{len(texts) - MOST_OWNERS + 1} more"]
        return f"{', '.join(texts[:-1])} and {texts[-1]} have it"

    def _label(self, group: str) -> str:
        if self.chosen is not None and self.chosen.get(group):
            return f"{group}={self.chosen[group]}"
        selector, _ = self.tables[group]
        return f"{group}={self.values[group].get(selector)}" if selector == "name" else group

    def _kind(self, group: str) -> type | None:
        selector, table = self.tables[group]
        chosen = self.values.get(group)
        name = chosen.get(selector) if isinstance(chosen, Mapping) else None
        try:
            return table[name] if isinstance(name, str) and name in table else None
        except ConfigError:  # an installed package cannot be imported: the gate reports it
            return None


def part_of(hint: Any, kind: type) -> Any:
    """The alternative of an annotation that is a `kind`, such as `dict[str, str]` in `dict[str, str] | None`."""
    return next((part for part in parts(hint) if part is kind or get_origin(part) is kind), None)


def takes_text(hint: Any) -> bool:
    """True if an annotation accepts text of any kind."""
    return part_of(hint, str) is not None


def is_list(hint: Any) -> bool:
    """True if an annotation accepts a list."""
    return part_of(hint, tuple) is not None
