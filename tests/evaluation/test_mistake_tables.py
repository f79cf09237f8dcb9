"""The tables of a model's mistakes, on a case worked by hand."""

import numpy as np
import pytest

from hcr.evaluation.metrics import evaluate, worst_mistakes
from hcr.evaluation.mistake_tables import confusions, mistakes

LABELS = np.array([0, 0, 0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [[0.9, 0.1, 0], [0.2, 0.8, 0], [0.4, 0.6, 0], [0.1, 0, 0.9], [0, 1, 0], [0, 0.3, 0.7], [0, 0, 1]], np.float32
)


def test_confusions_are_counted_by_pair_the_most_frequent_first() -> None:
    found = confusions(evaluate(PROBABILITIES, LABELS, ("a", "b", "c")))
    assert list(zip(found["actual"], found["predicted"], found["images"], strict=True)) == [
        ("a", "b", 2), ("a", "c", 1), ("b", "c", 1),
    ]  # fmt: skip
    assert found["share of the class"] == [0.5, 0.25, 0.5]


def test_mistakes_are_in_the_order_asked_for_with_both_probabilities() -> None:
    chosen = worst_mistakes(PROBABILITIES, LABELS, 2)
    evaluation = evaluate(PROBABILITIES, LABELS, ("a", "b", "c"))
    found = mistakes(evaluation, PROBABILITIES, LABELS, chosen, ["first", "second"])
    assert (found["index"], found["actual"], found["predicted"]) == ([3, 1], ["a", "a"], ["c", "b"])
    assert found["probability of predicted"] == pytest.approx([0.9, 0.8])
    assert found["probability of actual"] == pytest.approx([0.1, 0.2])
    assert found["picture"] == ["first", "second"]
    assert "picture" not in mistakes(evaluation, PROBABILITIES, LABELS, chosen, [])


def test_a_model_without_mistakes_has_empty_tables() -> None:
    right = np.eye(3, dtype=np.float32)[LABELS]
    evaluation = evaluate(right, LABELS, ("a", "b", "c"))
    assert set(map(len, confusions(evaluation).values())) == {0}
    assert set(map(len, mistakes(evaluation, right, LABELS, worst_mistakes(right, LABELS, 5), []).values())) == {0}
