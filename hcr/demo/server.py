"""Serves the demo, with limits on what a visitor may send, and headers that forbid the page any other host."""

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import uvicorn

from hcr import stopping
from hcr.config import HcrError

MOST_BODY_BYTES = 24 << 20  # of a request: a file of MOST_BYTES in base64, and JSON around it
CLOSE_S = 1  # for open connections, after which they are cut
# What the page needs of these of Gradio's addresses is nothing; they would write files or fetch other hosts.
CLOSED = ("/gradio_api/upload", "/gradio_api/proxy", "/gradio_api/stream", "/gradio_api/component_server")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; font-src 'self' data:; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Any]
Send: TypeAlias = Callable[[dict[str, Any]], Any]


class Guard:
    """ASGI middleware around the page.

    Args:
        app: the page.
        hosts: names that a request may ask for; None: any. A foreign page whose name leads to this machine has another.
    """

    def __init__(self, app: Any, hosts: Sequence[str] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = self._refusal(scope)
        if status is not None:
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            return

        async def send_with_headers(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> int | None:
        """The status of a request that is not let through; None: it is."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts is not None and _without_port(host) not in self._hosts:
            return 400
        if scope["path"].startswith(CLOSED):
            return 404
        if b"transfer-encoding" in headers:  # a body of unknown length
            return 411
        length = headers.get(b"content-length", b"0")
        return None if length.isdigit() and int(length) <= MOST_BODY_BYTES else 413


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


def allowed_hosts(host: str) -> tuple[str, ...] | None:
    """The names of this machine in requests to a server on `host`; None, which is any, unless only this machine can."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    return ("127.0.0.1", "localhost", "[::1]", _shown(host).lower()) if is_loopback else None


def address(listener: socket.socket, host: str) -> str:
    """The address of a server on `listener`, which listens on `host`."""
    return f"http://{_shown(host)}:{listener.getsockname()[1]}"


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def serve(app: Any, listener: socket.socket, host: str, on_started: Callable[[], None]) -> None:
    """Serve `app` on `listener` until a stop signal ends it.

    Args:
        on_started: called when the server answers.

    Raises:
        KeyboardInterrupt: the stop signal; the server has ended.
        HcrError: the server has ended by itself.
    """
    config = uvicorn.Config(
        Guard(app, allowed_hosts(host)),
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=CLOSE_S,
    )
    server = uvicorn.Server(config)
    with stopping.handled(), stopping.recording():
        # In a thread: uvicorn takes signals for itself in the main one.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="demo", daemon=True)
        try:
            thread.start()
            while thread.is_alive() and not server.started:
                thread.join(0.05)
            if server.started:
                on_started()
            thread.join()
        except KeyboardInterrupt:
            stopping.begin_cleanup()
            logging.getLogger("uvicorn.error").disabled = True  # it would report the connections that it cuts
            server.should_exit = True
            thread.join(10 * CLOSE_S)
            raise KeyboardInterrupt("interrupted; the demo has ended") from None
    raise HcrError("hcr demo: the server ended by itself")
