"""What cannot be written: standard output that nobody reads or whose disk is full, and files on such a disk."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from hcr.config.errors import BROKEN_PIPE, TrackingError, one_line

OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}  # errors that are no mistake in the code


def is_output_lost(error: OSError) -> bool:
    """Whether `error` came from printing: nothing more can be printed.

    An error of a write does not say to which file. So an empty line is printed, where it is no closed pipe.
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
    """Print nothing more on standard output, which `error` came from; the exit code.

    One line on standard error says why, except where nobody reads the output and there is nothing `kept` to tell of.

    Args:
        kept: what goes on later, and by which command.
    """
    is_pipe = isinstance(error, BrokenPipeError)
    why = "nobody reads what it prints any more" if is_pipe else (
        f"standard output: expected room for what is printed, got: {error.strerror}"
    )  # fmt: skip
    with contextlib.suppress(OSError):  # it may be the same file
        if kept or not is_pipe:
            print(f"hcr: {why}{'; ' if kept else ''}{kept}", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError, ValueError):  # such as the output of a notebook, which is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
    return BROKEN_PIPE if is_pipe else 1


@contextlib.contextmanager
def leaving_without_output(kept: Callable[[], str] = str) -> Iterator[None]:
    """A block that ends with SystemExit where standard output is lost: a run inside `recorded()` ends as KILLED.

    Args:
        kept: as for `give_up_output`, asked for then.
    """
    try:
        yield
    except OSError as error:
        if not is_output_lost(error):
            raise
        raise SystemExit(give_up_output(error, kept())) from None


def of_disk(error: OSError, place: Path | None = None, remedy: str = "make room, and try again") -> TrackingError:
    """The one line for an error of a disk, such as a full one.

    Args:
        place: what was written to, where the error names no file.

    Raises:
        OSError: `error` itself, where it is of another kind.
    """
    if error.errno not in OF_DISKS:
        raise error
    where = error.filename or place or "a file"
    refusal = TrackingError(f"{where}: cannot be written ({error.strerror or one_line(error)}); {remedy}")
    refusal.__cause__ = error
    return refusal
