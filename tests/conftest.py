"""What several tests share: a folder of their own, real `hcr` processes, the real data."""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

Hcr = Callable[..., "subprocess.CompletedProcess[str]"]

# What a shell may set that changes what hcr does, prints or reads. Taken away before anything of ours is imported, so
# that no test depends on who runs it; a test of one of these sets it for itself.
SETTINGS = ("COLUMNS", "CLICOLOR", "FORCE_COLOR", "HCR_", "HYDRA_", "KERAS_", "LC_", "LINES", "MATPLOTLIB", "MLFLOW_")
SETTINGS += ("MPL", "NO_COLOR", "OPTUNA_", "PYTHON", "TF_", "TTY_", "XLA_", "_MLFLOW_")
KEPT = ("HCR_DATA_DIR", "HCR_FUZZ_EXAMPLES", "PYTHONPATH", "PYTHONHOME")

DATA_DIR = Path(os.environ.get("HCR_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data")

for name in [name for name in os.environ if name.startswith(SETTINGS) and name not in KEPT]:
    del os.environ[name]
os.environ["LANG"] = "C.UTF-8"
# A cache of the tests' own: the user's may hold the data sets that a test expects to be absent.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="hcr-tests-cache-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test writes beside the project, or reads real data without asking for it."""
    monkeypatch.delenv("HCR_DATA_DIR", raising=False)
    for name in ("MPLBACKEND", "PYTHONSAFEPATH"):  # which `hcr.cli.main` sets: put back after the test
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "output"))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an SQLite store without runs: MLflow takes seconds to make one, and a copy is as good."""
    from hcr.config.tracking import sqlite_uri
    from hcr.tracking.store import open_store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_store(sqlite_uri(path))
    return path


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder that holds `mnist-original.mat`."""
    if not (DATA_DIR / "mnist-original.mat").is_file():
        pytest.skip(f"mnist-original.mat is not in {DATA_DIR}; HCR_DATA_DIR names its folder")
    return DATA_DIR


def run_hcr(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, timeout_s: float = 300
) -> "subprocess.CompletedProcess[str]":
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


class Warm:
    """Real `hcr` processes, forked from one that has imported everything (see `warm.py`)."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("warm.py")), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        self._answers = self._control.makefile("rb")

    def run(
        self, *arguments: str, cwd: Path, env: Mapping[str, str], timeout_s: float
    ) -> "subprocess.CompletedProcess[str]":
        """As `run_hcr`, whose environment is `env` alone."""
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            order = {"argv": arguments, "cwd": str(cwd), "env": dict(env), "out": out.name, "err": err.name}
            self._control.sendall(json.dumps(order).encode() + b"\n")
            pid = self._answer()["pid"]
            self._control.settimeout(timeout_s)
            try:
                code = self._answer()["code"]
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, timeout_s) from None
            finally:
                self._control.settimeout(None)
            told = (Path(file.name).read_text(encoding="utf-8") for file in (out, err))
            return subprocess.CompletedProcess(["hcr", *arguments], code, *told)

    def close(self) -> None:
        """End the server."""
        self._answers.close()
        self._control.close()
        self._server.communicate(timeout=30)

    def _answer(self) -> dict[str, int]:
        line = self._answers.readline()
        if not line:
            _, told = self._server.communicate()
            raise RuntimeError(f"the server of the tests has died: {told.decode(errors='replace')[-2000:]}")
        answer: dict[str, int] = json.loads(line)
        return answer


@pytest.fixture(scope="session")
def _warm() -> Iterator[Callable[[], Warm]]:
    """The one server of these tests, begun when it is first needed."""
    servers: list[Warm] = []

    def warm() -> Warm:
        if not servers:
            servers.append(Warm())
        return servers[0]

    yield warm
    for server in servers:
        server.close()


READ_LATE = ("HCR_", "COLUMNS", "MLFLOW_TRACKING_URI", "XDG_CACHE_HOME")  # by hcr itself, and not while it is imported


@pytest.fixture
def hcr(tmp_path: Path, _warm: Callable[[], Warm]) -> Hcr:
    """`hcr(*arguments)` in the test's own folder; a process that only differs from a fresh one in how it was started.

    With variables that Python or a library reads as it starts, or `fresh=True`, it is a fresh one.
    """

    def call(
        *arguments: str, env: Mapping[str, str] | None = None, fresh: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        if fresh or not all(name.startswith(READ_LATE) for name in env or {}):
            return run_hcr(*arguments, cwd=tmp_path, env=env)
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(tmp_path / "output"), **(env or {})}
        return _warm().run(*arguments, cwd=tmp_path, env=environment, timeout_s=300)

    return call


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The address of an empty database on a PostgreSQL server of the test's own, on loopback."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian does not put them into the PATH
    if not found:
        pytest.skip("needs Debian's postgresql")
    programs = found[-1]
    folder = Path(tempfile.mkdtemp(prefix="hcr-postgresql-"))  # where another user may go
    # The server refuses to be root; Debian's package makes a user for it.
    who: dict[str, str] = {}
    if os.geteuid() == 0:
        who = {"user": "postgres", "group": "postgres"}
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-U", "hcr", "--auth=trust", "--no-sync"],
        check=True, capture_output=True, cwd=folder, **who,
    )  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder],
            stdout=log, stderr=log, cwd=folder, **who,
        )  # fmt: skip
    try:
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode != 0:
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"postgresql+psycopg://hcr@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # ends its sessions
        server.wait(30)
        shutil.rmtree(folder)
