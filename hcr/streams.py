"""Text encoding of a process: its arguments, variables, current folder, and output."""

import codecs
import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hcr.config.errors import ConfigError
from hcr.config.secrets import override_without_secrets, without_secrets
from hcr.config.text import escaped, is_recordable

# ASCII spellings of the other characters that hcr prints, for an output that cannot encode them.
ASCII = {"±": "+/-", "×": "x", "→": "->", "←": "<-", "…": "...", "·": "-", "≤": "<=", "≥": ">=", "–": "-", "−": "-"}
ENCODING_ERRORS = "hcr.ascii"  # name of the error handler in `codecs`


def refuse_undecodable(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuse bytes that the locale's encoding cannot decode: they could not be recorded.

    Checks the command line, the variables HCR_* and MLFLOW_*, and the path of the current folder.

    Args:
        words: the command line, without the program's name.
        environment: every variable.

    Raises:
        ConfigError: such bytes were found; the message says where, and what to do.
    """
    places = [
        (f"argument {place}", override_without_secrets(word), "write it in UTF-8, or rename the file or folder")
        for place, word in enumerate(words, 1)
        if not is_recordable(word)
    ]
    places += [
        (name, without_secrets(value, name), "set it to text in UTF-8")
        for name, value in environment.items()
        if name.startswith(("HCR_", "MLFLOW_")) and not is_recordable(value)
    ]
    with contextlib.suppress(OSError):  # the folder is gone
        folder = str(Path.cwd())
        places += [] if is_recordable(folder) else [("the current folder", folder, "rename the folder")]
    for what, shown, remedy in places:
        encoding = sys.getfilesystemencoding()
        if encoding != "utf-8":
            remedy = "set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
        raise ConfigError(f"{what}: expected text in {encoding}, got {shown!r}; {remedy}")


def settle_streams() -> None:
    """Make standard output and error accept any text: characters that they cannot encode are spelled in ASCII."""
    codecs.register_error(ENCODING_ERRORS, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a replaced stream, such as a notebook's, may lack it
            stream.reconfigure(errors=ENCODING_ERRORS)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(ASCII.get(char) or escaped(char) for char in found), error.end
