"""The numbers behind the pictures of classes: confusion, balance, F1."""

import numpy as np
import pytest

from hcr.evaluation.class_plots import class_balance_info, class_f1_info, confusion_info
from hcr.evaluation.metrics import evaluate


def evaluation_of(pairs, class_names):
    """An evaluation of (actual, predicted) pairs of labels."""
    labels = np.array([actual for actual, _ in pairs])
    probabilities = np.eye(len(class_names))[[predicted for _, predicted in pairs]]
    return evaluate(probabilities, labels, class_names)


def random_evaluation(num_images=400, num_classes=6):
    random = np.random.default_rng(0)
    actual = random.integers(0, num_classes, num_images)
    predicted = np.where(random.random(num_images) < 0.7, actual, random.integers(0, num_classes, num_images))
    names = tuple(f"class {k}" for k in range(num_classes))
    return evaluation_of(list(zip(actual, predicted, strict=True)), names)


def test_confusion_shares_a_class_out_by_hand():
    info = confusion_info(evaluation_of([(0, 0), (0, 1), (0, 1), (0, 0), (1, 1)], ("a", "b", "c")))
    assert info.counts.tolist() == [[2, 2, 0], [0, 1, 0], [0, 0, 0]]
    assert info.mistaken_share.tolist() == [[0, 0.5, 0], [0, 0, 0], [0, 0, 0]]
    assert (info.num_wrong, info.num_images, info.accuracy) == (2, 5, 0.6)


def test_confusion_counts_sum_to_n_and_those_off_the_diagonal_to_the_mistakes():
    info = confusion_info(random_evaluation())
    assert info.counts.sum() == info.num_images == 400
    assert info.counts.sum() - np.trace(info.counts) == info.num_wrong
    assert info.accuracy == pytest.approx(1 - info.num_wrong / 400)


def test_the_shares_of_a_row_are_one_minus_the_recall_of_its_class():
    evaluation = random_evaluation()
    shares = confusion_info(evaluation).mistaken_share.sum(axis=1)
    assert shares == pytest.approx([1 - score.recall for score in evaluation.classes])


def test_class_balance_counts_every_class_of_every_split():
    splits = {"train": np.array([0, 0, 0, 2]), "test": np.array([2, 1])}
    info = class_balance_info(splits, ("a", "b", "c", "d"))
    assert info.splits == ("train", "test")
    assert info.counts.tolist() == [[3, 0, 1, 0], [0, 1, 1, 0]]


def test_a_split_without_images_is_a_row_of_zeros():
    info = class_balance_info({"val": np.array([], dtype=np.int64)}, ("a", "b"))
    assert info.counts.tolist() == [[0, 0]]
    assert not info.is_log


def test_only_very_unbalanced_classes_get_a_logarithmic_axis():
    def balance(*counts):
        return class_balance_info({"train": np.repeat(np.arange(3), counts)}, ("a", "b", "c"))

    assert balance(510, 100, 10).is_log
    assert not balance(500, 100, 10).is_log
    assert not balance(500, 100, 0).is_log  # an absent class is marked, on either axis


def test_class_f1_is_sorted_worst_first_and_keeps_each_score_with_its_class():
    evaluation = random_evaluation()
    info = class_f1_info(evaluation)
    values = [score.f1 for score in info.scores]
    assert values == sorted(values)
    assert values != [score.f1 for score in evaluation.classes]
    assert set(info.scores) == set(evaluation.classes)


def test_a_class_without_images_is_named_and_not_ranked():
    info = class_f1_info(evaluation_of([(0, 0), (1, 2)], ("a", "b", "c", "d")))
    assert [score.name for score in info.scores] == ["b", "a"]
    assert info.absent == ("c", "d")


@pytest.mark.parametrize(("num_wrong", "floor"), [(0, 0.99), (1, 0.98), (3, 0.96), (7, 0.92), (20, 0.75), (100, 0.0)])
def test_the_f1_axis_starts_at_a_round_number_just_below_the_worst(num_wrong, floor):
    # 100 images of each of two classes and as many mistakes both ways: F1 = 1 - num_wrong / 100.
    right = 100 - num_wrong
    pairs = [(0, 0)] * right + [(1, 1)] * right + [(0, 1), (1, 0)] * num_wrong
    info = class_f1_info(evaluation_of(pairs, ("a", "b")))
    assert info.scores[0].f1 == pytest.approx(1 - num_wrong / 100)
    assert info.axis_floor == floor
    assert info.axis_floor <= info.scores[0].f1
