"""`hcr demo`: a page on which a finished run's model classifies what is drawn or dropped."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import numpy as np

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, TrackingError
from hcr.config.text import printable
from hcr.environment import NOT_SERVED, without
from hcr.importing import import_keras, import_needed, without_greetings
from hcr.recorded import MODEL, RecordedRun, recorded_run

FIRST_PORT, NUM_PORTS = 7860, 100
LOOPBACK = "127.0.0.1"
NEEDS_GRADIO = "hcr demo: needs Gradio, which is not installed; pip install 'hcr[demo]'"
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}


def main(argv: Sequence[str]) -> int:
    """Serve the page of RUN until a stop signal.

    Raises:
        HcrError: no such run, it has no model, Gradio is not installed, or the address cannot be used.
        KeyboardInterrupt: the stop signal.
    """
    parser = OneLineParser("demo", "Draw a character, or drop a picture, and see what a run's model makes of it.")
    parser.add_argument("run", metavar="RUN", help="a key, a unique prefix of one, a run id, a run name, or latest")
    parser.add_argument(
        "--host", default=LOOPBACK, help="address to listen on (default: this machine only; 0.0.0.0: every network)"
    )
    parser.add_argument("--port", type=int, help=f"port to listen on (default: {FIRST_PORT}, or the next that is free)")
    arguments = parser.parse_args(argv)
    if arguments.port is not None and not 1 <= arguments.port <= 65_535:
        raise ConfigError(f"--port: expected 1 to 65535, got {arguments.port}")
    run = recorded_run(arguments.run)
    if not (run.artifacts / MODEL).is_file():
        raise TrackingError(f"{run.artifacts / MODEL}: expected the run's model, got no file")
    if find_spec("gradio") is None:
        raise ConfigError(NEEDS_GRADIO)
    with listening(arguments.host, arguments.port) as listener:
        _serve(run, listener, arguments.host)
    return 0


def _serve(run: RecordedRun, listener: socket.socket, host: str) -> None:
    print(f"loading the model of run {run.key}, {printable(run.name)}", flush=True)
    with _environment():
        with without_greetings():
            import_keras()
            import_needed("gradio")
            from hcr.demo.facts import facts_of
            from hcr.demo.mistakes import find_mistakes
            from hcr.demo.page import make_app
            from hcr.demo.server import address, allowed_hosts, serve
            from hcr.recognition import Recognizer

        stopping.check()
        recognizer = Recognizer(run)
        recognizer.probabilities(np.zeros((1, *recognizer.image_shape), np.uint8))  # compiles it: no visitor waits
        app = make_app(recognizer, facts_of(run), find_mistakes(run))

        def tell() -> None:
            print(f"the demo is at {address(listener, host)} (Ctrl-C stops it)", flush=True)
            if allowed_hosts(host) is None:
                print("note: everyone who can reach this machine can use it", flush=True)

        serve(app, listener, host, tell)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """The server's environment: no setting of the shell moves, shares or opens the page, and nothing is sent out."""
    before = dict(os.environ)
    kept = without(NOT_SERVED, before) | QUIET
    for name in before.keys() - kept.keys():
        del os.environ[name]
    os.environ.update(kept)
    try:
        yield
    finally:
        for name in kept.keys() - before.keys():
            os.environ.pop(name, None)
        os.environ.update(before)


@contextlib.contextmanager
def listening(host: str, port: int | None) -> Iterator[socket.socket]:
    """A socket that listens on `host`, at `port` or else at the first free port from FIRST_PORT.

    It listens before the model is loaded: a browser that is opened early waits, and no other process gets the port.

    Raises:
        ConfigError: `host` is no address of this machine.
        TrackingError: the port is taken, or may not be used.
    """
    try:
        family, _, _, _, place = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host: expected an address of this machine, got {host!r} ({error})") from error
    ports = [port] if port is not None else range(FIRST_PORT, FIRST_PORT + NUM_PORTS)
    for each in ports:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((place[0], each, *place[2:]))
                listener.listen(128)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    key = "--port" if isinstance(error, PermissionError) else "--host"
                    raise ConfigError(f"{key}: {host}:{each} cannot be used ({error.strerror})") from error
                continue
            yield listener
            return
    if port is not None:
        raise TrackingError(f"--port: expected a free port, but {port} is taken")
    last = FIRST_PORT + NUM_PORTS - 1
    raise TrackingError(f"hcr demo: expected a free port from {FIRST_PORT} to {last} on {host}, but all are taken")
