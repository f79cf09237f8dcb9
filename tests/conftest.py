"""What several tests share: a folder of their own, real `hcr` processes, the real data."""

import atexit
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


@pytest.fixture
def hcr(tmp_path: Path) -> Hcr:
    """`hcr(*arguments)` in the test's own folder."""

    def call(*arguments: str, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        return run_hcr(*arguments, cwd=tmp_path, env=env)

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
