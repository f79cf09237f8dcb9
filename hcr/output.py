"""Write failures: a closed pipe, or a full disk under standard output or another file."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from hcr.config.errors import BROKEN_PIPE, TrackingError, one_line

OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}  # errors of a disk, not bugs


def is_output_lost(error: OSError) -> bool:
    """True if `error` came from printing, so that nothing more can be printed.

    A write error does not name its file. So, unless the pipe is closed, this prints an empty line to find out.
    """
    if isinstance(error, BrokenPipeError):
        return True
    if error.errno not in OF_DISKS:
        return False
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def give_up_output(error: OSError, kept: str = "") -> int:
    """Silence standard output, which raised `error`, and return the exit code.

    One line on standard error says why; a closed pipe with nothing `kept` prints no line.

    Args:
        kept: what can be resumed, and by which command.
    """
    is_pipe = isinstance(error, BrokenPipeError)
    why = "nobody reads what it prints any more" if is_pipe else (
        f"standard output: expected room for what is printed, got: {error.strerror}"
    )  # fmt: skip
    with contextlib.suppress(OSError):  # it may be the same file
        if kept or not is_pipe:
            print(f"hcr: {why}{'; ' if kept else ''}{kept}", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError, ValueError):  # not a file, such as a notebook's output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards the rest of the buffer
    return BROKEN_PIPE if is_pipe else 1


@contextlib.contextmanager
def leaving_without_output(kept: Callable[[], str] = str) -> Iterator[None]:
    """A block that raises SystemExit if standard output is lost; a run inside `recorded()` then ends as KILLED.

    Args:
        kept: called then; returns the `kept` of `give_up_output`.
    """
    try:
        yield
    except OSError as error:
        if not is_output_lost(error):
            raise
        raise SystemExit(give_up_output(error, kept())) from None


def of_disk(error: OSError, place: Path | None = None, remedy: str = "make room, and try again") -> TrackingError:
    """The one-line error for a disk error, such as a full disk.

    Args:
        place: the path that was written, used if the error names no file.

    Raises:
        OSError: `error` itself, if it is no disk error.
    """
    if error.errno not in OF_DISKS:
        raise error
    where = error.filename or place or "a file"
    refusal = TrackingError(f"{where}: cannot be written ({error.strerror or one_line(error)}); {remedy}")
    refusal.__cause__ = error
    return refusal
