"""`hcr register`, on a finished run in a real SQLite store: one version a run, and an alias that is a RUN."""

import json
import os
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
from conftest import Hcr
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from hcr.commands import register
from hcr.config.errors import ConfigError, TrackingError
from hcr.recorded import recorded_run
from hcr.tracking.journal import Journal
from hcr.tracking.replay import Replay
from hcr.tracking.store import open_store


@pytest.fixture
def folder(quick_run: Path, tmp_path: Path) -> Path:
    """The folder of a finished run, in an output root of the test's own."""
    shutil.copytree(quick_run / "output", tmp_path / "output")
    (folder,) = (tmp_path / "output" / "runs").iterdir()
    return folder


@pytest.fixture
def client(folder: Path) -> MlflowClient:
    return open_store(f"sqlite:///{folder.parents[1] / 'mlflow.db'}")


def versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    return sorted(client.search_model_versions(f"name = '{name}'"), key=lambda version: int(version.version))


def test_a_version_has_the_card_the_digests_and_the_metrics(
    folder: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert register.main([folder.name, "digits", "--alias", "champion"]) == 0
    assert capsys.readouterr().out == (
        f"run {folder.name} is version 1 of digits: models:/digits/1\nmodels:/digits@champion is now version 1\n"
    )
    assert "MLFLOW_TRACKING_URI" not in os.environ, "a Python session's own store was changed"
    (version,) = versions(client, "digits")
    run = client.get_run(version.run_id)
    assert version.description == run.data.tags["mlflow.note.content"]
    assert "Test accuracy" in version.description
    for tag in ("hcr.key", "hcr.dataset_digest", "hcr.split_digest", "hcr.fingerprint"):
        assert version.tags[tag] == run.data.tags[tag]
    assert float(version.tags["test/accuracy"]) == pytest.approx(run.data.metrics["test/accuracy"], abs=1e-5)
    (output,) = run.outputs.model_outputs
    assert version.source == f"models:/{output.model_id}"
    register.main([folder.name, "digits"])
    shown = client.get_logged_model(output.model_id).tags["mlflow.modelVersions"]
    assert json.loads(shown) == [{"name": "digits", "version": "1"}]


def test_a_run_that_is_registered_twice_has_one_version(
    folder: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    # MLflow itself makes a new version each time.
    register.main(["latest", "digits"])
    register.main([folder.name, "digits", "--alias", "champion"])
    assert f"run {folder.name} is already version 1 of digits" in capsys.readouterr().out
    assert len(versions(client, "digits")) == 1
    assert int(client.get_model_version_by_alias("digits", "champion").version) == 1
    register.main(["models:/digits@champion", "other"])
    assert len(versions(client, "other")) == 1


@pytest.mark.slow
def test_a_registered_model_is_a_run_and_loads_without_hcr(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register.main(["best", "digits", "--alias", "champion"])
    uri = f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = recorded_run("models:/digits@champion")
    assert (run.key, run.folder) == (folder.name, None)
    assert run.artifacts.is_relative_to(tmp_path / "cache")
    images, expected = run.load_splits().val.images[:], run.predictions("val").probabilities
    np.testing.assert_allclose(run.load_model().predict(images, verbose=0), expected, atol=1e-5)
    for address in ("models:/digits@champion", "models:/digits/1"):
        model = mlflow.pyfunc.load_model(address)
        np.testing.assert_allclose(model.predict(images[:5]), expected[:5], atol=1e-5)
        assert model.metadata.metadata["classes"] == list(run.class_names)


def test_a_run_whose_upload_is_not_complete_is_refused(folder: Path) -> None:
    (folder / "delivered.json").unlink()
    with pytest.raises(TrackingError, match=f"^run {folder.name}: its upload is not complete; `hcr sync` uploads the"):
        register.main([folder.name, "digits"])


def unfinished(folder: Path, status: str) -> str:
    uri = f"sqlite:///{folder.parents[1] / 'mlflow.db'}"
    journal = Journal(folder.parents[1], uri=uri, experiment="tests")
    journal.begin(name="another", tags={"hcr.kind": "train"})
    journal.end(status)
    journal.release()
    Replay(journal.folder).upload()
    return journal.key


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("FAILED", "expected a run that has finished, got one that is FAILED"),
        ("FINISHED", "expected a run with a model, got one without"),
    ],
)
def test_a_run_without_a_finished_model_is_refused_and_leaves_nothing(
    folder: Path, client: MlflowClient, status: str, why: str
) -> None:
    key = unfinished(folder, status)
    with pytest.raises(TrackingError, match=f"^run {key}: {why}$"):
        register.main([key, "digits"])
    assert client.search_registered_models() == []


@pytest.mark.parametrize("name", ["a/b", "a:b", "", " ", "a@b", "..", "x" * 251, "a\nb", "it's"])
def test_a_name_that_mlflow_does_not_take_is_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^NAME: expected 1 to 250 characters without / : @ and quotes, got "):
        register.main(["latest", name])


@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "a b", "", "a/b", "x" * 251])
def test_an_alias_that_mlflow_does_not_take_is_one_line(alias: str) -> None:
    with pytest.raises(ConfigError, match=r"^--alias: expected letters, digits, _ and -, and neither latest nor v1"):
        register.main(["latest", "digits", "--alias", alias])


def test_refusals_are_one_line_and_import_nothing_heavy(hcr: Hcr) -> None:
    done = hcr("register", "latest", "a/b", light=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "hcr: NAME: expected 1 to 250 characters without / : @ and quotes, got 'a/b'\n"
    done = hcr("register", "latest", "digits", light=True)
    assert done.returncode == 1
    assert done.stderr.startswith("hcr: no run 'latest' under ")
    assert done.stderr.count("\n") == 1
