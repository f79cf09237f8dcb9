"""Conditions on runs, as `--where` takes them: "val/accuracy > 0.99 and model.depth = 3"."""

import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from hcr.config.errors import ConfigError

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {
        "=": operator.eq,
        "!=": operator.ne,
        "<=": operator.le,
        ">=": operator.ge,
        "<": operator.lt,
        ">": operator.gt,
    }
)
ATTRIBUTES = ("name", "status", "kind")
EXAMPLE = '"val/accuracy > 0.99 and model.depth = 3"'
CONDITION = re.compile(r"""\s*([^\s=!<>]+)\s*(==|=|!=|<=|>=|<|>)\s*("[^"]*"|'[^']*'|\[[^\]]*\]|[^\s"'=<>!]+)\s*""")
AND = re.compile(r"and\b\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Condition:
    """A comparison of a metric, a setting, or an attribute of a run with a value.

    Attributes:
        key: a metric's name has a "/", an attribute is one of ATTRIBUTES, anything else is a setting.
        operator: a key of OPERATORS.
        value: as written, without quotes.
    """

    key: str
    operator: str
    value: str

    @property
    def is_metric(self) -> bool:
        """True if it compares a metric."""
        return is_metric(self.key)

    @property
    def is_attribute(self) -> bool:
        """True if it compares an attribute."""
        return self.key in ATTRIBUTES

    def holds(self, value: object) -> bool:
        """True if a run's `value` fulfils it; None, for a run that has none, does not. Numbers compare as numbers."""
        if value is None:
            return False
        if self.key in ("status", "kind"):
            return OPERATORS[self.operator](str(value).casefold(), self.value.casefold())
        left, right = number(value), number(self.value)
        if left is not None and right is not None:
            return OPERATORS[self.operator](left, right)
        return OPERATORS[self.operator](_plain(str(value)), _plain(self.value))


def is_metric(key: str) -> bool:
    """True if `key` is a metric's name: it has a "/", or is the learning rate by epoch."""
    return "/" in key or key == "lr"


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """The conditions in `text`, which are joined by "and"; every one has to hold.

    Raises:
        ConfigError: it is written otherwise, or compares a text or a metric in a way that means nothing.
    """
    found: list[Condition] = []
    position = 0
    while True:
        match = CONDITION.match(text, position)
        if match is None:
            raise ConfigError(f"--where: expected KEY OPERATOR VALUE at {text[position:]!r}, such as {EXAMPLE}")
        key, sign, value = match[1], "=" if match[2] == "==" else match[2], match[3]
        found.append(_checked(Condition(key, sign, value[1:-1] if value[0] in "\"'" else value)))
        position = match.end()
        if position == len(text):
            return tuple(found)
        joined = AND.match(text, position)
        if joined is None:
            raise ConfigError(f"--where: expected `and` before {text[position:]!r}, such as {EXAMPLE}")
        position = joined.end()


def refuse_unknown(key: str, known: Collection[str], *, option: str) -> None:
    """Refuse a key that no run has, with the nearest that one has.

    Raises:
        ConfigError: `key` is not in `known`.
    """
    if key in known or key in ATTRIBUTES:
        return
    last = [name for name in known if name.rpartition(".")[2] == key or name.rpartition("/")[2] == key]
    near = sorted(last) or get_close_matches(key, known, n=1)
    raise ConfigError(f"{option}: no run has {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def number(value: object) -> float | None:
    """`value` as a number; None if it is none. True and false are none."""
    try:
        return None if isinstance(value, bool) else float(str(value))
    except ValueError:
        return None


def _checked(condition: Condition) -> Condition:
    if condition.is_metric and number(condition.value) is None:
        raise ConfigError(f"--where: {condition.key}: expected a number, got {condition.value!r}")
    is_order = condition.operator not in ("=", "!=")
    if is_order and number(condition.value) is None:
        raise ConfigError(
            f"--where: {condition.key}: expected = or != before the text {condition.value!r}, got {condition.operator}"
        )
    return condition


def _plain(text: str) -> str:
    """A list without blanks, so that `[16, 32]` is `[16,32]`."""
    text = text.strip()
    return re.sub(r"\s+", "", text) if text.startswith("[") else text
