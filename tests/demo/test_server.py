"""The guard around the demo's page, by real requests to a real server."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn")

from hcr.demo.server import HEADERS, MOST_BODY_BYTES, Guard, address, allowed_hosts  # noqa: E402


async def told(scope: Any, receive: Any, send: Any) -> None:
    """An application that tells the length of each request's body."""
    size_bytes, more = 0, True
    while more:
        message = await receive()
        size_bytes, more = size_bytes + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(size_bytes).encode()})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(Guard(told, allowed_hosts("127.0.0.1")), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def ask(port: int, method: str = "GET", path: str = "/", **keywords: Any) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, **keywords)
    answer = connection.getresponse()
    answer.begin()
    return answer


def test_every_answer_forbids_the_page_any_other_host(port: int) -> None:
    answer = ask(port)
    assert answer.status == 200
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "http" not in HEADERS["content-security-policy"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:80", 200),
        ("localhost", 200),
        ("[::1]:7860", 200),
        ("LOCALHOST:1", 200),
        ("evil.example", 400),
        ("", 400),
    ],
)
def test_a_foreign_page_whose_name_leads_here_is_refused(port: int, host: str, status: int) -> None:
    assert ask(port, headers={"Host": host}).status == status


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/upload?x=1", "/gradio_api/proxy=http://host/a"])
def test_what_writes_files_or_fetches_other_hosts_is_closed(port: int, path: str) -> None:
    assert ask(port, "POST", path, body=b"").status == 404


def test_a_body_may_be_as_large_as_a_file_that_is_allowed_and_no_larger(port: int) -> None:
    assert json.load(ask(port, "POST", body=bytes(MOST_BODY_BYTES))) == MOST_BODY_BYTES
    assert ask(port, "POST", headers={"Content-Length": str(MOST_BODY_BYTES + 1)}).status == 413
    assert ask(port, "POST", body=iter([b"some", b"more"]), encode_chunked=True).status == 411


def test_any_name_may_be_asked_for_where_others_can_reach_it() -> None:
    assert allowed_hosts("0.0.0.0") is None
    assert allowed_hosts("192.0.2.7") is None
    assert "127.0.0.5" in (allowed_hosts("127.0.0.5") or ())
    assert "[::1]" in (allowed_hosts("::1") or ())


def test_the_address_of_ipv6_has_brackets() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        assert address(listener, "::1") == f"http://[::1]:{listener.getsockname()[1]}"
