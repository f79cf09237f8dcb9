"""Replay into a real SQLite store: exactly once, whatever was delivered before."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MAKING_TABLES, Process
from mlflow import MlflowClient
from mlflow.entities import Run

from hcr.tracking.comparison import missing, missing_inside, read_contents
from hcr.tracking.deletion import delete_run
from hcr.tracking.events import DESCRIPTION
from hcr.tracking.journal import DatasetFacts, Journal
from hcr.tracking.replay import Replay, RunDeleted
from hcr.tracking.status import POSITION, read_position
from hcr.tracking.store import open_store
from hcr.tracking.views import CHARTS, TABLE, TAG, key_of, view_link


@pytest.fixture
def new_uri(tmp_path: Path) -> str:
    """The URI of a store that is not there yet."""
    return f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}"


@pytest.fixture
def uri(tmp_path: Path, empty_store: Path) -> str:
    """The URI of a store without runs, whose tables are there."""
    (tmp_path / "output").mkdir()
    return f"sqlite:///{shutil.copy(empty_store, tmp_path / 'output' / 'mlflow.db')}"


def write_run(root: Path, uri: str, *, parent: str | None = None) -> Journal:
    """A journal with one of everything."""
    with Journal(root, uri=uri, experiment="tests", parent=parent) as journal:
        journal.begin(name="a run", tags={"team": "ocr"})
        journal.params({"seed": "0", "long": "x" * 7000} | {f"p{i}": str(i) for i in range(150)})
        for epoch in (1, 2, 3):
            journal.metrics({"val/loss": 1 / epoch, "val/accuracy": epoch / 4}, step=epoch)
        journal.tags({"hcr.test_looks": "1"})
        journal.datasets(
            [
                DatasetFacts(
                    name="digits", digest="ab" * 32, source="digits", schema={"dtype": "uint8"}, profile={"train": 3}
                )
            ]
        )
        journal.artifact("plots/curves.png").write_bytes(b"png")
        journal.artifact_written("plots/curves.png")
        (journal.artifact("model/MLmodel")).write_text("model")
        (journal.artifact("model/data/weights")).write_text("weights")
        journal.artifact_written("model")
    journal.release()
    return journal


def only_run(uri: str) -> tuple[MlflowClient, Run]:
    client = open_store(uri)
    experiment = client.get_experiment_by_name("tests")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def artifacts(client: MlflowClient, run_id: str, path: str | None = None) -> set[str]:
    found: set[str] = set()
    for entry in client.list_artifacts(run_id, path):
        found |= artifacts(client, run_id, entry.path) if entry.is_dir else {entry.path}
    return found


def everything(uri: str) -> dict[str, Any]:
    client, run = only_run(uri)
    return {
        "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time),
        "params": run.data.params,
        "tags": run.data.tags,
        "history": {
            name: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        },
        "inputs": [(i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs],
        "artifacts": artifacts(client, run.info.run_id),
    }


def test_all_that_was_journalled_is_in_the_store(tmp_path: Path, uri: str) -> None:
    journal = write_run(tmp_path / "output", uri)
    replay = Replay(journal.folder)
    assert replay.upload()
    assert replay.ended
    found = everything(uri)
    assert found["info"][:2] == ("a run", "FINISHED")
    assert found["params"]["seed"] == "0"
    assert len(found["params"]) == 152
    assert found["params"]["long"] == "too long to show; see config/config.yaml"
    assert found["tags"]["hcr.key"] == journal.key
    assert found["tags"]["team"] == "ocr"
    assert [(step, value) for step, value, _ in found["history"]["val/accuracy"]] == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert found["inputs"] == [("digits", ("ab" * 32)[:36], "training")]
    assert found["artifacts"] == {"plots/curves.png", "model/MLmodel", "model/data/weights"}


def test_delivering_twice_changes_nothing(tmp_path: Path, uri: str) -> None:
    journal = write_run(tmp_path / "output", uri)
    Replay(journal.folder).upload()
    once = everything(uri)
    assert not Replay(journal.folder).upload()
    (journal.folder / POSITION).unlink()
    assert Replay(journal.folder).upload()
    assert everything(uri) == once


def test_a_replay_cut_off_after_any_event_is_completed_by_the_next(
    tmp_path: Path, uri: str, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_store, tmp_path / "output" / "control.db")
    control = write_run(tmp_path / "output", uri.replace("mlflow.db", "control.db"))
    Replay(control.folder).upload()
    expected = everything(uri.replace("mlflow.db", "control.db"))
    journal = write_run(tmp_path / "output", uri)

    monkeypatch.setattr("hcr.tracking.replay.BETWEEN_SAVES_S", 0.0)  # after every event
    save = Replay._save_position

    class Cut(Exception):
        pass

    def cut_before_saving(replay: Replay) -> None:
        raise Cut  # the event is delivered, and nobody knows

    def cut_after_saving(replay: Replay) -> None:
        save(replay)
        raise Cut

    while not Replay(journal.folder).ended:
        for cut in (cut_before_saving, cut_after_saving):
            monkeypatch.setattr(Replay, "_save_position", cut)
            with pytest.raises(Cut):
                Replay(journal.folder).upload()
    found = everything(uri)
    for name in ("params", "inputs", "artifacts"):
        assert found[name] == expected[name]
    assert {k: [row[:2] for row in v] for k, v in found["history"].items()} == {
        k: [row[:2] for row in v] for k, v in expected["history"].items()
    }


def test_a_child_waits_for_its_parent_and_is_nested_under_it(tmp_path: Path, uri: str) -> None:
    root = tmp_path / "output"
    parent = write_run(root, uri)
    child = write_run(root, uri, parent=parent.key)
    with pytest.raises(Exception, match="parent run"):
        Replay(child.folder).upload()
    Replay(parent.folder).upload()
    Replay(child.folder).upload()
    client = open_store(uri)
    experiment = client.get_experiment_by_name("tests")
    runs = {run.data.tags["hcr.key"]: run for run in client.search_runs([experiment.experiment_id])}
    assert runs[child.key].data.tags["mlflow.parentRunId"] == runs[parent.key].info.run_id


def test_a_run_made_by_a_request_that_seemed_to_fail_is_taken_not_doubled(tmp_path: Path, uri: str) -> None:
    journal = write_run(tmp_path / "output", uri)
    client = open_store(uri)
    experiment = client.create_experiment("tests", artifact_location=str(tmp_path / "output" / "artifacts"))
    made = client.create_run(experiment, tags={"hcr.key": journal.key})
    Replay(journal.folder).upload()
    _, run = only_run(uri)
    assert run.info.run_id == made.info.run_id
    assert run.info.status == "FINISHED"


def test_a_deleted_experiment_is_named(tmp_path: Path, uri: str) -> None:
    client = open_store(uri)
    client.delete_experiment(client.create_experiment("tests", artifact_location=str(tmp_path / "artifacts")))
    journal = write_run(tmp_path / "output", uri)
    with pytest.raises(Exception, match=r"tracking\.experiment_name: 'tests' was deleted"):
        Replay(journal.folder).upload()


@pytest.mark.slow
def test_a_store_whose_making_was_killed_is_made_anew(tmp_path: Path, new_uri: str) -> None:
    database = tmp_path / "output" / "mlflow.db"
    code = f"from hcr.tracking.store import open_store; open_store({new_uri!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    half_made = database.with_suffix(".new")
    while not (half_made.exists() and half_made.stat().st_size > 0):
        assert process.poll() is None, "it was made before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not database.exists()
    assert open_store(new_uri).search_experiments()


def test_artifacts_that_are_gone_from_the_disk_hold_up_nothing_and_are_said_once(
    tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = write_run(tmp_path / "output", uri)
    (journal.artifacts / "plots" / "curves.png").unlink()
    replay = Replay(journal.folder)
    replay.upload()
    assert replay.ended
    assert everything(uri)["artifacts"] == {"model/MLmodel", "model/data/weights"}
    assert everything(uri)["info"][1] == "FINISHED"
    (told,) = capsys.readouterr().err.splitlines()
    assert "1 artifact (plots/curves.png) cannot be uploaded: the files are gone" in told


def test_a_child_of_a_deleted_parent_is_delivered_under_it(tmp_path: Path, uri: str) -> None:
    root = tmp_path / "output"
    parent = write_run(root, uri)
    child = write_run(root, uri, parent=parent.key)
    Replay(parent.folder).upload()
    parent_id = read_position(parent.folder)["run_id"]
    open_store(uri).delete_run(parent_id)
    replay = Replay(child.folder)
    replay.upload()
    assert replay.ended
    _, run = only_run(uri)
    assert run.data.tags["mlflow.parentRunId"] == parent_id


def test_a_request_to_a_run_that_was_deleted_a_moment_ago_says_that(tmp_path: Path, uri: str) -> None:
    with Journal(tmp_path / "output", uri=uri, experiment="tests") as journal:
        journal.begin(name="a run", tags={})
        replay = Replay(journal.folder)
        replay.upload()
        open_store(uri).delete_run(replay.run_id)
        journal.metrics({"val/loss": 0.5}, step=1)
        with pytest.raises(RunDeleted):
            replay.upload()


def test_processes_that_open_a_fresh_store_at_once_do_not_crash(
    new_uri: str, start_hcr: Callable[..., Process]
) -> None:
    code = f"{MAKING_TABLES}from hcr.tracking.store import open_store; open_store({new_uri!r})"
    started = [start_hcr("--version", code=code) for _ in range(4)]
    assert [(process.communicate()[1], process.returncode) for process in started] == [("", 0)] * 4


def test_the_views_of_a_run_are_written_on_its_experiment_once_and_its_description_links_there(
    tmp_path: Path, uri: str
) -> None:
    with Journal(tmp_path, uri=uri, experiment="tests") as journal:
        journal.begin(name="a sweep", tags={DESCRIPTION: f"[charts]({view_link(key_of('first'), CHARTS)})"})
        journal.views({CHARTS: "first", TABLE: "same"})
        journal.views({CHARTS: "first", TABLE: "same"})
    journal.release()
    for _ in range(2):
        replay = Replay(journal.folder)
        replay.restart()
        replay.upload()
    client, run = only_run(uri)
    experiment = client.get_experiment(run.info.experiment_id)
    assert {experiment.tags[f"{TAG}{key_of(text)}"] for text in ("first", "same")} == {"first", "same"}
    link = f"#/experiments/{run.info.experiment_id}/runs?viewStateShareKey={key_of('first')}&compareRunsMode=CHART"
    assert run.data.tags[DESCRIPTION] == f"[charts]({link})"
    contents = read_contents(journal.folder)
    assert missing(contents, run) + missing_inside(contents, run, client) == []
    client.delete_experiment_tag(experiment.experiment_id, f"{TAG}{key_of('same')}")
    assert missing_inside(contents, run, client) == ["1 of 2 views"]
    # A resumed sweep whose views changed: its old ones go.
    journal = Journal(tmp_path, uri=uri, experiment="tests")
    journal.resume(tmp_path / "runs" / run.data.tags["hcr.key"], reopen=True)
    assert journal.shared_views == {CHARTS: "first", TABLE: "same"}
    with journal:
        journal.views({CHARTS: "second", TABLE: "same"})
    journal.release()
    Replay(journal.folder).upload()
    tags = client.get_experiment(experiment.experiment_id).tags
    assert {value for name, value in tags.items() if name.startswith(TAG)} == {"second", "same"}
    delete_run(client, journal.header)
    tags = client.get_experiment(experiment.experiment_id).tags
    assert [name for name in tags if name.startswith(TAG)] == []
