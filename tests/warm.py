"""A server that has imported everything and forks real `hcr` processes, each ready at once.

    python -P tests/warm.py SOCKET all|light

Each connection to SOCKET is a command: "." with the file descriptors that the process gets, then a line of JSON

    {"module", "argv", "code", "cwd", "env", "files", "new_session"}

and the answers {"pid"} at once and {"status"}, as of `waitpid`, when it has ended. What the process itself starts as
`python -m hcr...` is forked from here too. A connection that begins with "+" keeps the server alive.
"""

import atexit
import contextlib
import fcntl
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parent))  # which -P leaves out
from processes import Process

from hcr import stopping
from hcr.environment import pin

LIGHT = (
    "hydra.main",
    "hydra._internal.config_loader_impl",
    "hcr.cli",
    "hcr.launch",
    "hcr.gate.compose",
    "hcr.commands.completion",
    "hcr.commands.suggest",
)
ALL = (
    *LIGHT,
    "hcr.evaluating.story",
    "hcr.exporting.export",
    "hcr.exporting.keras_file",
    "hcr.exporting.litert_file",
    "hcr.exporting.onnx_file",
    "hcr.exporting.saved_model",
    "hcr.runner",
    "hcr.scoring",
    "hcr.sweep.command",
    "hcr.sweep.preview",
    "hcr.sweep.tasks",
    "hcr.commands.check",
    "hcr.commands.data",
    "hcr.commands.evaluate",
    "hcr.commands.export",
    "hcr.commands.plots",
    "hcr.commands.sync",
    "hcr.training.progress",
    "hcr.evaluation.class_plots",
    "hcr.evaluation.pictures",
    "hcr.evaluation.plots",
    "hcr.tracking.keras_model",
    "optuna",
    "scipy.io",
    "sklearn.metrics",
)
STORES = ("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.tracking.rest_store")
HIGHEST = 200  # the file descriptors below may be what a process is to have


class Server:
    """What `main` serves at a socket, and leaves behind in the processes that it forks."""

    def __init__(self, address: Path) -> None:
        self._address = address
        self._listening = socket.socket(socket.AF_UNIX)
        new = address.with_suffix(".new")
        self._listening.bind(str(new))
        self._listening.listen(64)
        new.rename(address)  # who sees it can connect
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._leases = 0
        self._running: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()

    def serve(self) -> dict[str, Any] | None:
        """In a forked process the command that it is to run; None in this one, when nobody needs it any more."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._tell()
                elif key.fileobj is not self._listening:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                    self._leases -= 1
                    if self._is_over():
                        return None
                elif (order := self._take()) is not None:
                    return order

    def _take(self) -> dict[str, Any] | None:
        client, _ = self._listening.accept()
        kind, files, _, _ = socket.recv_fds(client, 1, 64)
        if kind == b"+":
            self._leases += 1
            self._selector.register(client, selectors.EVENT_READ)
            return None
        with client.makefile("rb") as lines:
            line = lines.readline()
        if not line:  # who asked has died
            client.close()
            return None
        order: dict[str, Any] = json.loads(line)
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            client.close()
            self._leave()
            become(order, files)
            return order
        for file in files:
            os.close(file)
        self._running[pid] = client
        with contextlib.suppress(OSError):
            client.sendall(json.dumps({"pid": pid}).encode() + b"\n")
        return None

    def _tell(self) -> None:
        """Answer for every process that has ended."""
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            client = self._running.pop(pid)
            with contextlib.suppress(OSError):  # nobody listens any more
                client.sendall(json.dumps({"status": status}).encode() + b"\n")
            client.close()

    def _is_over(self) -> bool:
        """Whether nobody holds a lease or is about to: who connects holds the lock."""
        if self._leases:
            return False
        with self._address.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            waiting = selectors.DefaultSelector()
            waiting.register(self._listening, selectors.EVENT_READ)
            if waiting.select(0):
                return False
            self._address.unlink()
            return True

    def _leave(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in [key.fileobj for key in self._selector.get_map().values()]:
            each.close()  # type: ignore[union-attr]
        self._selector.close()
        self._wake.close()
        for client in self._running.values():
            client.close()


def become(order: dict[str, Any], files: list[int]) -> None:
    """Have the environment, the folder and the files of a process of its own."""
    os.environ.clear()
    os.environ.update(order["env"])
    pin()
    os.chdir(order["cwd"])
    high = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, HIGHEST) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(high, order["files"], strict=True):
        os.dup2(file, number)
        os.close(file)
    if order["new_session"]:
        os.setsid()
    stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = stdin, stdout, stderr
    signal.signal(signal.SIGINT, signal.default_int_handler)


def copy_new_databases(template: Path) -> None:
    """Have MLflow copy the tables of a new SQLite database from `template`: to make them takes it seconds."""
    import sqlite3

    from mlflow.store.db import utils

    make = utils._initialize_tables

    def copy(engine: Any) -> None:
        if engine.dialect.name != "sqlite":
            make(engine)
            return
        with template.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not template.exists():
                make(engine)
                with contextlib.closing(sqlite3.connect(template.with_suffix(".part"))) as part:
                    engine.raw_connection().driver_connection.backup(part)
                template.with_suffix(".part").rename(template)
                return
        with contextlib.closing(sqlite3.connect(template)) as whole:
            whole.backup(engine.raw_connection().driver_connection)

    copy.as_mlflow_does = make  # for a test of that
    utils._initialize_tables = copy


def fork_forkservers() -> None:
    """Have a sweep's forkserver forked from the process that starts it, in place of a fresh one that imports all again.

    Trials are forked from it as from any other; it has the file descriptors that it would have, and no others.
    """
    from multiprocessing import util

    spawn = util.spawnv_passfds

    def fork(path: Any, args: Any, passfds: Any) -> int:
        if "multiprocessing.forkserver" not in str(args[-1]):
            return spawn(path, args, passfds)
        pid = os.fork()
        if pid:
            return pid
        try:
            kept = sorted({0, 1, 2, *passfds})
            for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
                os.closerange(low + 1, high)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            stopping._state.reset()
            sys.modules.pop("hcr.sweep.workers.preload", None)  # it acts when it is imported
            exec(args[-1], {"__name__": "forkserver"})
        finally:
            os._exit(0)

    util.spawnv_passfds = fork


def prepare(imports: str, address: Path) -> None:
    """Import, without running anything of TensorFlow's: its threads would not survive the fork."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for name in ALL if imports == "all" else LIGHT:
        import_module(name)
    if imports == "all":
        from hcr.tracking.store import warm_up

        warm_up()
        from unsynced import leave_unsynced

        for name in STORES:
            import_module(name)
        leave_unsynced()
        copy_new_databases(address.with_name("tables.db"))
        fork_forkservers()
    os.chdir(address.parent)  # where no `conf` of a user's is
    parse_package_files()
    Process.address = address
    subprocess.Popen = Process  # type: ignore[misc]


def parse_package_files() -> None:
    """Have hcr's own YAML parsed, which takes a process longer than all else that refuses a command line."""
    from hcr.config import parts
    from hcr.config.errors import ConfigError
    from hcr.gate.compose import compose

    with contextlib.suppress(ConfigError):
        compose(["no.such.key=1"])
    parts._points.cache_clear()  # a process may have other packages


def run(order: dict[str, Any]) -> object:
    """What the command would leave Python with."""
    try:
        if order["code"]:
            exec(compile(order["code"], "<test>", "exec"), {"__name__": "test"})
        if order["module"] == "hcr":
            from hcr.cli import main

            sys.argv = ["hcr", *order["argv"]]
            return main()
        sys.argv = [order["module"], *order["argv"]]
        sys.modules.pop(order["module"], None)  # runpy warns of a module that has been imported before
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def leave(code: object) -> NoReturn:
    """End as Python does, but for taking apart what has been imported: in a fork that copies it all first."""
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120
    os._exit(code or 0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest to hear
    server = Server(Path(sys.argv[1]))
    prepare(sys.argv[2], Path(sys.argv[1]))
    gc.collect()
    gc.freeze()  # no garbage of any process to look through
    asked = server.serve()
    if asked is not None:
        leave(run(asked))
