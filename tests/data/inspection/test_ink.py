"""Ink statistics, checked against hand-worked images and against NumPy on all pixels at once."""

import numpy as np
import pytest

from hcr.data.inspection import ink
from hcr.data.inspection.blocks import blocks
from hcr.data.inspection.ink import border_pixels, ink_of


def strokes(count: int, seed: int = 0) -> np.ndarray:
    """Light strokes on a dark ground, (count, 8, 6, 1)."""
    images = np.zeros((count, 8, 6, 1), np.uint8)
    images[:, 2:6, 2:4] = np.random.default_rng(seed).integers(50, 256, (count, 4, 2, 1))
    return images


def test_the_numbers_of_two_images_worked_by_hand() -> None:
    images = np.zeros((2, 3, 4, 1), np.uint8)
    images[0, 1, 1] = 200  # within
    images[1, 0] = 128  # four pixels of the border
    found = ink_of([(images, np.array([0, 1]))], 3)
    assert found.mean == pytest.approx((200 + 4 * 128) / 24)
    assert found.bright_share == pytest.approx(5 / 24)
    assert found.border_bright_share == pytest.approx(4 / 20)
    assert found.class_means[:2].tolist() == pytest.approx([200 / 12, 4 * 128 / 12])
    assert np.isnan(found.class_means[2])
    assert (found.dark_on_light, found.blank.any(), found.turned.any()) == (False, False, False)


def test_the_border_is_each_outermost_pixel_once() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
    assert border_pixels(image).tolist() == [[0, 1, 2, 3, 4, 7, 8, 9, 10, 11]]
    assert border_pixels(image[:, :1]).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 26])
def test_blocks_give_what_all_pixels_at_once_give(monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(ink, "blocks", lambda images: blocks(images, block_bytes))
    images = np.random.default_rng(1).integers(0, 256, (25, 5, 7, 3), dtype=np.uint8)
    labels = np.arange(25) % 4
    found = ink_of([(images[:10], labels[:10]), (images[10:], labels[10:])], 4)
    assert (found.mean, found.sd) == (pytest.approx(images.mean()), pytest.approx(images.std()))
    assert found.bright_share == pytest.approx((images >= 128).mean())
    assert found.class_means.tolist() == pytest.approx([images[labels == k].mean() for k in range(4)])


def test_blank_images_and_those_of_the_other_polarity_are_found_by_place() -> None:
    images = strokes(20)
    images[[3, 11]] = 255 - images[[3, 11]]
    images[5], images[7] = 0, 255
    found = ink_of([(images, np.zeros(20, int))], 1)
    assert np.flatnonzero(found.turned).tolist() == [3, 11]
    assert np.flatnonzero(found.blank).tolist() == [5, 7]
    assert not found.dark_on_light
    inverted = ink_of([(255 - images, np.zeros(20, int))], 1)
    assert inverted.dark_on_light
    assert np.flatnonzero(inverted.turned).tolist() == [3, 11]


def test_images_that_fill_their_frame_or_are_noise_have_no_polarity() -> None:
    images = strokes(20)
    images[:8] = np.random.default_rng(0).integers(0, 256, (8, 8, 6, 1))
    images[9, 0] = images[9, :, 0] = 255  # half of the border
    assert not ink_of([(images, np.zeros(20, int))], 1).turned.any()
