"""Imports of other packages: silent, and a failure is one line that names the package."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

from hcr.config.errors import HcrError, one_line


def import_needed(name: str, how: Callable[[], object] | None = None) -> None:
    """Import the module `name`, or call `how`, which imports it.

    Raises:
        HcrError: the import failed: the package is missing, half installed, or of a wrong version.
    """
    try:
        if how is None:
            import_module(name)
        else:
            how()
    except Exception as error:
        raise _refusal(name, error) from error


def refusal_of(error: ImportError) -> HcrError:
    """The HcrError for a failed import; it names the package that failed."""
    name, trace = error.name or "a package", error.__traceback__
    while trace is not None:
        name, trace = str(trace.tb_frame.f_globals.get("__name__", name)), trace.tb_next
    refusal = _refusal(error.name if isinstance(error, ModuleNotFoundError) and error.name else name, error)
    refusal.__cause__ = error
    return refusal


@contextmanager
def without_greetings() -> Iterator[None]:
    """Suppress TensorFlow's messages on import, such as those about oneDNN and missing GPUs.

    If the import fails, HCR_TRACEBACK=1 shows them. C++ writes them to the file descriptor before TensorFlow's own log
    settings take effect, so the descriptor is redirected.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except Exception:
            if os.environ.get("HCR_TRACEBACK") == "1":
                said.seek(0)
                stderr.write(said.read())
            raise
        finally:
            os.dup2(stderr.fileno(), 2)


def _refusal(name: str, error: Exception) -> HcrError:
    package = name.partition(".")[0]
    cause = f"{type(error).__name__}: {_cause(error)}"
    return HcrError(f"{package}: expected a package that can be imported, got {cause}; install it again")


def _cause(error: Exception) -> str:
    """The message of `error`; TensorFlow's message is a traceback, so the error's context is used instead."""
    is_traceback = str(error).startswith("Traceback")
    return one_line(error.__context__ if is_traceback and error.__context__ is not None else error)
