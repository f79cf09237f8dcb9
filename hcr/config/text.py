"""Text of users': one printable line whatever it holds, on a terminal, in Markdown and in CSV."""

import csv
import io
import re
from collections.abc import Sequence

# Marks that turn the direction of the text around them: with them a name can look like another.
_TURNS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029{_TURNS}\ufeff\ufff9-\ufffb\ud800-\udfff]")
_MARKDOWN = re.compile(r"[\\`*\[\]>#|~]|(?<!\w)_|_(?!\w)")
# What has a meaning to MLflow's pages, and no backslash that takes it away: HTML, @people, :emoji:.
_ENTITIES = re.compile(r"[<&@]|:(?=[\w+-]+:)")


def printable(text: str) -> str:
    """`text` as one line that shows all of it: control characters, line ends, marks that turn the direction of text
    and lone surrogates become escapes such as `\\n` and `\\x1b`; everything else stays."""
    return _HIDDEN.sub(lambda found: escaped(found[0]), text)


def markdown(text: str) -> str:
    """`text` as one line of Markdown that shows it as it is: nothing in it is emphasis, HTML or a table."""
    escaped = _MARKDOWN.sub(r"\\\g<0>", printable(text))
    return _ENTITIES.sub(lambda found: f"&#{ord(found[0])};", escaped)


def csv_line(cells: Sequence[object]) -> str:
    """A line of a CSV file that reads back as `cells`. Python's own writer leaves a lone carriage return without quotes
    unless lines end in one, and whoever reads the file takes it for the end of the row."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def is_recordable(text: str) -> bool:
    """Whether `text` can be recorded: no lone surrogate, which UTF-8 lacks; no NUL, which no file's name can have; no
    U+0085, which PyYAML writes and does not read back."""
    return re.search("[\ud800-\udfff\x00\x85]", text) is None


def escaped(char: str) -> str:
    """A character as an escape of ASCII, such as `\\n` and `\\x1b`."""
    return char.encode("unicode_escape").decode()
