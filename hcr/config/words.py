"""Annotations in words: the values that a key accepts, and the error for a value that it does not accept."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from hcr.config.errors import ConfigError
from hcr.config.secrets import shown
from hcr.config.spelling import did_you_mean

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text", NoneType: "null"}


@dataclass(frozen=True)
class Expected:
    """Metadata of an annotation: the accepted values in words, if type and range do not say enough."""

    what: str


def unpacked(hint: Any) -> tuple[Any, list[Any]]:
    """An annotation without `Annotated`, and its metadata."""
    metadata: list[Any] = []
    while get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        for item in more:
            metadata += item.metadata if isinstance(item, FieldInfo) else [item]
    return hint, metadata


def words(hint: Any) -> str:
    """The values that an annotation accepts: `an integer from 1 to 64, or a list of them`."""
    plain, metadata = unpacked(hint)
    for item in metadata:
        if isinstance(item, Expected):
            return item.what
    origin = get_origin(plain)
    if origin in (Union, UnionType):
        return _either(plain)
    if origin is Literal:
        return "one of " + ", ".join(get_args(plain))
    if origin is tuple:
        return "a list, each " + words(get_args(plain)[0])
    if origin is dict or (isinstance(plain, type) and issubclass(plain, BaseModel)):
        return "a group of settings"
    return NAMES[plain] + _range(plain, metadata)


def mismatch(hint: Any, value: object, key: str) -> ConfigError:
    """The error for a `value` that the annotation `hint` does not accept; it names the wrong item of a list."""
    plain, _ = unpacked(hint)
    origin = get_origin(plain)
    if origin in (Union, UnionType):
        alike = [arm for arm in get_args(plain) if _looks_like(arm, value)]
        if len(alike) == 1 and (isinstance(value, list | tuple | Mapping) or get_origin(alike[0]) is Literal):
            return mismatch(alike[0], value, key)
    elif origin is Literal and isinstance(value, str):
        return no_such(value, get_args(plain), key)
    elif origin is tuple and isinstance(value, list | tuple):
        item_hint = get_args(plain)[0]
        for i, item in enumerate(value):
            if not accepts(item_hint, item):
                return mismatch(item_hint, item, f"{key}[{i}]")
    elif origin is dict and isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str) and type(name) is not int:  # YAML reads `no: x` as False, and 1.10 as 1.1
                return ConfigError(f"{key}: expected text as a name, got {name!r}; put it in quotes in YAML")
            if not accepts(get_args(plain)[1], item):
                return mismatch(get_args(plain)[1], item, f"{key}.{name}" if key else str(name))
    what = words(hint)
    if isinstance(value, float) and not math.isfinite(value):
        what = what.replace("a number", "a finite number", 1)
    takes_text = plain is str or any(unpacked(arm)[0] is str for arm in get_args(plain))
    remedy = "; for the text null, write 'null'" if value is None and takes_text else ""
    return ConfigError(f"{key}: expected {what}, got {shown(key, value)}{remedy}")


def no_such(name: object, names: Iterable[str], key: str) -> ConfigError:
    """The error for a `name` that is none of `names`; it offers the nearest."""
    known = sorted(names)
    return ConfigError(f"{key}: no {shown(key, name)} here{did_you_mean(str(name), known)} (one of {', '.join(known)})")


def accepts(hint: Any, value: object) -> bool:
    """True if an annotation accepts `value`."""
    try:
        TypeAdapter(hint, config=STRICT).validate_python(value)
    except ValidationError:
        return False
    return True


def bounds(hint: Any) -> str:
    """The range of an annotation, such as `1 to 64` or `in [0, 1)`; empty if it has none."""
    plain, metadata = unpacked(hint)
    arms = get_args(plain) if get_origin(plain) in (Union, UnionType) else ()
    if get_origin(plain) is tuple:
        return bounds(get_args(plain)[0])
    own = _range(plain, metadata).strip().removeprefix("of ").removeprefix("from ")
    return own or next((found for arm in arms if (found := bounds(arm))), "")


def parts(hint: Any) -> Iterator[Any]:
    """The alternatives of an annotation, without ranges."""
    plain, _ = unpacked(hint)
    if get_origin(plain) in (Union, UnionType):
        for arm in get_args(plain):
            yield from parts(arm)
    elif plain is not None:
        yield plain


def _either(union: Any) -> str:
    arms = list(get_args(union))
    texts = []
    for arm in arms:
        plain, _ = unpacked(arm)
        of_another = get_origin(plain) is tuple and get_args(plain)[0] in arms
        texts.append("a list of them" if of_another else words(arm))
    is_long = any(text not in ("a list of them", "a group of settings", *NAMES.values()) for text in texts)
    return (", or " if is_long else " or ").join(texts)


def _range(kind: type, metadata: list[Any]) -> str:
    low = next((item for item in metadata if isinstance(item, Ge | Gt)), None)
    high = next((item for item in metadata if isinstance(item, Le | Lt)), None)
    if low is None:
        return ""
    least: Any = low.ge if isinstance(low, Ge) else low.gt
    if high is None:
        return f" of {least:g} or more" if isinstance(low, Ge) else f" over {least:g}"
    most: Any = high.le if isinstance(high, Le) else high.lt
    if kind is int:
        return f" from {least} to {most}"
    return f" in {'[' if isinstance(low, Ge) else '('}{least:g}, {most:g}{']' if isinstance(high, Le) else ')'}"


def _looks_like(hint: Any, value: object) -> bool:
    """True if `value` has the outer type of `hint`, so that the message can name the error inside it."""
    plain, _ = unpacked(hint)
    origin = get_origin(plain)
    if origin is tuple:
        return isinstance(value, list | tuple)
    if origin is dict:
        return isinstance(value, Mapping)
    if origin is Literal:
        return isinstance(value, str)
    if plain is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is plain
