"""Augmentation: what it says, no more, decided by a seed alone."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from hcr.data.loading import load_dataset
from hcr.gate.compose import compose

KINDS = ["shift", "affine", "elastic"]


def augmented(overrides: list[str], images: NDArray[np.uint8], seed: int = 0, step: int = 0) -> NDArray[np.uint8]:
    augment = compose(overrides).augmentation.build()
    assert augment is not None
    result = tf.function(augment)(tf.constant(images), tf.constant([seed, step], tf.int64)).numpy()
    assert isinstance(result, np.ndarray)
    return result


@pytest.fixture(scope="module")
def digits() -> NDArray[np.uint8]:
    """Real digits with a black frame, so that what moves does not leave the image."""
    return np.pad(load_dataset(compose().dataset).images[::30], [(0, 0), (8, 8), (8, 8), (0, 0)])


def dot(row: int, column: int, size: int = 15) -> NDArray[np.uint8]:
    image = np.zeros((1, size, size, 1), np.uint8)
    image[0, row, column] = 200
    return image


def test_none_is_nothing_at_all() -> None:
    assert compose(["augmentation=none"]).augmentation.build() is None


@pytest.mark.parametrize("kind", KINDS)
def test_shape_and_dtype_stay_and_images_change(kind: str, digits: NDArray[np.uint8]) -> None:
    result = augmented([f"augmentation={kind}"], digits)
    assert (result.shape, result.dtype) == (digits.shape, np.uint8)
    changed = (result != digits).reshape(len(digits), -1).any(axis=1)
    assert changed.mean() > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_seed_and_step_alone_decide_what_is_drawn(kind: str, digits: NDArray[np.uint8]) -> None:
    first = augmented([f"augmentation={kind}"], digits, seed=1, step=2)
    assert np.array_equal(first, augmented([f"augmentation={kind}"], digits, seed=1, step=2))
    assert not np.array_equal(first, augmented([f"augmentation={kind}"], digits, seed=1, step=3))
    assert not np.array_equal(first, augmented([f"augmentation={kind}"], digits, seed=2, step=2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_digit_keeps_its_ink(kind: str, digits: NDArray[np.uint8]) -> None:
    before, after = digits.sum(dtype=float), augmented([f"augmentation={kind}"], digits).sum(dtype=float)
    assert after == pytest.approx(before, rel=0.1)


def test_a_shift_is_a_whole_number_of_pixels_in_every_direction_up_to_the_bound() -> None:
    dots = np.repeat(dot(7, 7), 400, axis=0)
    result = augmented(["augmentation=shift", "augmentation.pixels=2"], dots)
    assert set(np.unique(result)) == {0, 200}
    image, row, column, _ = np.nonzero(result)
    assert np.array_equal(image, np.arange(400))
    assert {(r - 7, c - 7) for r, c in zip(row, column, strict=True)} == {
        (down, across) for down in range(-2, 3) for across in range(-2, 3)
    }


def test_what_moves_in_is_black() -> None:
    white = np.full((200, 9, 9, 1), 255, np.uint8)
    result = augmented(["augmentation=shift", "augmentation.pixels=3"], white)
    assert set(np.unique(result)) == {0, 255}
    assert result[:, 4, 4].min() == 255


def test_rotation_turns_about_the_centre_by_at_most_its_bound() -> None:
    alone = ["augmentation.shear_degrees=0", "augmentation.scale=0", "augmentation.shift_pixels=0"]
    centre, right = np.repeat(dot(7, 7), 300, axis=0), np.repeat(dot(7, 13), 300, axis=0)
    overrides = ["augmentation=affine", "augmentation.rotation_degrees=30", *alone]
    assert augmented(overrides, centre)[:, 7, 7, 0].min() >= 199
    ink = augmented(overrides, right)[..., 0].astype(float)
    rows, columns = np.mgrid[:15, :15]
    total = ink.sum(axis=(1, 2))
    angles = np.degrees(
        np.arctan2((ink * (rows - 7)).sum(axis=(1, 2)) / total, (ink * (columns - 7)).sum(axis=(1, 2)) / total)
    )
    assert np.abs(angles).max() <= 32
    assert angles.min() < -20 < 20 < angles.max()


def test_scale_is_both_larger_and_smaller_about_the_centre() -> None:
    square = np.zeros((300, 21, 21, 1), np.uint8)
    square[:, 6:15, 6:15] = 255
    alone = ["augmentation.shear_degrees=0", "augmentation.rotation_degrees=0", "augmentation.shift_pixels=0"]
    area = augmented(["augmentation=affine", "augmentation.scale=0.2", *alone], square).sum(axis=(1, 2, 3)) / (81 * 255)
    assert area.min() < 0.8 < 1.25 < area.max()
    assert 0.6 < area.min() < area.max() < 1.7


def test_an_elastic_field_is_as_strong_as_asked_near_the_edge_too() -> None:
    # A ramp shows how far each pixel came from: its value is its column.
    ramp = np.broadcast_to(np.arange(0, 160, 4, dtype=np.uint8)[:, np.newaxis], (400, 40, 40, 1))
    overrides = ["augmentation=elastic", "augmentation.displacement_pixels=1.5", "augmentation.smoothness_pixels=4"]
    result = augmented(overrides, np.ascontiguousarray(ramp)).astype(float)[..., 0]
    moved = (result - ramp[..., 0].astype(float)) / 4
    assert moved[:, 20, 10:30].std() == pytest.approx(1.5, rel=0.1)
    # Near the edge some come from outside and are black: the middle two thirds tell as much.
    low, high = np.percentile(moved[:, 3, 10:30], [15.87, 84.13])
    assert (high - low) / 2 == pytest.approx(1.5, rel=0.1)
    # Smooth: neighbours move together.
    assert np.corrcoef(moved[:, 20, 20], moved[:, 20, 21])[0, 1] > 0.95
