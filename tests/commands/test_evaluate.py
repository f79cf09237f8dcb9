"""`hcr evaluate`: figures of a finished model, on its own test images and on other data, each look counted."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Hcr

from hcr.evaluation.metrics import evaluate
from hcr.recorded import RecordedRun, read_run
from hcr.tracking.events import first_event, last_event, read_events
from hcr.tracking.finding import find_run
from hcr.tracking.lock import lock_run
from hcr.tracking.status import read_position
from hcr.tracking.store import open_store

UNDRAWN = "import hcr.evaluating.recording\nhcr.evaluating.recording.draw = lambda *_: None\n"
METRICS = ("test/loss", "test/accuracy", "test/top2_accuracy", "test/macro_f1", "test/ece")
SHUFFLED = "9513724608"  # the digits in another order


@pytest.fixture
def run(quick_run: Path, tmp_path: Path) -> RecordedRun:
    """A copy of the quick run, which a test may change."""
    return copied(quick_run / "output", tmp_path)


def copied(root: Path, tmp_path: Path) -> RecordedRun:
    shutil.copytree(root, tmp_path / "output")
    (folder,) = (tmp_path / "output" / "runs").iterdir()
    return read_run(folder)


def evaluations(run: RecordedRun) -> list[Path]:
    assert run.folder is not None
    others = [folder for folder in run.folder.parent.iterdir() if folder != run.folder]
    return sorted(others, key=lambda folder: first_event(folder)["time_ms"])


def values(folder: Path, kind: str) -> dict[str, Any]:
    """The last values of params, metrics or tags."""
    found: dict[str, Any] = dict(first_event(folder)["tags"]) if kind == "tags" else {}
    for event, _ in read_events(folder):
        found |= event["values"] if event["event"] == kind else {}
    return found


def looks(run: RecordedRun) -> str:
    assert run.folder is not None
    return str(values(run.folder, "tags")["hcr.test_looks"])


def write_npz(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    np.savez(path, x=images, y=labels)


@pytest.mark.slow
def test_a_run_evaluated_on_its_own_test_images_gives_the_figures_that_it_recorded_to_the_last_bit(
    run: RecordedRun, hcr: Hcr, tmp_path: Path
) -> None:
    done = hcr("evaluate", "latest", "notes=once more", "tags={team: ocr}")
    assert (done.returncode, done.stderr) == (0, "")
    what, look, figures, where, see = done.stdout.splitlines()
    assert what == f"evaluating run {run.key} ({run.name}) on its own test images: 360 images"
    assert look == f"look 2 at the test images of run {run.key} with this model"
    assert figures.startswith(f"accuracy {run.metrics['test/accuracy']:.4f} (95 % interval ")
    (own,) = evaluations(run)
    assert where == f"run {own.name} is in {own}"
    assert see == f"see it in MLflow: hcr ui {own.name}"

    assert {name: values(own, "metrics")[name] for name in METRICS} == {name: run.metrics[name] for name in METRICS}
    with np.load(own / "artifacts/predictions/test.npz") as arrays:
        recorded = run.predictions("test")
        assert arrays["probabilities"].tobytes() == recorded.probabilities.tobytes()
        np.testing.assert_array_equal(arrays["index"], recorded.index)
    assert looks(run) == "2"
    report = json.loads((own / "artifacts/reports/classification_report.json").read_text())
    assert report["accuracy"] == run.metrics["test/accuracy"]
    assert {path.name for path in (own / "artifacts/plots").iterdir()} == {
        "confusion_matrix.png",
        "class_f1.png",
        "reliability.png",
        "reject_curve.png",
        "predictions.png",
        "worst_mistakes.png",
    }

    client = open_store(f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}")
    stored, model = (client.get_run(read_position(folder)["run_id"]) for folder in (own, run.folder))
    assert stored.info.status == "FINISHED"
    assert stored.info.experiment_id == model.info.experiment_id
    tags = stored.data.tags
    assert (tags["hcr.kind"], tags["hcr.model_run"], tags["hcr.look"], tags["team"]) == (
        "evaluate",
        run.key,
        "2",
        "ocr",
    )
    assert tags["hcr.model_run_id"] == model.info.run_id
    assert model.data.tags["hcr.test_looks"] == "2"
    assert stored.data.params["evaluated"] == f"the test images of run {run.key}"
    assert stored.data.params["dataset.name"] == "digits"
    card = tags["mlflow.note.content"]
    assert card.startswith("once more\n")
    assert f"[{run.name} `{run.key}`](#/runs/{model.info.run_id})" in card
    assert f"hcr evaluate {run.key}" in card
    (used,) = stored.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "evaluation"}

    # It is no trained run: it is not the latest one, and cannot be evaluated itself.
    assert find_run(tmp_path / "output", "latest") == run.folder
    refused = hcr("evaluate", own.name)
    assert refused.stderr == f"hcr: run {own.name}: expected a trained run, got an evaluation of run {run.key}\n"


@pytest.mark.slow
def test_classes_in_another_order_are_matched_by_name(run: RecordedRun, hcr: Hcr, tmp_path: Path) -> None:
    test = run.load_splits().test
    write_npz(tmp_path / "shuffled.npz", test.images[:], test.labels.astype(str))  # a label is the name of its class
    words = ["dataset=npz", "dataset.path=shuffled.npz", "dataset.name=shuffled"]
    words += [f"dataset.class_names=[{','.join(repr(name) for name in SHUFFLED)}]"]
    for number in ("1", "2"):
        done = hcr("evaluate", run.key, *words, code=UNDRAWN)
        assert done.returncode == 0, done.stderr
        assert f"look {number} at all images of shuffled with this model" in done.stdout
    first, second = evaluations(run)
    assert values(first, "metrics") == values(second, "metrics")
    assert values(first, "metrics")["test/accuracy"] == run.metrics["test/accuracy"]
    assert values(first, "metrics")["test/macro_f1"] == pytest.approx(run.metrics["test/macro_f1"], abs=1e-12)
    with np.load(first / "artifacts/predictions/test.npz") as arrays:
        again = evaluate(arrays["probabilities"], arrays["labels"], run.class_names)
    assert again.accuracy == run.metrics["test/accuracy"]
    assert looks(run) == "3"  # a copy of its own test images was looked at twice more
    assert values(first, "params")["dataset.name"] == "shuffled"


@pytest.mark.slow
def test_classes_that_one_side_lacks_are_said_and_left_out(run: RecordedRun, hcr: Hcr, tmp_path: Path) -> None:
    test = run.load_splits().test
    some = np.isin(test.labels, [0, 1, 2])
    images, labels = test.images[:][some], test.labels[some]
    names = np.array(["1", "x", "0"])  # the images of 2 are called 0, those of 0 are called 1
    write_npz(tmp_path / "other.npz", images, names[labels])
    done = hcr("evaluate", run.key, "dataset=npz", "dataset.path=other.npz", code=UNDRAWN)
    assert done.returncode == 0, done.stderr
    left_out = int((labels == 1).sum())
    assert (
        f"note: {left_out} images of classes that the model does not know (x) are left out: it could only be wrong"
        " about them" in done.stdout
    )
    assert "note: no images of 2, 3, 4, 5, 6, 7, 8, 9, which the model may still answer; macro F1 is the" in done.stdout
    (own,) = evaluations(run)
    kept = labels != 1
    of_run = run.predictions("test").probabilities[some][kept].argmax(axis=1)
    truth = np.where(labels[kept] == 0, 1, 0)
    assert values(own, "metrics")["test/accuracy"] == pytest.approx((of_run == truth).mean())
    card = values(own, "tags")["mlflow.note.content"]
    assert "images of classes that the model does not know" in card


@pytest.mark.slow
def test_images_of_another_size_and_polarity_are_prepared_as_the_model_s(
    run: RecordedRun, hcr: Hcr, tmp_path: Path
) -> None:
    """And those that the model was trained on are counted."""
    splits = run.load_splits()
    images = np.concatenate([splits.test.images[:], splits.train.images[:50]])
    labels = np.concatenate([splits.test.labels, splits.train.labels[:50]])
    twice = 255 - images.repeat(2, axis=1).repeat(2, axis=2)
    write_npz(tmp_path / "large.npz", twice, labels)
    done = hcr("evaluate", run.key, "dataset=npz", "dataset.path=large.npz", code=UNDRAWN)
    assert done.returncode == 0, done.stderr
    assert "so images are inverted" in done.stdout
    assert "note: images of 16x16x1 are prepared to 8x8x1, fit=pad\n" in done.stdout
    write_npz(tmp_path / "same.npz", images, labels)
    same = hcr("evaluate", run.key, "dataset=npz", "dataset.path=same.npz", code=UNDRAWN)
    assert "50 of 410 images are also in the model's training, pixel for pixel: the figures flatter it" in same.stdout
    inverted = hcr("evaluate", run.key, "dataset=npz", "dataset.path=large.npz", "dataset.invert=false", code=UNDRAWN)
    assert "note: ink is dark on light, but was light on dark in training" in inverted.stdout
    large, _, wrong = (values(folder, "metrics")["test/accuracy"] for folder in evaluations(run))
    assert large > 0.6 > wrong


@pytest.mark.slow
def test_another_preparation_of_the_run_s_own_data_is_a_look_at_its_own_test_images(run: RecordedRun, hcr: Hcr) -> None:
    done = hcr("evaluate", run.key, "dataset.fit=center_of_mass", code=UNDRAWN)
    assert done.returncode == 0, done.stderr
    assert f"look 2 at the test images of run {run.key}" in done.stdout
    assert "note: images are prepared with fit=center_of_mass; those that the model was trained on with" in done.stdout
    assert looks(run) == "2"


@pytest.mark.slow
def test_a_run_that_never_scored_test_can_be_evaluated_and_that_is_its_first_look(
    unscored_run: Path, hcr: Hcr, tmp_path: Path
) -> None:
    run = copied(unscored_run, tmp_path)
    done = hcr("evaluate", run.key, code=UNDRAWN)
    assert done.returncode == 0, done.stderr
    assert "look 1 at the test images" in done.stdout
    assert run.folder is not None
    assert "test/accuracy" not in values(run.folder, "metrics")  # the figures are the evaluation's


@pytest.mark.slow
def test_a_look_that_is_killed_is_counted_and_its_run_is_marked_failed(run: RecordedRun, hcr: Hcr) -> None:
    kill = "import os, hcr.evaluating.story as s\ns.predict_probabilities = lambda *_: os.kill(os.getpid(), 9)"
    assert hcr("evaluate", run.key, code=kill).returncode == -9
    assert looks(run) == "2"
    assert run.folder is not None
    assert last_event(run.folder)["status"] == "FINISHED"
    assert hcr("sync").returncode == 0
    (own,) = evaluations(run)
    assert last_event(own)["status"] == "FAILED"
    stop = "import os, hcr.evaluating.story as s\ns.predict_probabilities = lambda *_: os.kill(os.getpid(), 2)"
    stopped = hcr("evaluate", run.key, code=stop)
    assert stopped.returncode == 130
    assert last_event(evaluations(run)[1])["status"] == "KILLED"


@pytest.mark.slow
def test_a_run_that_another_process_holds_is_refused_and_nothing_is_recorded(run: RecordedRun, hcr: Hcr) -> None:
    assert run.folder is not None
    soon = "import hcr.tracking.lock\nhcr.tracking.lock.UPLOADED_WITHIN_S = 0.2"
    with lock_run(run.folder):
        done = hcr("evaluate", run.key, code=soon)
    assert done.stderr == f"hcr: run {run.key}: another process holds it; expected a run that has ended\n"
    assert looks(run) == "1"
    assert evaluations(run) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.depth=3"], "model.depth: not part of an evaluation, which takes the trained model as it is; expected"),
        (["seed=1"], "seed: not part of an evaluation"),
        (["hydra.job.name=x"], "hydra.job.name: not part of an evaluation"),
        (["usps"], "expected overrides such as dataset=usps after the run, got 'usps'"),
        (["~dataset"], "expected overrides such as dataset=usps after the run, got '~dataset'"),
        (["dataset=nothing"], "dataset: no 'nothing' here (one of "),
        (["dataset=digits,usps"], "dataset: expected one value here, got several"),
        (["dataset.limt=3"], "dataset.limt: unknown key; did you mean 'dataset.limit'?"),
        (["dataset.image_size=[28,28]"], "dataset.image_size: expected [8, 8], which the model of run"),
        (["split.test_seed=7"], "split: expected the split of run"),
        (["split=kfold"], "split: expected the split of run"),
        (["dataset=npz", "dataset.path=ab.npz"], "dataset=npz: expected a class that the model knows (0, 1, 2,"),
        (["dataset=npz", "dataset.path=nowhere.npz"], "nowhere.npz"),
    ],
)
def test_what_is_no_evaluation_is_refused_in_a_line_and_nothing_is_recorded(
    words: list[str], said: str, run: RecordedRun, hcr: Hcr, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    write_npz(tmp_path / "ab.npz", random.integers(0, 256, (40, 8, 8), np.uint8), np.array(["a", "b"] * 20))
    done = hcr("evaluate", run.key, *words, light=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert said in done.stderr
    assert evaluations(run) == []
    assert looks(run) == "1"


@pytest.mark.slow
def test_a_run_that_only_a_store_has_is_evaluated_and_the_missing_count_is_said(run: RecordedRun, hcr: Hcr) -> None:
    only_stored = (
        "import dataclasses, hcr.commands.evaluate as e\n"
        "found = e.recorded_run\n"
        "e.recorded_run = lambda name: dataclasses.replace(found(name), folder=None)\n"
    )
    done = hcr("evaluate", run.key, code=only_stored + UNDRAWN)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"note: only the store has run {run.key}, so this look is not counted with it\n" in done.stdout
    assert looks(run) == "1"
    (own,) = evaluations(run)
    assert values(own, "metrics")["test/accuracy"] == run.metrics["test/accuracy"]
    assert "hcr.look" not in values(own, "tags")
