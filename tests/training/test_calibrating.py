"""A calibrated run: the model that is saved, its figures, and what stays as it was."""

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import QUICK, UNDRAWN, Hcr, Warm, made_once

from hcr.data.splitting import Subset
from hcr.evaluation.calibration import FEWEST_IMAGES, cross_fitted, fit_temperature, scale
from hcr.evaluation.metrics import cross_entropy, expected_calibration_error
from hcr.gate.compose import compose
from hcr.model.building import build_model, with_temperature
from hcr.model.fast_layers import with_keras_layers
from hcr.recorded import RecordedRun, recorded_run
from hcr.training.calibrating import folds_of
from hcr.training.predict import predict_probabilities

pytestmark = pytest.mark.slow

CALIBRATED = (*QUICK, "training.calibrate=temperature")
NAMES = {
    "calibration/temperature",
    "calibration/val_ece_before",
    "calibration/val_ece_after",
    "calibration/val_nll_before",
    "calibration/val_nll_after",
}


@pytest.fixture(scope="session")
def calibrated_run(shared: Path, warm: Warm) -> Path:
    """The folder of the run of `quick_run`, calibrated. To be read only."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output")}
        done = warm.run("train", *CALIBRATED, cwd=folder, env=environment, code=UNDRAWN)
        assert done.returncode == 0, done.stderr

    return made_once(shared / "calibrated", make)


def run_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedRun:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(folder / "output"))
    return recorded_run("latest")


@pytest.fixture
def run(calibrated_run: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedRun:
    return run_in(calibrated_run, monkeypatch)


@pytest.fixture
def plain(quick_run: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedRun:
    return run_in(quick_run, monkeypatch)


def test_training_and_answers_are_those_of_the_run_without_it(plain: RecordedRun, run: RecordedRun) -> None:
    names = ("train/loss", "val/loss", "val/accuracy", "best/epoch", "best/val_loss", "best/val_accuracy")
    assert {name: run.metrics[name] for name in names} == {name: plain.metrics[name] for name in names}
    assert set(run.metrics) - set(plain.metrics) == NAMES
    assert set(plain.metrics) <= set(run.metrics)
    for part in ("val", "test"):
        before, after = plain.predictions(part), run.predictions(part)
        assert np.array_equal(before.index, after.index)
        assert np.array_equal(before.probabilities.argmax(axis=1), after.probabilities.argmax(axis=1))
        assert not np.array_equal(before.probabilities, after.probabilities)
    for name in ("test/accuracy", "test/macro_f1"):
        assert run.metrics[name] == plain.metrics[name]


def test_its_figures_follow_from_the_predictions_of_the_run_without_it(plain: RecordedRun, run: RecordedRun) -> None:
    before, after = plain.predictions("val"), run.predictions("val")
    temperature = run.metrics["calibration/temperature"]
    assert temperature == fit_temperature(before.probabilities, before.labels)
    assert after.probabilities == pytest.approx(scale(before.probabilities, temperature), abs=1e-6)
    test = plain.predictions("test").probabilities
    assert run.predictions("test").probabilities == pytest.approx(scale(test, temperature), abs=1e-6)
    assert run.metrics["calibration/val_nll_before"] == run.metrics["best/val_loss"]
    subset = Subset(np.zeros((len(before.labels), 1, 1, 1), np.uint8), before.labels, before.index)
    fold = folds_of(subset, seed=0)
    assert fold is not None
    crossed = cross_fitted(before.probabilities, before.labels, fold)
    assert run.metrics["calibration/val_nll_after"] == cross_entropy(crossed, before.labels)
    assert run.metrics["calibration/val_ece_after"] == expected_calibration_error(crossed, before.labels)
    test_labels = run.predictions("test").labels
    assert run.metrics["test/loss"] == cross_entropy(run.predictions("test").probabilities, test_labels)


def test_the_saved_model_is_the_calibrated_one_of_keras_own_layers(run: RecordedRun) -> None:
    model = run.load_model()
    assert {type(layer).__module__.partition(".")[0] for layer in model.layers} == {"keras"}
    assert model.get_layer("temperature").scale == pytest.approx(1 / run.metrics["calibration/temperature"])
    val = run.load_splits().val
    # The run had other threads than this process, which change the last digits of sums.
    found = predict_probabilities(model, val.images)
    assert found == pytest.approx(run.predictions("val").probabilities, abs=1e-5)


def test_the_card_says_what_it_changed_and_the_report_is_of_the_calibrated_model(run: RecordedRun) -> None:
    card, metrics = run.tags["mlflow.note.content"], run.metrics
    (line,) = [line for line in card.splitlines() if line.startswith("- **Calibration:**")]
    assert line == (
        f"- **Calibration:** temperature {metrics['calibration/temperature']:.3g}, fitted on 180 validation images;"
        f" there ECE {metrics['calibration/val_ece_before']:.4f} before and {metrics['calibration/val_ece_after']:.4f}"
        f" after, loss {metrics['calibration/val_nll_before']:.4f} and {metrics['calibration/val_nll_after']:.4f}"
        " (after: cross-fitted)"
    )
    report = json.loads((run.artifacts / "reports/classification_report.json").read_text())
    assert (report["scored_on"], report["ece"]) == ("test", metrics["test/ece"])


def test_a_run_drawn_later_shows_the_calibration_before_and_after(
    calibrated_run: Path, hcr: Hcr, tmp_path: Path
) -> None:
    shutil.copytree(calibrated_run / "output", tmp_path / "output")
    done = hcr("plots", "latest")
    assert done.returncode == 0, done.stderr
    assert {"reliability.png", "reject_curve.png"} <= {Path(line).name for line in done.stdout.splitlines()}


def test_an_interrupted_run_ends_with_the_same_temperature_and_predictions(
    run: RecordedRun, hcr: Hcr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {part: run.predictions(part).probabilities for part in ("val", "test")}
    killed = UNDRAWN + "import os\nhcr.runner.finish = lambda *arguments, **keywords: os._exit(9)\n"
    assert hcr("train", *CALIBRATED, code=killed).returncode == 9
    again = hcr("train", *CALIBRATED, code=UNDRAWN)
    assert again.returncode == 0, again.stderr
    assert "after epoch 2 of 2" in again.stdout
    resumed = run_in(tmp_path, monkeypatch)
    assert {name: resumed.metrics[name] for name in NAMES} == {name: run.metrics[name] for name in NAMES}
    for part, probabilities in expected.items():
        assert np.array_equal(resumed.predictions(part).probabilities, probabilities)


def test_label_smoothing_averages_and_bfloat16_are_calibrated_too(
    hcr: Hcr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ("training.label_smoothing=0.2", "training.average_decay=0.5", "training.precision=bfloat16")
    done = hcr("train", *CALIBRATED, "training.epochs=4", *overrides, code=UNDRAWN)
    assert done.returncode == 0, done.stderr
    run = run_in(tmp_path, monkeypatch)
    assert run.metrics["calibration/temperature"] < 1  # smoothing makes a model timid
    assert run.metrics["calibration/val_nll_after"] < run.metrics["calibration/val_nll_before"]
    predictions = run.predictions("val")
    assert predictions.probabilities.dtype == np.float32
    accuracy = float((predictions.probabilities.argmax(axis=1) == predictions.labels).mean())
    assert accuracy == run.metrics["best/val_accuracy"]
    assert run.load_model().get_layer("temperature").compute_dtype == "float32"


def test_too_few_validation_images_are_said_and_keep_the_model_as_it_is(
    hcr: Hcr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = hcr("train", *CALIBRATED, "training.epochs=1", "split.validation=0.02", code=UNDRAWN)
    assert done.returncode == 0, done.stderr
    note = f"no temperature was fitted: expected {FEWEST_IMAGES} validation images or more, got 36"
    assert f"note: calibration: {note}" in done.stdout
    run = run_in(tmp_path, monkeypatch)
    assert f"Calibration: {note}." in run.tags["mlflow.note.content"]
    assert run.metrics["calibration/temperature"] == 1
    assert "temperature" not in [layer.name for layer in run.load_model().layers]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_model_with_a_temperature_keeps_weights_and_answers(precision: str) -> None:
    cfg = compose(["model.filters=4"])
    keras.config.set_dtype_policy(precision)
    try:
        model = build_model(cfg.model, (8, 8, 1), 10, seed=0)
    finally:
        keras.config.set_dtype_policy("float32")
    images = np.random.default_rng(0).integers(0, 256, (500, 8, 8, 1), np.uint8)
    before = predict_probabilities(model, images)
    for temperature in (0.05, 0.7, 2.0, 20.0):
        calibrated = with_temperature(model, temperature)
        after = predict_probabilities(calibrated, images)
        assert (after.dtype, after.shape) == (np.float32, before.shape)
        assert after == pytest.approx(scale(before, temperature), abs=2e-5)
        assert np.array_equal(after.argmax(axis=1), before.argmax(axis=1))
        assert calibrated.count_params() == model.count_params()
        plain = with_keras_layers(calibrated)
        assert np.array_equal(predict_probabilities(plain, images), after)


def test_the_folds_are_stratified_or_of_whole_groups() -> None:
    labels = np.repeat(np.arange(4), 25)
    images, index = np.zeros((100, 1, 1, 1), np.uint8), np.arange(100)
    fold = folds_of(Subset(images, labels, index), seed=3)
    assert fold is not None
    assert [np.bincount(fold[labels == k]).tolist() for k in range(4)] == [[5] * 5] * 4
    assert np.array_equal(fold, folds_of(Subset(images, labels, index), seed=3))
    groups = np.arange(100) % 7 * 1000
    fold = folds_of(Subset(images, labels, index, groups), seed=3)
    assert fold is not None
    assert sorted(np.unique(fold)) == [0, 1, 2, 3, 4]
    assert all(len(np.unique(fold[groups == group])) == 1 for group in np.unique(groups))
    two = folds_of(Subset(images, labels, index, index % 2), seed=3)
    assert two is not None and len(np.unique(two)) == 2
    assert folds_of(Subset(images, labels, index, np.zeros(100, np.int64)), seed=3) is None
