"""`hcr`: verbs to functions. Nothing heavy is imported before the config has been accepted."""

import atexit
import errno
import gc
import os
import sys
from collections.abc import Sequence

from hcr import __version__
from hcr.config.errors import BROKEN_PIPE, HcrError, one_line
from hcr.config.schema import choose
from hcr.config.text import refuse_undecodable, settle_streams
from hcr.verbs import VERBS, help_text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that `argv` (the command line by default) asks for, and return the exit code.

    An error that the user can mend is one line on standard error and exit code 1; HCR_TRACEBACK=1 shows where it
    came from. Where nobody reads what is printed any more, such as behind `| head`, it ends without a word.
    """
    settle_streams()
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
        if sys.stdout is not None:
            sys.stdout.flush()  # while there is somebody to tell that it fails
    except BrokenPipeError:
        code = BROKEN_PIPE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"hcr: standard output: expected room for what is printed, got: {error.strerror}", file=sys.stderr)
        code = 1
    else:
        return code
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
    return code


def _main(words: list[str]) -> int:
    atexit.register(gc.freeze)  # with MLflow loaded, Python's last search for garbage takes a second
    if not words or words[0] in ("-h", "--help", "help"):
        return _say(help_text())
    if words[0] == "--version":
        return _say(f"hcr {__version__}")
    try:
        refuse_undecodable(words, os.environ)
        return choose(VERBS, words[0], key="verb").load()(words[1:])
    except HcrError as error:
        if os.environ.get("HCR_TRACEBACK") == "1":
            raise
        print(f"hcr: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"hcr: {stop or 'interrupted'}", file=sys.stderr)
        return 130


def _say(text: str) -> int:
    print(text)
    return 0
