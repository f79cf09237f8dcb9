"""Stop signals: Ctrl-C, SIGTERM and SIGHUP end a command in one clean way, at any moment and however many arrive.

- Before anything is recorded a signal prints one line and ends the process at once. Raising would not do: an import
  that is interrupted may swallow the exception, or turn it into another error. A command called inside another
  program, which is not ours to end, raises KeyboardInterrupt here too: see `handled()`.
- Inside `recording()` the first signal raises KeyboardInterrupt in the main thread. Later ones raise nothing, so they
  cannot interrupt the cleanup; what only waits, such as for an upload, sees `count()` grow and stops waiting.
- Inside `deferred()` the first signal takes effect when the block has ended: for what must not be left half done.

Without `handle()`, as in a notebook, signals mean what they mean in Python and nothing here has an effect.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import NoReturn

INTERRUPTED = 130  # the exit code of a command, and of a trial, that a signal ended
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SWALLOWED_AFTER_S = 2.0  # an exception that has not reached our cleanup by then was swallowed by somebody's handler


class _State:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.is_handled = False
        self.is_guest = False  # inside another program
        self.count = 0
        self.line = "interrupted; nothing had begun"  # what a signal prints that ends the process at once
        self.recording = self.deferred = 0  # how deep in such blocks the main thread is
        self.is_pending = False  # the first signal came in a deferred block
        self.is_cleaning_up = False
        self.raised_s = 0.0
        self.leaves_threads = False
        self.stderr: int | None = None  # where 2 pointed at the start: it is redirected during imports


_state = _State()


def handle(*signals: signal.Signals) -> None:
    """Handle `signals` (all of SIGNALS by default) in this process; one that the parent ignores stays ignored.

    A process begun by `nohup` outlives its terminal, and one in the background of a script its Ctrl-C.
    """
    if _state.is_handled or threading.current_thread() is not threading.main_thread():
        return
    _state.is_handled = True
    with contextlib.suppress(OSError):  # closed
        _state.stderr = os.dup(2)
    for number in signals or SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _on_signal)
    sys.unraisablehook = _drop_ours


def handle_until_exit() -> None:
    """As `handle`, for the process of a command: once Python is leaving, the outcome stands and signals are ignored.

    Called first, it is the last of what `atexit` runs. Behind it Python calls no handler any more, and a signal would
    replace the exit code.
    """
    handle()
    atexit.register(_ignore)


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """As `handle`, for a command inside another program: its own handlers are put back at the end.

    Raises:
        KeyboardInterrupt: a signal came; also where it was turned into another error, as an import may do.
    """
    if _state.is_handled or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.getsignal(number)) for number in SIGNALS]
    hook = sys.unraisablehook
    handle()
    _state.is_guest = True
    try:
        yield
    except Exception as error:
        if is_requested():
            raise KeyboardInterrupt(_state.line) from error
        raise
    finally:
        sys.unraisablehook = hook
        for number, handler in before:
            signal.signal(number, handler)
        if _state.stderr is not None:
            os.close(_state.stderr)
        _state.reset()


def count() -> int:
    """How many signals have come."""
    return _state.count


def is_requested() -> bool:
    """Whether a signal has come: an error after it is a consequence of it."""
    return _state.count > 0


def check() -> None:
    """Raise KeyboardInterrupt if a signal has come; in deferred blocks too."""
    if _state.count:
        _state.is_pending = False
        raise KeyboardInterrupt


def begin_cleanup() -> None:
    """From here on no further signal raises, however long the cleanup takes."""
    _state.is_cleaning_up = True


def set_line(line: str) -> None:
    """Set what a signal prints that ends the process at once, behind `hcr: `."""
    _state.line = line


def line_of(stop: BaseException) -> str:
    """The line of a KeyboardInterrupt: its own message, or what a signal would print now."""
    return str(stop) if isinstance(stop, KeyboardInterrupt) and str(stop) else _state.line


def leave_threads() -> None:
    """A thread is still importing or waiting for a server: the process must not wait for it when it ends."""
    _state.leaves_threads = True


def leave(line: str) -> int:
    """Print `line` and return the exit code, or end the process here where a thread was left behind.

    Python would wait for the threads of an upload to end, and a thread in the middle of an import may crash it.
    """
    if _state.leaves_threads:
        _exit(line)
    with contextlib.suppress(OSError):  # such as the terminal whose end was the signal
        print(f"hcr: {line}", file=sys.stderr, flush=True)
    return INTERRUPTED


class recording:
    """A block that has something to keep: the first signal raises KeyboardInterrupt.

    It is not begun where an earlier one was swallowed, such as by an import.
    """

    def __enter__(self) -> None:
        check()
        _state.recording += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _state.recording -= 1


class deferred:
    """A block that a signal does not interrupt: it takes effect at the block's end. Without effect in a thread."""

    def __enter__(self) -> None:
        self._counts = threading.current_thread() is threading.main_thread()  # where Python calls signal handlers
        _state.deferred += self._counts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._counts:
            return
        _state.deferred -= 1
        if _state.is_pending and not _state.deferred:
            _stop()


def _on_signal(_: int, frame: FrameType | None) -> None:
    _state.count += 1
    was_swallowed = (
        not _state.is_cleaning_up and _state.raised_s and time.monotonic() - _state.raised_s > SWALLOWED_AFTER_S
    )
    if _state.count > 1 and not was_swallowed:
        return
    if _state.deferred:
        _state.is_pending = True
    else:
        _stop()


def _stop() -> NoReturn:
    _state.is_pending = False
    if not _state.recording and not _state.is_guest:
        _exit(_state.line)
    _state.raised_s = time.monotonic()
    raise KeyboardInterrupt


def _exit(line: str) -> NoReturn:
    with contextlib.suppress(Exception):  # closed, or in the middle of a write that the signal interrupted
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2 if _state.stderr is None else _state.stderr, f"hcr: {line}\n".encode())
    os._exit(INTERRUPTED)


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _drop_ours(found: "sys.UnraisableHookArgs") -> None:
    """Raised in a destructor, KeyboardInterrupt is dropped by Python with a traceback: `check` raises it again."""
    if not (_state.count and issubclass(found.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(found)
