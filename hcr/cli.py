"""`hcr`: maps verbs to functions. Nothing heavy is imported before the config is accepted."""

import atexit
import gc
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hcr import __version__, stopping

if TYPE_CHECKING:
    from hcr.verbs import Verb


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb in `argv` (default: the command line) and return the exit code.

    An error that the user can fix prints one line on standard error and returns 1; HCR_TRACEBACK=1 shows the traceback.
    A stop signal prints one line and returns 130. On a broken pipe, such as `| head`, the command ends silently. If
    `argv` is given, the environment is left unchanged, and a stop signal ends the command but not the process.
    """
    is_own_process = argv is None
    if is_own_process:
        stopping.handle_until_exit()
    # Imported after that, so that a signal during these imports also prints one line.
    from hcr.environment import settle_environment
    from hcr.output import give_up_output, is_output_lost
    from hcr.streams import settle_streams

    if is_own_process:  # a calling program keeps its own environment
        settle_environment()
    settle_streams()
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a failure can still be reported
    except OSError as error:
        if not is_output_lost(error):
            raise
        code = give_up_output(error)
    return code


def _main(words: list[str]) -> int:
    from hcr.config.errors import HcrError, one_line
    from hcr.config.places import provide_home
    from hcr.importing import refusal_of
    from hcr.output import OF_DISKS, is_output_lost, of_disk
    from hcr.streams import refuse_undecodable
    from hcr.verbs import help_text

    atexit.register(gc.freeze)  # with MLflow loaded, the final garbage collection takes a second
    if not words or words[0] in ("-h", "--help", "help"):
        return _say(help_text())
    if words[0] == "--version":
        return _say(f"hcr {__version__}")
    provide_home()
    if words[0] != "train":
        stopping.set_line("interrupted")
    try:
        refuse_undecodable(words, os.environ)
        return _verb(words).load()(words[1:])
    except HcrError as error:
        if stopping.is_requested():
            return stopping.leave(stopping.line_of(error))
        if os.environ.get("HCR_TRACEBACK") == "1":
            raise
        print(f"hcr: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        return stopping.leave(stopping.line_of(stop))
    except Exception as error:
        if stopping.is_requested():  # any error after a stop signal is a consequence of it
            return stopping.leave(stopping.line_of(error))
        if isinstance(error, ImportError) and os.environ.get("HCR_TRACEBACK") != "1":
            print(f"hcr: {refusal_of(error)}", file=sys.stderr)
            return 1
        is_asked = os.environ.get("HCR_TRACEBACK") == "1"
        if isinstance(error, OSError) and error.errno in OF_DISKS and not is_asked and not is_output_lost(error):
            print(f"hcr: {of_disk(error)}", file=sys.stderr)
            return 1
        raise


def _verb(words: Sequence[str]) -> "Verb":
    """The verb that the command line starts with.

    Raises:
        ConfigError: the first word is no verb; the message says what to write.
    """
    from hcr.config.errors import ConfigError
    from hcr.config.secrets import override_without_secrets
    from hcr.config.settings import choose
    from hcr.verbs import OTHER_NAMES, VERBS

    name = words[0]
    if name.startswith("-") or ("=" in name and name not in VERBS):
        flag, equals, value = name.partition("=")
        meant = [f"--config-dir{equals}{value}", *words[1:]] if flag == "--config" else words
        name, *meant = map(override_without_secrets, [name, *meant])
        raise ConfigError(
            f"{name}: expected a verb first ({', '.join(VERBS)}); write {shlex.join(['hcr', 'train', *meant])}"
        )
    if name not in VERBS and name.casefold() in OTHER_NAMES:
        raise ConfigError(f"verb: no {name!r} here; write hcr {OTHER_NAMES[name.casefold()]}")
    return choose(VERBS, name, key="verb")


def _say(text: str) -> int:
    print(text)
    return 0
