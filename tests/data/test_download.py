"""Downloads from a real server on this machine: whole and checked, or not there at all."""

import hashlib
import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import Hcr

from hcr.config.errors import DataError
from hcr.console import PlainConsole
from hcr.data.download import download
from hcr.data.files import find_file
from hcr.data.formats.arrays import Arrays
from hcr.data.loading import load_dataset
from hcr.gate.compose import compose

BODY = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers a path by the behaviour that its first folder names, and counts the requests for it."""

    body = BODY
    requests: list[str]

    def url(self, behaviour: str, name: str = "small.npz") -> str:
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        behaviour = self.path.split("/")[1]
        first = self.path not in self.server.requests
        self.server.requests.append(self.path)
        body = self.server.body
        if behaviour == "absent":
            self.send_error(404)
        elif behaviour == "busy":
            self.send_error(503)
        elif behaviour == "mute":
            time.sleep(2)
        elif behaviour == "redirect":
            self.send_response(302)
            self.send_header("Location", self.server.url("good"))
            self.end_headers()
        else:
            self.send_response(200)
            if behaviour != "unsized":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if behaviour == "dribble":
                for i in range(40):
                    self.wfile.write(body[i : i + 1])
                    time.sleep(0.1)
            elif behaviour == "cut" or (behaviour == "cut-once" and first):
                self.wfile.write(body[: len(body) // 2])
            else:
                self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ThreadingHTTPServer, "handle_error", lambda *_: None)  # a client that hung up is no news
    with Server(("127.0.0.1", 0), Handler) as started:
        started.requests = []
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield started
        started.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _tries_without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries Pooch pauses for seconds."""
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda _: None))


def fetch(url: str, file: Path, *, sha256: str = SHA256, timeout_s: float = 5.0, terminal: bool = False) -> str:
    """Download, and return what was shown."""
    out = io.StringIO()
    console = PlainConsole(file=out, terminal=terminal, width=300)
    download(url, file, sha256, timeout_s=timeout_s, console=console)
    return out.getvalue()


@pytest.mark.parametrize("behaviour", ["good", "unsized", "redirect"])
def test_a_good_server_gives_exactly_the_file_and_nothing_beside_it(
    server: Server, tmp_path: Path, behaviour: str
) -> None:
    fetch(server.url(behaviour), tmp_path / "cache" / "small.npz")
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["small.npz"]
    assert (tmp_path / "cache" / "small.npz").read_bytes() == BODY


def test_one_plain_line_says_what_comes_from_where_and_how_much(server: Server, tmp_path: Path) -> None:
    shown = fetch(server.url("good"), tmp_path / "small.npz")
    assert shown == f"downloading small.npz (0.3 MB) from {server.url('good')}\n"


def test_a_terminal_gets_a_bar(server: Server, tmp_path: Path) -> None:
    assert "━" in fetch(server.url("good"), tmp_path / "small.npz", terminal=True)


def refused(server_url: str, folder: Path, **settings: object) -> str:
    """The one line of an attempt that fails and leaves nothing behind."""
    with pytest.raises(DataError) as error:
        fetch(server_url, folder / "small.npz", **settings)  # type: ignore[arg-type]
    assert list(folder.iterdir()) == []
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_handed_over_in_an_address_is_not_printed(server: Server, tmp_path: Path) -> None:
    message = refused(server.url("absent") + "?sig=hunter22", tmp_path)
    assert message.startswith(f"{server.url('absent')}?...: ")
    told = fetch(server.url("good") + "?token=abc&sig=hunter22", tmp_path / "small.npz")
    assert told.endswith(f"from {server.url('good')}?...\n")


def test_a_file_with_another_checksum_is_not_kept(server: Server, tmp_path: Path) -> None:
    url = server.url("good")
    assert refused(url, tmp_path, sha256="0" * 64) == (
        f"{url}: the SHA-256 of the file differs from dataset.sha256; the file was deleted"
    )


def test_a_connection_cut_half_way_is_tried_again(server: Server, tmp_path: Path) -> None:
    shown = fetch(server.url("cut-once"), tmp_path / "small.npz")
    assert (tmp_path / "small.npz").read_bytes() == BODY
    assert [line.endswith("(attempt 2 of 3)") for line in shown.splitlines()] == [False, True]


def test_a_connection_that_is_always_cut_is_given_up(server: Server, tmp_path: Path) -> None:
    url = server.url("cut")
    message = refused(url, tmp_path)
    assert message == f"{url}: the transfer broke off (150,000 of 300,000 bytes received), 3 times"
    assert len(server.requests) == 3


def test_an_absent_file_is_told_at_once_and_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    assert refused(server.url("absent"), tmp_path).endswith("the server answers 404 Not Found")
    assert len(server.requests) == 1
    assert refused(server.url("busy"), tmp_path).endswith("the server answers 503 Service Unavailable, 3 times")
    assert len(server.requests) == 1 + 3


def test_a_server_that_dribbles_is_given_up(server: Server, tmp_path: Path) -> None:
    # A byte every 0.1 s: no single wait is long, so the timeout of a socket would never end it.
    message = refused(server.url("dribble"), tmp_path, timeout_s=0.5)
    assert "the transfer stalled" in message


def test_a_server_that_never_answers_is_given_up(server: Server, tmp_path: Path) -> None:
    assert "no answer within 0.2 s" in refused(server.url("mute"), tmp_path, timeout_s=0.2)


def test_no_server_at_all_is_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/small.npz"
    assert refused(url, tmp_path) == f"{url}: cannot be reached (Connection refused)"


def test_a_folder_that_cannot_be_made_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=f"^{tmp_path / 'cache'}: the download cannot be written here"):
        fetch(server.url("good"), tmp_path / "cache" / "small.npz")


def test_two_processes_that_download_at_once_both_get_the_file(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "cache" / "small.npz"
    code = "import sys; from pathlib import Path; from hcr.data.download import download; "
    code += "download(sys.argv[1], Path(sys.argv[2]), sys.argv[3]); print(len(Path(sys.argv[2]).read_bytes()))"
    command = [sys.executable, "-c", code, server.url("good"), str(file), SHA256]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=60) for process in both]
    assert [(out.splitlines()[-1], err) for out, err in told] == [(str(len(BODY)), "")] * 2
    assert [entry.name for entry in file.parent.iterdir()] == ["small.npz"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HCR_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hcr"


def mnist(url: str, sha256: str = SHA256) -> Arrays:
    cfg = compose(["dataset=mnist", f"dataset.url={url}", f"dataset.sha256={sha256}"]).dataset
    assert isinstance(cfg, Arrays)
    return cfg


def test_a_file_found_nowhere_is_downloaded_once_into_the_cache(server: Server, cache: Path) -> None:
    cfg = mnist(server.url("good", "mnist.npz"))
    assert [find_file(cfg), find_file(cfg)] == [cache / "mnist.npz"] * 2
    assert len(server.requests) == 1


@pytest.mark.parametrize(("called", "kept"), [("mnist-original.mat", "mnist-original.mat"), ("any", "mnist.npz")])
def test_a_download_is_kept_under_a_name_that_is_looked_for(
    server: Server, cache: Path, called: str, kept: str
) -> None:
    assert find_file(mnist(server.url("good", called))) == cache / kept


def test_without_a_network_one_line_says_what_to_put_where_or_what_needs_none(cache: Path) -> None:
    with pytest.raises(DataError) as error:
        find_file(mnist("http://127.0.0.1:9/mnist.npz"))
    assert str(error.value) == (
        "dataset=mnist: http://127.0.0.1:9/mnist.npz: cannot be reached (Connection refused);"
        f" put mnist-original.mat or mnist.npz into {cache}, or set dataset.path=FILE"
        " (dataset=digits needs no file)"
    )


def test_a_downloaded_data_set_is_read_and_another_command_finds_it(
    server: Server, cache: Path, tmp_path: Path, hcr: Hcr
) -> None:
    random = np.random.default_rng(0)
    packed = io.BytesIO()
    images = {"x_train": (60, 28, 28), "x_test": (20, 28, 28)}
    arrays = {name: random.integers(0, 256, shape, dtype=np.uint8) for name, shape in images.items()}
    np.savez_compressed(packed, **arrays, y_train=np.arange(60) % 10, y_test=np.arange(20) % 10)
    server.body = packed.getvalue()
    cfg = mnist(server.url("good", "mnist.npz"), hashlib.sha256(server.body).hexdigest())
    overrides = ["dataset=mnist", f"dataset.url={cfg.url}", f"dataset.sha256={cfg.sha256}", "split.validation=0.2"]
    first = hcr("data", *overrides, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert first.returncode == 0, first.stderr
    assert f"downloading mnist.npz (0.1 MB) from {cfg.url}" in first.stdout
    assert load_dataset(cfg).images.shape == (80, 28, 28, 1)
    assert len(server.requests) == 1
