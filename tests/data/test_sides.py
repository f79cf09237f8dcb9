"""A side without a class is refused, in words that say what to do."""

import numpy as np
import pytest

from hcr.config.errors import DataError
from hcr.data.dataset import Dataset
from hcr.data.sides import check_sides


def data_of(labels: list[int], groups: list[int] | None = None) -> Dataset:
    return Dataset(
        images=np.zeros((len(labels), 1, 1, 1), np.uint8),
        labels=np.array(labels),
        is_test=None,
        groups=None if groups is None else np.array(groups),
        hashes=np.zeros((len(labels), 32), np.uint8),
        digest="",
        class_names=("a", "b", "c"),
        source="a file",
    )


def sides(train: list[int], val: list[int], test: list[int]) -> dict[str, np.ndarray]:
    named = {"training": train, "validation": val, "test": test}
    return {name: np.array(part, dtype=np.intp) for name, part in named.items()}


LABELS = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2]
WHOLE = sides([0, 1, 2, 5, 6, 7, 10], [3, 8, 11], [4, 9])


def test_a_class_that_test_lacks_is_named_with_its_images_and_what_to_do() -> None:
    with pytest.raises(DataError) as refused:
        check_sides(data_of(LABELS), WHOLE)
    assert str(refused.value) == (
        "split: expected every class in test, got no 'c' (2 images); leave the class out (dataset.min_per_class=3 or"
        " dataset.classes=[...]), use split=stratified, or draw another test (split.test_seed=1)"
    )


def test_a_class_that_validation_lacks_is_named_with_its_groups() -> None:
    found = sides([0, 1, 2, 5, 6, 7, 10], [3, 8], [4, 9, 11])
    with pytest.raises(DataError) as refused:
        check_sides(data_of(LABELS, [0] * 10 + [1, 2]), found)
    assert str(refused.value) == (
        "split: expected every class in validation, got no 'c' (2 images in 2 groups); leave the class out"
        " (dataset.min_per_class=3 or dataset.classes=[...]), draw again (split.seed=1), or use split=stratified"
    )


def test_a_class_as_large_as_others_is_not_left_out_by_its_size() -> None:
    found = sides([0, 1, 10], [5, 3, 11], [4, 9, 2])
    with pytest.raises(DataError, match=r"no 'b' \(5 images\); leave the class out \(dataset.classes=\[\.\.\.\]\)"):
        check_sides(data_of(LABELS), found)


def test_a_class_that_is_left_out_is_not_missed() -> None:
    check_sides(data_of(LABELS), WHOLE, np.array([True, True, False]))
    with pytest.raises(DataError, match="test gets none of the 2 images; add images, or choose other fractions"):
        check_sides(data_of(LABELS), WHOLE, np.array([False, False, True]))
