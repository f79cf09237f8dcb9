"""Whole runs through the command line, read back from MLflow."""

import hashlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import QUICK, UNDRAWN, Hcr, Process
from mlflow import MlflowClient
from mlflow.entities import Run
from omegaconf import OmegaConf

from hcr.gate.run_config import flatten, parse_config, to_dict
from hcr.tracking.events import read_events
from hcr.tracking.store import open_store

PER_EPOCH = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "time/epoch_s", "time/images_per_s"}
AT_THE_END = {"best/epoch", "best/val_loss", "best/val_accuracy", "model/params", "time/total_s"}
ON_TEST = {"test/loss", "test/accuracy", "test/top2_accuracy", "test/macro_f1", "test/ece"}
TAGS = {
    "hcr.key",
    "hcr.fingerprint",
    "hcr.dataset_digest",
    "hcr.split_digest",
    "hcr.code",
    "hcr.test_looks",
    "mlflow.source.name",
    "mlflow.user",
}
ARTIFACTS = {
    "config/config.yaml",
    "config/overrides.yaml",
    "code/source.tar.gz",
    "code/requirements.txt",
    "reports/classification_report.txt",
    "reports/classification_report.json",
    "predictions/val.npz",
    "predictions/test.npz",
    "plots/samples.png",
    "plots/curves.png",
    "plots/class_balance.png",
    "plots/class_f1.png",
    "plots/confusion_matrix.png",
    "plots/predictions.png",
    "plots/worst_mistakes.png",
    "plots/reject_curve.png",
    "plots/reliability.png",
    "plots/filters.png",
}


class Store:
    """The MLflow store under a folder, asked as a user would."""

    def __init__(self, folder: Path) -> None:
        self.client: MlflowClient = open_store(f"sqlite:///{folder / 'output' / 'mlflow.db'}")

    def runs(self) -> list[Run]:
        ids = [experiment.experiment_id for experiment in self.client.search_experiments()]
        return list(self.client.search_runs(ids, order_by=["attributes.start_time ASC"]))

    def artifacts(self, run: Run, path: str | None = None) -> set[str]:
        found: set[str] = set()
        for entry in self.client.list_artifacts(run.info.run_id, path):
            found |= self.artifacts(run, entry.path) if entry.is_dir else {entry.path}
        return found

    def file(self, run: Run, path: str) -> Path:
        return Path(self.client.download_artifacts(run.info.run_id, path))


@pytest.mark.slow
def test_the_default_run_reads_real_digits_well_and_finishes(digits_run: tuple[Path, str]) -> None:
    (run,) = Store(digits_run[0]).runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/accuracy"] >= 0.975


@pytest.mark.slow
def test_a_run_ends_by_saying_how_good_where_and_how_to_look(digits_run: tuple[Path, str]) -> None:
    folder, printed = digits_run
    *_, accuracy, where, how, model = printed.splitlines()
    (run,) = Store(folder).runs()
    key = run.data.tags["hcr.key"]
    assert accuracy.startswith(f"test accuracy {run.data.metrics['test/accuracy']:.4f} (95 % interval ")
    assert where == f"run {key} is in {folder / 'output' / 'runs' / key}"
    assert how == f"see it in MLflow: hcr ui {key}"
    assert model == f"its model there: runs:/{run.info.run_id}/model"


@pytest.mark.slow
def test_every_public_name_is_in_the_store(digits_run: tuple[Path, str]) -> None:
    store = Store(digits_run[0])
    (run,) = store.runs()
    assert set(run.data.metrics) == PER_EPOCH | AT_THE_END | ON_TEST
    assert set(run.data.tags) >= TAGS
    assert store.artifacts(run) >= ARTIFACTS


@pytest.mark.slow
def test_each_metric_has_one_value_an_epoch(digits_run: tuple[Path, str]) -> None:
    store = Store(digits_run[0])
    (run,) = store.runs()
    histories = {name: store.client.get_metric_history(run.info.run_id, name) for name in PER_EPOCH}
    steps = {name: [metric.step for metric in history] for name, history in histories.items()}
    last = max(steps["val/loss"])
    assert all(found == list(range(1, last + 1)) for found in steps.values())
    losses = [metric.value for metric in histories["val/loss"]]
    assert run.data.metrics["best/epoch"] == int(np.argmin(losses)) + 1
    assert run.data.metrics["best/val_loss"] == min(losses)


@pytest.mark.slow
def test_the_whole_config_is_there_as_params_and_passes_the_gate_again(digits_run: tuple[Path, str]) -> None:
    store = Store(digits_run[0])
    (run,) = store.runs()
    cfg = parse_config(OmegaConf.load(store.file(run, "config/config.yaml")))
    assert set(run.data.params) == set(flatten(to_dict(cfg)))
    assert run.data.params["model.depth"] == str(cfg.model.depth)
    assert run.data.params["tracking.uri"] == "null"


@pytest.mark.slow
def test_notes_tags_and_command_say_why_and_how(digits_run: tuple[Path, str]) -> None:
    (run,) = Store(digits_run[0]).runs()
    assert run.data.tags["team"] == "ocr"
    assert run.data.tags["mlflow.source.name"] == "hcr train 'notes=why not' 'tags={team: ocr}'"


@pytest.mark.slow
def test_the_description_is_the_notes_during_the_run_and_the_card_at_its_end(digits_run: tuple[Path, str]) -> None:
    folder, _ = digits_run
    (run,) = Store(folder).runs()
    events = [event for event, _ in read_events(folder / "output" / "runs" / run.data.tags["hcr.key"])]
    assert events[0]["tags"]["mlflow.note.content"] == "why not"
    assert events[-1]["event"] == "end"
    text = run.data.tags["mlflow.note.content"]
    assert text.startswith("why not\n\n---\n\n### **Test accuracy ")
    assert f"### **Test accuracy {100 * run.data.metrics['test/accuracy']:.2f} %" in text
    assert f"{run.data.metrics['model/params']:,.0f} parameters" in text
    assert f"data `{run.data.tags['hcr.dataset_digest'][:12]}`" in text
    (line,) = [line for line in text.splitlines() if line.startswith("hcr train ")]
    assert shlex.split(line)[2:4] == ["tags={team: ocr}", "seed=0"]


@pytest.mark.slow
def test_the_parts_of_the_data_set_are_inputs_with_their_own_digests(digits_run: tuple[Path, str]) -> None:
    (run,) = Store(digits_run[0]).runs()
    found = {entry.tags[0].value: entry.dataset for entry in run.inputs.dataset_inputs}
    names = {context: data.name for context, data in found.items()}
    assert names == {"training": "digits/train", "validation": "digits/val", "testing": "digits/test"}
    assert len({data.digest for data in found.values()}) == 3
    # MLflow shows the first run's record of a digest for every later run: nothing else may be in it.
    profiles = {context: json.loads(data.profile) for context, data in found.items()}
    assert {context: profile["images"] for context, profile in profiles.items()} == {
        "training": 1257,
        "validation": 180,
        "testing": 360,
    }
    assert json.loads(run.data.tags["hcr.images"]) == {"train": 1257, "val": 180, "test": 360}
    assert run.data.tags["hcr.dataset_source"] == "scikit-learn's digits"


@pytest.mark.slow
def test_reported_scores_follow_from_the_stored_predictions(digits_run: tuple[Path, str]) -> None:
    store = Store(digits_run[0])
    (run,) = store.runs()
    with np.load(store.file(run, "predictions/test.npz")) as arrays:
        right = arrays["probabilities"].argmax(axis=1) == arrays["labels"]
        assert len(set(arrays["index"])) == 360
    assert run.data.metrics["test/accuracy"] == pytest.approx(right.mean())
    report = json.loads(store.file(run, "reports/classification_report.json").read_text())
    assert report["scored_on"] == "test"
    assert np.trace(report["confusion"]) == right.sum()


@pytest.mark.slow
def test_the_model_takes_raw_pixels_and_repeats_its_predictions(
    digits_run: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from sklearn.datasets import load_digits

    from hcr.data.splitting import load_splits
    from hcr.gate.compose import compose

    store = Store(digits_run[0])
    (run,) = store.runs()
    cfg = compose()
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{digits_run[0] / 'output' / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    with np.load(store.file(run, "predictions/test.npz")) as arrays:
        np.testing.assert_allclose(model.predict(splits.test.images[:]), arrays["probabilities"], atol=1e-5)
    with pytest.raises(mlflow.exceptions.MlflowException, match="uint8"):
        model.predict(load_digits().images[:2, ..., np.newaxis] / 16)


@pytest.mark.slow
def test_the_sources_travel_with_the_run(digits_run: tuple[Path, str]) -> None:
    store = Store(digits_run[0])
    (run,) = store.runs()
    with tarfile.open(store.file(run, "code/source.tar.gz")) as tar:
        names = set(tar.getnames())
    assert {"hcr/runner.py", "hcr/gate/run_config.py", "conf/config.yaml", "conf/model/cnn.yaml"} <= names
    assert not [name for name in names if name.endswith(".pyc")]
    assert "tensorflow==" in store.file(run, "code/requirements.txt").read_text()


@pytest.mark.slow
def test_the_journal_alone_is_a_faithful_copy(digits_run: tuple[Path, str]) -> None:
    folder, _ = digits_run
    store = Store(folder)
    (run,) = store.runs()
    local = folder / "output" / "runs" / run.data.tags["hcr.key"] / "artifacts"
    files = {file.relative_to(local).as_posix() for file in local.rglob("*") if file.is_file()}
    (output,) = run.outputs.model_outputs
    model = Path(store.client.get_logged_model(output.model_id).artifact_location)
    of_model = {f"model/{file.relative_to(model).as_posix()}" for file in model.rglob("*") if file.is_file()}
    assert files == store.artifacts(run) | of_model


def digest(folder: Path) -> str:
    """Of the probabilities of the one run under the folder."""
    (predictions,) = (folder / "output" / "runs").glob("*/artifacts/predictions/test.npz")
    with np.load(predictions) as arrays:
        return hashlib.sha256(arrays["probabilities"].tobytes()).hexdigest()


@pytest.mark.slow
def test_two_processes_with_one_seed_give_the_same_bits(quick_run: Path, hcr: Hcr, tmp_path: Path) -> None:
    done = hcr("train", *QUICK, code=UNDRAWN)
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path) == digest(quick_run)


@pytest.mark.slow
def test_a_multirun_nests_its_runs_under_one_parent_and_leaves_test_sealed(undrawn: Hcr, tmp_path: Path) -> None:
    done = undrawn("train", "-m", "model.depth=1,2", "seed=0,1", "training=smoke", "model.filters=4")
    assert done.returncode == 0, done.stderr
    parent, *children = Store(tmp_path).runs()
    assert len(children) == 4
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    points = {(run.data.params["model.depth"], run.data.params["seed"]) for run in children}
    assert points == {("1", "0"), ("1", "1"), ("2", "0"), ("2", "1")}
    assert all(not set(run.data.metrics) & ON_TEST for run in children)
    assert {run.data.tags["hcr.test_looks"] for run in children} == {"0"}


@pytest.mark.slow
def test_a_failed_job_of_a_multirun_fails_alone_and_is_told(undrawn: Hcr, tmp_path: Path) -> None:
    done = undrawn("train", "-m", "optimizer.learning_rate=1e35,0.001", "schedule=constant", "training=smoke")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("hcr:")]
    assert "became nan" in line.lower()
    parent, *children = Store(tmp_path).runs()
    children.sort(key=lambda run: run.data.tags["hcr.sweep_run"])  # they were trained side by side
    assert [run.info.status for run in children] == ["FAILED", "FINISHED"]
    assert parent.info.status == "FAILED"
    assert "became nan" in children[0].data.tags["hcr.error"].lower()


@pytest.mark.slow
def test_artifacts_that_cannot_be_written_end_the_run_as_failed_in_one_line(hcr: Hcr, tmp_path: Path) -> None:
    code = (
        "import numpy\n"
        "def full(*arguments, **keywords): raise OSError(28, 'No space left on device')\n"
        "numpy.savez_compressed, real = full, numpy.savez\n"
        "numpy.savez = lambda file, **arrays: full() if 'predictions' in str(file) else real(file, **arrays)\n"
    )
    done = hcr("train", "training=smoke", code=code)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "artifacts: cannot be written ([Errno 28] No space left on device)" in done.stderr
    (run,) = Store(tmp_path).runs()
    assert run.info.status == "FAILED"
    assert "No space left" in run.data.tags["hcr.error"]


def test_a_path_below_a_home_that_there_is_none_of_is_one_line(hcr: Hcr, tmp_path: Path) -> None:
    done = hcr("train", "dataset=mnist", "dataset.path='~nobody-here/x.npz'")
    assert done.returncode == 1
    told = f"expected a file, got '~nobody-here/x.npz', which does not exist (in '{tmp_path}')"
    assert done.stderr == f"hcr: dataset.path: {told}\n"


def test_a_missing_file_is_one_line_and_leaves_no_run(hcr: Hcr, tmp_path: Path) -> None:
    nowhere = "dataset.url=http://127.0.0.1:9/mnist.npz"
    places = {"HCR_DATA_DIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = hcr("train", "dataset=mnist", nowhere, env=places)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("hcr: dataset=mnist: http://127.0.0.1:9/mnist.npz: cannot be reached (Connection refused)")
    assert "put mnist-original.mat or mnist.npz into " + str(tmp_path) in line
    assert "dataset=digits needs no file" in line
    assert not (tmp_path / "output" / "runs").exists()


def test_check_only_shows_layers_parameters_and_images_and_records_nothing(hcr: Hcr, tmp_path: Path) -> None:
    done = hcr("train", "check_only=true", env={"COLUMNS": "120"})
    assert done.returncode == 0, done.stderr
    for told in ("conv1", "Conv2D", "total", "train", "1,257", "val", "180", "test", "360", "nothing was trained"):
        assert told in done.stdout
    assert not (tmp_path / "output").exists()


ENDLESS = ("train", "training.epochs=10000", "training.patience=null", "model.filters=4")


def wait_for_an_epoch(process: Process) -> None:
    assert any(line.startswith("epoch") for line in process.stdout)


@pytest.mark.slow
def test_an_interrupted_run_ends_killed_with_the_epochs_it_had(
    start_hcr: Callable[..., Process], tmp_path: Path
) -> None:
    process = start_hcr(*ENDLESS)
    wait_for_an_epoch(process)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    (run,) = Store(tmp_path).runs()
    assert run.info.status == "KILLED"
    assert run.data.metrics["val/loss"] > 0


@pytest.mark.slow
def test_a_run_that_was_killed_is_ended_by_sync(start_hcr: Callable[..., Process], hcr: Hcr, tmp_path: Path) -> None:
    process = start_hcr(*ENDLESS)
    wait_for_an_epoch(process)
    while_it_lives = hcr("sync")
    process.kill()
    process.communicate()
    after = hcr("sync")
    assert while_it_lives.stdout == "0 uploaded, 1 still running, 0 not uploaded\n"
    assert after.stdout == "1 uploaded, 0 still running, 0 not uploaded\n"
    (run,) = Store(tmp_path).runs()
    assert run.info.status == "FAILED"
    assert run.data.tags["hcr.error"] == "its process died without ending the run"
    assert run.data.metrics["val/loss"] > 0


@pytest.mark.slow
def test_runs_that_a_server_missed_are_delivered_by_sync_once(hcr: Hcr, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    env = {"MLFLOW_TRACKING_URI": uri}
    done = hcr("train", *QUICK, "tracking.timeout_s=1", env=env, code=UNDRAWN)
    assert done.returncode == 0
    assert "`hcr sync` uploads the rest" in done.stderr
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "a"),
    ]
    server = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1).close()
                break
            except OSError:  # not up yet
                time.sleep(0.1)
        first, second = hcr("sync", env=env), hcr("sync", env=env)
        assert first.stdout == "1 uploaded, 0 still running, 0 not uploaded\n", first.stderr
        assert second.stdout == "0 uploaded, 0 still running, 0 not uploaded\n"
        client = open_store(uri)
        (run,) = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
        assert run.info.status == "FINISHED"
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "val/loss")]
        assert steps == [1, 2]
        assert "predictions" in {entry.path for entry in client.list_artifacts(run.info.run_id)}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


@pytest.mark.slow
def test_mnist_takes_every_override(hcr: Hcr, mnist_dir: Path, tmp_path: Path) -> None:
    done = hcr(
        "train",
        "dataset=mnist",
        "model.depth=2",
        "model.filters=[4,8]",
        "optimizer=sgd",
        "optimizer.learning_rate=0.05",
        "split.validation=0.2",
        "training=smoke",
        "dataset.limit=14000",
        code=UNDRAWN,
        env={"HCR_DATA_DIR": str(mnist_dir)},
    )
    assert done.returncode == 0, done.stderr
    (run,) = Store(tmp_path).runs()
    expected: dict[str, Any] = {
        "dataset.name": "mnist",
        "split.name": "official",
        "split.validation": "0.2",
        "model.depth": "2",
        "model.filters": "[4, 8]",
        "optimizer.name": "sgd",
        "optimizer.nesterov": "true",
        "optimizer.learning_rate": "0.05",
        "training.epochs": "1",
    }
    assert {name: run.data.params[name] for name in expected} == expected
    profiles = [json.loads(found.dataset.profile) for found in run.inputs.dataset_inputs]
    assert sum(profile["images"] for profile in profiles) == 14_000
    # Conv 4 and 8 with batch norm, then 7*7*8 features into the dense layer and ten logits.
    dense = int(json.loads(run.data.params["model.dense_units"])[0])
    convolutions = 9 * 4 + 4 * 4 + 9 * 4 * 8 + 4 * 8
    assert run.data.metrics["model/params"] == convolutions + (7 * 7 * 8 + 1) * dense + (dense + 1) * 10
    assert run.data.metrics["test/accuracy"] > 0.9
