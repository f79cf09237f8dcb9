"""Counts of images by class and side, and of their sizes."""

import numpy as np

from hcr.data.inspection.counts import Sizes, count_images, sizes_of

LABELS = {"train": np.array([0, 0, 0, 1, 2]), "val": np.array([0, 1]), "test": np.array([0, 1])}


def test_images_are_counted_by_side_and_class() -> None:
    counts = count_images(LABELS, ["a", "b", "c"])
    assert counts.images.tolist() == [[3, 1, 1], [1, 1, 0], [1, 1, 0]]
    assert (counts.num_images, counts.of_class.tolist()) == (9, [5, 3, 1])
    assert counts.imbalance == 5.0
    assert [counts.absent(side) for side in counts.sides] == [(), ("c",), ("c",)]


def test_a_class_without_any_image_makes_the_imbalance_infinite() -> None:
    assert count_images(LABELS, ["a", "b", "c", "d"]).imbalance == float("inf")


def test_sizes_are_summarized_for_height_and_width_each() -> None:
    sizes = np.array([[10, 30], [20, 20], [40, 10], [20, 20]])
    assert sizes_of(sizes) == Sizes(smallest=(10, 10), median=(20, 20), largest=(40, 30), num_different=3)
    assert sizes_of(np.array([[28, 28]])) == Sizes((28, 28), (28, 28), (28, 28), 1)
