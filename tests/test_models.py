"""Models on a real `mlflow server`: uploaded once whatever happens, registered, and used from another output root."""

import signal
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from conftest import QUICK, UNDRAWN, Hcr
from mlflow import MlflowClient
from servers import Server

from hcr.recorded import recorded_run
from hcr.tracking.store import open_store

pytestmark = pytest.mark.slow


# The process is killed between the files of the model and the model's end.
KILLED = """
import os, signal
import hcr.tracking.logged_model as uploading
uploading._with_ids = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_model_is_uploaded_once_after_an_outage_and_a_kill_and_is_used_elsewhere(
    hcr: Hcr, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server.db").write_bytes(empty_store.read_bytes())
    server = Server(tmp_path)
    env = {"MLFLOW_TRACKING_URI": server.uri}
    done = hcr("train", *QUICK, "tracking.timeout_s=1", env=env, code=UNDRAWN)
    assert "`hcr sync` uploads the rest" in done.stderr
    refused = hcr("register", "latest", "digits", env=env)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "its upload is not complete; `hcr sync` uploads the rest" in refused.stderr
    with server.running() as client:
        assert hcr("sync", env=env, code=KILLED).returncode == -signal.SIGKILL
        (model,) = client.search_logged_models(["1"])
        assert str(model.status) == "PENDING"
        assert hcr("sync", env=env).stdout == "1 uploaded, 0 still running, 0 not uploaded\n"
        checked = hcr("sync", "--check", env=env)
        assert checked.stdout == "1 complete, 0 still running, 0 incomplete\n"
        check_model(client)
        done = hcr("register", "best", "digits", "--alias", "champion", env=env)
        assert done.returncode == 0, done.stderr
        use_elsewhere(tmp_path, server.uri, monkeypatch)


def check_model(client: MlflowClient) -> None:
    (run,) = client.search_runs(["1"])
    (model,) = client.search_logged_models(["1"])
    assert str(model.status) == "READY"
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    shown = {"dataset.name": "digits", "model.name": "cnn", "optimizer.name": "adam", "seed": "0"}
    assert model.params == shown | {"training.epochs": "2", "model.filters": "8"}
    data = {(entry.dataset.name, entry.tags[0].value): entry.dataset.digest for entry in run.inputs.dataset_inputs}
    assert set(data) == {("digits/train", "training"), ("digits/val", "validation"), ("digits/test", "testing")}
    linked = {metric.key: (metric.dataset_name, metric.dataset_digest) for metric in model.metrics}
    assert linked["best/val_accuracy"] == ("digits/val", data["digits/val", "validation"])
    assert linked["test/accuracy"] == ("digits/test", data["digits/test", "testing"])
    assert {name for name in run.data.metrics if name.startswith(("best/", "test/"))} == set(linked)
    assert len(client.get_metric_history(run.info.run_id, "test/accuracy")) == 1


def use_elsewhere(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (journal,) = (tmp_path / "output" / "runs").iterdir()
    run = recorded_run("models:/digits@champion")
    assert (run.key, run.folder) == (journal.name, None)
    here, there = files(run.artifacts), files(journal / "artifacts")
    assert set(here) == set(there)
    described = Path("model/MLmodel")  # got the ids of run and model
    assert all(here[path].read_bytes() == file.read_bytes() for path, file in there.items() if path != described)
    values = yaml.safe_load(here[described].read_text())
    assert values["metadata"]["classes"] == [str(digit) for digit in range(10)]
    assert values["metadata"]["image_shape"] == [8, 8, 1]
    assert values["metadata"]["preparation"]["fit"] == "pad"
    images, expected = run.load_splits().val.images[:], run.predictions("val").probabilities
    np.testing.assert_allclose(run.load_model().predict(images, verbose=0), expected, atol=1e-5)
    assert [epoch["val/loss"] > 0 for epoch in run.history] == [True, True]
    monkeypatch.setattr("hcr.tracking.fetching._download", lambda store, files, folder: check_kept(files, folder))
    assert recorded_run(run.key).artifacts == run.artifacts
    for address in (f"runs:/{values['run_id']}/model", f"models:/{values['model_id']}", "models:/digits@champion"):
        model = mlflow.pyfunc.load_model(address)
        np.testing.assert_allclose(model.predict(images[:5]), expected[:5], atol=1e-5)


def files(folder: Path) -> dict[Path, Path]:
    return {file.relative_to(folder): file for file in folder.rglob("*") if file.is_file()}


def check_kept(files: dict[Path, int], folder: Path) -> None:
    assert all((folder / path).stat().st_size == size for path, size in files.items())


def test_models_of_a_sweep_show_their_point_and_seed(hcr: Hcr, tmp_path: Path) -> None:
    small = ("training=smoke", "model.filters=4", "model.dense_units=[]")
    done = hcr("train", "-m", "model.depth=1,2", "seed=0,1", *small)
    assert done.returncode == 0, done.stderr
    client = open_store(f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}")
    models = client.search_logged_models(["1"])
    shown = sorted((model.params["model.depth"], model.params["seed"]) for model in models)
    assert shown == [("1", "0"), ("1", "1"), ("2", "0"), ("2", "1")]
    runs = {run.info.run_id: run for run in client.search_runs(["1"])}
    assert sorted(run.data.tags["hcr.kind"] for run in runs.values()) == ["sweep", *["train"] * 4]
    for model in models:
        run = runs[model.source_run_id]
        assert run.data.params["model.depth"] == model.params["model.depth"]
        contexts = {entry.tags[0].value for entry in run.inputs.dataset_inputs}
        assert contexts == {"training", "validation"}, "test is sealed in a sweep"
