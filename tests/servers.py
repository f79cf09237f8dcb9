"""A real `mlflow server` on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hcr.tracking.store import open_store


class Server:
    """A server of MLflow on loopback that can be stopped and started again, with what it had."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri, self._folder = f"http://127.0.0.1:{self.port}", folder

    @contextmanager
    def running(self) -> Iterator[MlflowClient]:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        server = subprocess.Popen(command, cwd=self._folder, env=environment, start_new_session=True, **quiet)
        try:
            self._wait(server)
            yield open_store(self.uri)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)

    def _wait(self, server: "subprocess.Popen[bytes]") -> None:
        for _ in range(900):
            assert server.poll() is None
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
                return
            except OSError:  # not up yet
                time.sleep(0.1)
        pytest.fail("the server did not answer within 90 seconds")
