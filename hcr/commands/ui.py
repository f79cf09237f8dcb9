"""`hcr ui`: MLflow's UI on the store that hcr records runs in, opened at a sweep, a run, or a comparison of runs."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from urllib.error import URLError

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.commands.ui_pages import Asked, Pages, asked_runs, pages_of
from hcr.config.addresses import without_user
from hcr.config.errors import ConfigError, HcrError, TrackingError, one_line
from hcr.config.secrets import redact
from hcr.config.tracking import file_uri, output_root, sqlite_path, tracking_uri
from hcr.environment import NOT_SERVED, server_environment, without
from hcr.importing import import_needed
from hcr.tracking.ended import upload_dead_runs, upload_lost
from hcr.tracking.known import lost_runs
from hcr.tracking.place import without_stray_folders
from hcr.tracking.store import relocate_store

LONGEST_START_S = 120.0
LONGEST_STOP_S = 10.0  # after which the server is killed


def main(argv: Sequence[str]) -> int:
    """Start MLflow's server, print the links when it responds, open the first, and serve until interrupted.

    For a store that is a server of its own, only print the links to its pages and open the first.

    Raises:
        HcrError: no run or several have a name, there is no store yet, it is damaged or locked, the port is taken, or
            the server does not start.
    """
    parser = OneLineParser(
        "ui",
        "Open MLflow's UI: at a sweep (its charts), at a run's page, at a comparison of several, or at all runs.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="RUN_OR_SWEEP", help="keys, ids, names, best, or latest: a run or a whole sweep"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, help="port to listen on (default: 5000, or the next that is free)")
    parser.add_argument("--no-browser", action="store_true", help="print the links, and open none")
    arguments = parser.parse_args(argv)
    # This process reads the store with MLflow's own code: what would keep the server from it is removed here too.
    for name in os.environ.keys() - without(NOT_SERVED, os.environ).keys():
        del os.environ[name]
    opens = not arguments.no_browser and has_browser()
    if arguments.port is not None and not 1 <= arguments.port <= 65_535:
        raise ConfigError(f"--port: expected 1 to 65535, got {arguments.port}")
    asked = asked_runs(output_root(), arguments.names)
    uri = asked[0].uri if asked else tracking_uri(None)
    if uri.startswith("http"):
        return _point_to(uri, asked, opens=opens)
    if uri.startswith("sqlite:") and not sqlite_path(uri).exists() and not lost_runs(output_root(), uri):
        raise TrackingError(f"{uri}: no runs yet; `hcr train` records one (HCR_OUTPUT_DIR sets the folder)")
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
    return _serve(uri, arguments.host, port, partial(_own_pages, uri, asked), opens=opens)


def has_browser() -> bool:
    """True if a person sees this: standard output is a terminal, on a display, and not of a build."""
    has_display = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and has_display and "CI" not in os.environ


def _own_pages(uri: str, asked: Sequence[Asked]) -> Pages:
    """The pages of a server of the MLflow that is installed here."""
    from hcr.tracking.pages import own_version

    return pages_of(uri, asked, own_version)


def _point_to(uri: str, asked: Sequence[Asked], *, opens: bool) -> int:
    """Print the links to the pages of the tracking server at `uri`, without its password, and open the first."""
    print(f"runs are on the server at {redact(uri)}", flush=True)
    import_needed("mlflow")
    from hcr.tracking.pages import server_version

    try:
        pages = pages_of(uri, asked, partial(server_version, uri))
    except TrackingError as error:
        if asked:
            raise
        print(f"note: {one_line(error)}", flush=True)
        return 0
    _show(pages, without_user(uri).rstrip("/"), opens=opens)
    return 0


def _show(pages: Pages, address: str, *, opens: bool) -> None:
    """Print the links, and open the first in a browser."""
    width = max(map(len, pages), default=0)
    links = {name: f"{address}/{link}" for name, link in pages.items()}
    for name, link in links.items():
        print(f"{name:{width}}  {link}", flush=True)
    if opens:
        webbrowser.open(next(iter(links.values()), address))


def _serve(uri: str, host: str, port: int, find_pages: Callable[[], Pages], *, opens: bool) -> int:
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
        return _stay(command, environment, address, uri, find_pages, opens=opens)


def _stay(
    command: list[str],
    environment: Mapping[str, str],
    address: str,
    uri: str,
    find_pages: Callable[[], Pages],
    *,
    opens: bool,
) -> int:
    """Run the server of the store at `uri` until it ends, or until a stop signal ends it.

    Args:
        find_pages: called while the server starts, which takes longer.
        opens: open the first page in a browser.
    """
    server: subprocess.Popen[bytes] | None = None
    is_up = False
    try:
        # In a new session: one signal to its group stops its workers too, and Ctrl-C reaches only this process.
        with stopping.deferred():
            server = subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
            )
        pages = find_pages()
        with without_stray_folders(uri):
            _wait_until_up(server, f"{address}/health")
        is_up = True
        print(f"MLflow's UI is at {address} (Ctrl-C stops it)", flush=True)
        _show(pages, address, opens=opens)
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
