"""Names of arrays and files: what they say, and which belong together."""

import pytest

from hcr.config.errors import DataError
from hcr.data.readers.pairing import grouped, listed, named, shown


@pytest.mark.parametrize(
    ("name", "role", "side", "family"),
    [
        ("x_train", "images", "train", ""),
        ("trainX", "images", "train", ""),
        ("ytest", "labels", "test", ""),
        ("valid_labels", "labels", "val", ""),
        ("t10k-images", "images", "test", ""),
        ("emnist-letters-train-labels", "labels", "train", "emnist letters"),
        ("X_kannada_MNIST_test", "images", "test", "kannada mnist"),
        ("k49-test-imgs", "images", "test", "k49"),
        ("Writers", "groups", None, ""),
        ("target", "labels", None, ""),
        ("mnist data labels", "labels", None, "mnist"),
    ],
)
def test_a_name_says_what_it_holds_and_of_which_side(name: str, role: str, side: str | None, family: str) -> None:
    said = named(name)
    assert said is not None
    assert (said.role, said.side, said.family) == (role, side, family)


@pytest.mark.parametrize("name", ["arr_0", "train", "xy", "images_labels", "Xylophone", "", "あ"])
def test_a_name_without_one_clear_word_says_nothing(name: str) -> None:
    assert named(name) is None


def test_names_of_one_family_form_a_data_set_and_sides_are_kept_apart_from_none() -> None:
    names = ["x_train", "y_train", "x_test", "y_test", "x", "y", "group", "a_x", "arr_0"]
    found = {(group.family, group.has_sides): group for group in grouped(names, "file", "array")}
    assert found["", True].listed == ["x_train", "y_train", "x_test", "y_test"]
    assert found["", False].listed == ["x", "y", "group"]
    assert {key: group.is_complete for key, group in found.items()} == {
        ("", True): True,
        ("", False): True,
        ("a", False): False,
    }


@pytest.mark.parametrize("names", [["x_test", "y_test"], ["x_train", "y_train", "x_test"], ["x_train"]])
def test_a_data_set_is_complete_with_training_images_and_all_labels(names: list[str]) -> None:
    assert not any(group.is_complete for group in grouped(names, "file", "array"))


def test_two_names_that_say_the_same_are_refused_and_data_gives_way() -> None:
    with pytest.raises(DataError, match=r"^a\.npz: expected one array with the labels of train, got `label`, `y`"):
        grouped(["x", "y", "label"], "a.npz", "array")
    (group,) = grouped(["data", "images", "target"], "a.npz", "array")
    assert group.listed == ["images", "target"]


def test_a_list_in_a_message_is_short_and_names_in_it_are_one_line() -> None:
    assert listed(map(str, range(10)), "none") == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    assert listed([], "none") == "none"
    assert shown("a\nb\x1b[31m") == r"`a\nb\x1b[31m`"
    assert len(shown("n" * 500)) == 43
