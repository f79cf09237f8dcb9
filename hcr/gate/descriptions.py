"""The description of each key, for `--help` and for the comments of the YAML files."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from hcr.config.errors import ConfigError
from hcr.config.settings import annotation_of, fields_of, is_group
from hcr.config.words import bounds, parts, words
from hcr.gate.keys import Keys
from hcr.gate.run_config import CHOICES, MONITORS, RunConfig, config_hints

COLUMN = 33  # of the comments in a YAML file
KEY = re.compile(r"(?P<set>(?P<key>\w+):(?: .*?)?)(?P<comment>\s+# .*)?")


def comment_of(field: FieldInfo) -> str:
    """The description and range of a key, for the comment after it in YAML."""
    hint = annotation_of(field)
    text = field.description or ""
    plain = list(parts(hint))
    choices = [name for part in plain if get_origin(part) is Literal for name in get_args(part)]
    if choices and not all(re.search(rf"\b{re.escape(name)}\b", text) for name in choices):
        text = f"{text}: {', '.join(dict.fromkeys(choices))}"
    limits = bounds(hint)
    return f"{text}; {limits}" if limits else text


def own_names(group: str) -> list[str]:
    """The names of hcr's own parts of a group."""
    _, table = CHOICES[group]
    return sorted(getattr(table, "own", table))


def kind_of(group: str, values: Mapping[str, Any]) -> type | None:
    """The class of a group's settings; in a group of parts, of the part that `values` name."""
    if group in CHOICES:
        selector, table = CHOICES[group]
        return table.get(str(values.get(selector)))
    hint = config_hints().get(group)
    return hint if is_group(hint) else None


def comments_of(group: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The comment of each key of a YAML file.

    Args:
        group: of the file, "" for the primary config.
        values: the settings of the file, including those of the files that it extends.
    """
    if not group:
        fields = {name: field for name, field in fields_of(RunConfig).items() if not is_group(field.annotation)}
        return {name: comment_of(field) for name, field in fields.items()} | {
            "monitor": f"{comment_of(fields['monitor'])}: {' or '.join(MONITORS)}"
        }
    kind = kind_of(group, values)
    found = {name: comment_of(field) for name, field in fields_of(kind).items()} if kind is not None else {}
    if group in CHOICES:
        selector, _ = CHOICES[group]
        names = ", ".join(own_names(group))
        found[selector] = f"one of {names}" if selector == "name" else f"{found[selector]}: {names}"
    return found


def commented(text: str, comments: Mapping[str, str]) -> str:
    """A YAML file with the comments of its top-level keys replaced by `comments`."""
    lines = []
    for line in text.splitlines():
        found = KEY.fullmatch(line)
        if found is not None and found["key"] in comments:
            line = f"{found['set']:<{COLUMN}}# {comments[found['key']]}"
            if len(found["set"]) >= COLUMN:
                line = f"{found['set']}  # {comments[found['key']]}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def with_choices(text: str, choices: Mapping[str, Sequence[str]]) -> str:
    """A defaults list with the choices of each group listed in its comment."""

    def listed(found: re.Match[str]) -> str:
        names = choices.get(found["group"], ())
        return f"{found['entry']}# {', '.join(names)}{found['rest'] or ''}" if names else found[0]

    entry = r"(?P<entry>  - (?P<group>\w+): (?!null)\w+ +)# (?P<names>[\w, ]+)(?P<rest>;.*)?$"
    return re.sub(entry, listed, text, flags=re.MULTILINE)


def key_help(words_given: list[str], keys: Keys) -> str:
    """The help text of keys or groups: descriptions, types, ranges and values.

    Args:
        words_given: dotted keys, or groups.
        keys: the keys of the composed config.

    Raises:
        ConfigError: a key is unknown.
    """
    return "\n\n".join("\n".join(_explained(word, keys)) for word in words_given)


def _explained(key: str, keys: Keys) -> Iterator[str]:
    group, _, name = key.partition(".")
    values = keys.values.get(group)
    if isinstance(values, Mapping) and not name and group in {*CHOICES, "training", "tracking", "sweep"}:
        kind = kind_of(group, values)
        yield f"{group}: {_first_line(kind)}"
        if keys.names_of is not None:
            yield f"  {group}=NAME: {', '.join(keys.names_of(group))}"
        for inner in values:
            yield from ("", *_explained(f"{group}.{inner}", keys))
        return
    if keys.hint(key) is None or (name and not isinstance(values, Mapping)):
        raise ConfigError(keys.unknown(key))
    kind = kind_of(group, values) if name and isinstance(values, Mapping) else RunConfig
    field = fields_of(kind).get(name or key) if kind is not None else None
    value = values.get(name) if name and isinstance(values, Mapping) else values
    yield f"{key}={json.dumps(value) if not isinstance(value, str) else value}"
    if field is not None:
        if field.description:
            yield f"  {field.description}"
        yield f"  expects {words(annotation_of(field))}"


def _first_line(kind: type | None) -> str:
    return ((kind.__doc__ if kind is not None else None) or "").partition("\n")[0]


def group_of(file: Path, root: Path) -> str:
    """The config group of a YAML file under `root`; "" for the primary config."""
    folder = file.relative_to(root).parent.as_posix()
    return "" if folder == "." else folder


def is_global(text: str) -> bool:
    """True if the keys of a YAML file are those of the whole config."""
    return text.startswith("# @package _global_")
