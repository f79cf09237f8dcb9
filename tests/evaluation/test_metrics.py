"""Metrics against scikit-learn, against cases worked by hand, and by their properties."""

import json

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from hcr.evaluation.metrics import (
    accuracy,
    classification_report,
    classification_report_text,
    cross_entropy,
    evaluate,
    expected_calibration_error,
    guessing_note,
    reliability_bins,
    top_k_accuracy,
    worst_mistakes,
)
from hcr.evaluation.statistics import proportion_interval

NAMES = ("zero", "one", "two", "three", "four")


def guesses(seed: int, num_images: int = 300, num_classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, K) that are right more often than not, and labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_images)
    logits = rng.normal(size=(num_images, num_classes)) + 1.5 * np.eye(num_classes)[labels]
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_those_of_scikit_learn(seed: int) -> None:
    probabilities, labels = guesses(seed)
    predicted = probabilities.argmax(axis=1)
    every = range(len(NAMES))
    found = evaluate(probabilities, labels, NAMES)
    assert found.num_images == 300
    assert found.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    assert accuracy(probabilities, labels) == found.accuracy
    assert found.loss == pytest.approx(sklearn.metrics.log_loss(labels, probabilities, labels=every))
    top2 = sklearn.metrics.top_k_accuracy_score(labels, probabilities, k=2, labels=every)
    assert found.top2_accuracy == pytest.approx(top2)
    assert found.macro_f1 == pytest.approx(sklearn.metrics.f1_score(labels, predicted, average="macro"))
    assert (found.confusion == sklearn.metrics.confusion_matrix(labels, predicted, labels=every)).all()
    report = sklearn.metrics.classification_report(labels, predicted, target_names=NAMES, output_dict=True)
    for score in found.classes:
        expected = report[score.name]
        assert (score.precision, score.recall, score.f1) == pytest.approx(
            (expected["precision"], expected["recall"], expected["f1-score"])
        )
        assert score.support == expected["support"]
    assert (found.accuracy_low, found.accuracy_high) == proportion_interval(int((predicted == labels).sum()), 300)


def test_a_row_of_the_confusion_matrix_is_the_actual_class() -> None:
    found = evaluate(np.array([[0.1, 0.9, 0.0]] * 3), np.array([0, 0, 1]), ("a", "b", "c"))
    assert found.confusion.tolist() == [[0, 2, 0], [0, 1, 0], [0, 0, 0]]


def test_a_class_that_is_absent_and_never_guessed_scores_zero_and_counts_in_the_mean() -> None:
    found = evaluate(np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]]), np.array([0, 1]), ("a", "b", "c"))
    assert (found.classes[2].f1, found.classes[2].support) == (0.0, 0)
    assert found.macro_f1 == pytest.approx(2 / 3)


def test_calibration_error_equals_the_case_worked_by_hand() -> None:
    # Two bins over [0, 1]. Up to 0.5: confidences 0.5 and 0.4, one of them right: gap |0.45 - 0.5| = 0.05.
    # Over 0.5: confidences 0.9, 0.8, 0.7, one of them right: gap |0.8 - 1/3| = 7/15.
    probabilities = np.array([[0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.1, 0.7, 0.2]])
    labels = np.array([0, 0, 0, 1, 2])
    bins = reliability_bins(probabilities, labels, num_bins=2)
    assert bins[:, 0].tolist() == [2, 3]
    assert bins[:, 1:] == pytest.approx(np.array([[0.45, 0.5], [0.8, 1 / 3]]))
    expected = 2 / 5 * 0.05 + 3 / 5 * 7 / 15
    assert expected_calibration_error(probabilities, labels, num_bins=2) == pytest.approx(expected)


def test_an_empty_bin_is_nan_and_costs_nothing() -> None:
    bins = reliability_bins(np.array([[1.0, 0.0]]), np.array([0]), num_bins=4)
    assert bins[:, 0].tolist() == [0, 0, 0, 1]
    assert np.isnan(bins[:3, 1:]).all()
    assert expected_calibration_error(np.array([[1.0, 0.0]]), np.array([0]), num_bins=4) == 0.0


def test_a_certain_mistake_costs_a_finite_loss_and_all_of_the_calibration() -> None:
    probabilities, labels = np.array([[1.0, 0.0]]), np.array([1])
    assert cross_entropy(probabilities, labels) == pytest.approx(-np.log(1e-7))
    assert expected_calibration_error(probabilities, labels) == 1.0


def test_ties_go_to_the_lower_class_in_every_score() -> None:
    probabilities = np.full((4, 3), 1 / 3)
    labels = np.array([0, 0, 0, 1])
    assert accuracy(probabilities, labels) == 0.75
    assert [top_k_accuracy(probabilities, labels, k) for k in (1, 2, 3)] == [0.75, 1.0, 1.0]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), order=st.permutations(range(5)))
def test_relabelling_the_classes_only_permutes_the_confusion_matrix(seed: int, order: list[int]) -> None:
    probabilities, labels = guesses(seed, num_images=60)
    before = evaluate(probabilities, labels, NAMES)
    renamed = np.argsort(order)  # class order[k] becomes class k
    after = evaluate(probabilities[:, order], renamed[labels], tuple(NAMES[k] for k in order))
    assert (after.confusion == before.confusion[np.ix_(order, order)]).all()
    assert after.classes == tuple(before.classes[k] for k in order)
    for name in ("accuracy", "loss", "top2_accuracy", "macro_f1", "ece"):
        assert getattr(after, name) == pytest.approx(getattr(before, name))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16), num_images=st.integers(1, 40), num_classes=st.integers(2, 8), bins=st.integers(1, 20)
)
def test_calibration_error_is_a_fraction_and_the_bins_hold_every_image(
    seed: int, num_images: int, num_classes: int, bins: int
) -> None:
    probabilities, labels = guesses(seed, num_images, num_classes)
    assert 0 <= expected_calibration_error(probabilities, labels, bins) <= 1
    assert reliability_bins(probabilities, labels, bins)[:, 0].sum() == num_images


@settings(max_examples=40, deadline=None)
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_perfect_predictions_are_perfect_in_every_score(labels: list[int]) -> None:
    found = evaluate(np.eye(5)[labels], np.array(labels), NAMES)
    assert (found.accuracy, found.top2_accuracy, found.accuracy_high) == (1.0, 1.0, 1.0)
    assert (found.loss, found.ece) == (0.0, 0.0)
    assert (found.confusion == np.diag(np.bincount(labels, minlength=5))).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_more_guesses_are_never_less_right(seed: int) -> None:
    probabilities, labels = guesses(seed, num_images=40)
    by_k = [top_k_accuracy(probabilities, labels, k) for k in range(1, 6)]
    assert by_k == sorted(by_k)
    assert by_k[0] == accuracy(probabilities, labels)
    assert by_k[-1] == 1.0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_the_order_of_the_images_changes_no_score(seed: int) -> None:
    probabilities, labels = guesses(seed, num_images=50)
    order = np.random.default_rng(seed).permutation(50)
    before, after = evaluate(probabilities, labels, NAMES), evaluate(probabilities[order], labels[order], NAMES)
    assert (after.confusion == before.confusion).all()
    assert (after.loss, after.ece) == pytest.approx((before.loss, before.ece))


def test_float32_probabilities_score_as_float64_ones_do() -> None:
    probabilities, labels = guesses(0)
    narrow = evaluate(probabilities.astype(np.float32), labels, NAMES)
    wide = evaluate(probabilities, labels, NAMES)
    assert (narrow.accuracy, narrow.loss, narrow.ece) == pytest.approx((wide.accuracy, wide.loss, wide.ece), abs=1e-5)


def answers(counts: dict[tuple[int, int], int]) -> tuple[np.ndarray, np.ndarray]:
    """One-hot probabilities and labels, with so many images of each (label, answer)."""
    labels, predicted = np.array([pair for pair, count in counts.items() for _ in range(count)]).T
    return np.eye(5)[predicted], labels


def test_a_model_that_is_no_better_than_the_largest_class_is_told_and_one_that_is_better_is_not() -> None:
    always_two = answers({(0, 2): 30, (1, 2): 30, (2, 2): 40})
    told = guessing_note(evaluate(*always_two, NAMES))
    assert told is not None
    assert told.startswith("accuracy 0.4000 (95 % interval 0.3094 to 0.4980) is not shown to be better than always")
    assert told.endswith("answering the largest class, 'two', which is right for 0.4000 of these images")
    # 49 of 100 is more than 40 of 100, and may be luck; 51 is not: Wilson's interval begins at 0.4135 then.
    luck = answers({(0, 2): 21, (0, 0): 9, (1, 2): 30, (2, 2): 40})
    assert guessing_note(evaluate(*luck, NAMES)) is not None
    skill = answers({(0, 2): 19, (0, 0): 11, (1, 2): 30, (2, 2): 40})
    assert guessing_note(evaluate(*skill, NAMES)) is None
    worse = answers({(0, 1): 30, (1, 0): 30, (2, 0): 40})
    assert guessing_note(evaluate(*worse, NAMES)) is not None


def test_no_image_at_all_is_an_error() -> None:
    nothing, no_labels = np.empty((0, 5)), np.empty(0, dtype=np.int64)
    with pytest.raises(ValueError, match="at least one image"):
        evaluate(nothing, no_labels, NAMES)
    with pytest.raises(ValueError, match="at least one image"):
        expected_calibration_error(nothing, no_labels)


def test_shapes_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected probabilities of shape \(3, 5\), got \(2, 5\)"):
        evaluate(np.full((2, 5), 0.2), np.array([0, 1, 2]), NAMES)
    with pytest.raises(ValueError, match=r"\(2, 5\), got \(2, 4\)"):
        evaluate(np.full((2, 4), 0.25), np.array([0, 1]), NAMES)


def test_the_report_survives_json() -> None:
    probabilities, labels = guesses(1)
    evaluation = evaluate(probabilities, labels, NAMES)
    report = classification_report(evaluation)
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again == report
    assert again["accuracy"] == evaluation.accuracy
    assert again["confusion"] == evaluation.confusion.tolist()
    assert [score["name"] for score in again["classes"]] == list(NAMES)


def test_the_report_to_read_has_a_line_a_class_and_the_overall_scores() -> None:
    evaluation = evaluate(*guesses(2), NAMES)
    text = classification_report_text(evaluation)
    for score in evaluation.classes:
        (line,) = [line for line in text.splitlines() if line.startswith(score.name)]
        numbers = [score.precision, score.recall, score.f1]
        assert line.split()[1:] == [*(f"{number:.4f}" for number in numbers), str(score.support)]
    (line,) = [line for line in text.splitlines() if line.startswith("accuracy")]
    for number in (evaluation.accuracy, evaluation.accuracy_low, evaluation.accuracy_high):
        assert f"{number:.4f}" in line


def test_the_worst_mistakes_are_the_most_confident_ones() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.95, 0.05], [0.4, 0.6]])
    labels = np.array([1, 1, 1, 1, 0])
    assert worst_mistakes(probabilities, labels, 10).tolist() == [3, 0, 2, 4]
    assert worst_mistakes(probabilities, labels, 2).tolist() == [3, 0]
    assert worst_mistakes(probabilities, probabilities.argmax(axis=1), 2).tolist() == []
