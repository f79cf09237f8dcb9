"""The encoding of what a process is given (words, variables, its folder) and of what it prints."""

import codecs
import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hcr.config.errors import ConfigError
from hcr.config.secrets import override_without_secrets, without_secrets
from hcr.config.text import escaped, is_recordable

# What hcr itself prints beyond ASCII, for a terminal or a pipe that cannot show it.
ASCII = {"±": "+/-", "×": "x", "→": "->", "←": "<-", "…": "...", "·": "-", "≤": "<=", "≥": ">=", "–": "-", "−": "-"}
ENCODING_ERRORS = "hcr.ascii"  # the name under which `codecs` knows what is done about the others


def refuse_undecodable(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuse bytes that are no text in the encoding of this machine's locale, as nothing could record them.

    Looked at are the command line, variables that begin with HCR_ or MLFLOW_, and the name of the current folder.

    Args:
        words: the command line, without its first word.
        environment: every variable.

    Raises:
        ConfigError: it says where they stand, and what to do.
    """
    places = [
        (f"word {place} behind hcr", override_without_secrets(word), "write it in UTF-8, or rename the file or folder")
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
    """Let standard output and error take every text: what their encoding lacks is spelled in ASCII."""
    codecs.register_error(ENCODING_ERRORS, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not a stream that somebody has put in its place, such as a notebook's
            stream.reconfigure(errors=ENCODING_ERRORS)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(ASCII.get(char) or escaped(char) for char in found), error.end
