"""`hcr ui` and the model server, with a real browser and real requests."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import UNDRAWN, Hcr, Warm, made_once

from hcr.commands import ui
from hcr.commands.ui_pages import Asked, asked_runs, pages_of
from hcr.config.errors import TrackingError
from hcr.tracking.pages import own_version
from hcr.tracking.store import open_store

CHROMIUM = shutil.which("chromium")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def recorded(digits_run: tuple[Path, str]) -> tuple[Path, str]:
    """A folder with one finished run, and the run's id."""
    folder, _ = digits_run
    client = open_store(f"sqlite:///{folder / 'output' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
    return folder, run.info.run_id


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: list[str], folder: Path, **env: str) -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output"), **env}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=120)


def test_without_a_run_there_is_one_line_that_says_how_to_make_one(hcr: Hcr) -> None:
    done = hcr("ui")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no runs yet; `hcr train` records one" in done.stderr


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Path:
    """The database of the output root."""
    (tmp_path / "output").mkdir()
    return Path(shutil.copy(empty_store, tmp_path / "output" / "mlflow.db"))


def test_a_database_that_is_damaged_is_one_line_that_names_it(store: Path) -> None:
    store.write_bytes(store.read_bytes()[:100] + bytes(range(256)) * 40)
    with pytest.raises(TrackingError, match=f"^{store}: expected a readable MLflow database "):
        ui.main([])


def test_a_database_that_stays_locked_is_one_line_that_names_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcr.tracking.relocation.WAIT_S", 0.1)
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match=f"^{store}: .* \\(database is locked\\)$"):
            ui.main([])


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_store_that_may_only_be_read_is_shown(recorded: tuple[Path, str]) -> None:
    place = Path(tempfile.mkdtemp(prefix="hcr-ui-"))  # where another user may go
    try:
        shutil.copytree(recorded[0] / "output", place / "output")
        place.chmod(0o755)  # what it holds is root's, and was moved there
        own = place / "own"
        own.mkdir()
        own.chmod(0o777)
        may_read = "dac_read_search"  # Python itself, wherever it is installed; not to write
        command = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
        command += [f"--inh-caps=+{may_read}", f"--ambient-caps=+{may_read}"]
        command += [sys.executable, "-m", "hcr", "ui", "--port", str(free_port())]
        before = {path: path.read_bytes() for path in (place / "output").rglob("*") if path.is_file()}
        with serving(command, own, MLFLOW_TRACKING_URI=f"sqlite:///{place}/output/mlflow.db", HOME=str(own)) as server:
            assert server.stdout is not None
            told = f"note: {place}/output/mlflow.db cannot be written;"
            told += f" its artifact paths still point to {recorded[0]}/output"
            assert server.stdout.readline().startswith(told)
            line = server.stdout.readline()
            (address,) = re.findall(r"http://\S+", line)
            with urllib.request.urlopen(f"{address}/ajax-api/2.0/mlflow/runs/get?run_id={recorded[1]}") as answer:
                assert json.load(answer)["run"]["info"]["status"] == "FINISHED"
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=120) == 0
        assert {path: path.read_bytes() for path in (place / "output").rglob("*") if path.is_file()} == before
    finally:
        shutil.rmtree(place)


def test_the_password_of_a_server_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hush@tracking.example")
    assert ui.main([]) == 0
    printed = capsys.readouterr().out
    assert "tracking.example" in printed
    assert "hush" not in printed


@pytest.mark.parametrize("names", [["nosuch"], ["nosuch", "latest"], ["latest"]])
def test_an_unknown_name_is_one_line_before_any_server_starts(
    store: Path, hcr: Hcr, tmp_path: Path, names: list[str]
) -> None:
    done = hcr("ui", *names)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"hcr: no run {names[0]!r} under {tmp_path / 'output' / 'runs'}")


def test_a_browser_is_opened_only_for_a_person_who_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert not ui.has_browser(), "no display"
    monkeypatch.setenv("DISPLAY", ":0")
    assert ui.has_browser()
    monkeypatch.setenv("CI", "true")
    assert not ui.has_browser(), "a build"
    monkeypatch.delenv("CI")
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert not ui.has_browser(), "a pipe"


def test_a_server_that_does_not_stop_when_asked_is_killed_with_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "LONGEST_STOP_S", 0.2)
    code = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork()\n"
    code += "print('up', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as server:
        assert server.stdout is not None
        assert [server.stdout.readline() for _ in range(2)] == [b"up\n"] * 2
        ui._end(server)
        assert server.returncode == -signal.SIGKILL
        assert server.stdout.read() == b"", "a worker holds the pipe open"


@pytest.mark.slow
def test_a_port_that_is_taken_is_said(recorded: tuple[Path, str], hcr: Hcr) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = hcr("ui", "--port", str(port), env={"HCR_OUTPUT_DIR": str(recorded[0] / "output")})
    assert (done.returncode, done.stderr) == (1, f"hcr: --port: expected a free port, but {port} is taken\n")


@pytest.mark.slow
def test_a_database_that_is_gone_is_made_again_and_the_printed_address_answers_below_a_prefix(
    recorded: tuple[Path, str], tmp_path: Path
) -> None:
    shutil.copytree(recorded[0] / "output", tmp_path / "output")
    (tmp_path / "output" / "mlflow.db").unlink()
    port = free_port()
    command = [sys.executable, "-m", "hcr", "ui", "--port", str(port)]
    with serving(command, tmp_path, MLFLOW_STATIC_PREFIX="/mlflow") as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "MLflow has lost 1 of the runs; uploading them again\n"
        assert server.stdout.readline() == "1 of 1 uploaded\n"
        (address,) = re.findall(r"http://\S+/mlflow", server.stdout.readline())
        with urllib.request.urlopen(f"{address}/", timeout=30) as answer:
            assert answer.status == 200
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=120) == 0
    with socket.socket() as probe:
        probe.settimeout(1)
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server outlived `hcr ui`"
    client = open_store(f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
    assert run.info.status == "FINISHED"


@pytest.fixture(scope="module")
def swept(recorded: tuple[Path, str], shared: Path, warm: Warm) -> Path:
    """A folder with that run and a sweep."""

    def make(folder: Path) -> None:
        shutil.copytree(recorded[0] / "output", folder / "output")
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output")}
        small = ("training=smoke", "model.filters=4", "model.dense_units=[]", "tracking.system_metrics=true")
        words = ("train", "-m", "model.depth=1,2", "seed=0,1", *small)
        done = warm.run(*words, cwd=folder, env=environment, code=UNDRAWN)
        assert done.returncode == 0, done.stderr

    return made_once(shared / "swept", make)


@pytest.fixture(scope="module")
def pages(swept: Path) -> Iterator[str]:
    """The address of MLflow's pages on them."""
    port = free_port()
    with serving([sys.executable, "-m", "hcr", "ui", "--port", str(port)], swept) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"MLflow's UI is at http://127.0.0.1:{port} (Ctrl-C stops it)\n"
        assert re.fullmatch(rf"runs  http://127.0.0.1:{port}/#/experiments/1/runs\?\S+\n", server.stdout.readline())
        yield f"http://127.0.0.1:{port}/#"
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=120) == 0


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A page of a real browser."""
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1700, "height": 1800})
        # Not in MLflow's other mode, and without a panel that covers a third of the page on the first visit.
        page.add_init_script(
            "localStorage.setItem('mlflow.workflowType_v1', '\"machine_learning\"');"
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
        )
        yield page
        browser.close()


@pytest.mark.slow
def test_the_pages_of_mlflow_show_the_run_its_metrics_and_a_plot(
    recorded: tuple[Path, str], pages: str, page: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    page.goto(f"{pages}/experiments/1/runs/{recorded[1]}")
    expect(page.get_by_text("digits cnn seed=0").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Finished").first).to_be_visible()
    expect(page.get_by_text("val/accuracy").first).to_be_visible()
    page.screenshot(path=tmp_path / "run.png")
    page.goto(f"{pages}/experiments/1/runs/{recorded[1]}/artifacts/plots/curves.png")
    picture = page.locator("img[src*='curves.png'], img[src^='blob:']").first
    expect(picture).to_be_visible(timeout=60_000)
    page.wait_for_function("element => element.naturalWidth > 800", arg=picture.element_handle())
    page.screenshot(path=tmp_path / "plot.png")


@pytest.mark.slow
def test_the_pages_of_mlflow_show_the_model_its_metrics_and_its_data(
    recorded: tuple[Path, str], pages: str, page: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    client = open_store(f"sqlite:///{recorded[0] / 'output' / 'mlflow.db'}")
    run = client.get_run(recorded[1])
    (output,) = run.outputs.model_outputs
    accuracy = str(run.data.metrics["test/accuracy"])
    page.goto(f"{pages}/experiments/1/models")
    expect(page.get_by_text("digits cnn seed=0").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("depth=2 seed=1").first).to_be_visible()
    expect(page.locator(f"a[href*='{output.model_id}']").first).to_be_visible()
    page.screenshot(path=tmp_path / "models.png")
    page.goto(f"{pages}/experiments/1/models/{output.model_id}")
    for shown in ("test/accuracy", accuracy, "digits/test", "dataset.name", "Ready"):
        expect(page.get_by_text(shown).first).to_be_visible(timeout=60_000)
    page.screenshot(path=tmp_path / "model.png")
    page.goto(f"{pages}/experiments/1/runs/{recorded[1]}")
    expect(page.get_by_text("digits/train").first).to_be_visible(timeout=60_000)
    expect(page.locator(f"a[href*='{output.model_id}']").first).to_be_visible()
    page.screenshot(path=tmp_path / "run.png")


@pytest.mark.slow
def test_the_page_of_system_metrics_shows_charts(swept: Path, pages: str, page: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    client = open_store(f"sqlite:///{swept / 'output' / 'mlflow.db'}")
    run, *_ = client.search_runs(["1"], "tags.`hcr.sweep_point` = '1'")
    page.goto(f"{pages}/experiments/1/runs/{run.info.run_id}/system-metrics")
    for name in ("cpu_utilization_percentage", "system_memory_usage_megabytes", "process_memory_usage_megabytes"):
        expect(page.get_by_text(name).first).to_be_visible(timeout=60_000)
    expect(page.locator(".js-plotly-plot")).to_have_count(5, timeout=60_000)
    page.screenshot(path=tmp_path / "system.png")


@pytest.mark.slow
def test_the_pages_of_mlflow_show_a_sweep_as_a_tree_and_in_the_printed_order(
    swept: Path, pages: str, page: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    (board,) = (swept / "output" / "runs").glob("*/artifacts/leaderboard.csv")
    with board.open(newline="") as file:
        order = [row["model.depth"] for row in csv.DictReader(file)]
    client = open_store(f"sqlite:///{swept / 'output' / 'mlflow.db'}")
    runs = client.search_runs(["1"], "tags.`mlflow.parentRunId` != ''")
    ids = json.dumps([run.info.run_id for run in runs])
    names = page.locator("[role=gridcell][col-id*='Run Name']")
    page.goto(f"{pages}/experiments/1/runs")
    expect(names).to_have_count(2, timeout=60_000)  # the tree is folded: the parent, and the run beside it
    parent = page.locator("[role=gridcell][col-id*='Run Name']:not(:has-text('digits cnn seed=0'))")
    parent.first.get_by_role("button").first.click()
    expect(names).to_have_count(6)
    page.screenshot(path=tmp_path / "tree.png")
    by_mean = quote("metrics.`sweep/mean_val_loss`", safe="")
    page.goto(f"{pages}/experiments/1/runs?orderByKey={by_mean}&orderByAsc=true")
    expect(page.get_by_text("Sort: sweep/mean_val_loss")).to_be_visible(timeout=60_000)
    expect(names).to_have_count(6)
    rows = page.locator("[role=row]:has([col-id*='Run Name'])")
    expected, found = [depth for depth in order for _ in range(2)], []
    deadline = time.monotonic() + 30  # the table first shows the rows that it has, then asks for their order
    while found != expected and time.monotonic() < deadline:
        shown = sorted((int(row.get_attribute("row-index") or -1), row.inner_text()) for row in rows.all())
        found = [match[1] for _, text in shown if (match := re.search(r"depth=(\d) seed=\d", text))]
        time.sleep(0.2)
    assert found == expected
    page.screenshot(path=tmp_path / "sorted.png")
    page.goto(f"{pages}/compare-runs?runs={quote(ids)}&experiments={quote(json.dumps(['1']))}")
    expect(page.get_by_text("Comparing 4 Runs")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Parallel Coordinates Plot")).to_be_visible()
    expect(page.locator(".parcoords, .js-plotly-plot").first).to_be_visible(timeout=60_000)
    page.screenshot(path=tmp_path / "compare.png")


class Sweep:
    """The sweep of `swept`, as its store has it."""

    def __init__(self, swept: Path) -> None:
        (self.board,) = (swept / "output" / "runs").glob("*/artifacts/leaderboard.csv")
        self.key = self.board.parents[1].name
        self.client = open_store(f"sqlite:///{swept / 'output' / 'mlflow.db'}")
        (self.parent,) = self.client.search_runs(["1"], f"tags.`hcr.key` = '{self.key}'")
        self.children = self.client.search_runs(["1"], f"tags.`hcr.in_sweep.{self.key}` LIKE '%'")

    @property
    def order(self) -> list[str]:
        """The depths of its runs in the order of the leaderboard."""
        with self.board.open(newline="") as file:
            return [row["model.depth"] for row in csv.DictReader(file) for _ in range(2)]


@pytest.fixture(scope="module")
def sweep(swept: Path) -> Sweep:
    return Sweep(swept)


@pytest.mark.slow
def test_latest_is_the_whole_sweep_which_opens_at_its_charts_on_the_port_that_is_served(
    swept: Path, sweep: Sweep
) -> None:
    keys, port = json.loads(sweep.parent.data.tags["hcr.views"]), free_port()
    page = f"http://127.0.0.1:{port}/#/experiments/1/runs"
    with serving([sys.executable, "-m", "hcr", "ui", "latest", "--port", str(port)], swept) as server:
        assert server.stdout is not None
        assert [server.stdout.readline() for _ in range(5)] == [
            f"MLflow's UI is at http://127.0.0.1:{port} (Ctrl-C stops it)\n",
            f"charts    {page}?viewStateShareKey={keys['charts']}&compareRunsMode=CHART\n",
            f"table     {page}?viewStateShareKey={keys['table']}\n",
            f"parallel  {page}?viewStateShareKey={keys['parallel']}&compareRunsMode=CHART\n",
            f"sweep     {page}/{sweep.parent.info.run_id}\n",
        ]
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=120) == 0


@pytest.mark.slow
def test_a_run_opens_at_its_page_and_a_sweep_by_any_name_at_its_views(swept: Path, sweep: Sweep) -> None:
    run = sweep.children[0]
    for name in (run.data.tags["hcr.key"], run.info.run_id):
        (asked,) = asked_runs(swept / "output", [name])
        assert pages_of(asked.uri, [asked], own_version) == {"run": f"#/experiments/1/runs/{run.info.run_id}"}
    for name in (sweep.key[:8], sweep.parent.info.run_name, "latest"):
        (asked,) = asked_runs(swept / "output", [name])
        assert list(pages_of(asked.uri, [asked], own_version)) == ["charts", "table", "parallel", "sweep"]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.99.0", None])
def test_pages_that_were_not_tried_get_plain_links(swept: Path, sweep: Sweep, version: str | None) -> None:
    uri = f"sqlite:///{swept / 'output' / 'mlflow.db'}"
    tags, query = sweep.client.get_experiment("1").tags, quote(f"tags.`hcr.sweep` = '{sweep.key}'")
    (table, _) = pages_of(uri, [Asked(uri, sweep.key)], lambda: version).values()
    assert "viewStateShareKey" not in table
    assert f"searchFilter={query}" in table
    assert table.endswith("orderByKey=metrics.%60sweep%2Fmean_val_loss%60&orderByAsc=true")
    assert pages_of(uri, [], lambda: version) == {"runs": "#/experiments/1/runs"}
    both = [Asked(uri, run.data.tags["hcr.key"]) for run in sweep.children[:2]]
    (compare,) = pages_of(uri, both, lambda: version).values()
    assert compare.startswith("#/compare-runs?runs=%5B%22")
    assert sweep.client.get_experiment("1").tags == tags, "nothing was written"


def shown_names(page: Any) -> list[str]:
    """The names of the runs in MLflow's table, from the top."""
    rows = page.locator("[role=row]:has([col-id*='Run Name'])")
    shown = sorted((int(row.get_attribute("row-index") or -1), row.inner_text()) for row in rows.all())
    return [match[0] for _, text in shown if (match := re.search(r"depth=\d seed=\d", text))]


def wait_for(found: Callable[[], object], expected: object) -> None:
    """Wait until `found` returns what is expected: the table first shows the rows that it has."""
    deadline = time.monotonic() + 30
    while found() != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found() == expected


@pytest.mark.slow
def test_the_table_of_a_sweep_has_its_runs_alone_as_the_leaderboard_and_its_columns(
    sweep: Sweep, pages: str, page: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    keys = json.loads(sweep.parent.data.tags["hcr.views"])
    page.goto(f"{pages}/experiments/1/runs?viewStateShareKey={keys['table']}")
    expect(page.get_by_text("Sort: sweep/mean_val_loss")).to_be_visible(timeout=60_000)
    wait_for(lambda: [name[6] for name in shown_names(page)], sweep.order)
    heads = page.locator("[role=columnheader]")
    for head in ("best/val_loss", "best/val_accuracy", "sweep/mean_val_loss", "model/params", "time/total_s"):
        expect(heads.get_by_text(head, exact=True).first).to_be_visible()
    expect(heads.get_by_text("model.depth", exact=True).first).to_be_attached()
    assert page.get_by_text("digits cnn seed=0").count() == 0, "a run beside the sweep"
    page.screenshot(path=tmp_path / "table.png")


@pytest.mark.slow
def test_the_charts_of_a_sweep_name_its_points_and_draw_each_chart(
    sweep: Sweep, pages: str, page: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    keys = json.loads(sweep.parent.data.tags["hcr.views"])
    page.goto(f"{pages}/experiments/1/runs?viewStateShareKey={keys['charts']}&compareRunsMode=CHART")
    expect(page.get_by_text("Group: depth=1").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Group: depth=2").first).to_be_visible()
    expect(page.get_by_text("Comparison").first).to_be_visible(timeout=60_000)
    for title in ("val/loss", "val/accuracy", "train/loss", "best/val_loss", "model/params vs. best/val_loss"):
        expect(page.get_by_text(title, exact=True).first).to_be_visible()
    expect(page.locator(".js-plotly-plot .barlayer .point")).to_have_count(2, timeout=60_000)  # a bar a point
    expect(page.locator(".js-plotly-plot .scatterlayer").first).to_be_visible()
    page.screenshot(path=tmp_path / "charts.png")
    page.goto(f"{pages}/experiments/1/runs?viewStateShareKey={keys['parallel']}&compareRunsMode=CHART")
    expect(page.get_by_text("Parallel Coordinates").first).to_be_visible(timeout=60_000)
    expect(page.locator(".parcoords, canvas").first).to_be_visible(timeout=60_000)
    page.screenshot(path=tmp_path / "parallel.png")


@pytest.mark.slow
def test_the_parent_of_a_sweep_links_to_its_views_and_says_who_made_it_from_what(
    sweep: Sweep, pages: str, page: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    keys = json.loads(sweep.parent.data.tags["hcr.views"])
    page.goto(f"{pages}/experiments/1/runs/{sweep.parent.info.run_id}")
    expect(page.get_by_text("hcr train -m model.depth=1,2").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("digits/train").first).to_be_visible()
    page.screenshot(path=tmp_path / "parent.png")
    with page.expect_popup() as opened:  # MLflow opens the links of a description in a tab of their own
        page.get_by_role("link", name="Charts of the points").click()
    assert f"/#/experiments/1/runs?viewStateShareKey={keys['charts']}" in opened.value.url
    expect(opened.value.get_by_text("Group: depth=1").first).to_be_visible(timeout=60_000)
    opened.value.close()
    page.goto(f"{pages}/experiments/1/runs/{sweep.parent.info.run_id}/artifacts/leaderboard.json")
    for cell in ("rank", "depth", "mean val/loss", "parameters"):
        expect(page.get_by_text(cell, exact=True).first).to_be_visible(timeout=60_000)
    first = page.locator("[role=row]", has_text=re.compile(r"^1")).first
    expect(first).to_contain_text(sweep.order[0])
    page.screenshot(path=tmp_path / "leaderboard.png")


@pytest.mark.slow
def test_the_worst_mistakes_of_a_run_are_a_table_with_pictures(
    recorded: tuple[Path, str], pages: str, page: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    page.goto("about:blank")  # MLflow's page fails on its way from a table with other columns
    page.goto(f"{pages}/experiments/1/runs/{recorded[1]}/artifacts/tables/worst_mistakes.json")
    expect(page.get_by_text("probability of predicted").first).to_be_visible(timeout=60_000)
    picture = page.locator("img[src*='worst_mistakes'], img[src^='blob:']").first
    expect(picture).to_be_visible(timeout=60_000)
    page.wait_for_function("element => element.naturalWidth > 30", arg=picture.element_handle())
    page.screenshot(path=tmp_path / "mistakes.png")


@pytest.mark.slow
def test_some_runs_and_all_runs_open_as_a_view_of_them(swept: Path, sweep: Sweep, pages: str, page: Any) -> None:
    from playwright.sync_api import expect

    uri = f"sqlite:///{swept / 'output' / 'mlflow.db'}"
    some = [run for run in sweep.children if run.data.params["seed"] == "0"]
    found = pages_of(uri, [Asked(uri, run.data.tags["hcr.key"]) for run in some], own_version)
    assert list(found) == ["charts", "table"]
    page.goto(pages.removesuffix("#") + found["table"])
    expect(page.get_by_text("2 matching runs").first).to_be_visible(timeout=60_000)
    expect(page.locator("[role=columnheader]").get_by_text("model.depth", exact=True).first).to_be_attached()
    wait_for(lambda: {name[-1] for name in shown_names(page)}, {"0"})
    (everything,) = pages_of(uri, [], own_version).values()
    page.goto(pages.removesuffix("#") + everything)
    expect(page.get_by_text("5 matching runs").first).to_be_visible(timeout=60_000)
    for head in ("Dataset", "best/val_accuracy", "best/val_loss"):
        expect(page.locator("[role=columnheader]").get_by_text(head, exact=True).first).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("text", [None, "no JSON"])
def test_a_view_that_mlflow_cannot_read_opens_the_plain_page(
    sweep: Sweep, pages: str, page: Any, text: str | None
) -> None:
    from playwright.sync_api import expect

    key = ("a" if text else "b") * 64
    if text is not None:
        sweep.client.set_experiment_tag("1", f"mlflow.sharedViewState.{key}", text)
    page.goto(f"{pages}/experiments/1/runs?viewStateShareKey={key}")
    expect(page.get_by_text("matching runs").first).to_be_visible(timeout=60_000)
    expect(page.locator("[role=gridcell][col-id*='Run Name']").first).to_be_visible(timeout=60_000)


@pytest.mark.slow
def test_mlflow_serves_the_model_on_raw_pixels(recorded: tuple[Path, str]) -> None:
    folder, run_id = recorded
    port = free_port()
    uri = f"sqlite:///{folder / 'output' / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"runs:/{run_id}/model"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    image = [[[0] for _ in range(8)] for _ in range(8)]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps({"inputs": [image, image]}).encode(),
        {"Content-Type": "application/json"},
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in an activated environment
    with serving(command, folder, MLFLOW_TRACKING_URI=uri, PATH=path) as server:
        for _ in range(600):
            assert server.poll() is None, server.communicate()
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    predictions = json.load(answer)["predictions"]
                break
            except OSError:  # not up yet
                time.sleep(0.1)
        else:
            pytest.fail("the server did not answer within a minute")
        os.killpg(server.pid, signal.SIGTERM)
    assert len(predictions) == 2
    assert sum(predictions[0]) == pytest.approx(1, abs=1e-5)
