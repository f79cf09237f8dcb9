"""Sweeps on Ray, which wants other versions of joblib and cloudpickle than ours: in an environment of its own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_sweep import SMALL, Sweep

pytestmark = pytest.mark.slow

LOCK = Path(__file__).with_name("requirements-ray.lock")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an interpreter that has Ray, and all else from the environment of the tests."""
    folder = tmp_path_factory.mktemp("ray")
    venv.create(folder, with_pip=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    ours = sysconfig.get_paths()["purelib"]
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    install = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    subprocess.run([*install, "--require-hashes", "-r", LOCK], check=True, capture_output=True)
    return folder / "bin"


@pytest.fixture
def head(programs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Ray that is running on this machine, for who has its token."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    folder = tempfile.mkdtemp(prefix="hcr-ray-")  # short: there are sockets in it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        programs / "ray", "start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false",
        "--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}", "--disable-usage-stats",
    ]  # fmt: skip
    log = Path(folder) / "head.log"
    with log.open("wb") as file:
        ray = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while "Ray runtime started" not in log.read_text():
            assert ray.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        ray.send_signal(signal.SIGTERM)  # it ends what it has started
        ray.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def train(programs: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output"), "RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [programs / "python", "-m", "hcr", "train", "-m", *SMALL, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_a_sweep_on_a_ray_that_is_running_goes_on_with_one_of_its_own(
    programs: Path, head: str, tmp_path: Path
) -> None:
    joined = ("hydra/launcher=ray_cluster", f"hydra.launcher.ray.init.address={head}")
    done = train(programs, tmp_path, "seed=0,1", *joined)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 reused, 0 resumed, 2 to run\n")
    assert "cluster" in done.stderr and "TensorFlow" not in done.stderr
    made = Sweep(tmp_path)
    assert made.statuses() == ["FINISHED"] * 2
    assert made.parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in made.children} == {made.parent.info.run_id}

    done = train(programs, tmp_path, "seed=0,1,2", "hydra/launcher=ray_local")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 reused, 0 resumed, 1 to run\n")
    assert Sweep(tmp_path).statuses() == ["FINISHED"] * 3
