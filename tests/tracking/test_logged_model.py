"""A run's model in MLflow, on a real SQLite store: made once, whatever was uploaded before, and compared."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run

from hcr.commands import sync
from hcr.tracking.comparison import missing, missing_inside, read_contents
from hcr.tracking.journal import Journal
from hcr.tracking.replay import Replay
from hcr.tracking.status import POSITION
from hcr.tracking.store import open_store

VAL = ("digits/val", "ab" * 32)


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    root = tmp_path / "output"
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    return root


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return open_store(f"sqlite:///{root / 'mlflow.db'}")


def write_run(root: Path, *, old: bool = False) -> Path:
    """A finished run with a model, not uploaded; with `old` as earlier versions recorded it."""
    with Journal(root, uri=f"sqlite:///{root / 'mlflow.db'}", experiment="tests") as journal:
        journal.begin(name="a run", tags={})
        journal.params({"seed": "0"})
        journal.metrics({"val/loss": 0.5}, step=1)
        journal.artifact("model/MLmodel").write_text("flavors: {keras: {data: data}}\nmetadata: {classes: [é, b]}\n")
        journal.artifact("model/data/weights").write_bytes(b"weights")
        if old:
            journal.artifact_written("model")
            journal.metrics({"best/val_loss": 0.5, "best/epoch": 1.0}, step=3)
        else:
            journal.model("model", architecture="cnn", params={"model.depth": "2", "seed": "0"}, step=1)
            of_model = {"best/val_loss": VAL, "best/epoch": VAL}
            journal.metrics({"best/val_loss": 0.5, "best/epoch": 1.0, "time/total_s": 3.0}, step=3, of_model=of_model)
    journal.release()
    return journal.folder


def only_run(client: MlflowClient) -> Run:
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    return run


def models(client: MlflowClient) -> list[LoggedModel]:
    return list(client.search_logged_models([client.get_experiment_by_name("tests").experiment_id]))


def files(client: MlflowClient, model: LoggedModel, path: str | None = None) -> set[str]:
    found: set[str] = set()
    for entry in client.list_logged_model_artifacts(model.model_id, path):
        found |= files(client, model, entry.path) if entry.is_dir else {entry.path}
    return found


def lacks(folder: Path, client: MlflowClient) -> list[str]:
    contents, run = read_contents(folder), only_run(client)
    return missing(contents, run) + missing_inside(contents, run, client)


def is_whole(folder: Path, client: MlflowClient) -> bool:
    """True if there is one model, complete, and the run has it once."""
    (model,) = models(client)
    outputs = [output.model_id for output in only_run(client).outputs.model_outputs]
    metrics = sorted((metric.key, metric.step) for metric in model.metrics)
    return (
        str(model.status) == "READY"
        and outputs == [model.model_id]
        and metrics == [("best/epoch", 3), ("best/val_loss", 3)]
        and lacks(folder, client) == []
    )


def test_a_model_has_its_params_its_files_and_the_metrics_that_measure_it(root: Path, client: MlflowClient) -> None:
    folder = write_run(root)
    Replay(folder).upload()
    (model,) = models(client)
    run = only_run(client)
    assert (model.name, model.model_type, str(model.status)) == ("model", "cnn", "READY")
    assert model.params == {"model.depth": "2", "seed": "0"}
    assert (model.source_run_id, model.tags["hcr.key"]) == (run.info.run_id, folder.name)
    assert files(client, model) == {"MLmodel", "data/weights"}
    data = {metric.key: (metric.dataset_name, metric.dataset_digest, metric.value) for metric in model.metrics}
    name, digest = VAL[0], VAL[1][:36]
    assert data == {"best/val_loss": (name, digest, 0.5), "best/epoch": (name, digest, 1.0)}
    assert [(output.model_id, output.step) for output in run.outputs.model_outputs] == [(model.model_id, 1)]
    assert set(run.data.metrics) == {"val/loss", "best/val_loss", "best/epoch", "time/total_s"}
    assert is_whole(folder, client)


def test_the_mlmodel_file_names_its_run_and_itself(root: Path, client: MlflowClient) -> None:
    folder = write_run(root)
    Replay(folder).upload()
    (model,) = models(client)
    described = yaml.safe_load((Path(model.artifact_location) / "MLmodel").read_text())
    assert (described["run_id"], described["model_id"]) == (only_run(client).info.run_id, model.model_id)
    assert described["metadata"] == {"classes": ["é", "b"]}
    assert "model_id" not in (folder / "artifacts/model/MLmodel").read_text(), "the journal's own was changed"


def test_a_second_upload_makes_no_second_model(root: Path, client: MlflowClient) -> None:
    folder = write_run(root)
    Replay(folder).upload()
    (folder / POSITION).unlink()
    Replay(folder).upload()
    assert is_whole(folder, client)


CALLS = ("create_logged_model", "log_model_artifacts", "log_model_artifact", "finalize_logged_model", "log_outputs")


@pytest.mark.parametrize("call", [*CALLS, "log_batch"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_upload_that_fails_anywhere_is_completed_with_one_model(
    root: Path, client: MlflowClient, call: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(root)
    real: Callable[..., Any] = getattr(MlflowClient, call)
    left = [1 if call != "log_batch" else 3]  # of a batch: that of the model's metrics

    def failing(*arguments: Any, **keywords: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and moment == "before":
            raise ConnectionError("gone")
        answer = real(*arguments, **keywords)
        if left[0] == 0:
            raise ConnectionError("gone")
        return answer

    monkeypatch.setattr(MlflowClient, call, failing)
    with pytest.raises(ConnectionError):
        Replay(folder).upload()
    Replay(folder).upload()
    assert is_whole(folder, client)


def test_models_made_by_a_request_that_seemed_to_fail_are_reduced_to_one(
    root: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(root)
    real = MlflowClient.create_logged_model

    def twice(*arguments: Any, **keywords: Any) -> LoggedModel:
        real(*arguments, **keywords)
        return real(*arguments, **keywords)

    monkeypatch.setattr(MlflowClient, "create_logged_model", twice)
    Replay(folder).upload()
    assert is_whole(folder, client)


def test_a_run_of_an_earlier_version_keeps_its_model_among_its_artifacts(root: Path, client: MlflowClient) -> None:
    folder = write_run(root, old=True)
    Replay(folder).upload()
    run = only_run(client)
    assert models(client) == []
    assert {entry.path for entry in client.list_artifacts(run.info.run_id, "model")} == {"model/MLmodel", "model/data"}
    assert run.data.metrics["best/val_loss"] == 0.5
    assert lacks(folder, client) == []


def test_a_model_whose_files_are_gone_from_the_disk_holds_up_nothing(
    root: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(root)
    shutil.rmtree(folder / "artifacts/model")
    replay = Replay(folder)
    replay.upload()
    assert replay.ended
    assert models(client) == []
    assert only_run(client).data.metrics["best/val_loss"] == 0.5
    assert "1 artifact (model) cannot be uploaded: the files are gone" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["a file", "the MLmodel file", "the model"])
def test_sync_sees_what_a_model_lacks_and_repairs_it(
    root: Path, client: MlflowClient, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(root)
    Replay(folder).upload()
    (model,) = models(client)
    if damage == "the model":
        client.delete_logged_model(model.model_id)
        told = f"missing: its model {model.model_id}"
    else:
        name = "MLmodel" if damage == "the MLmodel file" else "data/weights"
        (Path(model.artifact_location) / name).unlink()
        told = f"missing: of its model: file {name}"
    assert sync.main(["--check"]) == 1
    assert told in capsys.readouterr().out
    assert sync.main(["--repair"]) == 0
    capsys.readouterr()
    assert sync.main(["--check"]) == 0
    assert len(models(client)) == 1
