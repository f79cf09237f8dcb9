"""Take the tracking server away in the middle of a run, in several ways, and see that nothing is lost.

    python experiments/resume/outage.py [OVERRIDES ...] [--cases restarted gone error hang]

A real `mlflow server` on loopback is killed after the twentieth epoch. Then, by case: it is started again three seconds
later; it stays away; something that answers 500 to everything takes its place; something that never answers does.
Told are the exit code and the time added to that of an undisturbed run. Then the server comes back, `hcr sync` runs
twice, and the histories of all metrics are compared with the undisturbed run's.
"""

import argparse
import http.server
import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from kill import metrics

CASES = ("restarted", "gone", "error", "hang")
DEFAULT = ("training.epochs=60", "training.patience=null")
AFTER_EPOCH = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("overrides", nargs="*", default=DEFAULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        control_s, control = disturbed(Path(folder) / "control", None, options.overrides)
        print(f"undisturbed: {control_s:.1f} s, {len(control)} values of metrics", flush=True)
        for case in options.cases:
            whole_s, found = disturbed(Path(folder) / case, case, options.overrides)
            same = "the same history as undisturbed" if found == control else "ANOTHER HISTORY"
            print(f"{case}: exit code 0, {whole_s - control_s:+.1f} s; after hcr sync, twice: {same}", flush=True)
            assert found == control


def disturbed(root, case, overrides):
    """The seconds that `hcr train` took while its server suffered `case`, and every metric in the end."""
    root.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(root, port)
    server.start()
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(root / "output")}
    environment |= {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "hcr"]
    begun = time.monotonic()
    run = subprocess.Popen([*command, "train", *overrides], env=environment, stdout=subprocess.PIPE, text=True)
    epochs = 0
    stand_in = None
    for line in run.stdout:
        epochs += line.startswith("epoch")
        if epochs == AFTER_EPOCH and line.startswith("epoch") and case is not None:
            server.kill()
            if case == "restarted":
                threading.Timer(3, server.start).start()
            elif case in ("error", "hang"):
                stand_in = StandIn(port, case)
    assert run.wait() == 0, f"exit code {run.returncode}"
    whole_s = time.monotonic() - begun
    if stand_in is not None:
        stand_in.close()
    server.start()
    for _ in range(2):
        done = subprocess.run([*command, "sync"], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    found = metrics(f"http://127.0.0.1:{port}")
    server.kill()
    return whole_s, found


class Server:
    """A real MLflow server on an SQLite file of its own."""

    def __init__(self, root, port):
        self.port = port
        self.command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        self.command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{root}/server.db"]
        self.command += ["--artifacts-destination", str(root / "artifacts")]
        self.process = None

    def start(self):
        """Start it unless it runs, and wait until it answers."""
        if self.process is None:
            environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            null = subprocess.DEVNULL
            self.process = subprocess.Popen(
                self.command, env=environment, stdout=null, stderr=null, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError("the MLflow server did not start")

    def kill(self):
        """SIGKILL to it and its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


class StandIn:
    """Something else at the server's port: it answers 500 to everything, or accepts and says nothing."""

    def __init__(self, port, case):
        class Answer(http.server.BaseHTTPRequestHandler):
            def handle_one_request(self):
                if case == "hang":
                    time.sleep(3600)
                self.rfile.readline()
                self.close_connection = True
                self.wfile.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")

        class Listener(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        deadline = time.monotonic() + 10
        while True:
            try:
                self.listener = Listener(("127.0.0.1", port), Answer)
                break
            except OSError:  # the last worker of the killed server still holds the port
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def close(self):
        """Give the port back."""
        self.listener.shutdown()
        self.listener.server_close()


if __name__ == "__main__":
    main()
