"""EMNIST's mappings: the characters that name classes, and the class of a label."""

import numpy as np
import pytest

from hcr.config.errors import DataError
from hcr.data.readers.classcodes import class_names_of, codes_of, indices_of


def test_a_merged_letter_is_named_by_its_first_code_the_upper_case() -> None:
    assert class_names_of(codes_of([[1, 65, 97], [2, 66, 98]], "file")) == ("A", "B")


def test_classes_are_in_order_of_their_labels_and_labels_may_have_gaps() -> None:
    codes = codes_of([[9, 97], [2, 48]], "file")
    assert class_names_of(codes) == ("0", "a")
    for dtype in ("u1", "i8", "f8"):
        assert indices_of(np.array([9, 2, 9], dtype), codes, "file").tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([2, 3, 10], "expected labels that are in the mapping, 2 to 9, got 3, 10"),
        ([2.5], "got 2.5"),
        ([float("nan")], "got nan"),
        ([float("inf")], "got inf"),
        (["a"], "expected labels that are numbers of the mapping, got <U1"),
    ],
)
def test_a_label_that_is_not_in_the_mapping_is_refused(labels: list[object], told: str) -> None:
    with pytest.raises(DataError, match=f"^file: .*{told}"):
        indices_of(np.array(labels), codes_of([[9, 97], [2, 48]], "file"), "file")


@pytest.mark.parametrize("row", [[], [1], [1, 65, 97, 1], [-1, 65], [1, 32], [1, 0xD800], [1, 0x110000]])
def test_a_row_that_is_no_label_with_its_characters_is_refused(row: list[int]) -> None:
    with pytest.raises(DataError, match="expected a label and one or two character codes"):
        codes_of([row, [2, 66]], "file")
