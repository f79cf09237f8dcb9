"""Text of users' and its way to a terminal: one printable line whatever it holds, in whatever encoding."""

import codecs
import contextlib
import csv
import io
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# What hcr itself prints beyond ASCII, for a terminal or a pipe that cannot show it.
ASCII = {"±": "+/-", "×": "x", "→": "->", "←": "<-", "…": "...", "·": "-", "≤": "<=", "≥": ">=", "–": "-", "−": "-"}
ENCODING_ERRORS = "hcr.ascii"  # the name under which `codecs` knows what is done about the others

# Marks that turn the direction of the text around them: with them a name can look like another.
_TURNS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029{_TURNS}\ufeff\ufff9-\ufffb\ud800-\udfff]")
_MARKDOWN = re.compile(r"[\\`*\[\]>#|~]|(?<!\w)_|_(?!\w)")
# What has a meaning to MLflow's pages, and no backslash that takes it away: HTML, @people, :emoji:.
_ENTITIES = re.compile(r"[<&@]|:(?=[\w+-]+:)")


def printable(text: str) -> str:
    """`text` as one line that shows all of it: control characters, line ends, marks that turn the direction of text
    and lone surrogates become escapes such as `\\n` and `\\x1b`; everything else stays."""
    return _HIDDEN.sub(lambda found: _escaped(found[0]), text)


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


def is_text(text: str) -> bool:
    """Whether `text` can be recorded: no lone surrogate, which UTF-8 lacks; no NUL, which no file's name can have; no
    U+0085, which PyYAML writes and does not read back."""
    return re.search("[\ud800-\udfff\x00\x85]", text) is None


def refuse_undecodable(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuse bytes that are no text in the encoding of this machine's locale, as nothing could record them.

    Looked at are the command line, variables that begin with HCR_ or MLFLOW_, and the name of the current folder.

    Args:
        words: the command line, without its first word.
        environment: every variable.

    Raises:
        ConfigError: it says where they stand, and what to do.
    """
    from hcr.config.errors import ConfigError  # which shows text by this module

    places = [(f"word {place} behind hcr", word) for place, word in enumerate(words, 1)]
    places += [(name, value) for name, value in environment.items() if name.startswith(("HCR_", "MLFLOW_"))]
    with contextlib.suppress(OSError):  # the folder is gone
        places.append(("the current folder", str(Path.cwd())))
    for what, value in places:
        if not is_text(value):
            encoding = sys.getfilesystemencoding()
            remedy = "rename the file or folder" if encoding == "utf-8" else "set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
            raise ConfigError(f"{what}: expected text in {encoding}, got {value!a}; {remedy}")


def settle_streams() -> None:
    """Let standard output and error take every text: what their encoding lacks is spelled in ASCII."""
    codecs.register_error(ENCODING_ERRORS, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not a stream that somebody has put in its place, such as a notebook's
            stream.reconfigure(errors=ENCODING_ERRORS)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(ASCII.get(char) or _escaped(char) for char in found), error.end


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
