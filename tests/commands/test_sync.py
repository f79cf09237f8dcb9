"""`hcr sync`: what a store lacks is said, and delivered exactly once, whatever was noted of an earlier delivery."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import Hcr
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from hcr.commands import sync
from hcr.config.errors import ConfigError, TrackingError
from hcr.tracking.events import JOURNAL
from hcr.tracking.journal import DatasetFacts, Journal, add_events
from hcr.tracking.lock import lock_run
from hcr.tracking.replay import Replay
from hcr.tracking.status import read_position, undelivered
from hcr.tracking.store import open_store

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def uri(root: Path, empty_store: Path) -> str:
    root.mkdir()
    for name in ("mlflow.db", "other.db"):
        (root / name).write_bytes(empty_store.read_bytes())
    return f"sqlite:///{root / 'mlflow.db'}"


def write_run(root: Path, uri: str, *, parent: str | None = None, name: str = "a run") -> Path:
    """The folder of a finished run with one of everything, not delivered."""
    with Journal(root, uri=uri, experiment="tests", parent=parent) as journal:
        journal.begin(name=name, tags={"team": "ocr"})
        journal.params({"seed": "0", "model.depth": "2"})
        for epoch in (1, 2, 3):
            journal.metrics({"val/loss": 1 / epoch, "val/accuracy": float("inf")}, step=epoch)
        journal.datasets(
            [DatasetFacts(name="digits", digest="ab" * 32, source="digits", schema={}, profile={"train": 3})]
        )
        journal.artifact("config/config.yaml").write_text("seed: 0\n")
        journal.artifact_written("config/config.yaml")
        journal.artifact("model/data/weights").write_text("weights")
        journal.artifact_written("model")
    journal.release()
    return journal.folder


def sweep(root: Path, uri: str) -> tuple[Path, Path]:
    """A sweep's own run and one of its runs."""
    parent = write_run(root, uri, name="a sweep")
    return parent, write_run(root, uri, parent=parent.name)


def runs(uri: str, stage: int = ViewType.ACTIVE_ONLY) -> dict[str, Run]:
    client = open_store(uri)
    experiment = client.get_experiment_by_name("tests")
    found = client.search_runs([experiment.experiment_id], run_view_type=stage) if experiment is not None else []
    keys = [run.data.tags["hcr.key"] for run in found]
    assert len(set(keys)) == len(keys), "a run is there twice"
    return dict(zip(keys, found, strict=True))


def history(client: MlflowClient, run: Run, name: str) -> list[int]:
    return [metric.step for metric in client.get_metric_history(run.info.run_id, name)]


def execute(uri: str, *statements: str) -> None:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database, database:
        for statement in statements:
            database.execute(statement)


def lose(uri: str, run_id: str) -> None:
    """What a database restored from a backup made before the run began has of it."""
    tables = ("metrics", "latest_metrics", "params", "tags")
    execute(uri, *(f"DELETE FROM {table} WHERE run_uuid = '{run_id}'" for table in (*tables, "runs")))


def purge(root: Path, uri: str, folder: Path) -> None:
    """What `mlflow gc` does with a deleted run."""
    run_id = read_position(folder)["run_id"]
    lose(uri, run_id)
    shutil.rmtree(root / "artifacts" / run_id)


@pytest.mark.slow
def test_a_sweep_whose_database_was_removed_is_delivered_again_as_a_tree(root: Path, uri: str, hcr: Hcr) -> None:
    parent, child = sweep(root, uri)
    sync.main([])
    Path(uri.removeprefix("sqlite:///")).unlink()
    done = hcr("sync")  # MLflow keeps a removed database open in this process
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 uploaded, 0 still running, 0 not uploaded")
    other = root / "copy.db"
    other.write_bytes((root / "mlflow.db").read_bytes())
    found = runs(f"sqlite:///{other}")
    assert {key: run.info.status for key, run in found.items()} == {parent.name: "FINISHED", child.name: "FINISHED"}
    assert found[child.name].data.tags["mlflow.parentRunId"] == found[parent.name].info.run_id
    assert read_position(child)["run_id"] == found[child.name].info.run_id


def test_a_run_that_the_store_forgot_is_delivered_again_once(root: Path, uri: str) -> None:
    kept, lost = write_run(root, uri), write_run(root, uri)
    sync.main([])
    lose(uri, read_position(lost)["run_id"])
    assert set(runs(uri)) == {kept.name}
    assert sync.main([]) == 0
    assert sync.main([]) == 0
    client, found = open_store(uri), runs(uri)
    assert set(found) == {kept.name, lost.name}
    for run in found.values():
        assert history(client, run, "val/loss") == [1, 2, 3]


def test_a_child_that_is_asked_for_brings_its_lost_parent_back(
    root: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hcr.tracking.journal.now_ms", lambda: 1_700_000_000_000)  # they begin in the same millisecond
    parent, child = sweep(root, uri)
    sync.main([])
    for folder in (parent, child):
        lose(uri, read_position(folder)["run_id"])
    assert sync.main([child.name]) == 0
    found = runs(uri)
    assert found[child.name].data.tags["mlflow.parentRunId"] == found[parent.name].info.run_id


Damage = Callable[[str, str, Path], None]
DAMAGES: dict[str, tuple[Damage, str, bool]] = {
    "a status": (
        lambda uri, run_id, _: execute(uri, f"UPDATE runs SET status = 'RUNNING' WHERE run_uuid = '{run_id}'"),
        "status FINISHED (it has RUNNING)",
        True,
    ),
    "a param": (lambda uri, _, __: execute(uri, "DELETE FROM params WHERE key = 'seed'"), "param seed", True),
    "a tag": (lambda uri, _, __: execute(uri, "DELETE FROM tags WHERE key = 'team'"), "tag team", True),
    "a metric": (
        lambda uri, _, __: execute(
            uri, "DELETE FROM metrics WHERE key = 'val/loss'", "DELETE FROM latest_metrics WHERE key = 'val/loss'"
        ),
        "metric val/loss",
        True,
    ),
    "a value of a metric": (
        lambda uri, _, __: execute(uri, "DELETE FROM metrics WHERE key = 'val/loss' AND step = 2"),
        "1 of 3 values of metric val/loss",
        False,
    ),
    "a data set": (lambda uri, _, __: execute(uri, "DELETE FROM inputs"), "data set digits", True),
    "an artifact": (
        lambda _, __, folder: (folder / "artifacts/model/data/weights").unlink(),
        "artifact model/data/weights",
        False,
    ),
    "an artifact cut short": (
        lambda _, __, folder: (folder / "artifacts/config/config.yaml").write_text("s"),
        "artifact config/config.yaml",
        False,
    ),
}


@pytest.mark.parametrize(
    "what",
    [what if what in ("a status", "an artifact") else pytest.param(what, marks=pytest.mark.slow) for what in DAMAGES],
)
def test_what_a_store_lacks_of_a_run_is_said_and_repaired_exactly_once(
    root: Path, uri: str, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    damage, told, is_seen_by_a_search = DAMAGES[what]
    folder = write_run(root, uri)
    sync.main([])
    run_id = read_position(folder)["run_id"]
    whole = snapshot(uri, folder.name)
    assert sync.main(["--check"]) == 0
    assert capsys.readouterr().out.endswith("1 complete, 0 still running, 0 incomplete\n")
    damage(uri, run_id, root / "artifacts" / run_id)
    assert sync.main(["--check"]) == 1
    said = capsys.readouterr().out
    assert f"run {folder.name} is incomplete in MLflow; missing: {told}" in said
    assert sync.main(["--check"]) == 1  # to look changes nothing
    assert sync.main([] if is_seen_by_a_search else ["--repair"]) == 0
    assert sync.main(["--check"]) == 0
    assert snapshot(uri, folder.name) == whole


def snapshot(uri: str, key: str) -> dict[str, Any]:
    client, run = open_store(uri), runs(uri)[key]
    return {
        "run": (run.info.run_id, run.info.status, run.info.end_time),
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": {
            name: sorted((m.step, m.timestamp, m.value) for m in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        },
        "inputs": [(entry.dataset.name, entry.dataset.digest) for entry in run.inputs.dataset_inputs],
        "artifacts": [path.path for path in client.list_artifacts(run.info.run_id)],
    }


def test_what_people_wrote_in_mlflow_survives_a_repair(root: Path, uri: str) -> None:
    folder = write_run(root, uri)
    with lock_run(folder):
        add_events(folder, [{"event": "tags", "values": {"mlflow.note.content": "ours"}}])
    sync.main([])
    run_id = read_position(folder)["run_id"]
    client = open_store(uri)
    client.set_tag(run_id, "mlflow.note.content", "mine")
    client.set_tag(run_id, "mine", "1")
    assert sync.main(["--check"]) == 0
    execute(uri, "DELETE FROM params")
    assert sync.main([]) == 0
    tags = client.get_run(run_id).data.tags
    assert (tags["mlflow.note.content"], tags["mine"], tags["team"]) == ("mine", "1", "ocr")


def test_a_run_that_was_deleted_in_mlflow_is_said_and_not_made_again(
    root: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(root, uri)
    sync.main([])
    open_store(uri).delete_run(read_position(folder)["run_id"])
    capsys.readouterr()
    assert sync.main([]) == 0
    said = capsys.readouterr().out
    assert f"1 run was deleted in MLflow (`mlflow runs restore` restores a run): {folder.name}" in said
    with lock_run(folder):  # and hears something later
        add_events(folder, [{"event": "tags", "values": {"late": "yes"}}])
    assert sync.main([]) == 0
    assert sync.main(["--repair"]) == 0
    assert runs(uri) == {}
    assert len(runs(uri, ViewType.DELETED_ONLY)) == 1


def test_a_run_that_was_deleted_for_good_by_gc_is_not_made_again(root: Path, uri: str) -> None:
    gone, kept = write_run(root, uri), write_run(root, uri)
    sync.main([])
    purge(root, uri, gone)
    assert sync.main([]) == 0
    assert set(runs(uri)) == {kept.name}
    execute(uri, "UPDATE experiments SET creation_time = 1")  # in another database it would be one that was lost
    assert sync.main([]) == 0
    assert set(runs(uri)) == {kept.name, gone.name}


def test_runs_aimed_at_a_wrong_store_are_aimed_at_another_together(root: Path, uri: str) -> None:
    parent, child = sweep(root, NOWHERE)
    other = write_run(root, uri)
    with pytest.raises(TrackingError, match=r"^not uploaded: "):
        sync.main([])
    assert sync.main(["--to", uri, child.name]) == 0
    found = runs(uri)
    assert set(found) == {parent.name, child.name, other.name}
    assert found[child.name].data.tags["mlflow.parentRunId"] == found[parent.name].info.run_id
    assert sync.main([]) == 0
    assert undelivered(root) == []


def test_without_names_all_that_is_not_delivered_gets_the_new_store(root: Path, uri: str) -> None:
    here = write_run(root, uri)
    sync.main([])
    wrong = write_run(root, NOWHERE)
    new = f"sqlite:///{root / 'other.db'}"
    assert sync.main(["--to", new]) == 0
    assert (set(runs(uri)), set(runs(new))) == ({here.name}, {wrong.name})


def test_a_run_that_is_given_up_is_never_reported_again(
    root: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, child = sweep(root, NOWHERE)
    assert sync.main(["--forget", parent.name]) == 0
    assert capsys.readouterr().out.count("will never be uploaded") == 2
    assert sync.main([]) == 0
    assert sync.main(["--check"]) == 0
    assert (parent / JOURNAL).exists()
    assert (child / JOURNAL).exists()


def test_a_running_run_is_neither_aimed_elsewhere_nor_given_up(root: Path, uri: str) -> None:
    folder = write_run(root, NOWHERE)
    with lock_run(folder):
        for words in (["--to", uri, folder.name], ["--forget", folder.name]):
            with pytest.raises(TrackingError, match=f"run {folder.name} is running"):
                sync.main(words)
    assert not (folder / "store.json").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--to", "mlruns"], "--to: expected a URI such as"),
        (["--forget"], "--forget: expected RUN"),
        (["--check", "--repair"], "cannot be combined"),
    ],
)
def test_flags_that_cannot_be_are_refused(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        sync.main(words)


def test_a_store_that_is_away_is_tried_once_and_others_are_delivered_to(
    root: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        write_run(root, NOWHERE)
    here = write_run(root, uri)
    with pytest.raises(TrackingError, match=r"\(and 2 more\)$"):
        sync.main([])
    assert capsys.readouterr().out == "1 uploaded, 0 still running, 3 not uploaded\n"
    assert set(runs(uri)) == {here.name}


def test_a_position_of_a_run_that_is_alive_is_not_trusted_either(root: Path, uri: str) -> None:
    with Journal(root, uri=uri, experiment="tests") as journal:
        journal.begin(name="a run", tags={})
        journal.metrics({"val/loss": 1.0}, step=1)
        Replay(journal.folder).upload()
        lose(uri, read_position(journal.folder)["run_id"])
        journal.metrics({"val/loss": 0.5}, step=2)
        Replay(journal.folder).upload()
        (run,) = runs(uri).values()
        assert history(open_store(uri), run, "val/loss") == [1, 2]
    assert json.loads((journal.folder / "delivered.json").read_text())["run_id"] == run.info.run_id


@pytest.mark.slow
def test_a_database_that_is_locked_is_one_line(root: Path, uri: str) -> None:
    folder = write_run(root, uri)
    Replay(folder).upload()
    with lock_run(folder):
        add_events(folder, [{"event": "tags", "values": {"late": "yes"}}])
    code = f"""
import sqlite3, sys
from hcr.tracking.store import open_store
open_store({uri!r})
held = sqlite3.connect({str(root / "mlflow.db")!r})
held.execute("BEGIN IMMEDIATE")
from mlflow.store.db import utils
text = utils.sql.text
utils.sql.text = lambda words: text(words.replace("20000", "1"))  # not the 20 s that MLflow waits for a lock
from hcr.cli import main
sys.exit(main(["sync"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"hcr: not uploaded: {folder.name}: (sqlite3.OperationalError) database is locked\n"


def test_a_check_that_cannot_compare_says_what_and_why(
    root: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = write_run(root, uri)
    sync.main([])
    capsys.readouterr()
    for _ in range(2):
        write_run(root, NOWHERE)
    journal = (damaged / JOURNAL).read_text().splitlines(keepends=True)
    (damaged / JOURNAL).write_text("".join([journal[0], "no event\n", *journal[2:]]))
    assert sync.main(["--check"]) == 1
    *lines, count = capsys.readouterr().out.splitlines()
    assert count == "0 complete, 0 still running, 0 incomplete, 3 could not be compared"
    assert len(lines) == 2, "one line a store that is away, and one a damaged journal"
    assert any(line.startswith(f"note: {NOWHERE} cannot be reached (") for line in lines)
    assert any(line.startswith(f"note: run {damaged.name} cannot be compared (") for line in lines)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_to_look_writes_nothing(root: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(root, uri)
    sync.main([])
    absent = write_run(root, f"sqlite:///{root / 'absent.db'}")
    moved = tmp_path / "moved"
    root.rename(moved)
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(moved))
    before = contents(moved)
    assert sync.main(["--check"]) == 1  # the one run; the other is whole at its new place
    assert contents(moved) == before
    assert sync.main([]) == 0
    assert sync.main(["--check"]) == 0
    assert read_position(moved / "runs" / absent.name)["ended"]


def test_a_run_that_gc_removed_is_not_said_to_be_restorable(
    root: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(root, uri)
    sync.main([])
    purge(root, uri, folder)
    capsys.readouterr()
    assert sync.main([]) == 0
    said = capsys.readouterr().out
    assert "1 run was permanently deleted from MLflow (`hcr sync --to URI RUN` uploads a run again)" in said
    assert "restore" not in said
    assert sync.main(["--to", uri, folder.name]) == 0  # the remedy
    assert set(runs(uri)) == {folder.name}
