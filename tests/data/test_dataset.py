"""A data set is checked, put in canonical order, and digested: the same images, the same digest."""

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcr.config.errors import DataError
from hcr.data.dataset import Dataset, of_arrays
from hcr.data.formats import DataFormat

CFG = DataFormat(
    name="small", format="sklearn_digits", image_shape=(4, 3, 1), num_classes=3, class_names=("a", "b", "c")
)


def arrays(num_images: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels and is_test, in no particular order; two images are the same."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_images, 4, 3, 1), dtype=np.uint8)
    images[1] = images[0]
    return images, rng.integers(0, 3, num_images), rng.random(num_images) < 0.3


def make(images: np.ndarray, labels: np.ndarray, is_test: Any = None) -> Dataset:
    return of_arrays(CFG, images, labels, is_test)


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(30)), with_test=st.booleans())
def test_any_order_of_the_images_gives_one_data_set(order: list[int], with_test: bool) -> None:
    images, labels, is_test = arrays()
    before = make(images, labels, is_test if with_test else None)
    after = make(images[order], labels[order], is_test[order] if with_test else None)
    assert after.digest == before.digest
    assert (after.images == before.images).all()
    assert (after.labels == before.labels).all()
    if with_test:
        assert before.is_test is not None
        assert after.is_test is not None
        assert (after.is_test == before.is_test).all()


def test_an_image_stays_with_its_label_and_its_side() -> None:
    images, labels, is_test = arrays()
    data = make(images, labels, is_test)
    assert data.is_test is not None

    def cards(*parts: np.ndarray) -> list[tuple[bytes, int, bool]]:
        return sorted((i.tobytes(), int(n), bool(t)) for i, n, t in zip(*parts, strict=True))

    assert cards(data.images, data.labels, data.is_test) == cards(images, labels, is_test)
    assert (np.diff(data.labels) >= 0).all()
    assert (data.images.dtype, data.labels.dtype) == (np.uint8, np.int64)


def test_every_changed_pixel_label_or_side_changes_the_digest() -> None:
    images, labels, is_test = arrays()
    digests = {make(images, labels, is_test).digest, make(images, labels).digest}
    pixel = images.copy()
    pixel[7, 3, 2, 0] ^= 1
    label = labels.copy()
    label[7] = (label[7] + 1) % 3
    side = is_test.copy()
    side[7] = not side[7]
    digests |= {make(pixel, labels, is_test).digest, make(images, label, is_test).digest}
    digests |= {make(images, labels, side).digest, make(images[:-1], labels[:-1], is_test[:-1]).digest}
    assert len(digests) == 6


def test_a_label_counts_where_it_moves_no_image() -> None:
    data = make(arrays()[0], np.zeros(30, dtype=int))
    labels = data.labels.copy()
    labels[-1] = 1  # the last in order stays the last
    other = make(data.images, labels)
    assert (other.images == data.images).all()
    assert other.digest != data.digest


def test_the_order_is_by_label_then_by_sha256_of_the_pixels_then_training_first() -> None:
    images, labels, is_test = arrays()
    labels[:2], is_test[:2] = 0, [True, False]  # the two that are the same image
    data = make(images, labels, is_test)
    assert data.is_test is not None
    keys = [
        (int(label), hashlib.sha256(image.tobytes()).digest(), bool(test))
        for image, label, test in zip(data.images, data.labels, data.is_test, strict=True)
    ]
    assert keys == sorted(keys)


def test_the_same_bytes_in_another_shape_have_another_digest() -> None:
    images, labels, _ = arrays()
    turned = of_arrays(CFG.replace(image_shape=(3, 4, 1)), images.reshape(-1, 3, 4, 1), labels)
    assert turned.digest != make(images, labels).digest


@pytest.mark.parametrize("dtype", ["int64", "float32", "float64", "uint16"])
def test_the_type_of_the_numbers_makes_no_difference(dtype: str) -> None:
    images, labels, _ = arrays()
    assert make(images.astype(dtype), labels.astype(dtype)).digest == make(images, labels).digest


def test_images_without_a_channel_axis_are_images_of_one_channel() -> None:
    images, labels, _ = arrays()
    assert make(images[..., 0], labels).digest == make(images, labels).digest


def spoiled(part: str, value: float, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    images, labels, _ = arrays()
    images, labels = images.astype(dtype), labels.astype(dtype)
    (images if part == "pixels" else labels).flat[5] = value
    return images, labels


@pytest.mark.parametrize("part", ["pixels", "labels"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "got NaN or infinity"),
        (np.inf, "got NaN or infinity"),
        (0.5, "got fractions"),
        (-1, "got -1 to"),
        (256, "to 256"),
    ],
)
def test_numbers_that_are_no_pixels_or_no_labels_are_refused_by_file(part: str, value: float, message: str) -> None:
    if (part, value) == ("pixels", 0.5):  # a fraction is rounded, and told
        rounded = "dataset=small: its pixels are rounded to whole numbers from 0 to 255"
        assert rounded in make(*spoiled(part, value)).notes
        return
    with pytest.raises(DataError) as refused:
        make(*spoiled(part, value))
    assert str(refused.value).startswith(f"dataset=small: expected {'whole ' * (value == 0.5)}{part} from 0 to ")
    assert message in str(refused.value)


def test_a_label_over_the_number_of_classes_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"^dataset=small: expected labels from 0 to 2, got 0 to 3; dataset\.num_classes is 3$"
    ):
        make(*spoiled("labels", 3, "int64"))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 4, 1), "u1"), np.zeros(2), "if height and width are swapped, save x.swapaxes(1, 2)"),
        (
            np.zeros((2, 4, 3, 3), "u1"),
            np.zeros(2),
            "expected images of 4x3x1 (dataset.image_shape), got `images` of shape (2,",
        ),
        (np.zeros((0, 4, 3, 1), "u1"), np.zeros(0), "expected images, got none"),
        (np.eye(12)[:2].reshape(2, 4, 3, 1), np.zeros(3), "got 3 labels (`labels`) for 2 images"),
        (np.eye(12)[:2].reshape(2, 4, 3, 1), np.zeros((2, 2)), "got `labels` of shape (2, 2) for 2 images"),
        (np.full((2, 4, 3, 1), "x"), np.zeros(2), "expected pixels that are numbers"),
        (np.eye(12)[:2].reshape(2, 4, 3, 1), np.array(["a", "d"]), "or numbers from 0, got 'd'"),
    ],
)
def test_arrays_that_are_not_what_the_config_declares_are_refused(
    images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError) as refused:
        make(images, labels)
    assert str(refused.value).startswith("dataset=small: ")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "is_test", [np.zeros(29, bool), np.zeros((30, 1), bool), np.zeros(30, int)], ids=["29", "(30, 1)", "int"]
)
def test_what_does_not_say_of_each_image_whether_it_is_for_test_is_refused(is_test: np.ndarray) -> None:
    images, labels, _ = arrays()
    with pytest.raises(DataError, match=r"^dataset=small: expected is_test to be true or false for each image, got "):
        make(images, labels, is_test)
