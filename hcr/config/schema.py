"""Plain values onto frozen dataclasses, strictly: every key known and present, every type as annotated."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hcr.config.errors import ConfigError
from hcr.config.secrets import without_secrets
from hcr.config.spelling import did_you_mean, key_meant
from hcr.config.text import is_text

T = TypeVar("T")


def build(cls: type[T], raw: object, *, key: str = "") -> T:
    """An instance of the dataclass `cls` from the mapping `raw`.

    Args:
        cls: a frozen dataclass whose fields are annotated with `bool`, `int`, `float`, `str`, a `Literal`,
            `tuple[X, ...]`, `dict[str, X]`, a union of these with or without None, or another dataclass.
        raw: what the YAML holds there.
        key: where in the config it stands, for messages.

    Raises:
        ConfigError: an unknown or missing key, or a value of another type; names the key.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{key}: expected a group of settings, got {shown(key, raw)}")
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for name in raw:
        if name not in known:
            raise ConfigError(unknown_key(join(key, str(name)), join_all(key, known)))
    hints = get_type_hints(cls)
    values = {}
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name in raw:
            values[field.name] = convert(hints[field.name], raw[field.name], key=join(key, field.name))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{join(key, field.name)}: missing; expected {describe(hints[field.name])}")
    return cls(**values)


def convert(hint: Any, value: object, *, key: str) -> Any:
    """`value` as the annotation `hint` asks, or a ConfigError that names `key`. Nothing is coerced but int to float."""
    origin = get_origin(hint)
    if is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, key=key)  # type: ignore[arg-type]
    if origin in (Union, UnionType):
        return _convert_union(hint, value, key=key)
    if origin is Literal:
        if not (isinstance(value, str) and value in get_args(hint)):
            choose({name: name for name in get_args(hint)}, value, key=key)
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(convert(get_args(hint)[0], item, key=f"{key}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str) and type(name) is not int:  # YAML reads `no: x` as False, and 1.10 as 1.1
                raise ConfigError(f"{key}: expected names that are text, got {name!r}; in quotes it is text")
        return {str(name): convert(get_args(hint)[1], item, key=join(key, str(name))) for name, item in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{key}: expected a finite number, got {value!r}")
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        if isinstance(value, str):
            require(is_text(value), key, "text without NUL, U+0085 and lone surrogates", value)
        return value
    raise _wrong_type(hint, value, key=key)


def choose(table: Mapping[str, T], name: object, *, key: str) -> T:
    """The entry of `table` called `name`; a ConfigError that offers the nearest name where there is none."""
    if isinstance(name, str) and name in table:
        return table[name]
    raise ConfigError(f"{key}: no {name!r} here{did_you_mean(str(name), table)} (one of {', '.join(sorted(table))})")


def require(condition: bool, key: str, expected: str, value: object) -> None:
    """Raise the ConfigError of a value out of range unless `condition` holds."""
    if not condition:
        raise ConfigError(f"{key}: expected {expected}, got {shown(key, value)}")


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The message for a key that nothing reads; `known` are those that stand beside it."""
    meant = key_meant(key, known)
    return f"{key}: unknown key" + ("" if meant is None else f"; did you mean {meant!r}?")


def shown(key: str, value: object) -> str:
    """`value` as a message may quote it: nothing of a secret, by the name of `key` or of a key inside `value`."""
    return repr(without_secrets(value, key))


def join(parent: str, name: str) -> str:
    """The dotted key of `name` under `parent`."""
    return f"{parent}.{name}" if parent else name


def join_all(parent: str, names: Iterable[str]) -> list[str]:
    return [join(parent, name) for name in names]


def describe(hint: Any) -> str:
    """An annotation in words: `an integer or a list of integers`."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return " or ".join(describe(part) for part in get_args(hint))
    if origin is Literal:
        return "one of " + ", ".join(get_args(hint))
    if origin is tuple:
        return "a list, each " + describe(get_args(hint)[0])
    if origin is dict or is_dataclass(hint):
        return "a group of settings"
    return {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "text",
        NoneType: "null",
    }[hint]


def _convert_union(hint: Any, value: object, *, key: str) -> Any:
    parts = get_args(hint)
    if value is None and NoneType in parts:
        return None
    for part in parts:
        if _looks_like(part, value):
            return convert(part, value, key=key)
    raise _wrong_type(hint, value, key=key)


def _wrong_type(hint: Any, value: object, *, key: str) -> ConfigError:
    is_text = hint is str or str in get_args(hint)
    remedy = "; in quotes it is text" if is_text and (value is None or isinstance(value, bool | int | float)) else ""
    return ConfigError(f"{key}: expected {describe(hint)}, got {shown(key, value)}{remedy}")


def _looks_like(hint: Any, value: object) -> bool:
    """Whether `value` is of the kind of `hint`, so that what is wrong inside it is told in its terms."""
    if get_origin(hint) is tuple:
        return isinstance(value, list | tuple)
    if get_origin(hint) is dict:
        return isinstance(value, Mapping)
    if get_origin(hint) is Literal:
        return isinstance(value, str)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint
