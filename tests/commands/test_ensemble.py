"""`hcr ensemble`, as users run it: of a real sweep, into a real store, with test sealed until the end."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Hcr, Warm, made_once

from hcr.recorded import RecordedRun, recorded_run
from hcr.tracking.events import first_event, last_event, read_events
from hcr.tracking.store import open_store

pytestmark = pytest.mark.slow

# One of each architecture with each seed, on one split; the last one prunes nothing, fails nothing, draws nothing.
GRID = ("-m", "model=cnn,mlp", "seed=0,1", "split.seed=0", "training=smoke", "training.batch_size=16")
UNDRAWN_SWEEP = "import hcr.sweep.sweep\nhcr.sweep.sweep._draw_best = lambda *arguments: None\n"
UNDRAWN = "import hcr.ensembling\nhcr.ensembling._record_pictures = lambda *arguments: None\n"


def output_in(folder: Path) -> dict[str, str]:
    return {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output")}


@pytest.fixture(scope="session")
def swept(shared: Path, warm: Warm) -> Path:
    """The folder of a sweep of four runs. To be read only."""

    def make(folder: Path) -> None:
        done = warm.run("train", *GRID, cwd=folder, env=output_in(folder), code=UNDRAWN_SWEEP)
        assert done.returncode == 0, done.stderr

    return made_once(shared / "ensembled", make)


@pytest.fixture(scope="session")
def made(shared: Path, swept: Path, warm: Warm) -> Path:
    """The folder of that sweep and of an ensemble of its three best runs, with pictures. To be read only."""

    def make(folder: Path) -> None:
        shutil.copytree(swept / "output", folder / "output")
        done = warm.run("ensemble", "latest", "--top", "3", cwd=folder, env=output_in(folder))
        assert done.returncode == 0, done.stderr
        (folder / "printed").write_text(done.stdout)

    return made_once(shared / "ensemble", make)


@pytest.fixture
def ensemble(made: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedRun:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(made / "output"))
    return recorded_run("latest")


@pytest.fixture
def own_sweep(swept: Path, tmp_path: Path) -> Path:
    """The output root of a copy of the sweep, where `hcr` looks."""
    shutil.copytree(swept / "output", tmp_path / "output")
    return tmp_path / "output"


def ensembles(root: Path) -> list[Path]:
    """The folders of ensembles, oldest first."""
    headers = {folder: first_event(folder) for folder in (root / "runs").iterdir()}
    found = [folder for folder, header in headers.items() if header["tags"].get("hcr.kind") == "ensemble"]
    return sorted(found, key=lambda folder: headers[folder]["time_ms"])


def last(folder: Path, kind: str, name: str) -> Any:
    return [e["values"][name] for e, _ in read_events(folder) if e["event"] == kind and name in e["values"]][-1]


def test_it_is_the_mean_of_the_best_runs_on_validation(ensemble: RecordedRun, made: Path) -> None:
    runs = [read for read in map(recorded_run, keys_of_sweep(made)) if read]
    best = sorted(runs, key=lambda run: run.metrics["best/val_loss"])[:3]
    assert ensemble.tags["hcr.members"].split() == [run.key for run in best]
    assert "test/accuracy" not in {name for run in runs for name in run.metrics}  # none has looked at test

    found = ensemble.predictions("val")
    expected = np.mean([run.predictions("val").probabilities for run in best], axis=0, dtype=np.float64)
    np.testing.assert_allclose(found.probabilities, expected, atol=3e-7)
    np.testing.assert_array_equal(found.index, best[0].predictions("val").index)
    accuracy = float((expected.argmax(axis=1) == found.labels).mean())
    assert ensemble.metrics["best/val_accuracy"] == pytest.approx(accuracy)
    assert ensemble.metrics["model/params"] == sum(run.metrics["model/params"] for run in best)


def keys_of_sweep(folder: Path) -> list[str]:
    headers = map(first_event, (folder / "output" / "runs").iterdir())
    return [header["key"] for header in headers if header["parent"] is not None]


def test_every_reader_of_a_finished_run_can_read_it(ensemble: RecordedRun) -> None:
    splits = ensemble.load_splits()
    images = splits.test.images[:50]
    assert ensemble.class_names == splits.class_names
    assert ensemble.image_shape == images.shape[1:] == (8, 8, 1)
    assert ensemble.scored_part == "test"
    assert ensemble.history == []
    predicted = ensemble.load_model().predict(images, verbose=0)
    np.testing.assert_allclose(predicted, ensemble.predictions("test").probabilities[:50], atol=1e-6)


def test_mlflow_has_it_as_a_run_and_a_model_of_its_own(ensemble: RecordedRun, made: Path) -> None:
    import mlflow

    uri = f"sqlite:///{made / 'output' / 'mlflow.db'}"
    client = open_store(uri)
    experiment = client.get_experiment_by_name("hcr")
    (run,) = client.search_runs([experiment.experiment_id], "tags.`hcr.kind` = 'ensemble'")
    assert run.info.status == "FINISHED"
    assert "mlflow.parentRunId" not in run.data.tags
    assert run.data.tags["hcr.members"] == run.data.params["ensemble.members"]
    assert run.data.tags["hcr.ensemble_of"] == run.data.params["ensemble.sweep"]
    assert run.data.params["training.batch_size"] == "16"  # what all members share
    assert not {"seed", "model.name"} & run.data.params.keys()  # what they differ in
    assert run.data.tags["hcr.test_looks"] == "1"
    card = run.data.tags["mlflow.note.content"]
    for told in ("soft vote of 3 models", "mean of the members", "about 3 times the time and the memory of one"):
        assert told in card
    assert "The validation images chose the members and the epoch of each" in card
    assert (
        f"hcr ensemble {run.data.tags['hcr.ensemble_of']} --top 3\n" in card
    )  # not latest, which is another one later

    mlflow.set_tracking_uri(uri)
    loaded = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    images = ensemble.load_splits().val.images[:20]
    np.testing.assert_allclose(loaded.predict(images), ensemble.predictions("val").probabilities[:20], atol=1e-6)
    paths = {entry.path for entry in client.list_artifacts(run.info.run_id, "plots")}
    assert {"plots/confusion_matrix.png", "plots/predictions.png", "plots/worst_mistakes.png"} <= paths
    assert not {"plots/curves.png", "plots/filters.png", "plots/augmentation.png"} & paths  # it has none of its own


def test_its_members_are_listed_in_a_file_and_on_the_screen(ensemble: RecordedRun, made: Path) -> None:
    with (ensemble.artifacts / "config/members.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ensemble.tags["hcr.members"].split()
    assert all(row["run_id"] for row in rows)
    printed = (made / "printed").read_text()
    assert printed.startswith("4 of 4 runs have finished; the 3 best by val/loss become one model\n")
    assert all(row["run"] in printed for row in rows)
    assert f"test accuracy {ensemble.metrics['test/accuracy']:.4f}" in printed


def test_test_stays_sealed_until_asked_for_and_the_same_ensemble_is_made_once(own_sweep: Path, hcr: Hcr) -> None:
    sealed = hcr("ensemble", "latest", "--top", "2", "--no-test", code=UNDRAWN)
    assert sealed.returncode == 0, sealed.stderr
    assert "test accuracy" not in sealed.stdout
    (folder,) = ensembles(own_sweep)
    assert first_event(folder)["tags"]["hcr.test_looks"] == "0"
    assert not (folder / "artifacts/predictions/test.npz").exists()
    report = json.loads((folder / "artifacts/reports/classification_report.json").read_text())
    assert report["scored_on"] == "val"

    again = hcr("ensemble", "latest", "--top", "2", code=UNDRAWN)
    assert again.returncode == 0, again.stderr
    assert f"run {folder.name} has finished with this config, data and code" in again.stdout
    assert "--new-run makes it again" in again.stdout
    assert "test accuracy" in again.stdout  # now it is asked for
    assert ensembles(own_sweep) == [folder]
    assert last(folder, "tags", "hcr.test_looks") == "1"

    anew = hcr("ensemble", "latest", "--top", "2", "--new-run", code=UNDRAWN)
    assert anew.returncode == 0, anew.stderr
    other = ensembles(own_sweep)[1]
    assert last(other, "metrics", "test/accuracy") == last(folder, "metrics", "test/accuracy")


def test_a_kill_in_the_middle_leaves_a_failed_run_and_the_same_command_makes_the_ensemble(
    own_sweep: Path, hcr: Hcr
) -> None:
    kill = f"{UNDRAWN}import os\nhcr.ensembling.record_model = lambda *arguments, **keywords: os.kill(os.getpid(), 9)\n"
    assert hcr("ensemble", "latest", "--top", "2", code=kill).returncode != 0
    (killed,) = ensembles(own_sweep)
    assert last_event(killed)["event"] != "end"
    assert hcr("ensemble", "latest", "--top", "2", code=UNDRAWN).returncode == 0
    (killed, whole) = ensembles(own_sweep)
    assert (last_event(killed)["status"], last_event(whole)["status"]) == ("FAILED", "FINISHED")


def test_its_pictures_can_be_drawn_again_and_it_is_no_config_to_train(made: Path, tmp_path: Path, hcr: Hcr) -> None:
    shutil.copytree(made / "output", tmp_path / "output")
    (folder,) = ensembles(tmp_path / "output")
    drawn = hcr("plots", folder.name)
    assert drawn.returncode == 0, drawn.stderr
    assert "worst_mistakes.png" in drawn.stdout
    for key in ("from", "resume"):
        refused = hcr("train", f"{key}={folder.name}", light=True)
        assert refused.returncode == 1
        assert f"hcr: {key}: expected a trained run; {folder.name} is an ensemble, of the runs" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("latest", "--top", "1"), "--top: expected 2 or more, got 1; one run is a model already"),
        (("latest", "--top", "x"), "hcr ensemble: argument --top: invalid int value: 'x'"),
        (("latest",), "hcr ensemble: the following arguments are required: --top"),
        (("latest", "--top", "9"), "--top: expected at most 4, got 9; of sweep"),
        (("nowhere", "--top", "2"), "no run 'nowhere' under"),
    ],
)
def test_a_wrong_command_line_is_one_line_before_anything_heavy_is_imported(
    made: Path, hcr: Hcr, arguments: tuple[str, ...], told: str
) -> None:
    refused = hcr("ensemble", *arguments, env={"HCR_OUTPUT_DIR": str(made / "output")}, light=True)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("hcr: ")
    assert told in line
