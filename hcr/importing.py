"""Imports of other packages whose failure is one line that names the package."""

from collections.abc import Callable
from importlib import import_module

from hcr.config.errors import HcrError, one_line


def import_needed(name: str, how: Callable[[], object] | None = None) -> None:
    """Import the module `name`, or do `how`, which imports it.

    Raises:
        HcrError: it cannot be imported, for whatever reason: it is absent, half installed, or of a wrong version.
    """
    try:
        if how is None:
            import_module(name)
        else:
            how()
    except Exception as error:
        raise _refusal(name, error) from error


def refusal_of(error: ImportError) -> HcrError:
    """The error for an import that failed somewhere: it names the package in which it did."""
    name, trace = error.name or "a package", error.__traceback__
    while trace is not None:
        name, trace = str(trace.tb_frame.f_globals.get("__name__", name)), trace.tb_next
    refusal = _refusal(error.name if isinstance(error, ModuleNotFoundError) and error.name else name, error)
    refusal.__cause__ = error
    return refusal


def _refusal(name: str, error: Exception) -> HcrError:
    package = name.partition(".")[0]
    told = f"{package}: expected a package that can be imported, got {type(error).__name__}: {_told(error)}"
    return HcrError(f"{told}; install it again")


def _told(error: Exception) -> str:
    """What went wrong; TensorFlow's error is a traceback, and the one before it says it."""
    is_traceback = str(error).startswith("Traceback")
    return one_line(error.__context__ if is_traceback and error.__context__ is not None else error)
