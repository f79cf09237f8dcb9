"""Labels: every form that can be meant in one way gives the same numbers; any other is refused with what to save."""

from typing import Any

import numpy as np
import pytest

from hcr.config.errors import DataError
from hcr.data.formats import DataFormat
from hcr.data.labels import checked_groups, to_groups, to_labels

CFG = DataFormat(name="small", format="x", image_shape=(4, 3, 1), num_classes=3, class_names=("a", "b", "ü"))
LABELS = np.arange(12) % 3
NAMES = np.array(CFG.class_names)[LABELS]


def read(labels: Any, num_images: int = 12) -> np.ndarray:
    (found,), names, _ = to_labels({"y": (np.asarray(labels), num_images)}, CFG, "a file")
    assert names == CFG.class_names
    assert found.dtype == np.int64
    return found


@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "i2", ">i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", ">f4", "f8", "longdouble"]
)
def test_whole_numbers_of_any_type_are_labels(dtype: str) -> None:
    assert read(LABELS.astype(dtype)).tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    "labels",
    [
        LABELS[:, np.newaxis],
        LABELS[np.newaxis].astype(float),
        np.eye(3)[LABELS],
        np.eye(3, dtype=bool)[LABELS],
        NAMES,
        NAMES[:, np.newaxis],
        np.char.encode(NAMES, "utf-8"),
    ],
    ids=["column", "row", "one-hot", "one-hot, bool", "names", "names, column", "bytes"],
)
def test_what_means_the_same_labels_is_read_as_them(labels: np.ndarray) -> None:
    assert read(labels).tolist() == LABELS.tolist()


def test_bool_labels_are_of_the_first_two_classes() -> None:
    assert read(LABELS == 1).tolist() == (LABELS == 1).astype(int).tolist()


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (LABELS.astype("i1") - 1, "expected labels from 0 to 2, got -1 to 1; dataset.num_classes is 3"),
        (LABELS * 100, "expected labels from 0 to 2, got 0 to 200; dataset.num_classes is 3"),
        (LABELS.astype("u8") << np.uint64(62), "got 0 to 9223372036854775808"),
        (LABELS / 2, "expected whole labels from 0 to 2, got fractions from 0 to 1"),
        (np.where(LABELS == 1, np.nan, LABELS), "expected labels from 0 to 2, got NaN or infinity"),
        (LABELS[:9], "expected one label per image, got 9 labels (`y`) for 12 images"),
        (np.zeros((12, 3)), "expected one label per image, got `y` of shape (12, 3) for 12 images"),
        (np.ones((12, 3)), "expected one label per image, got `y` of shape (12, 3) for 12 images"),
        (np.eye(4)[LABELS], "expected one label per image, got `y` of shape (12, 4) for 12 images"),
        (np.float64(1), "expected one label per image, got `y` of shape () for 12 images"),
        (np.char.upper(NAMES), "names of dataset.class_names, or numbers from 0, got 'A', 'B', 'Ü'"),
        (LABELS.astype(str), "names of dataset.class_names, or numbers from 0, got '0', '1', '2'"),
        (np.array([f"{i}\n" for i in range(12)]), r"got '0\n', '1\n', '10\n', '11\n', '2\n' and 7 more"),
        (np.array([b"\xff"] * 12), r"got '\\xff'"),
        (LABELS.astype("c8"), "got `y` of complex64"),
        (LABELS.astype("m8[s]"), "got `y` of timedelta64[s]"),
        (LABELS.astype(object), "got `y` of object"),
    ],
)
def test_what_are_no_labels_is_refused_in_a_line(labels: Any, told: str) -> None:
    with pytest.raises(DataError) as refused:
        read(labels)
    assert str(refused.value).startswith("a file: expected ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_labels_from_1_are_the_classes_in_order_unless_the_names_are_numbers() -> None:
    (found,), _, notes = to_labels({"y": (LABELS + 1, 12)}, CFG, "a file")
    assert found.tolist() == LABELS.tolist()
    assert notes == ["a file: its labels count from 1: 'a' is 1 and 'ü' is 3"]
    digits = CFG.replace(class_names=("0", "1", "2"))
    with pytest.raises(DataError, match=r"got 1 to 3; if they count from 1, save y - 1; if 3 is the class of number 0"):
        to_labels({"y": (LABELS + 1, 12)}, digits, "a file")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS * 5.0 - 5, ("-5", "0", "5")),
        (np.array([2, 10, 9])[LABELS], ("2", "9", "10")),
        (np.array(["2", "10", "あ"])[LABELS], ("2", "10", "あ")),
        (np.array(["a10", "a9", "+"], object)[LABELS], ("+", "a9", "a10")),
        (np.eye(3)[LABELS], ("0", "1", "2")),
        (np.char.encode(NAMES, "utf-8"), ("a", "b", "ü")),
    ],
)
def test_without_declared_names_the_labels_that_occur_are_the_classes_in_order(
    labels: Any, names: tuple[str, ...]
) -> None:
    free = CFG.replace(class_names=None, num_classes=None)
    (train, test), found, _ = to_labels({"y": (labels[:7], 7), "z": (labels[7:], 5)}, free, "a file")
    assert found == names
    texts = (
        np.array([str(int(x)) if not isinstance(x, str | bytes) else x for x in labels]) if labels.ndim == 1 else None
    )
    if texts is not None and texts.dtype.kind == "U":
        assert np.array(found)[np.concatenate([train, test])].tolist() == texts.tolist()


def test_one_class_or_an_empty_label_is_refused() -> None:
    free = CFG.replace(class_names=None, num_classes=None)
    with pytest.raises(DataError, match=r"expected images of 2 classes or more, got only '7'"):
        to_labels({"y": (np.full(4, 7), 4)}, free, "a file")
    with pytest.raises(DataError, match=r"expected a label for every image, got an empty one"):
        to_labels({"y": (np.array(["a", "", "b"]), 3)}, free, "a file")


def test_a_files_own_names_may_be_in_another_order_than_the_declared_ones() -> None:
    (found,), names, _ = to_labels({"y": (np.array([0, 1, 2]), 3)}, CFG, "a file", ("ü", "a", "b"))
    assert names == CFG.class_names
    assert found.tolist() == [2, 0, 1]
    with pytest.raises(DataError, match=r"expected the classes of dataset.class_names, got 'c'"):
        to_labels({"y": (np.array([0, 1]), 2)}, CFG, "a file", ("c", "a"))


def test_groups_may_stand_in_a_column() -> None:
    groups = np.array([7, 7, 3, 9])
    assert (
        to_groups(checked_groups(groups, 4, "a file")).tolist()
        == to_groups(checked_groups(groups[:, np.newaxis], 4, "a file")).tolist()
        == [1, 1, 0, 2]
    )


def test_arrays_of_several_types_share_their_classes() -> None:
    free = CFG.replace(class_names=None, num_classes=None)
    both = {"y_train": (np.array([1, 5], "u8"), 2), "y_test": (np.array([-2, 5]), 2)}
    found, names, _ = to_labels(both, free, "a file")
    assert ([part.tolist() for part in found], names) == ([[1, 2], [0, 2]], ("-2", "1", "5"))
    texts = {"y_train": (np.array(["ü".encode(), b"a"]), 2), "y_test": (np.array(["b", "ü"]), 2)}
    assert [part.tolist() for part in to_labels(texts, CFG, "a file")[0]] == [[2, 0], [1, 2]]


@pytest.mark.parametrize("largest", [1e300, np.uint64(2**64 - 1)])
def test_numbers_that_no_integer_holds_are_no_labels(largest: Any) -> None:
    labels = np.array([1, largest], np.asarray(largest).dtype)
    with pytest.raises(DataError, match=r"expected labels from -\d+ to \d+, got 1 to 1"):
        to_labels({"y": (labels, 2)}, CFG.replace(class_names=None, num_classes=None), "a file")
