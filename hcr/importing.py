"""Imports of other packages: silent, and a failure is one line that names the package."""

import gc
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from types import ModuleType

from hcr.config.errors import HcrError, one_line

# Keras imports these if they are installed, for functions that hcr does not use: plots of its own, data frames as
# training data, scikit-learn's interface. They take a third of the time of its import.
OPTIONAL_FOR_KERAS = ("IPython", "matplotlib", "pandas", "sklearn")


def import_keras() -> None:
    """Import NumPy, SciPy, TensorFlow and Keras, silently, without the packages that only some functions of Keras use.

    `keras.visualization`, `keras.wrappers`, and `fit` on data frames then do not work in this process. Does nothing if
    Keras is imported.

    Raises:
        HcrError: an import failed.
    """
    if "keras" in sys.modules:
        return
    # Hardly anything of an import is garbage, and what it leaves stays: scanning it costs a sixth of the import, and
    # half a second at each full collection later.
    was_on = gc.isenabled()
    gc.disable()
    try:
        with without_greetings(), _hidden(OPTIONAL_FOR_KERAS):
            for name in ("numpy", "scipy", "tensorflow", "keras"):  # TensorFlow would go on without a broken SciPy
                import_needed(name)
        gc.freeze()
    finally:
        if was_on:
            gc.enable()


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


@contextmanager
def _hidden(packages: Sequence[str]) -> Iterator[None]:
    """Let this thread's imports of `packages` raise ModuleNotFoundError; other threads import them.

    What another thread has imported already is found. `find_spec` raises too, instead of returning None.
    """
    finder = _Hider(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Hider(MetaPathFinder):
    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages
        self._thread = threading.get_ident()

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Raise ModuleNotFoundError for a hidden package; leave others to the next finder."""
        if fullname.partition(".")[0] in self._packages and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is not imported for Keras", name=fullname)


def _refusal(name: str, error: Exception) -> HcrError:
    package = name.partition(".")[0]
    cause = f"{type(error).__name__}: {_cause(error)}"
    return HcrError(f"{package}: expected a package that can be imported, got {cause}; install it again")


def _cause(error: Exception) -> str:
    """The message of `error`; TensorFlow's message is a traceback, so the error's context is used instead."""
    is_traceback = str(error).startswith("Traceback")
    return one_line(error.__context__ if is_traceback and error.__context__ is not None else error)
