"""`hcr demo`: refusals, and the page in a real browser, with a model that was trained on MNIST."""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import UNDRAWN, Hcr, Warm, made_once
from PIL import Image

from hcr.commands import demo
from hcr.config.errors import ConfigError, TrackingError
from hcr.recorded import read_run

CHROMIUM = shutil.which("chromium")
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
CHROMIUM_FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

# A 3 in one stroke: shares of the canvas.
THREE = [(0.35, 0.28), (0.45, 0.2), (0.58, 0.22), (0.63, 0.32), (0.57, 0.44), (0.48, 0.48), (0.6, 0.53), (0.66, 0.64)]
THREE += [(0.6, 0.76), (0.46, 0.8), (0.34, 0.72)]

# Python that writes down every address that the process asks for, and every program that it starts.
WATCH = """
import sys
asking = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}
starting = {"subprocess.Popen": 0, "os.exec": 0, "os.posix_spawn": 0, "os.system": 0}
def watch(event, arguments, place={**asking, **starting}, file=open("watched", "a", buffering=1)):
    if event in place:
        file.write(f"{event} {arguments[place[event]]}\\n")
sys.addaudithook(watch)
"""


# Refusals


def test_a_wrong_run_is_one_line_and_nothing_heavy_is_imported_for_it(tmp_path: Path) -> None:
    code = "import sys; from hcr.cli import main; code = main(['demo', 'nosuch'])\n"
    code += "heavy = {'tensorflow', 'keras', 'gradio', 'mlflow', 'matplotlib'}\n"
    code += "print(code, sorted(heavy & set(sys.modules)))"
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "1 []\n"
    assert done.stderr.startswith("hcr: no run 'nosuch' under ")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def in_quick_run(quick_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output root of a finished run, as HCR_OUTPUT_DIR."""
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(quick_run / "output"))
    return quick_run / "output"


def test_a_missing_extra_is_one_line_that_says_what_to_install(
    in_quick_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"^hcr demo: needs Gradio, which is not installed; pip install 'hcr\[demo\]'$"
    ):
        demo.main(["latest"])


def test_a_run_without_its_model_is_said(in_quick_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(in_quick_run, tmp_path / "output")
    (model,) = (tmp_path / "output").glob("runs/*/artifacts/model/data/model.keras")
    model.unlink()
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "output"))
    with pytest.raises(TrackingError, match=f"^{re.escape(str(model))}: expected the run's model, got no file$"):
        demo.main(["latest"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--port", "0"], "--port: expected 1 to 65535, got 0"),
        (["--port", "65536"], "--port: expected 1 to 65535, got 65536"),
        (["--host", "192.0.2.1"], "--host: 192.0.2.1:7860 cannot be used (Cannot assign requested address)"),
        (["--host", ".."], "--host: expected an address of this machine, got '..'"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(in_quick_run: Path, words: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        demo.main(["latest", *words])
    assert str(refused.value).startswith(told)


def test_a_port_that_is_taken_is_said_if_it_was_named_and_else_the_next_is_used(in_quick_run: Path) -> None:
    with demo.listening("127.0.0.1", None) as first, demo.listening("127.0.0.1", None) as second:
        taken, free = first.getsockname()[1], second.getsockname()[1]
        assert demo.FIRST_PORT <= taken < free
        assert first.getsockname()[0] == "127.0.0.1"
        with pytest.raises(TrackingError, match=f"^--port: expected a free port, but {taken} is taken$"):
            demo.main(["latest", "--port", str(taken)])


def test_settings_of_gradio_in_the_shell_have_no_effect_and_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    before = dict(os.environ)
    with demo._environment():
        assert "GRADIO_SHARE" not in os.environ
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert os.environ["PATH"] == before["PATH"]
    assert dict(os.environ) == before


# The page


@dataclass
class Served:
    """A running demo: its address, its process, its folder, and the folder of its run."""

    address: str
    process: "subprocess.Popen[str]"
    folder: Path
    run: Path


def start(warm: Warm, folder: Path, *words: str, **env: str) -> Served:
    """Start `hcr demo latest` on the runs in `folder`; ready when this returns."""
    (run,) = (folder / "output" / "runs").iterdir()
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output"), **env}
    process = warm.process(
        [sys.executable, "-m", "hcr", "demo", "latest", *words], cwd=folder, env=environment, code=WATCH,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("loading the model of run ")
    line = process.stdout.readline()
    found = re.fullmatch(r"the demo is at (http://127\.0\.0\.1:\d+) \(Ctrl-C stops it\)\n", line)
    assert found, line + process.communicate()[1]
    return Served(found[1], process, folder, run)


def end(served: Served) -> None:
    served.process.send_signal(signal.SIGINT)
    _, told = served.process.communicate(timeout=60)
    assert (served.process.returncode, told) == (130, "hcr: interrupted; the demo has ended\n")


@pytest.fixture(scope="session")
def mnist_run(shared: Path, warm: Warm, mnist_dir: Path) -> Path:
    """The folder of a model that knows MNIST's digits, after seconds of training. To be read only."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output"), "HCR_DATA_DIR": str(mnist_dir)}
        words = ("train", "experiment=speedrun", "dataset=mnist")
        done = warm.run(*words, cwd=folder, env=environment, code=UNDRAWN)
        assert done.returncode == 0, done.stderr

    return made_once(shared / "mnist-speedrun", make)


@pytest.fixture(scope="module")
def served(mnist_run: Path, warm: Warm, mnist_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The demo of that model."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "output").symlink_to(mnist_run / "output")
    settings = {"GRADIO_SHARE": "True", "GRADIO_ANALYTICS_ENABLED": "True", "GRADIO_SERVER_NAME": "0.0.0.0"}
    settings |= {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}  # nothing is there
    running = start(warm, folder, HCR_DATA_DIR=str(mnist_dir), **settings)
    try:
        yield running
        end(running)
    finally:
        running.process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page on the demo, in a browser of its own settings; no request of it may leave this machine."""

    def __init__(self, browser: Any, served: Served, **settings: Any) -> None:
        self.context = browser.new_context(**settings)
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda told: self.errors.append(told.text) if told.type == "error" else None)
        self.page.goto(served.address)
        self.canvas = self.page.locator(".hcr-canvas")
        self.canvas.wait_for(timeout=60_000)
        self.best, self.hint = self.page.locator(".hcr-best"), self.page.locator(".hcr-hint")
        self.refusal = self.page.locator(".hcr-refusal")

    def close(self) -> None:
        self.context.close()
        hosts = {urlsplit(url).hostname for url in self.asked if not url.startswith(("data:", "blob:"))}
        assert hosts == {"127.0.0.1"}
        assert self.errors == []

    def points(self) -> list[tuple[float, float]]:
        """The 3, in pixels of the window."""
        box = self.canvas.bounding_box()
        return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in THREE]

    def draw(self) -> None:
        """Draw the 3 with the mouse."""
        first, *others = self.points()
        self.page.mouse.move(*first)
        self.page.mouse.down()
        for point in others:
            self.page.mouse.move(*point, steps=3)
        self.page.mouse.up()

    def drop(self, path: Path) -> None:
        self.page.locator("input[type=file]").set_input_files(path)


@pytest.fixture
def visit(browser: Any, served: Served) -> Iterator[Visit]:
    one = Visit(browser, served, viewport={"width": 1500, "height": 900})
    yield one
    one.close()


@pytest.mark.slow
def test_a_drawn_3_is_read_as_3_and_bars_appear_while_it_is_drawn(visit: Visit, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = visit.page
    expect(visit.hint).to_be_visible()
    expect(page.get_by_text("test accuracy 0.99")).to_be_visible()
    expect(page.get_by_text("mnist cnn speedrun seed=0")).to_be_visible()
    first, *others = visit.points()
    page.mouse.move(*first)
    page.mouse.down()
    shown = []
    for point in others:
        page.mouse.move(*point, steps=3)
        expect(page.locator(".hcr-share")).to_have_count(5)
        expect(visit.best).to_be_visible()  # although the button is down
        page.wait_for_timeout(150)
        shown.append(page.locator(".hcr-answer img").get_attribute("src"))
    assert len(set(shown)) > 5, "the answer follows the stroke"
    page.mouse.up()
    expect(visit.best).to_have_text("3")
    shares = [float(text.strip("> %")) for text in page.locator(".hcr-share").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 50
    page.screenshot(path=tmp_path / "drawn.png")


@pytest.mark.slow
def test_a_canvas_that_is_blank_again_shows_no_answer(visit: Visit) -> None:
    from playwright.sync_api import expect

    for button in ("Clear", "Undo"):
        visit.draw()
        expect(visit.best).to_have_text("3")
        visit.page.get_by_role("button", name=button).click()
        expect(visit.hint).to_be_visible()
        expect(visit.best).to_have_count(0)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_finger_draws_on_a_phone_where_canvas_and_bars_fit_the_screen(
    browser: Any, served: Served, scheme: str, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    settings = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2, "color_scheme": scheme}
    visit = Visit(browser, served, viewport={"width": 390, "height": 844}, **settings)
    page, touch = visit.page, visit.context.new_cdp_session(visit.page)
    for kind, (x, y) in zip(["touchStart", *["touchMove"] * 10], visit.points(), strict=True):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        page.wait_for_timeout(20)
    expect(visit.best).to_have_text("3")  # before the finger is lifted
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(visit.best).to_have_text("3")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("window.scrollY") == 0, "drawing does not scroll the page"
    boxes = page.evaluate(
        """() => [...document.querySelectorAll(".hcr-canvas, .hcr-share")].map((shown) => {
            const box = shown.getBoundingClientRect();
            return [box.left, box.top, box.right, box.bottom];
        })"""
    )
    assert len(boxes) == 6
    for left, top, right, bottom in boxes:
        assert left >= 0 and right <= 390
        assert top >= 0 and bottom <= 844
    assert boxes[0][2] - boxes[0][0] >= 250
    page.screenshot(path=tmp_path / f"{scheme}.png")
    visit.close()


@pytest.mark.slow
def test_a_file_is_classified_and_the_model_saw_its_pixels(
    visit: Visit, served: Served, mnist_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.sync_api import expect

    monkeypatch.setenv("HCR_DATA_DIR", str(mnist_dir))
    run = read_run(served.run)
    predictions, test = run.predictions("test"), run.load_splits().test
    for label in (0, 7):
        surest = np.where(predictions.labels == label, predictions.probabilities[:, label], 0).argmax()
        image = test.images[np.array([surest])][0]
        Image.fromarray(image[..., 0]).save(tmp_path / f"{label}.png")
        visit.drop(tmp_path / f"{label}.png")
        expect(visit.best).to_have_text(str(label))
    seen = visit.page.evaluate(
        """async () => {
            const image = document.querySelector(".hcr-answer img"), canvas = document.createElement("canvas");
            await image.decode();
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return [canvas.height, canvas.width, Array.from(data.filter((_, i) => i % 4 === 0))];
        }"""
    )
    assert seen[:2] == [28, 28]
    assert np.array_equal(np.array(seen[2]).reshape(28, 28), image[..., 0])
    assert (
        visit.page.evaluate("getComputedStyle(document.querySelector('.hcr-answer img')).imageRendering") == "pixelated"
    )


def bomb(side: int) -> bytes:
    """A PNG that declares side x side pixels, in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


@pytest.mark.slow
def test_a_hostile_file_gets_a_message_in_the_page_and_the_server_lives_on(visit: Visit, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    hostile = {
        "<img src=x>.png": (b"no picture at all", "<img src=x>.png: expected a picture"),
        "huge.png": (bomb(60_000), "huge.png: expected a picture of at most 67,108,864 pixels"),
        "bomb.png": (bomb(8_000), "bomb.png: expected a whole picture"),
        "large.png": (bytes(17_000_000), "large.png: expected at most 16 MB, got 17.0 MB"),
        "empty.png": (b"", "empty.png: expected a picture, got an empty file"),
    }
    for name, (content, told) in hostile.items():
        (tmp_path / name).write_bytes(content)
        visit.drop(tmp_path / name)
        expect(visit.refusal).to_contain_text(told)
        expect(visit.best).to_have_count(0)
    visit.draw()
    expect(visit.best).to_have_text("3")


@pytest.mark.slow
def test_the_second_tab_shows_the_worst_mistakes_as_they_were_recorded(
    visit: Visit, served: Served, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    predictions = read_run(served.run).predictions("val")
    predicted = predictions.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != predictions.labels)
    worst = wrong[predictions.probabilities.max(axis=1)[wrong].argmax()]
    visit.page.get_by_role("tab", name="Worst mistakes").click()
    figures = visit.page.locator(".hcr-mistakes figure")
    expect(figures).to_have_count(min(24, len(wrong)))
    expect(figures.first).to_contain_text(f"actual {predictions.labels[worst]}")
    expect(figures.first).to_contain_text(f"predicted {predicted[worst]}")
    for image in figures.locator("img").all():
        assert image.evaluate("element => element.naturalWidth") == 28
    visit.page.screenshot(path=tmp_path / "mistakes.png")


@pytest.mark.slow
def test_visitors_at_the_same_time_each_get_their_own_answer(browser: Any, served: Served) -> None:
    from playwright.sync_api import expect

    visits = [Visit(browser, served, viewport={"width": 900, "height": 800}) for _ in range(3)]
    drawing, blank, other = visits
    other.page.mouse.move(*other.points()[0])
    for _ in range(3):
        drawing.draw()
        expect(drawing.best).to_have_text("3")
        drawing.page.get_by_role("button", name="Clear").click()
        expect(drawing.hint).to_be_visible()
    drawing.draw()
    other.draw()
    expect(drawing.best).to_have_text("3")
    expect(other.best).to_have_text("3")
    expect(blank.hint).to_be_visible()
    for visit in visits:
        visit.close()


@pytest.mark.slow
def test_the_server_asks_for_no_other_host_and_starts_no_program(visit: Visit, served: Served) -> None:
    from playwright.sync_api import expect

    visit.draw()
    expect(visit.best).to_have_text("3")
    watched = (served.folder / "watched").read_text().splitlines()
    elsewhere = [line for line in watched if "127.0.0.1" not in line]
    assert elsewhere == []


@pytest.mark.slow
def test_the_queue_is_bounded_and_refuses_what_does_not_fit(served: Served) -> None:
    from hcr.demo.page import MOST_WAITING

    config = json.load(urllib.request.urlopen(f"{served.address}/config"))
    (event,) = [each for each in config["dependencies"] if each["targets"][0][1] == "input"]
    picture = "data:image/png;base64," + "A" * 4_000_000  # takes a moment to refuse
    statuses: list[int] = []

    def join(number: int) -> None:
        asked = {"data": [], "fn_index": event["id"], "session_hash": f"s{number}", "event_data": {"image": picture}}
        body, kind = json.dumps(asked).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{served.address}/gradio_api/queue/join", body, kind)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                statuses.append(answer.status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)

    for factor in (4, 8, 16):  # on a busy machine requests may arrive no faster than they are answered
        threads = [threading.Thread(target=join, args=(number,)) for number in range(factor * MOST_WAITING)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if 503 in statuses:
            break
    assert set(statuses) == {200, 503}


@pytest.mark.slow
def test_ctrl_c_ends_it_in_one_line_while_a_visitor_is_there_and_leaves_nothing_running(
    quick_run: Path, warm: Warm, browser: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    (tmp_path / "output").symlink_to(quick_run / "output")
    served = start(warm, tmp_path)
    try:
        visit = Visit(browser, served, viewport={"width": 900, "height": 800})
        visit.draw()
        expect(visit.best).to_be_visible()
        begun_s = time.monotonic()
        end(served)
        assert time.monotonic() - begun_s < 10
        visit.context.close()
    finally:
        served.process.kill()
    with pytest.raises(ProcessLookupError):  # of its session
        os.killpg(served.process.pid, 0)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(served.address.rpartition(":")[2]))) != 0


def test_an_unknown_option_is_one_line(hcr: Hcr) -> None:
    done = hcr("demo", "latest", "--share", light=True)
    assert (done.returncode, done.stderr) == (1, "hcr: hcr demo: unrecognized arguments: --share\n")
