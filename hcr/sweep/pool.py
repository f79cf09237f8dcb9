"""Trial processes as the controller sees them: started, watched, ended."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hcr import stopping
from hcr.config.errors import HcrError
from hcr.sweep.nursery import LONGEST_LINE

INTERRUPTED = 130  # the exit code of a trial that SIGTERM ended
GRACE_S = 20.0  # for a trial to journal that it was interrupted
IMPORT_S = 300.0  # for the nursery to import TensorFlow, from a disk that may be cold and slow


class NurseryDied(HcrError):
    """The process that trials are forked from is gone, and the trials with it."""


@dataclass(frozen=True)
class Ended:
    """A trial's process has ended; `code` is as of `subprocess`, negative for a signal."""

    folder: Path
    code: int


class Pool:
    """Starts trials in forks of one process that has imported everything.

    Args:
        log: a file for what that process prints, such as why it could not start.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        ours, theirs = socket.socketpair()
        with theirs, log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hcr.sweep.nursery", str(theirs.fileno())],  # -P: no folder named hcr here
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is the controller's to hear
            )
        self._control = ours
        self._pending = b""
        self._pids: dict[Path, int] = {}
        self._waiting: set[Path] = set()
        self._signals: dict[Path, int] = {}  # for those that wait

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def running(self) -> set[Path]:
        """The folders of the trials that have been started and have not ended."""
        return set(self._pids) | self._waiting

    def read(self, folder: Path) -> None:
        """Have the data set of the trial in `folder` read once, for every trial."""
        self._send({"read": str(folder)})

    def start(self, folder: Path) -> None:
        """Fork the trial whose task is in `folder`."""
        self._waiting.add(folder)
        self._send({"start": str(folder)})

    def is_running(self, folder: Path) -> bool:
        """Whether the trial in `folder` has a process by now: the first one waits for what is imported."""
        return folder in self._pids

    def poll(self, timeout_s: float) -> list[Ended]:
        """The trials that have ended, after waiting at most `timeout_s` seconds for one.

        Raises:
            NurseryDied: it is gone; no trial is running any more.
        """
        self._control.settimeout(max(timeout_s, 0.001))
        try:
            received = self._control.recv(LONGEST_LINE)
        except TimeoutError:
            return []
        except OSError:
            received = b""
        if not received:
            raise self._death()
        *lines, self._pending = (self._pending + received).split(b"\n")
        ended = []
        for message in map(json.loads, lines):
            if "started" in message:
                folder = Path(message["started"])
                self._waiting.discard(folder)
                self._pids[folder] = message["pid"]
                if folder in self._signals:
                    self.signal(folder, self._signals.pop(folder))
            elif "ended" in message:
                folder = Path(message["ended"])
                self._waiting.discard(folder)
                self._pids.pop(folder, None)
                ended.append(Ended(folder, message["code"]))
        return ended

    def signal(self, folder: Path, number: int) -> None:
        """Send the trial in `folder` a signal: now, or when its process has started."""
        if folder in self._waiting:
            self._signals[folder] = number
        pid = self._pids.get(folder)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def close(self) -> None:
        """End what runs and the process they come from."""
        with stopping.deferred():
            for folder in list(self._pids):
                self.signal(folder, signal.SIGKILL)
            if self._waiting:  # it is importing, and would start them first
                self._process.kill()
            self._control.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:  # still importing
                self._process.kill()
                self._process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        self._control.settimeout(IMPORT_S)
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise self._death() from error

    def _death(self) -> NurseryDied:
        code = self._process.wait()
        self._pids.clear()
        self._waiting.clear()
        lines = self._log.read_text(errors="replace", encoding="utf-8").strip().splitlines()
        return NurseryDied(f"the process that runs are forked from ended with {code}; {self._log}: {lines[-1:]}")
