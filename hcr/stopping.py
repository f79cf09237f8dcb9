"""Stop signals: Ctrl-C, SIGTERM and SIGHUP end a command cleanly, at any moment and however many arrive.

- Before anything is recorded, a signal prints one line and ends the process at once. It does not raise: an interrupted
  import may swallow the exception or turn it into another error. Only a command called inside another program, whose
  process must survive, raises KeyboardInterrupt here too: see `handled()`.
- Inside `recording()`, the first signal raises KeyboardInterrupt in the main thread. Later signals raise nothing, so
  they cannot interrupt the cleanup; code that waits, such as for an upload, sees `count()` grow and stops waiting.
- Inside `deferred()`, the first signal takes effect at the end of the block: for work that must not be left half done.

Without `handle()`, as in a notebook, signals act as usual in Python and nothing here has an effect.
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

INTERRUPTED = 130  # exit code of a command or trial that a signal ended
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SWALLOWED_AFTER_S = 2.0  # an exception that has not reached the cleanup by then was swallowed by some `except`


class _State:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.is_handled = False
        self.is_guest = False  # inside another program
        self.count = 0
        self.line = "interrupted; nothing had begun"  # printed by a signal that ends the process at once
        self.recording = self.deferred = 0  # nesting depth of such blocks in the main thread
        self.is_pending = False  # the first signal came in a deferred block
        self.is_cleaning_up = False
        self.raised_s = 0.0
        self.leaves_threads = False
        self.stderr: int | None = None  # a copy of descriptor 2, which is redirected during imports


_state = _State()


def handle(*signals: signal.Signals) -> None:
    """Handle `signals` (default: SIGNALS) in this process; a signal that the parent ignores stays ignored.

    So a process started by `nohup` survives its terminal, and a script's background process survives Ctrl-C.
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
    """As `handle`, for a command's own process: signals are ignored once Python exits, since the outcome is fixed.

    Called first, so that `atexit` runs it last. After that Python calls no handler, and a signal would replace the exit
    code.
    """
    handle()
    atexit.register(_ignore)


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """As `handle`, for a command inside another program: restores that program's handlers at the end.

    Raises:
        KeyboardInterrupt: a signal came, even if an import turned it into another error.
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
    """The number of signals that have come."""
    return _state.count


def is_requested() -> bool:
    """True if a signal has come; any error after it is a consequence of it."""
    return _state.count > 0


def check() -> None:
    """Raise KeyboardInterrupt if a signal has come; in deferred blocks too."""
    if _state.count:
        _state.is_pending = False
        raise KeyboardInterrupt


def begin_cleanup() -> None:
    """Let no further signal raise, however long the cleanup takes."""
    _state.is_cleaning_up = True


def set_line(line: str) -> None:
    """Set the line, after `hcr: `, that is printed by a signal that ends the process at once."""
    _state.line = line


def line_of(stop: BaseException) -> str:
    """The line to print for `stop`: the message of a KeyboardInterrupt, or the line set by `set_line`."""
    return str(stop) if isinstance(stop, KeyboardInterrupt) and str(stop) else _state.line


def leave_threads() -> None:
    """Let the process exit without waiting for a thread that still imports or waits for a server."""
    _state.leaves_threads = True


def leave(line: str) -> int:
    """Print `line` and return the exit code; after `leave_threads`, end the process here instead.

    On a normal exit Python would wait for upload threads, and a thread that still imports may crash the process.
    """
    if _state.leaves_threads:
        _exit(line)
    with contextlib.suppress(OSError):  # such as a terminal that was closed, which sent the signal
        print(f"hcr: {line}", file=sys.stderr, flush=True)
    return INTERRUPTED


class recording:
    """A block that records a run: the first signal raises KeyboardInterrupt.

    Entering it raises too if an earlier signal was swallowed, such as by an import.
    """

    def __enter__(self) -> None:
        check()
        _state.recording += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _state.recording -= 1


class deferred:
    """A block that a signal does not interrupt: it takes effect at the end. No effect outside the main thread."""

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
    with contextlib.suppress(Exception):  # closed, or the signal interrupted a write
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2 if _state.stderr is None else _state.stderr, f"hcr: {line}\n".encode())
    os._exit(INTERRUPTED)


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _drop_ours(found: "sys.UnraisableHookArgs") -> None:
    """Hide the traceback of a KeyboardInterrupt that Python drops in a destructor; `check` raises it again."""
    if not (_state.count and issubclass(found.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(found)
