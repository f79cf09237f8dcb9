"""What several tests share: a folder of their own, real `hcr` processes, the real data."""

import atexit
import contextlib
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from processes import Completed, Hcr, Process, Warm, locked, run_hcr
from unsynced import leave_unsynced

__all__ = ["DATA_DIR", "QUICK", "UNDRAWN", "UNSCORED", "Hcr", "Process", "Warm", "made_once", "run_hcr"]

sys.modules.setdefault("conftest", sys.modules[__name__])  # for `from conftest import`: pytest names it otherwise

# What a shell may set that changes what hcr does, prints or reads. Taken away before anything of ours is imported, so
# that no test depends on who runs it; a test of one of these sets it for itself.
SETTINGS = ("COLUMNS", "CLICOLOR", "FORCE_COLOR", "HCR_", "HYDRA_", "KERAS_", "LC_", "LINES", "MATPLOTLIB", "MLFLOW_")
SETTINGS += ("MPL", "NO_COLOR", "OPTUNA_", "PYTHON", "TF_", "TTY_", "XLA_", "_MLFLOW_")
KEPT = ("HCR_DATA_DIR", "HCR_FUZZ_EXAMPLES", "PYTHONPATH", "PYTHONHOME")

DATA_DIR = Path(os.environ.get("HCR_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data")

leave_unsynced()
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup, processes would be started that leave it alone
for name in [name for name in os.environ if name.startswith(SETTINGS) and name not in KEPT]:
    del os.environ[name]
os.environ["LANG"] = "C.UTF-8"
import_module("hcr")  # before Keras and TensorFlow, whose settings it pins

# A cache of the tests' own: the user's may hold the data sets that a test expects to be absent. All workers share it.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="hcr-tests-cache-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what was imported: Keras has it look through everything for each model."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test writes beside the project, or reads real data without asking for it."""
    monkeypatch.delenv("HCR_DATA_DIR", raising=False)
    for name in ("MPLBACKEND", "PYTHONSAFEPATH", "MLFLOW_TRACKING_URI"):  # which our code or MLflow sets: put back
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "output"))


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder that holds `mnist-original.mat`."""
    if not (DATA_DIR / "mnist-original.mat").is_file():
        pytest.skip(f"mnist-original.mat is not in {DATA_DIR}; HCR_DATA_DIR names its folder")
    return DATA_DIR


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, as `make` has filled it: for the worker that comes first, and found by the others."""
    is_made = folder.with_name(f"{folder.name}.made")
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not is_made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            is_made.touch()
    return folder


@pytest.fixture(scope="session")
def empty_store(shared: Path) -> Path:
    """The file of an SQLite store without runs: MLflow takes seconds to make one, and a copy is as good."""

    def make(folder: Path) -> None:
        from hcr.config.tracking import sqlite_uri
        from hcr.tracking.store import open_store

        open_store(sqlite_uri(folder / "mlflow.db"))

    return made_once(shared / "store", make) / "mlflow.db"


@pytest.fixture(scope="session")
def digits_run(shared: Path) -> tuple[Path, str]:
    """The default run on the bundled digits, by a fresh process: its folder and what it printed. To be read only."""

    def make(folder: Path) -> None:
        done = run_hcr("train", "notes=why not", "tags={team: ocr}", cwd=folder)
        assert done.returncode == 0, done.stderr
        (folder / "printed").write_text(done.stdout)

    folder = made_once(shared / "digits", make)
    return folder, (folder / "printed").read_text()


Server = Callable[[str], Warm]


@pytest.fixture(scope="session")
def _servers(shared: Path) -> Iterator[Server]:
    """The servers of these tests by what they import, each begun when it is first needed."""
    servers: dict[str, Warm] = {}

    def server(imports: str) -> Warm:
        if imports not in servers:
            servers[imports] = Warm(shared / f"{imports}.socket", imports)
        return servers[imports]

    yield server
    for each in servers.values():
        each.close()


# By hcr itself, or by what it starts, and not while it is imported.
READ_LATE = ("HCR_", "COLUMNS", "MLFLOW_TRACKING_URI", "PATH", "SLURM_CONF", "XDG_CACHE_HOME")


@pytest.fixture
def hcr(tmp_path: Path, _servers: Server) -> Hcr:
    """`hcr(*arguments)` in the test's own folder; a process that only differs from a fresh one in how it was started.

    With variables that Python or a library reads as it starts, or `fresh=True`, it is a fresh one. `code` is Python
    that the process executes before the command. `light=True` has it forked from a server that has imported what a
    command line is checked with, and neither TensorFlow nor MLflow.
    """

    def call(
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        code: str = "",
        fresh: bool = False,
        light: bool = False,
    ) -> Completed:
        folder = cwd or tmp_path
        if fresh or not all(name.startswith(READ_LATE) for name in env or {}):
            assert not code
            return run_hcr(*arguments, cwd=folder, env=env)
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(tmp_path / "output"), **(env or {})}
        return _servers("light" if light else "all").run(*arguments, cwd=folder, env=environment, code=code)

    return call


@pytest.fixture(scope="session")
def warm(_servers: Server) -> Warm:
    """The server behind `hcr`, for fixtures that are shared."""
    return _servers("all")


@pytest.fixture
def popen(_servers: Server) -> type[Process]:
    """As `subprocess.Popen`, but `[sys.executable, "-m", "hcr", ...]` is forked, as `hcr` does."""
    return _servers("all").process


@pytest.fixture
def start_hcr(tmp_path: Path, popen: type[Process]) -> Iterator[Callable[..., Process]]:
    """As `hcr`, but the process is handed out while it runs, with pipes of text; killed with the test."""
    with contextlib.ExitStack() as started:

        def start(*arguments: str, **keywords: Any) -> Process:
            usual = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            process = popen([sys.executable, "-m", "hcr", *arguments], **{**usual, **keywords})
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


QUICK = ("training.epochs=2", "model.filters=8")
# Code for `hcr`, where pictures are not the point: they are more than half of a small run's work.
UNDRAWN = """
import hcr.runner, hcr.sweep.report, hcr.sweep.sweep
nothing = lambda *arguments, **keywords: None
hcr.runner.record_pictures = hcr.sweep.report._record_pictures = hcr.sweep.sweep._draw_best = nothing
"""

# Code for `hcr` in a test of how MLflow makes the tables of a new SQLite store.
MAKING_TABLES = """
from mlflow.store.db import utils
utils._initialize_tables = utils._initialize_tables.as_mlflow_does
"""


@pytest.fixture
def undrawn(hcr: Hcr) -> Hcr:
    """As `hcr`, without pictures."""
    return partial(hcr, code=UNDRAWN)


@pytest.fixture(scope="session")
def quick_run(shared: Path, warm: Warm) -> Path:
    """The folder of a run of `QUICK`, without pictures. To be read only."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output")}
        done = warm.run("train", *QUICK, cwd=folder, env=environment, code=UNDRAWN)
        assert done.returncode == 0, done.stderr

    return made_once(shared / "quick", make)


UNSCORED = ("training=smoke", "model.filters=4", "model.dense_units=[]")


@pytest.fixture(scope="session")
def unscored_run(shared: Path, warm: Warm) -> Path:
    """The output root of a run of `UNSCORED` that has not looked at test, without pictures. To be read only."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder)}
        done = warm.run("train", *UNSCORED, "score_test=false", cwd=folder, env=environment, code=UNDRAWN)
        assert done.returncode == 0, done.stderr

    return made_once(shared / "unscored", make)


@pytest.fixture
def postgresql(_postgresql: str) -> Iterator[str]:
    """The address of an empty database, on loopback."""
    import psycopg

    def execute(command: str) -> None:
        with psycopg.connect(_postgresql.replace("+psycopg", ""), autocommit=True) as server:
            server.execute(command)

    name = f"d{uuid.uuid4().hex}"
    execute(f"CREATE DATABASE {name}")
    yield f"{_postgresql.removesuffix('postgres')}{name}"
    execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server of this worker's own."""
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
            [programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"],
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
