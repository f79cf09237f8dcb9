"""What several tests share: a folder of their own, real `hcr` processes, the real data."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Hcr = Callable[..., "subprocess.CompletedProcess[str]"]

DATA_DIR = Path(os.environ.get("HCR_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's store, data or config, and none writes beside the project."""
    for name in ("HCR_CONF_DIR", "HCR_TRACEBACK", "HYDRA_FULL_ERROR", "MLFLOW_TRACKING_URI", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)
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
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
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
