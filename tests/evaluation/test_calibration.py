"""The temperature: by hand, against scikit-learn, its properties, and data that decide no temperature."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from hcr.evaluation.calibration import (
    FEWEST_IMAGES,
    HIGHEST,
    LOWEST,
    calibrate,
    cross_fitted,
    fit_temperature,
    scale,
    to_logits,
)
from hcr.evaluation.metrics import cross_entropy, expected_calibration_error


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def random_logits(seed: int, count: int = 200, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of 4 classes and labels drawn from their probabilities: the best temperature is about 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (count, 4))
    labels = (softmax(logits).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return logits, np.minimum(labels, 3)


def test_a_hand_worked_temperature() -> None:
    """Odds of 9 are claimed, odds of 3 are met: the square root, which is a temperature of 2."""
    probabilities = np.array([[0.9, 0.1]] * 4)
    labels = np.array([0, 0, 0, 1])
    assert fit_temperature(probabilities, labels) == pytest.approx(2.0, rel=1e-9)
    assert scale(probabilities, 2.0)[0] == pytest.approx([0.75, 0.25])


def test_the_temperature_is_that_of_scikit_learn() -> None:
    images, labels = load_digits(return_X_y=True)
    some, rest = slice(0, 300), slice(300, 900)
    model = LogisticRegression(C=100, max_iter=1000).fit(images[some] / 16, labels[some])
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(images[rest] / 16, labels[rest])
    ours = scale(
        model.predict_proba(images / 16), fit_temperature(model.predict_proba(images[rest] / 16), labels[rest])
    )
    assert ours == pytest.approx(theirs.predict_proba(images / 16), abs=2e-3)  # it stops searching earlier
    rounded = [cross_entropy(p[rest], labels[rest]) for p in (ours, theirs.predict_proba(images / 16))]
    assert rounded[0] <= rounded[1] + 1e-9


@pytest.mark.parametrize("factor", [0.25, 0.5, 3.0, 7.5])
def test_logits_times_c_have_c_times_the_temperature(factor: float) -> None:
    logits, labels = random_logits(0)
    temperature = fit_temperature(softmax(logits), labels)
    assert fit_temperature(softmax(factor * logits), labels) == pytest.approx(factor * temperature, rel=1e-6)


@given(st.integers(0, 10_000), st.floats(0.06, 15))
def test_a_temperature_is_never_worse_where_it_was_fitted_and_changes_no_answer(seed: int, spread: float) -> None:
    logits, labels = random_logits(seed, count=60)
    probabilities = softmax(spread * logits).astype(np.float32)
    temperature = fit_temperature(probabilities, labels)
    scaled = scale(probabilities, temperature)

    def nll(values: np.ndarray) -> float:
        return -float(np.log(np.maximum(values[np.arange(60), labels], 1e-300)).mean())

    assert LOWEST <= temperature <= HIGHEST
    assert nll(scaled) <= nll(softmax(to_logits(probabilities))) + 1e-9
    assert (scaled.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert scaled.sum(axis=1) == pytest.approx(np.ones(60))


def test_the_scaling_can_be_undone() -> None:
    probabilities = softmax(random_logits(1)[0])
    assert scale(scale(probabilities, 1.7), 1 / 1.7) == pytest.approx(probabilities, abs=1e-12)


def test_without_a_mistake_the_confidence_is_that_of_the_rule_of_succession() -> None:
    logits, _ = random_logits(2, count=100)
    labels = logits.argmax(axis=1)
    temperature = fit_temperature(softmax(logits), labels)
    assert scale(softmax(logits), temperature).max(axis=1).mean() == pytest.approx(101 / 102, abs=1e-9)
    found = calibrate(softmax(logits), labels, np.arange(100) % 5)
    assert found.note is not None and found.note.startswith("all 100 validation images are classified correctly")


def test_a_model_that_is_worse_than_chance_gets_the_largest_temperature_and_says_so() -> None:
    logits, _ = random_logits(3, count=100)
    found = calibrate(softmax(logits), logits.argmin(axis=1), np.arange(100) % 5)
    assert found.temperature == HIGHEST
    assert found.note == "the temperature is at its bound, 20; no temperature fits the validation images"


def test_a_class_without_images_changes_nothing() -> None:
    logits, labels = random_logits(4)
    with_another = np.concatenate([logits, np.full((len(logits), 1), -80.0)], axis=1)
    expected = fit_temperature(softmax(logits), labels)
    assert fit_temperature(softmax(with_another).astype(np.float32), labels) == pytest.approx(expected, rel=1e-4)
    absent = labels != 2
    assert LOWEST < fit_temperature(softmax(logits)[absent], labels[absent]) < HIGHEST


def test_a_label_whose_probability_is_0_costs_a_bounded_amount() -> None:
    probabilities = np.array([[1.0, 0.0]] * 99 + [[0.0, 1.0]], np.float32)
    labels = np.zeros(100, np.int64)
    assert 1 < fit_temperature(probabilities, labels) <= HIGHEST


def test_the_figures_after_are_of_other_images_than_the_temperature() -> None:
    logits, labels = random_logits(5)
    probabilities, fold = softmax(3 * logits), np.arange(200) % 5
    crossed = cross_fitted(probabilities, labels, fold)
    own = fold == 2
    changed = np.where(own, (labels + 1) % 4, labels)
    assert np.array_equal(cross_fitted(probabilities, changed, fold)[own], crossed[own])
    assert not np.array_equal(cross_fitted(probabilities, changed, fold)[~own], crossed[~own])
    found = calibrate(probabilities, labels, fold)
    assert found.metrics == {
        "calibration/temperature": fit_temperature(probabilities, labels),
        "calibration/val_ece_before": expected_calibration_error(probabilities, labels),
        "calibration/val_ece_after": expected_calibration_error(crossed, labels),
        "calibration/val_nll_before": cross_entropy(probabilities, labels),
        "calibration/val_nll_after": cross_entropy(crossed, labels),
    }
    assert found.temperature == pytest.approx(3, rel=0.2)
    assert found.note is None
    assert found.ece_after is not None and found.ece_after < found.ece_before


def test_too_few_images_keep_the_model_as_it_is_and_say_so() -> None:
    logits, labels = random_logits(6, count=FEWEST_IMAGES - 1)
    found = calibrate(softmax(3 * logits), labels, np.arange(len(labels)) % 5)
    assert found.temperature == 1
    assert found.note == "no temperature was fitted: expected 50 validation images or more, got 49"
    assert set(found.metrics) == {"calibration/temperature", "calibration/val_ece_before", "calibration/val_nll_before"}


def test_a_temperature_that_does_not_pay_is_said() -> None:
    """Two mistakes decide: without the fold of one of them, the temperature is that of the other."""
    confidence = np.array([0.999] * 98 + [0.99, 0.6])
    labels = np.array([0] * 98 + [1, 1])
    found = calibrate(np.stack([confidence, 1 - confidence], axis=1), labels, np.arange(100) % 5)
    assert found.nll_after is not None and found.nll_after > found.nll_before
    assert found.note is not None
    assert found.note.startswith("on images that did not choose it, a temperature makes the loss higher, ")


def test_without_folds_there_are_no_figures_after() -> None:
    logits, labels = random_logits(7)
    found = calibrate(softmax(3 * logits), labels, None)
    assert found.temperature == pytest.approx(3, rel=0.2)
    assert "calibration/val_ece_after" not in found.metrics
    assert found.note == "the validation images are of one group, so there are no cross-fitted figures"


def test_without_images_there_is_no_temperature() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64))
