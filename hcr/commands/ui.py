"""`hcr ui`: MLflow's UI on the store that hcr records runs in."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from urllib.error import URLError

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, HcrError, TrackingError
from hcr.config.secrets import redact
from hcr.config.tracking import file_uri, output_root, sqlite_path, tracking_uri
from hcr.environment import server_environment
from hcr.tracking.ended import upload_dead_runs, upload_lost
from hcr.tracking.known import lost_runs
from hcr.tracking.place import without_stray_folders
from hcr.tracking.store import relocate_store

LONGEST_START_S = 120.0
LONGEST_STOP_S = 10.0  # after which the server is killed


def main(argv: Sequence[str]) -> int:
    """Start MLflow's server, print its address when it responds, and serve until interrupted.

    Raises:
        HcrError: there is no store yet, it is damaged or locked, the port is taken, or the server does not start.
    """
    parser = OneLineParser("ui", "Open MLflow's UI on the runs that hcr has recorded.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, help="port to listen on (default: 5000, or the next that is free)")
    arguments = parser.parse_args(argv)
    uri = tracking_uri(None)
    if uri.startswith("http"):
        print(f"runs are on the server at {redact(uri)}")
        return 0
    if uri.startswith("sqlite:") and not sqlite_path(uri).exists() and not lost_runs(output_root(), uri):
        raise TrackingError(f"{uri}: no runs yet; `hcr train` records one (HCR_OUTPUT_DIR sets the folder)")
    if arguments.port is not None and not 1 <= arguments.port <= 65_535:
        raise ConfigError(f"--port: expected 1 to 65535, got {arguments.port}")
    try:
        socket.getaddrinfo(arguments.host, None)
    except OSError as error:
        raise ConfigError(f"--host: expected an address of this machine, got {arguments.host!r} ({error})") from error
    relocate_store(uri)
    upload_dead_runs(output_root())
    if lost := lost_runs(output_root(), uri):
        stopping.set_line("interrupted; what was uploaded stays, and `hcr sync` uploads the rest")
        print(f"MLflow has lost {len(lost)} of the runs; uploading them again", flush=True)
        again = upload_lost(output_root(), uri)
        rest = "" if again == len(lost) else "; `hcr sync` says why the others were not"
        print(f"{again} of {len(lost)} uploaded{rest}", flush=True)
    port = arguments.port or _free_port(arguments.host)
    if not _is_free(arguments.host, port):
        raise TrackingError(f"--port: expected a free port, but {port} is taken")
    return _serve(uri, arguments.host, port)


def _serve(uri: str, host: str, port: int) -> int:
    command = [sys.executable, "-P", "-m", "mlflow", "ui", "--workers", "1"]
    command += ["--backend-store-uri", uri, "--host", host, "--port", str(port)]
    if uri.startswith("sqlite:"):
        command += ["--default-artifact-root", file_uri(sqlite_path(uri).parent / "artifacts")]
    environment = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # unused here, and it triples the processes and the start time
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **server_environment(),
    }
    address = f"http://{host}:{port}{os.environ.get('MLFLOW_STATIC_PREFIX', '')}"
    with stopping.handled(), stopping.recording():
        return _stay(command, environment, address, uri)


def _stay(command: list[str], environment: Mapping[str, str], address: str, uri: str) -> int:
    """Run the server of the store at `uri` until it ends, or until a stop signal ends it."""
    server: subprocess.Popen[bytes] | None = None
    is_up = False
    try:
        # In a new session: one signal to its group stops its workers too, and Ctrl-C reaches only this process.
        with stopping.deferred():
            server = subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
            )
        with without_stray_folders(uri):
            _wait_until_up(server, f"{address}/health")
        is_up = True
        print(f"MLflow's UI is at {address} (Ctrl-C stops it)", flush=True)
        _, _ = server.communicate()
    except KeyboardInterrupt:
        stopping.begin_cleanup()
        if not is_up:
            raise KeyboardInterrupt("interrupted; MLflow's server had not started yet") from None
        return 0
    finally:
        if server is not None and server.poll() is None:
            with stopping.deferred():
                _end(server)
    return server.returncode


def _end(server: "subprocess.Popen[bytes]") -> None:
    """Stop the server and its workers; kill them after `LONGEST_STOP_S` seconds, or at a second signal."""
    signals = stopping.count()
    os.killpg(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + LONGEST_STOP_S
    while server.poll() is None and time.monotonic() < deadline and stopping.count() == signals:
        time.sleep(0.05)
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_until_up(server: "subprocess.Popen[bytes]", address: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine
    deadline = time.monotonic() + LONGEST_START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            _, output = server.communicate()
            text = output.decode(errors="replace").strip() or "no error output"
            why = TrackingError(f"hcr ui: MLflow's server did not start ({text.splitlines()[-1]})")
            raise why from ChildProcessError(text)
        try:
            with direct.open(address, timeout=1):
                return
        except (URLError, OSError):  # not listening yet
            time.sleep(0.1)
    raise HcrError(f"hcr ui: {address} did not answer within {LONGEST_START_S:g} s")


def _free_port(host: str) -> int:
    port = next((port for port in range(5000, 5100) if _is_free(host, port)), None)
    if port is None:
        raise TrackingError(f"hcr ui: expected a free port from 5000 to 5099 on {host}, but all are taken")
    return port


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
