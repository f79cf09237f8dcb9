"""`hcr runs` and `hcr.load_runs`, on a real SQLite store with many runs, and on a sweep."""

import csv
import io
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import made_once

import hcr
from hcr.commands import runs
from hcr.config.errors import ConfigError, TrackingError
from hcr.console import PlainConsole
from hcr.tracking.events import first_event
from hcr.tracking.journal import Journal
from hcr.tracking.replay import Replay

DEPTHS, SEEDS = (1, 2, 10), (0, 1)


def record(root: Path, *, depth: int, seed: int, parent: str | None = None, status: str = "FINISHED") -> str:
    """A run of one epoch, as its journal tells it, uploaded; its accuracy is 0.9 plus a hundredth of its depth."""
    journal = Journal(root, uri=f"sqlite:///{root / 'mlflow.db'}", experiment="hcr", parent=parent)
    tags = {"hcr.kind": "train", "hcr.test_looks": "0"} | (
        {} if parent is None else {"hcr.sweep": parent, "hcr.sweep_point": str(depth)}
    )
    journal.begin(name=f"digits cnn depth={depth} seed={seed}", tags=tags)
    params = {"model.name": "cnn", "model.depth": str(depth), "seed": str(seed), "monitor": "val/loss"}
    journal.params(params | {"augmentation.rotation": "10.0", "notes": f"note {seed}", "dataset.path": f"/{depth}"})
    for epoch in (1, 2):
        loss = 1 / (depth * epoch)
        journal.metrics({"train/loss": loss, "val/loss": loss, "val/accuracy": 0.9 + depth / 100}, step=epoch)
    journal.metrics({"best/val_loss": 0.5 / depth, "best/val_accuracy": 0.9 + depth / 100}, step=2)
    journal.end(status)  # type: ignore[arg-type]
    Replay(journal.folder).upload()
    journal.release()
    return journal.key


@pytest.fixture(scope="module")
def root(shared: Path, empty_store: Path) -> Path:
    """An output root with a sweep of six runs, and one run beside it that failed."""

    def make(folder: Path) -> None:
        (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
        parent = Journal(folder, uri=f"sqlite:///{folder / 'mlflow.db'}", experiment="hcr")
        tags = {"hcr.kind": "sweep", "hcr.sweep_id": "abc", "hcr.sweep": parent.key}
        parent.begin(name="a sweep", tags=tags)
        parent.end("FINISHED")
        Replay(parent.folder).upload()
        parent.release()
        for depth in DEPTHS:
            for seed in SEEDS:
                record(folder, depth=depth, seed=seed, parent=parent.key)
        record(folder, depth=3, seed=7, status="FAILED")

    return made_once(shared / "runs", make)


@pytest.fixture(autouse=True)
def _at(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(root))
    yield


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_a_sweep_is_shown_best_first_with_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["latest", "--csv"]) == 0
    rows = lines(capsys)
    assert [row["model.depth"] for row in rows] == ["10", "10", "2", "2", "1", "1"]
    columns = ["key", "kind", "name", "status", "model.depth", "seed"]
    assert list(rows[0])[:6] == columns
    assert {"notes", "dataset.path", "augmentation.rotation", "model.name"} & set(rows[0]) == set()
    assert float(rows[0]["best/val_accuracy"]) == 1.0


@pytest.mark.parametrize(
    ("where", "depths"),
    [
        ("model.depth > 2", {"3", "10"}),
        ("model.depth > 2 and status = FINISHED", {"10"}),
        ("best/val_accuracy >= 0.92 and seed = 1", {"2", "10"}),
        ("augmentation.rotation = 10 and model.depth = 1", {"1"}),
        ("status != FINISHED", {"3"}),
        ("kind = train and name = 'digits cnn depth=3 seed=7'", {"3"}),
        ("val/loss < 0.06", {"10"}),
    ],
)
def test_runs_are_found_by_conditions(where: str, depths: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["--where", where, "--json"]) == 0
    assert {row["params"]["model.depth"] for row in json.loads(capsys.readouterr().out)} == depths


def test_a_terminal_gets_a_table_of_the_newest_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["--top", "2"]) == 0
    printed = capsys.readouterr().out
    head, first, second = (line.split() for line in printed.splitlines() if re.search("key|FINISHED|FAILED", line))
    assert head == ["key", "status", "depth", "seed", *("best/val_accuracy", "best/val_loss"), "started", "took"]
    assert first[1:4] == ["FAILED", "3", "7"]
    assert second[1:4] == ["FINISHED", "10", "1"]
    assert "the first 2; --top 0 shows all" in printed


def test_sorting_by_a_metric_puts_the_best_first(capsys: pytest.CaptureFixture[str]) -> None:
    runs.main(["--sort", "best/val_accuracy", "--top", "1", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["params"]["model.depth"] == "10"
    runs.main(["--sort", "best/val_loss", "--reverse", "--top", "1", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["params"]["model.depth"] == "1"


def test_markdown_is_a_table_that_shows_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["--markdown", "--top", "1"]) == 0
    head, rule, row = capsys.readouterr().out.splitlines()
    assert head.startswith("| key |")
    assert set(rule) <= set("|- ")
    assert head.count("|") == row.count("|")


def test_a_key_that_no_run_has_and_a_run_that_is_no_sweep_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"--where: no run has 'model.dept'; did you mean 'model.depth'\?"):
        runs.main(["--where", "model.dept = 3"])
    child = next(path for path in (root / "runs").iterdir() if first_event(path)["parent"] is not None)
    with pytest.raises(TrackingError, match="expected a sweep's parent run, got one of another kind: train"):
        runs.main([child.name])
    with pytest.raises(ConfigError, match="--top: expected 1 or more, or 0 for all, got -1"):
        runs.main(["--top", "-1"])


def test_a_run_of_the_store_alone_that_is_no_sweep_is_refused_by_name(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = {path.name: first_event(path) for path in (root / "runs").iterdir()}
    child, header = next((key, header) for key, header in headers.items() if header["parent"] is not None)
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    with pytest.raises(TrackingError, match=f"run {child}: expected a sweep's parent run, got one of another kind"):
        runs.main([child])
    assert runs.main([header["parent"], "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 6


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_fits_its_terminal_and_says_what_it_leaves_out(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hcr.commands.runs.PlainConsole", partial(PlainConsole, terminal=True, width=width))
    assert runs.main(["--top", "0"]) == 0
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= width
    assert sum(bool(re.match(r" [0-9a-f]{12} ", line)) for line in lines) == 8, "a line for each run"
    (sweep,) = (line for line in lines if "a sweep" in line)
    assert "FINISHED" in sweep
    assert any("best/" in line for line in lines)
    assert any(line.startswith("no room for: ") for line in lines) is (width == 80)


def test_a_store_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "none"))
    with pytest.raises(TrackingError, match="no runs yet; `hcr train` records one"):
        runs.main([])
    assert not (tmp_path / "none").exists()


def test_runs_become_a_data_frame(root: Path) -> None:
    frame = hcr.load_runs("status = FINISHED and kind = train")
    assert len(frame) == 6
    best = frame.groupby("model.depth")["best/val_accuracy"].mean()
    assert best.loc[10] == pytest.approx(1.0)
    assert frame["augmentation.rotation"].dtype == float
    assert str(frame["started"].dt.tz) == "UTC"
    epochs = hcr.load_runs("model.depth = 2", history=True)
    assert sorted(epochs["epoch"]) == [1, 1, 2, 2]
    assert epochs.loc[epochs["epoch"] == 2, "val/loss"].tolist() == [0.25, 0.25]
    assert hcr.load_runs("model.depth = 99").empty
