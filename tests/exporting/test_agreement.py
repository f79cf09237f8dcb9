"""The check of an export: what it measures, and that it refuses what is not the model."""

import numpy as np
import pytest

from hcr.exporting.agreement import Difference, difference, generated_images, run_exported
from hcr.exporting.formats import LoadedExport


class Counting(LoadedExport):
    """Answers with the sum of pixels; `wrong_alone` is added to a batch of one."""

    def __init__(self, wrong_alone: float = 0.0) -> None:
        self.sizes: list[int] = []
        self._wrong_alone = wrong_alone

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        self.sizes.append(len(images))
        found = images.reshape(len(images), -1).mean(axis=1, dtype=np.float64) / 255
        found = found + self._wrong_alone * (len(images) == 1)
        return np.stack([found, 1 - found], axis=1).astype(np.float32)


def test_all_images_are_run_and_small_batches_too() -> None:
    images = generated_images((4, 4, 1), 2_500)
    model = Counting()
    found = run_exported(model, images)
    assert model.sizes == [1000, 1000, 500, 1, 7]
    np.testing.assert_allclose(found[:, 0], images.reshape(2_500, -1).mean(axis=1) / 255, rtol=1e-5)


def test_a_model_that_answers_otherwise_in_a_small_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a batch of 1 differs by 0\.01"):
        run_exported(Counting(wrong_alone=0.01), generated_images((4, 4, 1), 20))


def test_a_difference_is_the_largest_of_all_and_counts_images_of_another_class() -> None:
    one = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]], np.float32)
    other = np.array([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5]], np.float32)
    apart = difference(one, other)
    assert apart.largest == pytest.approx(0.2)
    assert apart.num_other == 1
    assert difference(one, one) == Difference(0.0, 0)


def test_not_a_number_is_infinitely_far() -> None:
    one = np.array([[0.9, 0.1]], np.float32)
    assert difference(one, np.full_like(one, np.nan)).largest == float("inf")


def test_generated_images_are_always_the_same_and_of_any_brightness() -> None:
    images = generated_images((9, 5, 3), 300)
    assert images.shape == (300, 9, 5, 3)
    np.testing.assert_array_equal(images, generated_images((9, 5, 3), 300))
    means = images.reshape(300, -1).mean(axis=1)
    assert means.min() < 5
    assert means.max() > 80
