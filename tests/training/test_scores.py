"""Scores are those of the model that a run keeps: with test-time augmentation, not those of its epochs."""

import math
from pathlib import Path

import numpy as np
import pytest

from hcr.data.splitting import Splits, load_splits
from hcr.evaluation.calibration import scale
from hcr.gate.compose import compose
from hcr.gate.resolve import resolve
from hcr.gate.run_config import RunConfig
from hcr.runner import RunResult, run
from hcr.tracking.events import read_events
from hcr.tracking.journal import Journal
from hcr.training import fit, score
from hcr.training.build import build
from hcr.training.finished import finish
from hcr.training.predict import predict_probabilities

pytestmark = pytest.mark.slow  # imports TensorFlow

SMALL = ("training.epochs=2", "model.filters=4", "model.dense_units=[]", "training.threads=2")


def config(*overrides: str) -> RunConfig:
    return resolve(compose([*SMALL, *overrides]), in_sweep=True)


def recorded(folder: Path, *overrides: str) -> tuple[RunResult, Journal, dict[str, float]]:
    """A run without pictures: its result, its journal, and the last value of each metric."""
    journal = Journal(folder / "output", uri="sqlite:////x.db", experiment="hcr", parent="b12")
    with journal:
        result = run(config(*overrides), journal, draw=False)
    metrics: dict[str, float] = {}
    for event, _ in read_events(journal.folder):
        metrics |= event["values"] if event["event"] == "metrics" else {}
    journal.release()
    return result, journal, metrics


@pytest.fixture(autouse=True)
def _own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcr.runner.configure_threads", lambda threads: None)  # this process has started TensorFlow


@pytest.fixture(scope="module")
def splits() -> Splits:
    cfg = config()
    return load_splits(cfg.dataset, cfg.split, cfg.seed)


@pytest.mark.parametrize("monitor", ["val/loss", "val/accuracy"])
def test_a_run_is_judged_by_the_model_with_test_time_augmentation_that_it_keeps(
    tmp_path: Path, monitor: str, splits: Splits
) -> None:
    plain, _, without = recorded(tmp_path / "none", f"monitor={monitor}")
    shifted, journal, metrics = recorded(tmp_path / "shift", f"monitor={monitor}", "training.tta=shift")
    assert shifted.state.history[0]["val/loss"] == plain.state.history[0]["val/loss"]  # epochs are without it
    assert shifted.state.best_epoch == plain.state.best_epoch

    with np.load(journal.artifacts / "predictions/val.npz") as kept:
        right = kept["probabilities"][np.arange(len(kept["labels"])), kept["labels"]]
    loss = -float(np.log(right.astype(np.float64)).mean())
    assert metrics["best/val_loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["best/val_loss"] != pytest.approx(without["best/val_loss"], rel=1e-3)
    assert shifted.objective == metrics[f"best/{monitor.replace('/', '_')}"]  # what a sweep compares
    assert plain.objective == plain.state.best[monitor] == without[f"best/{monitor.replace('/', '_')}"]


def test_without_it_the_best_epoch_s_predictions_are_the_scores(splits: Splits) -> None:
    cfg = config()
    model, optimizer = build(cfg, len(splits.train))
    settings = cfg.training.replace(epochs=1)
    state = fit(model, optimizer, splits.train, splits.val, settings, cfg.augmentation, monitor="val/loss", seed=0)
    scores = score(finish(model, splits.val, state, cfg.training, seed=0), splits, state, with_test=False)
    assert scores.probabilities["val"] is state.best_probabilities
    assert scores.best == {name: state.best[name] for name in ("val/loss", "val/accuracy")}
    assert scores.test is None

    finished = finish(model, splits.val, state, cfg.training.replace(tta="shift"), seed=0)
    scores = score(finished, splits, state, with_test=True)
    for name, part in (("val", splits.val), ("test", splits.test)):
        np.testing.assert_array_equal(scores.probabilities[name], predict_probabilities(finished.model, part.images))
    assert scores.test is not None
    assert not math.isclose(scores.best["val/loss"], state.best["val/loss"], rel_tol=1e-4)


def test_a_temperature_divides_what_test_time_augmentation_averages(splits: Splits) -> None:
    cfg = config("training.tta=shift", "training.calibrate=temperature")
    model, optimizer = build(cfg, len(splits.train))
    settings = cfg.training.replace(epochs=1)
    state = fit(model, optimizer, splits.train, splits.val, settings, cfg.augmentation, monitor="val/loss", seed=0)
    averaged = finish(model, splits.val, state, cfg.training.replace(calibrate="none"), seed=0)
    finished = finish(model, splits.val, state, cfg.training, seed=0)
    assert finished.calibration is not None and finished.calibration.temperature != 1
    np.testing.assert_array_equal(finished.uncalibrated, averaged.uncalibrated)
    scores = score(finished, splits, state, with_test=False)
    expected = scale(averaged.uncalibrated, finished.calibration.temperature)
    np.testing.assert_allclose(scores.probabilities["val"], expected, atol=1e-5)
    assert scores.best == score(averaged, splits, state, with_test=False).best
    assert scores.val.accuracy == scores.best["val/accuracy"]
