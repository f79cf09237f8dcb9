"""Trials as processes of this machine, forked from one that has imported everything (see `preload`)."""

import contextlib
import ctypes
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from hcr import stopping
from hcr.config.errors import HcrError
from hcr.gate import RunConfig
from hcr.gate.run_config import to_yaml
from hcr.sweep.trial import CONFIG, OUTPUT, run_trial
from hcr.sweep.workers import LOST, Began, Ended, Epoch, Event, WorkersLost
from hcr.sweep.workers.preload import ORDER

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
MOST_DEATHS = 3  # times that the process which trials are forked from may die before the sweep gives up
LOST_SERVER = 255  # what multiprocessing says of a child whose forkserver has died
DIES_WITHIN_S = 5.0  # a process of half a gigabyte, from its killing to its end
LOOK_S = 0.02  # between two looks whether everything is imported


class CallFailed(HcrError):
    """What was called in a process of its own has failed."""


@dataclass
class Child:
    """A process that was forked."""

    process: ForkServerProcess
    connection: Connection | None
    heard: list[Any] = field(default_factory=list)  # of a call


class Local:
    """Forks trials, `slots` at a time.

    Args:
        folder: for what the process that they are forked from reads and prints.
        slots: see `Workers`.
        cfg: whose data set is read once, for every trial; None: each reads its own.
        root: the output root on this machine, where it is not the controller's.
    """

    def __init__(self, folder: Path, slots: int, *, cfg: RunConfig | None = None, root: Path | None = None) -> None:
        self.slots = slots
        self._folder, self._cfg, self._root = folder, cfg, root
        self._log, self._ready = folder / "forkserver.txt", folder / "forkserver.ready"
        self._children: dict[Path, Child] = {}
        self._waiting: deque[Path] = deque()  # for everything to be imported
        self._stopped: list[Path] = []  # while they waited
        self._begun: list[Path] = []  # and nobody has heard of it yet
        self._server: int | None = None  # its process id
        self._deaths = 0
        self._is_guest = False  # whether this process had started a forkserver for something else

    def start(self, folder: Path) -> None:
        """Fork the trial in `folder`, as soon as everything is imported."""
        self._waiting.append(folder)
        self._begin_server()
        self._begun += self._fork_waiting()

    def events(self, timeout_s: float) -> list[Event]:
        """See `Workers`."""
        found: list[Event] = [Ended(folder, stopping.INTERRUPTED) for folder in self._stopped]
        found += [Began(folder) for folder in (*self._begun, *self._fork_waiting())]
        self._stopped.clear()
        self._begun.clear()
        if found:
            return found
        ready = wait(list(self._handles()), LOOK_S if self._waiting else timeout_s)
        for folder, child in list(self._children.items()):
            if child.connection in ready:
                found += self._hear(folder, child)
            if child.process.sentinel in ready:
                child.process.join()
                while child.connection is not None:  # what it said last
                    found += self._hear(folder, child)
                del self._children[folder]
                code = int(child.process.exitcode or 0)
                if code == LOST_SERVER and self._has_died(DIES_WITHIN_S):
                    code = LOST
                found.append(Ended(folder, code))
        return found

    def answer(self, folder: Path, *, go_on: bool) -> None:
        """See `Workers`."""
        child = self._children.get(folder)
        if child is not None and child.connection is not None:
            with contextlib.suppress(OSError):  # it has ended
                child.connection.send(go_on)

    def stop(self, folder: Path, *, at_once: bool = False) -> None:
        """See `Workers`."""
        if folder in self._waiting:
            self._waiting.remove(folder)
            self._stopped.append(folder)
        elif folder in self._children:
            process = self._children[folder].process
            process.kill() if at_once else process.terminate()

    def call(self, function: Callable[..., Any], *arguments: Any, log: Path, meanwhile: Callable[[], None]) -> Any:
        """What `function` returns, called in a process of its own.

        Args:
            function: of a module, and its arguments, which can be pickled.
            log: a file for what it prints.
            meanwhile: called while it runs; may raise to give up.

        Raises:
            CallFailed: it raised an error, or its process ended without a word.
        """
        self._begin_server()
        while not self._is_ready():
            meanwhile()
            time.sleep(LOOK_S)
        child = self._fork(_call, function, arguments, log)
        try:
            while child.process.is_alive():
                meanwhile()
                if child.connection is not None and child.connection.poll(LOOK_S):
                    self._hear(log, child)
            while child.connection is not None:
                self._hear(log, child)
        finally:
            if child.process.is_alive():
                child.process.kill()
            child.process.join()
        if not child.heard:
            raise CallFailed(_last_line(log) or f"its process ended with {child.process.exitcode}")
        is_good, value = child.heard[0]
        if not is_good:
            raise CallFailed(value)
        return value

    def close(self) -> None:
        """See `Workers`."""
        with stopping.deferred():
            self._waiting.clear()
            for child in self._children.values():
                child.process.kill()
            for child in self._children.values():
                child.process.join()
            self._children.clear()
            self._end_server()

    def _handles(self) -> Iterator[Any]:
        for child in self._children.values():
            yield child.process.sentinel
            if child.connection is not None:
                yield child.connection

    def _hear(self, folder: Path, child: Child) -> list[Event]:
        assert child.connection is not None
        try:
            told = child.connection.recv()
        except (EOFError, OSError):
            child.connection.close()
            child.connection = None
            return []
        if told[0] == "epoch":
            return [Epoch(folder, told[1], told[2])]
        child.heard.append(told[1:])
        return []

    def _fork_waiting(self) -> list[Path]:
        """Fork what waits, if everything is imported by now; the folders of these."""
        forked = []
        while self._waiting and self._is_ready():
            folder = self._waiting.popleft()
            self._children[folder] = self._fork(_trial, folder, self._root)
            forked.append(folder)
        return forked

    def _fork(self, target: Callable[..., None], *arguments: Any) -> Child:
        ours, theirs = multiprocessing.Pipe()
        with theirs, _no_main():
            process = multiprocessing.get_context("forkserver").Process(target=target, args=(theirs, *arguments))
            process.start()
        return Child(process, ours)

    def _begin_server(self) -> None:
        """Start the process that all are forked from, where there is none.

        Raises:
            WorkersLost: it has died too often.
        """
        if self._server is not None:
            return
        if self._deaths >= MOST_DEATHS:
            raise WorkersLost(f"the process that runs are forked from died {self._deaths} times; see {self._log}")
        if forkserver._forkserver._forkserver_pid is not None:  # type: ignore[attr-defined]
            self._is_guest = True  # another one's, in whose children everything has to be imported
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._ready.unlink(missing_ok=True)
        order = {"log": str(self._log), "ready": str(self._ready)}
        if self._cfg is not None:
            order["config"] = str(self._folder / CONFIG)
            (self._folder / CONFIG).write_text(to_yaml(self._cfg), encoding="utf-8")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        multiprocessing.get_context("forkserver").set_forkserver_preload([f"{__package__}.preload"])
        with _no_main(), _environment({ORDER: json.dumps(order), "PYTHONSAFEPATH": "1"}):
            forkserver.ensure_running()
        self._server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]

    def _is_ready(self) -> bool:
        if self._is_guest:
            return True
        self._has_died(0)
        self._begin_server()
        return self._ready.exists()

    def _has_died(self, within_s: float) -> bool:
        """Whether the process that all are forked from is gone, which may take a moment to be seen."""
        deadline = time.monotonic() + within_s
        while self._server is not None and _is_alive(self._server):
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_S)
        if self._server is not None:
            self._deaths += 1
            self._end_server()
        return True

    def _end_server(self) -> None:
        if self._server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._server, signal.SIGKILL)
        self._server = None
        with contextlib.suppress(OSError):  # it had ended already
            forkserver._forkserver._stop()  # type: ignore[attr-defined]


def _trial(connection: Connection, folder: Path, root: Path | None) -> None:
    """The process of a trial."""
    _settle(folder / OUTPUT)
    stopping.handle(signal.SIGTERM)
    waits = json.loads((folder / "task.json").read_text(encoding="utf-8"))["waits"]

    def tell(epoch: int, value: float) -> bool:
        connection.send(("epoch", epoch, value))
        return bool(connection.recv()) if waits else True

    _leave(run_trial(folder, tell, root=root))


def _call(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], log: Path) -> None:
    """The process of a call."""
    _settle(log)
    stopping.handle(signal.SIGTERM)
    from hcr.config.errors import one_line

    try:
        connection.send(("result", True, function(*arguments)))
    except HcrError as error:
        connection.send(("result", False, one_line(error)))
    except Exception as error:  # somebody else's: the last line of its log says as much
        connection.send(("result", False, f"{type(error).__name__}: {one_line(error)}"))
    _leave(0)


def _settle(log: Path) -> None:
    """Be a process of its own: what it prints goes to a file, and it dies with the controller."""
    with contextlib.suppress(OSError):
        os.setsid()  # Ctrl-C is the controller's to hear
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    if sys.platform == "linux":  # and with the process that it was forked from
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    controller = multiprocessing.parent_process()
    assert controller is not None

    def watch() -> None:
        wait([controller.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="end of the controller", daemon=True).start()


def _leave(code: int) -> None:
    """End at once: the threads of TensorFlow need no farewell, and what `atexit` holds is none of this process'."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Without the program's main module, which multiprocessing would run again in each process."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """With these variables for what is started."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _is_alive(pid: int) -> bool:
    """Whether a child of this process runs; one that has ended is left for whoever waits for it."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
