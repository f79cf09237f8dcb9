"""Classes are matched by name."""

import pytest

from hcr.config import DataError
from hcr.evaluating.matching import match_classes


def test_classes_in_another_order_get_the_labels_of_the_model() -> None:
    match = match_classes(["a", "b", "c"], ["c", "a", "b"], ["c", "a", "b"], "x")
    assert match.model_labels.tolist() == [2, 0, 1]
    assert match.unknown == ()


def test_classes_that_the_model_does_not_know_and_those_not_kept_have_no_label() -> None:
    match = match_classes(["a", "b"], ["b", "z", "a"], ["b", "z"], "x")
    assert match.model_labels.tolist() == [0 + 1, -1, -1]
    assert match.unknown == ("z",)


def test_no_class_in_common_is_refused_with_both_lists() -> None:
    with pytest.raises(DataError, match=r"dataset=x: expected a class that the model knows \(0, 1\), got a, b$"):
        match_classes(["0", "1"], ["a", "b"], ["a", "b"], "x")
    with pytest.raises(DataError, match="they differ only in case"):
        match_classes(["A", "B"], ["a", "b"], ["a", "b"], "x")
    many = [str(i) for i in range(40)]
    with pytest.raises(DataError, match=r"0, 1, 2, 3, 4, 5, 6, 7 and 32 more\)"):
        match_classes(many, ["a", "b"], ["a", "b"], "x")
