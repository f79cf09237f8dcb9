"""Trials as processes of this machine, forked from a server that has imported everything (see `preload`)."""

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
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from hcr.gpus import VISIBLE
from hcr.sweep.trial import CONFIG, OUTPUT, run_trial
from hcr.sweep.workers import LOST, Began, Ended, Epoch, Event, WorkersLost
from hcr.sweep.workers.preload import ORDER

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
MOST_DEATHS = 3  # deaths of the fork server before the sweep stops
LOST_SERVER = 255  # multiprocessing's exit code of a child whose fork server has died
DIES_WITHIN_S = 5.0  # from the kill to the end of a process of half a gigabyte
POLL_S = 0.02  # between two checks of a process


class CallFailed(HcrError):
    """A function that was called in a separate process has failed."""


@dataclass
class Child:
    """A forked process."""

    process: ForkServerProcess
    connection: Connection | None
    gpu: str | None = None  # of a trial
    results: list[Any] = field(default_factory=list)  # of a call


class Local:
    """Forks trials, `slots` at a time.

    Args:
        folder: for the fork server's files.
        slots: see `Workers`.
        cfg: its data set is read once, for all trials; None: each trial reads its own.
        root: the output root on this machine if it differs from the controller's.
        gpus: one for each slot, as CUDA_VISIBLE_DEVICES names them; a trial sees one only. Empty: trials see what this
            process sees.
    """

    def __init__(
        self,
        folder: Path,
        slots: int,
        *,
        cfg: RunConfig | None = None,
        root: Path | None = None,
        gpus: Sequence[str] = (),
    ) -> None:
        assert not gpus or len(gpus) >= slots, "a GPU for each slot"
        self.slots = slots
        self._free_gpus = deque(gpus)
        self._folder, self._cfg, self._root = folder, cfg, root
        self._log, self._ready = folder / "forkserver.txt", folder / "forkserver.ready"
        self._children: dict[Path, Child] = {}
        self._waiting: deque[Path] = deque()  # for the fork server
        self._stopped: list[Path] = []  # while they waited; not reported yet
        self._forked: list[Path] = []  # not reported yet
        self._server: int | None = None  # process id of the fork server
        self._deaths = 0  # of the fork server
        self._is_guest = False  # another part of this process has started multiprocessing's forkserver already

    def start(self, folder: Path) -> None:
        """Fork the trial in `folder` as soon as the fork server is ready."""
        self._waiting.append(folder)
        self._start_server()
        self._forked += self._fork_waiting()

    def events(self, timeout_s: float) -> list[Event]:
        """See `Workers`."""
        found: list[Event] = [Ended(folder, stopping.INTERRUPTED) for folder in self._stopped]
        found += [Began(folder) for folder in (*self._forked, *self._fork_waiting())]
        self._stopped.clear()
        self._forked.clear()
        if found:
            return found
        ready = wait(list(self._handles()), POLL_S if self._waiting else timeout_s)
        for folder, child in list(self._children.items()):
            if child.connection in ready:
                found += self._receive(folder, child)
            if child.process.sentinel in ready:
                child.process.join()
                while child.connection is not None:  # its last messages
                    found += self._receive(folder, child)
                del self._children[folder]
                if child.gpu is not None:  # released by the end of its process
                    self._free_gpus.append(child.gpu)
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
        """Call `function` in a separate process and return its result; see `call_each`."""
        return self.call_each(function, [arguments], log=log, meanwhile=meanwhile)[0]

    def call_each(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        *,
        log: Path,
        meanwhile: Callable[[], None],
    ) -> list[Any]:
        """Call `function` with each tuple of arguments, all at once, in a process each.

        Args:
            function: defined in a module; it and its arguments must be picklable.
            calls: the arguments of each call.
            log: a file for the output of all of them.
            meanwhile: called while they run; may raise to cancel.

        Returns:
            The results, in the order of `calls`.

        Raises:
            CallFailed: the function raised an error, or a process died.
        """
        self._start_server()
        while not self._is_ready():
            meanwhile()
            time.sleep(POLL_S)
        children = [self._fork(_call_main, function, arguments, log) for arguments in calls]
        try:
            for child in children:
                while child.process.is_alive():
                    meanwhile()
                    if child.connection is not None and child.connection.poll(POLL_S):
                        self._receive(log, child)
                while child.connection is not None:
                    self._receive(log, child)
        finally:
            for child in children:
                if child.process.is_alive():
                    child.process.kill()
                child.process.join()
        for child in children:
            if not child.results:
                raise CallFailed(_last_line(log) or f"its process ended with exit code {child.process.exitcode}")
            succeeded, value = child.results[0]
            if not succeeded:
                raise CallFailed(value)
        return [child.results[0][1] for child in children]

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

    def _receive(self, folder: Path, child: Child) -> list[Event]:
        assert child.connection is not None
        try:
            message = child.connection.recv()
        except (EOFError, OSError):
            child.connection.close()
            child.connection = None
            return []
        if message[0] == "epoch":
            return [Epoch(folder, message[1], message[2])]
        child.results.append(message[1:])
        return []

    def _fork_waiting(self) -> list[Path]:
        """Fork the waiting trials if the fork server is ready; returns their folders."""
        forked = []
        while self._waiting and self._is_ready():
            folder = self._waiting.popleft()
            gpu = self._free_gpus.popleft() if self._free_gpus else None
            self._children[folder] = child = self._fork(_trial_main, folder, self._root, gpu)
            child.gpu = gpu
            forked.append(folder)
        return forked

    def _fork(self, target: Callable[..., None], *arguments: Any) -> Child:
        ours, theirs = multiprocessing.Pipe()
        with theirs, _no_main():
            process = multiprocessing.get_context("forkserver").Process(target=target, args=(theirs, *arguments))
            process.start()
        return Child(process, ours)

    def _start_server(self) -> None:
        """Start the fork server, unless it runs.

        Raises:
            WorkersLost: it has died too often.
        """
        if self._server is not None:
            return
        if self._deaths >= MOST_DEATHS:
            raise WorkersLost(f"the fork server of the trials died {self._deaths} times; see {self._log}")
        if forkserver._forkserver._forkserver_pid is not None:  # type: ignore[attr-defined]
            self._is_guest = True  # its children import everything themselves
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
        self._start_server()
        return self._ready.exists()

    def _has_died(self, within_s: float) -> bool:
        """True if the fork server has died; waits at most `within_s` seconds, as its end may show late."""
        deadline = time.monotonic() + within_s
        while self._server is not None and _is_alive(self._server):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
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
        with contextlib.suppress(OSError):  # it has ended already
            forkserver._forkserver._stop()  # type: ignore[attr-defined]


def _trial_main(connection: Connection, folder: Path, root: Path | None, gpu: str | None) -> None:
    """The main function of a trial's process."""
    _isolate(folder / OUTPUT)
    if gpu is not None:  # TensorFlow is imported, but has not looked for devices yet
        os.environ[VISIBLE] = gpu
        print(f"{VISIBLE}={gpu}", flush=True)
    stopping.handle(signal.SIGTERM)
    waits = json.loads((folder / "task.json").read_text(encoding="utf-8"))["waits"]

    def report(epoch: int, value: float) -> bool:
        connection.send(("epoch", epoch, value))
        return bool(connection.recv()) if waits else True

    _exit_now(run_trial(folder, report, root=root))


def _call_main(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], log: Path) -> None:
    """The main function of a call's process."""
    _isolate(log)
    stopping.handle(signal.SIGTERM)
    from hcr.config.errors import one_line

    try:
        connection.send(("result", True, function(*arguments)))
    except HcrError as error:
        connection.send(("result", False, one_line(error)))
    except Exception as error:  # of a library
        connection.send(("result", False, f"{type(error).__name__}: {one_line(error)}"))
    _exit_now(0)


def _isolate(log: Path) -> None:
    """Detach from the terminal, redirect output to `log`, and die when the controller dies."""
    with contextlib.suppress(OSError):
        os.setsid()  # only the controller receives Ctrl-C
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    if sys.platform == "linux":  # die with the fork server too
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    controller = multiprocessing.parent_process()
    assert controller is not None

    def watch() -> None:
        wait([controller.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="end of the controller", daemon=True).start()


def _exit_now(code: int) -> None:
    """Exit at once, without waiting for TensorFlow's threads or running `atexit` functions of the parent."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Hide the program's main module, which multiprocessing would run again in each process."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started in the block."""
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
    """True if the child process `pid` runs; does not reap it."""
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
