"""Real `hcr` processes: fresh ones, and ones that are forked from a server that has imported everything."""

import fcntl
import inspect
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Completed = subprocess.CompletedProcess[str]
Hcr = Callable[..., Completed]

START_S = 120.0  # for a server to take a connection: it listens before it imports


def run_hcr(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None, timeout_s: float = 300) -> Completed:
    """A real `hcr` process in `cwd`, its runs under `cwd/output`."""
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(cwd / "output"), **(env or {})}
    return subprocess.run(
        [sys.executable, "-m", "hcr", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among the processes that lock the file `path`."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def module_of(command: Any) -> tuple[str, list[str]] | None:
    """The module of hcr that `python -m MODULE ARGUMENTS` runs, and its arguments; None for any other command."""
    if not isinstance(command, list | tuple) or not command or command[0] != sys.executable:
        return None
    words = [os.fspath(word) for word in command[1:]]
    while words and words[0] == "-P":
        words.pop(0)
    if len(words) < 2 or words[0] != "-m" or words[1].split(".")[0] != "hcr":
        return None
    return words[1], words[2:]


class Process(subprocess.Popen[Any]):
    """As `subprocess.Popen`; `[sys.executable, "-m", "hcr", ...]` is forked from the server at `address`.

    Args:
        code: Python that the forked process executes before the command.
    """

    address: Path  # of the server, see `warm.py`

    def __init__(self, args: Any, *others: Any, code: str = "", **keywords: Any) -> None:
        self._module = module_of(args)
        self._code = code
        self._server: socket.socket | None = None
        super().__init__(args, *others, **keywords)

    def _execute_child(self, *arguments: Any) -> None:
        if self._module is None:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        given = inspect.signature(super()._execute_child).bind(*arguments).arguments  # type: ignore[misc]
        ours = (given["p2cread"], given["c2pwrite"], given["errwrite"])
        files = {number: number if file == -1 else file for number, file in enumerate(ours)}
        files |= {file: file for file in given["pass_fds"]}
        order = {
            "module": self._module[0],
            "argv": self._module[1],
            "code": self._code,
            "cwd": os.fspath(given["cwd"] or Path.cwd()),
            "env": dict(os.environ if given["env"] is None else given["env"]),
            "files": list(files),
            "new_session": bool(given["start_new_session"]),
        }
        self._server = connect(self.address)
        socket.send_fds(self._server, [b"."], list(files.values()))
        self._server.sendall(json.dumps(order).encode() + b"\n")
        self.pid = self._answer()["pid"]
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(given[name] for name in pipes))  # type: ignore[attr-defined]

    def _internal_poll(self, *arguments: Any, **keywords: Any) -> int | None:
        if self._server is None:
            return super()._internal_poll(*arguments, **keywords)  # type: ignore[misc,no-any-return]
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid == self.pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if self._server is None:
            return super()._try_wait(flags)  # type: ignore[misc,no-any-return]
        if flags & os.WNOHANG and not select.select([self._server], [], [], 0)[0]:
            return 0, 0
        status = self._answer()["status"]
        self._server.close()
        return self.pid, status

    def _answer(self) -> dict[str, int]:
        assert self._server is not None
        line = b""
        while not line.endswith(b"\n"):
            received = self._server.recv(1)
            if not received:
                raise RuntimeError(f"the server of the tests has died: {told_by(self.address)}")
            line += received
        answer: dict[str, int] = json.loads(line)
        return answer


def connect(address: Path) -> socket.socket:
    """A connection to the server at `address`."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(str(address))
    return server


def told_by(address: Path) -> str:
    """The last words of the server at `address`."""
    return address.with_suffix(".log").read_text(errors="replace")[-2000:]


class Warm:
    """The server of `warm.py` that all workers share: it ends when the last of them has closed this.

    Args:
        address: its socket; begun by who finds none there.
        imports: what it imports, see `warm.py`.
    """

    def __init__(self, address: Path, imports: str) -> None:
        with locked(address.with_suffix(".lock")):
            if not address.exists():
                with address.with_suffix(".log").open("wb") as log:
                    server = subprocess.Popen(
                        [sys.executable, "-P", Path(__file__).with_name("warm.py"), address, imports],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                    )
                deadline = time.monotonic() + START_S
                while not address.exists():
                    assert server.poll() is None and time.monotonic() < deadline, told_by(address)
                    time.sleep(0.01)
            self._lease = connect(address)
            self._lease.sendall(b"+")
        self.process = type("Process", (Process,), {"address": address})

    def start(self, *arguments: str, cwd: Path, env: Mapping[str, str], **keywords: Any) -> Process:
        """`hcr` as of `subprocess.Popen`; what it prints comes through pipes, as text."""
        keywords = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **keywords}
        command = [sys.executable, "-m", "hcr", *arguments]
        return self.process(command, cwd=cwd, env=dict(env), **keywords)  # type: ignore[no-any-return]

    def run(
        self, *arguments: str, cwd: Path, env: Mapping[str, str], code: str = "", timeout_s: float = 300
    ) -> Completed:
        """As `run_hcr`, whose environment is `env` alone."""
        with self.start(*arguments, cwd=cwd, env=env, code=code) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(["hcr", *arguments], process.returncode, out, err)

    def close(self) -> None:
        """Need the server no more."""
        self._lease.close()
