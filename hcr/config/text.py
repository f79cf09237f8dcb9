"""User text as one printable line, on a terminal, in Markdown and in CSV."""

import csv
import io
import re
from collections.abc import Sequence

# Bidirectional control characters: they can make one name look like another.
_TURNS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029{_TURNS}\ufeff\ufff9-\ufffb\ud800-\udfff]")
_MARKDOWN = re.compile(r"[\\`*\[\]>#|~]|(?<!\w)_|_(?!\w)")
# MLflow interprets these, and a backslash does not escape them: HTML, @people, :emoji:.
_ENTITIES = re.compile(r"[<&@]|:(?=[\w+-]+:)")


def printable(text: str) -> str:
    """`text` as one line: control characters, line ends, bidirectional controls and lone surrogates become escapes such
    as `\\n` and `\\x1b`; everything else is unchanged."""
    return _HIDDEN.sub(lambda found: escaped(found[0]), text)


def markdown(text: str) -> str:
    """`text` as one line of Markdown that displays it literally: without emphasis, HTML or tables."""
    escaped = _MARKDOWN.sub(r"\\\g<0>", printable(text))
    return _ENTITIES.sub(lambda found: f"&#{ord(found[0])};", escaped)


def csv_line(cells: Sequence[object]) -> str:
    """A CSV line that reads back as `cells`.

    Python's writer quotes a lone carriage return only if the line terminator contains one; unquoted, it would end the
    row on reading.
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def is_recordable(text: str) -> bool:
    """True if `text` can be recorded.

    It must have no lone surrogate (not in UTF-8), no NUL (not allowed in file names) and no U+0085 (PyYAML writes it
    but does not read it back).
    """
    return re.search("[\ud800-\udfff\x00\x85]", text) is None


def escaped(char: str) -> str:
    """A character as an ASCII escape, such as `\\n` and `\\x1b`."""
    return char.encode("unicode_escape").decode()
