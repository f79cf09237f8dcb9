"""Groups of settings, declared with pydantic: strict types, declared ranges, one-line errors."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from hcr.config.errors import ConfigError
from hcr.config.secrets import shown
from hcr.config.spelling import key_meant
from hcr.config.text import is_recordable
from hcr.config.words import mismatch, no_such, words

T = TypeVar("T")

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
# YAML and JSON have lists, a frozen config has tuples. The only other coercion is int to float.
Listing = Annotated[tuple[T, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]


class Settings(BaseModel):
    """A frozen group of settings. A field's annotation declares its type and range, its description its meaning.

    Attributes:
        group: the dotted key of the group in a config, for messages.

    Raises:
        ConfigError: a key is unknown or missing, or a value does not fit its annotation; names the key.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)
    group: ClassVar[str] = ""

    def __init__(self, /, **values: Any) -> None:
        for name, value in values.items():
            _check_text(value, join(self.group, name))
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _refusal(type(self), values, error) from None

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; the changes are validated."""
        return type(self)(**{**dict(self), **changes})


def check(
    kind: type[T], raw: object, *, key: str | None = None, unknown: Callable[[str], str] | None = None
) -> T:  # T is a kind of Settings
    """An instance of `kind` from the mapping `raw`.

    Args:
        kind: a subclass of Settings.
        raw: the content of the YAML.
        key: its key in the config, for messages; None: `kind.group`.
        unknown: as for check_names.

    Raises:
        ConfigError: as Settings.
    """
    assert issubclass(kind, Settings)
    key = kind.group if key is None else key
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{key}: expected a group of settings, got {shown(key, raw)}")
    check_names(raw, names_of(kind), key=key, unknown=unknown)
    return kind(**raw)


def fields_of(kind: type) -> dict[str, FieldInfo]:
    """The fields of a subclass of Settings, by their names in YAML."""
    assert issubclass(kind, Settings)
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def names_of(kind: type) -> list[str]:
    """The keys of a group of this kind."""
    return list(fields_of(kind))


def annotation_of(field: FieldInfo) -> Any:
    """A field's annotation with its range."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def is_group(hint: Any) -> bool:
    """True if an annotation is a group of settings."""
    return isinstance(hint, type) and issubclass(hint, Settings)


def check_names(
    given: Iterable[object], known: Iterable[str], *, key: str = "", unknown: Callable[[str], str] | None = None
) -> None:
    """Refuse unknown names.

    Args:
        given: the names in the group `key`.
        known: the names that it may have.
        unknown: makes the message for a dotted key; default: `unknown_key`, which knows only the keys of that group.

    Raises:
        ConfigError: a name is unknown; the message is about the first.
    """
    names = list(known)
    for name in given:
        if name not in names:
            whole = join(key, str(name))
            raise ConfigError(unknown(whole) if unknown is not None else unknown_key(whole, join_all(key, names)))


def choose(table: Mapping[str, T], name: object, *, key: str) -> T:
    """The entry `name` of `table`.

    Raises:
        ConfigError: there is none; the message offers the nearest name.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise no_such(name, table, key)


def expected(what: str, key: str, value: object) -> ConfigError:
    """The error for a value of `key` that is not `what` was expected."""
    return ConfigError(f"{key}: expected {what}, got {shown(key, value)}")


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The message for an unknown key; `known` are the keys of its group."""
    meant = key_meant(key, known)
    return f"{key}: unknown key" + ("" if meant is None else f"; did you mean {meant!r}?")


def join(parent: str, name: str) -> str:
    """The dotted key of `name` under `parent`."""
    return f"{parent}.{name}" if parent else name


def join_all(parent: str, names: Iterable[str]) -> list[str]:
    return [join(parent, name) for name in names]


def _refusal(kind: type[Settings], values: Mapping[str, Any], error: ValidationError) -> ConfigError:
    """Pydantic's error as a one-line ConfigError: an unknown key if there is one, else the first problem."""
    problems = error.errors(include_url=False)
    for problem in problems:
        if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
            return ConfigError(
                unknown_key(join(kind.group, str(problem["loc"][0])), join_all(kind.group, names_of(kind)))
            )
    problem = problems[0]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):  # raised by a validator of the whole group
        return cause
    name = str(problem["loc"][0])
    hint, key = annotation_of(fields_of(kind)[name]), join(kind.group, name)
    if problem["type"] == "missing":
        return ConfigError(f"{key}: missing; expected {words(hint)}")
    return mismatch(hint, values[name], key)


def _check_text(value: object, key: str) -> None:
    """Refuse text that cannot be recorded, at any depth."""
    for found, where in _texts(value, key):
        if not is_recordable(found):
            raise expected("text without NUL, U+0085 and lone surrogates", where, found)


def _texts(value: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield value, key
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(name, key)
            yield from _texts(item, join(key, str(name)))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _texts(item, f"{key}[{i}]")
