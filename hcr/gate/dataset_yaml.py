"""The YAML of a data set, as a user would write it into `conf/dataset`."""

import re
from collections.abc import Mapping
from typing import Any

from hcr.config.text import printable
from hcr.data.formats import DataFormat
from hcr.gate.descriptions import commented, comments_of

FIRST = ("name", "format", "path")  # the keys that a file starts with
OF_DOWNLOADS = ("files", "url", "sha256")
# YAML 1.1, which PyYAML and Hydra read, and other readers take more words for true, false, null and numbers than PyYAML
# itself; so only words of letters that are none of these go without quotes.
_PLAIN = re.compile(r"[^\W\d_][\w-]*")
_RESERVED = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"}


FEW, SOME = 1_000, 5_000  # training images, below which training=tiny and training=small are chosen


def training_for(num_train: int) -> str | None:
    """The choice of `training` for so many training images; None: the default one."""
    return "tiny" if num_train < FEW else "small" if num_train < SOME else None


def dataset_yaml(dataset: DataFormat, *, split: str, heading: str, training: str | None = None) -> str:
    """The lines of a file in `conf/dataset` that selects `dataset` as it is, its split, and how long it is trained on.

    Keys of downloads are left out where they are empty, and `limit` where it is null.

    Args:
        dataset: its settings, with what was read from the data filled in.
        split: the name of a split.
        heading: what the file is, for the comment in its first line.
        training: the name of a choice of `training`; None: the default one.
    """
    values = _ordered(dataset.model_dump(by_alias=True, serialize_as_any=True))
    text = "".join(f"{key}: {scalar_or_list(value)}\n" for key, value in values.items())
    comments = comments_of("dataset", values)
    lines = [line if "#" in line else commented(line, comments).rstrip("\n") for line in text.splitlines()]
    chosen = {"split": split} | ({} if training is None else {"training": training})
    overrides = [f"  - override /{group}@_global_.{group}: {name}" for group, name in chosen.items()]
    return "\n".join([f"# {printable(heading)}", "defaults:", *overrides, "", *lines]) + "\n"


def scalar_or_list(value: Any) -> str:
    """A value as YAML in one line, which Hydra reads as the same value."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(scalar_or_list, value))}]"
    if isinstance(value, str):
        return text_scalar(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def text_scalar(text: str) -> str:
    """Text as a YAML scalar: plain where every reader takes it for text, else in double quotes."""
    if _PLAIN.fullmatch(text) and text.isprintable() and text.lower() not in _RESERVED:
        return text
    unread = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # not an interpolation
    return '"' + "".join(map(_in_quotes, unread)) + '"'


def _in_quotes(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _ordered(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys in the order of the files in `conf/dataset`: those of every data set last."""
    common = [key for key in DataFormat.model_fields if key not in FIRST]
    own = [key for key in values if key not in common and key not in FIRST]
    left_out = {key for key in (*OF_DOWNLOADS, "limit") if not values.get(key)}
    order = [*FIRST, *own, *common]
    return {key: values[key] for key in order if key in values and key not in left_out}
