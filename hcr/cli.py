"""`hcr`: verbs to functions. Nothing heavy is imported before the config has been accepted."""

import atexit
import gc
import os
import shlex
import sys
from collections.abc import Sequence

from hcr import __version__
from hcr.config.errors import ConfigError, HcrError, one_line
from hcr.config.schema import choose
from hcr.verbs import OTHER_NAMES, VERBS, Verb, help_text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that `argv` (the command line by default) asks for, and return the exit code.

    An error that the user can mend is one line on standard error and exit code 1; HCR_TRACEBACK=1 shows where it
    came from.
    """
    atexit.register(gc.freeze)  # with MLflow loaded, Python's last search for garbage takes a second
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        return _say(help_text())
    if words[0] == "--version":
        return _say(f"hcr {__version__}")
    try:
        return _verb(words).load()(words[1:])
    except HcrError as error:
        if os.environ.get("HCR_TRACEBACK") == "1":
            raise
        print(f"hcr: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"hcr: {stop or 'interrupted'}", file=sys.stderr)
        return 130


def _verb(words: Sequence[str]) -> Verb:
    """The verb that the command line begins with.

    Raises:
        ConfigError: it begins with none; says what to write.
    """
    name = words[0]
    if name.startswith("-") or ("=" in name and name not in VERBS):
        flag, equals, value = name.partition("=")
        meant = [f"--config-dir{equals}{value}", *words[1:]] if flag == "--config" else words
        raise ConfigError(
            f"{name}: expected a verb first ({', '.join(VERBS)}); write {shlex.join(['hcr', 'train', *meant])}"
        )
    if name not in VERBS and name.casefold() in OTHER_NAMES:
        raise ConfigError(f"verb: no {name!r} here; write hcr {OTHER_NAMES[name.casefold()]}")
    return choose(VERBS, name, key="verb")


def _say(text: str) -> int:
    print(text)
    return 0
