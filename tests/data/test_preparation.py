"""Preparation: colour, polarity and size of an image, against cases worked by hand and properties."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcr.data.preparation import Preparation, border_brightness, median_size, preparation_digest, spaced
from hcr.data.readers.matsets import read_mat_set

Fit = Literal["stretch", "pad", "center_of_mass"]
FITS: tuple[Fit, ...] = ("stretch", "pad", "center_of_mass")


def prepare(image: np.ndarray, size: tuple[int, int] | None, fit: Fit = "pad", *, invert: bool = False) -> np.ndarray:
    """A gray image (H, W) prepared."""
    return Preparation(color="gray", invert=invert, size=size, fit=fit).apply(image[..., np.newaxis])[..., 0]


def blob(height: int, width: int, box: tuple[int, int, int, int], ground: int = 0, ink: int = 255) -> np.ndarray:
    """A rectangle of ink: its first row and column, and those behind its end."""
    image = np.full((height, width), ground, np.uint8)
    image[box[0] : box[1], box[2] : box[3]] = ink
    return image


def centre_of_mass(image: np.ndarray) -> tuple[float, float]:
    weight = image.astype(float)
    rows, columns = np.indices(image.shape)
    return float((rows * weight).sum() / weight.sum()), float((columns * weight).sum() / weight.sum())


def test_stretch_ignores_the_aspect() -> None:
    image = np.array([[0, 255]], np.uint8)
    assert prepare(image, (3, 2), "stretch").tolist() == [[0, 255]] * 3


def test_shrinking_averages_so_that_a_thin_stroke_does_not_vanish() -> None:
    for column in range(32):
        small = prepare(blob(32, 32, (0, 32, column, column + 1)), (8, 8), "stretch")
        assert (small.max(axis=1) > 25).all(), column


@pytest.mark.parametrize(("shape", "rows", "columns"), [((10, 5), (0, 20), (5, 15)), ((5, 10), (5, 15), (0, 20))])
def test_pad_keeps_the_aspect_and_puts_the_image_in_the_middle(
    shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    image = np.full(shape, 200, np.uint8)
    image[0], image[-1], image[:, 0], image[:, -1] = 10, 10, 10, 10
    image[0, 0] = 90  # one odd pixel does not change the background, which is the border's median
    padded = prepare(image, (20, 20))
    inside = np.zeros((20, 20), bool)
    inside[slice(*rows), slice(*columns)] = True
    assert (padded[~inside] == 10).all()
    found = np.argwhere(padded > 150)
    assert (found.min(axis=0) >= (rows[0], columns[0])).all()
    assert tuple(found.min(axis=0) + found.max(axis=0)) == (sum(rows) - 1, sum(columns) - 1)  # symmetric


def test_the_background_of_padding_is_the_images_own_by_channel() -> None:
    paper = np.zeros((4, 8, 3), np.uint8)
    paper[:] = (240, 220, 180)
    padded = Preparation(color="rgb", invert=False, size=(8, 8), fit="pad").apply(paper)
    assert (padded == (240, 220, 180)).all()


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(3, 60),
    width=st.integers(3, 60),
    box=st.tuples(*[st.floats(0, 1)] * 4),
    size=st.tuples(st.integers(12, 40), st.integers(12, 40)),
    is_dark=st.booleans(),
)
def test_center_of_mass_puts_the_ink_in_the_middle_whatever_its_place(
    height: int, width: int, box: tuple[float, ...], size: tuple[int, int], is_dark: bool
) -> None:
    top, left = 1 + int(box[0] * (height - 3)), 1 + int(box[1] * (width - 3))
    bottom, right = top + 1 + int(box[2] * (height - 2 - top)), left + 1 + int(box[3] * (width - 2 - left))
    image = blob(height, width, (top, bottom, left, right))
    done = prepare(255 - image if is_dark else image, size, "center_of_mass", invert=is_dark)
    row, column = centre_of_mass(done)
    assert abs(row - size[0] // 2) <= 1
    assert abs(column - size[1] // 2) <= 1


def test_center_of_mass_scales_the_ink_box_to_20_of_28_and_keeps_its_aspect() -> None:
    tall = prepare(blob(100, 60, (10, 90, 20, 40)), (28, 28), "center_of_mass")  # 80 x 20
    rows, columns = np.flatnonzero(tall.max(axis=1)), np.flatnonzero(tall.max(axis=0))
    assert (len(rows), len(columns)) == (20, 5)
    assert rows[0] in (4, 5)
    assert columns[0] in (11, 12)


def test_center_of_mass_moves_the_mass_and_not_the_box_to_the_middle() -> None:
    heavy_left = blob(40, 40, (10, 30, 10, 14))
    heavy_left[18:22, 10:30] = 255  # a long thin arm to the right
    done = prepare(heavy_left, (28, 28), "center_of_mass")
    columns = np.flatnonzero(done.max(axis=0))
    assert (columns[0] + columns[-1]) / 2 > 14.5
    assert abs(centre_of_mass(done)[1] - 14) <= 0.5


def test_what_leaves_the_canvas_is_cut_at_its_edge() -> None:
    image = blob(40, 40, (2, 38, 2, 6))
    image[20:22, 2:38] = 60  # faint, far from the mass
    done = prepare(image, (16, 8), "center_of_mass")
    assert done.shape == (16, 8)
    assert done[8, -1] > 0  # the faint arm reaches the edge
    assert done[:, 4].max() > 100


def test_mnist_is_already_centred_by_its_mass_so_its_digits_hardly_change(mnist_dir: Path) -> None:
    raw = read_mat_set(mnist_dir / "mnist-original.mat")
    digits = np.asarray(raw.parts[0].images)[::200].reshape(-1, 28, 28, 1).astype(np.uint8)
    preparation = Preparation(color="gray", invert=False, size=(28, 28), fit="center_of_mass")
    done = preparation.apply_all(digits)
    assert preparation.changes(1, (28, 28))
    most = np.abs(done.astype(int) - digits).max(axis=(1, 2, 3))
    assert (most == 0).mean() > 0.7
    assert (most < 32).mean() > 0.95  # the others lose a row or column of pixels as faint as noise


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_stays_blank(fit: Fit, value: int) -> None:
    assert (prepare(np.full((9, 5), value, np.uint8), (7, 7), fit) == value).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2)])
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (1, 9)])
def test_images_of_a_pixel_or_a_line_are_prepared(fit: Fit, shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    done = prepare(image, size, fit)
    assert done.shape == size
    assert done.max() <= image.max()


def test_gray_weighs_the_channels_by_bt_601() -> None:
    preparation = Preparation(color="gray", invert=False, size=None, fit="pad")
    colours = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    expected = colours @ np.array([0.299, 0.587, 0.114])
    assert np.abs(preparation.apply(colours)[..., 0] - expected).max() <= 1
    grays = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    assert (preparation.apply(grays) == grays[..., :1]).all()


def test_rgb_of_a_gray_image_is_the_same_in_all_channels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 1), np.uint8)
    done = Preparation(color="rgb", invert=False, size=None, fit="pad").apply(image)
    assert done.shape == (5, 4, 3)
    assert (done == image).all()


def test_inverting_comes_before_the_size_so_that_padding_is_of_the_inverted_background() -> None:
    done = prepare(blob(10, 20, (4, 6, 8, 12), ground=255, ink=0), (20, 20), invert=True)
    assert (done[:5] == 0).all()
    assert done.max() == 255


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_inverting_commutes_with_the_size(fit: Fit) -> None:
    image = np.random.default_rng(0).integers(0, 256, (23, 17), np.uint8)
    inverted = prepare(image, (12, 14), fit, invert=True).astype(int)
    assert np.abs(inverted - (255 - prepare(image, (12, 14), fit).astype(int))).max() <= 2  # rounding


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("size", [None, (6, 5)])
def test_what_needs_no_preparation_is_left_alone_to_the_byte(fit: Fit, size: tuple[int, int] | None) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 1), np.uint8)
    preparation = Preparation(color="gray", invert=False, size=size, fit=fit)
    assert not preparation.changes(1, (6, 5))
    assert preparation.apply_all(images) is images
    assert (preparation.apply(images[0]) == images[0]).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("color", ["gray", "rgb"])
@pytest.mark.parametrize("channels", [1, 3])
def test_all_at_once_is_one_by_one(fit: Fit, color: Literal["gray", "rgb"], channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 6, 5, channels), np.uint8)
    preparation = Preparation(color=color, invert=True, size=(9, 8), fit=fit)
    together = preparation.apply_all(images)
    assert together.shape == (7, 9, 8, preparation.channels)
    for image, done in zip(images, together, strict=True):
        assert (preparation.apply(image) == done).all()


def test_center_of_mass_without_a_size_keeps_the_size_of_the_images() -> None:
    images = blob(20, 12, (1, 5, 1, 4)).reshape(1, 20, 12, 1)
    preparation = Preparation(color="gray", invert=False, size=None, fit="center_of_mass")
    assert preparation.changes(1, (20, 12))
    done = preparation.apply_all(images)
    assert done.shape == images.shape
    row, column = centre_of_mass(done[0, ..., 0])
    assert abs(row - 10) <= 0.5
    assert abs(column - 6) <= 0.5


def test_the_digest_of_a_preparation_follows_what_it_did_and_what_it_made() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 1), np.uint8)
    one = Preparation(color="gray", invert=False, size=(6, 5), fit="pad")
    other = Preparation(color="gray", invert=False, size=(6, 5), fit="stretch")
    changed = images.copy()
    changed[2, 5, 4, 0] ^= 1
    digests = [preparation_digest(images, one), preparation_digest(images, other), preparation_digest(changed, one)]
    assert len(set(digests)) == 3
    assert preparation_digest(images.copy(), one) == digests[0]


def test_border_brightness_is_the_share_of_bright_pixels_in_the_outermost_ring() -> None:
    image = np.zeros((4, 5, 1), np.uint8)
    assert border_brightness(image) == 0
    image[0] = 255  # 5 of 14
    assert border_brightness(image) == pytest.approx(5 / 14)
    image[1:3, 1:4] = 255  # the inside does not count
    assert border_brightness(image) == pytest.approx(5 / 14)
    assert border_brightness(np.stack([image, np.full_like(image, 255)])) == pytest.approx(19 / 28)
    assert border_brightness(np.full((1, 1, 3), 255, np.uint8)) == 1


def test_a_sample_is_evenly_spaced_and_bounded() -> None:
    assert spaced(0).tolist() == []
    assert spaced(3).tolist() == [0, 1, 2]
    sample = spaced(1_000_000)
    assert (len(sample), sample[0], sample[-1]) == (2_000, 0, 999_999)


def test_the_size_of_images_of_several_sizes_is_their_median_scaled_down_to_64() -> None:
    assert median_size(np.array([[20, 30], [22, 32], [90, 34]])) == (22, 32)
    assert median_size(np.array([[640, 320]])) == (64, 32)
    assert median_size(np.array([[3000, 1]])) == (64, 1)
