"""Pixels: every scale that can be meant in one way gives the same numbers; any other is refused with what to save."""

from typing import Any

import numpy as np
import pytest

from hcr.config.errors import DataError
from hcr.data.formats import DataFormat
from hcr.data.pixels import to_pixels

GREY = np.random.default_rng(0).integers(0, 256, (30, 4, 3), dtype=np.uint8)
GREY.flat[:2] = 0, 255
INK = GREY > 127


def cfg(channels: int = 1) -> DataFormat:
    return DataFormat(name="small", format="x", image_shape=(4, 3, channels), num_classes=2, class_names=("a", "b"))


def read(images: Any, channels: int = 1) -> tuple[np.ndarray, str | None]:
    (pixels,), notes = to_pixels({"x": np.asarray(images)}, cfg(channels), "a file")
    assert pixels.dtype == np.uint8
    assert pixels.shape[1:] == (4, 3, channels)
    return pixels, "; ".join(notes) or None


def refusal(**arrays: Any) -> str:
    with pytest.raises(DataError) as refused:
        to_pixels(arrays, cfg(), "a file")
    assert str(refused.value).startswith("a file: expected ")
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "i4", ">i4", "u8", "i8", "f2", "f4", ">f4", "f8", "longdouble"])
def test_whole_numbers_from_0_to_255_are_read_as_they_are(dtype: str) -> None:
    pixels, note = read(GREY.astype(dtype))
    assert (pixels[..., 0] == GREY).all()
    assert note is None


def test_bool_is_ink_of_0_and_255() -> None:
    pixels, note = read(INK)
    assert (pixels[..., 0] == np.where(INK, 255, 0)).all()
    assert note is None


@pytest.mark.parametrize("dtype", ["i1", "u1", "i8", "u8", "f2", "f4", "f8"])
def test_numbers_that_are_all_0_or_1_are_ink_and_that_is_told(dtype: str) -> None:
    pixels, note = read(INK.astype(dtype))
    assert (pixels[..., 0] == np.where(INK, 255, 0)).all()
    assert note == "a file: its pixels from 0 to 1 are scaled to 0 to 255"


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", "longdouble"])
def test_every_pixel_divided_by_255_is_read_back(dtype: str) -> None:
    levels = np.tile(np.arange(256) / 255, 12).reshape(-1, 4, 3)
    pixels, note = read(levels.astype(dtype))
    assert (pixels.ravel() == np.tile(np.arange(256), 12)).all()
    assert note == "a file: its pixels from 0 to 1 are scaled to 0 to 255"


def test_single_precision_arithmetic_on_the_way_is_forgiven() -> None:
    pixels, _ = read((GREY.astype("f4") * np.float32(1 / 255)).astype("f8"))
    assert (pixels[..., 0] == GREY).all()


def test_arrays_of_one_file_share_a_scale_whatever_their_types() -> None:
    parts, notes = to_pixels({"x_train": INK, "x_test": np.where(INK, 255, 0)}, cfg(), "a file")
    assert (parts[0] == parts[1]).all()
    assert notes == []
    parts, _ = to_pixels({"x_train": GREY / 255, "x_test": INK.astype("f4")}, cfg(), "a file")
    assert (parts[1][..., 0] == np.where(INK, 255, 0)).all()
    told = refusal(x_train=INK.astype("u1"), x_test=GREY)
    assert "pixels on one scale, got `x_train` from 0 to 1, `x_test` from 0 to 255; save both from 0 to 255" in told


def test_a_dark_set_is_read_as_it_is_and_told() -> None:
    pixels, note = read(GREY // 16)
    assert (pixels[..., 0] == GREY // 16).all()
    assert note is not None
    assert "brightest pixel is 15 of 255; if 15 means white, save the images as np.rint(x * (255 / 15))" in note


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (GREY.astype("i4") - 20, "got -20 to 235 (int32); save them as uint8, 0 black and 255 white"),
        (GREY.view("i1"), "got -128 to 127 (int8); an int8 ends at 127"),
        (GREY.astype("u2") * 4, "got 0 to 1020 (uint16); if 65535 is white, set dataset.pixels=0..65535; if 1023 is"),
        (GREY.astype("i4") * 257, "got 0 to 65535 (int32); if 65535 is white, set dataset.pixels=0..65535"),
        (GREY.astype("u8") << np.uint64(55), "got 0 to 9187343239835811840 (uint64); save them as uint8"),
        ((GREY - 127.0) / 300, "choose dataset.pixels=0..255, 0..1, -1..1 or 0..65535"),
        (GREY / 765.0, "(float64); choose dataset.pixels="),
        (GREY * 0.3, "got fractions from 0 to 76.5 (float64); choose dataset.pixels="),
        ((GREY - 127.0) / 0.4, "save them as uint8, 0 black and 255 white, before any normalisation"),
        (np.where(INK, np.nan, 1), "got NaN or infinity; fix or remove the images that have them"),
        (np.zeros((30, 4, 3)), "expected images that are not blank, got 0 in every pixel"),
        (np.ones((30, 4, 3), bool), "got 255 in every pixel"),
        (GREY[:0], "expected images, got none"),
        (GREY.astype("c8"), "got `x` of complex64"),
        (GREY.astype("M8[s]"), "got `x` of datetime64[s]"),
        (GREY.astype("U3"), "got `x` of <U3"),
        (GREY.astype(object), "got `x` of object"),
    ],
)
def test_numbers_that_are_no_pixels_are_refused_with_what_to_save(images: np.ndarray, told: str) -> None:
    assert told in refusal(x=images)


@pytest.mark.parametrize(
    ("images", "rule", "told"),
    [
        (GREY.astype("u2") * 257, "0..65535", "0 to 65535 are scaled to 0 to 255"),
        (GREY / 127.5 - 1, "-1..1", "-1 to 1 are scaled to 0 to 255"),
        (np.round(GREY / 255, 2), "0..1", "0 to 1 are scaled to 0 to 255"),
        (GREY * 0.999, "0..255", "are rounded to whole numbers"),
    ],
)
def test_a_scale_that_the_numbers_fill_is_recognised_or_declared_and_told(images: Any, rule: str, told: str) -> None:
    pixels, note = read(images)
    assert np.abs(pixels[..., 0].astype(int) - GREY).max() <= 2
    assert note is not None
    assert told in note
    declared = cfg().replace(pixels=rule)
    assert (to_pixels({"x": images}, declared, "a file")[0][0] == pixels).all()


@pytest.mark.parametrize("rule", ["0..1", "-1..1"])
def test_numbers_outside_the_declared_scale_are_refused(rule: str) -> None:
    with pytest.raises(DataError, match=r"\(dataset\.pixels\), got 0 to 255 in `x`$"):
        to_pixels({"x": GREY}, cfg().replace(pixels=rule), "a file")


def test_without_a_declared_shape_the_images_have_their_own() -> None:
    free = cfg().replace(image_shape=None)
    colour = np.random.default_rng(1).integers(0, 256, (30, 5, 7, 3), dtype=np.uint8)
    square = GREY[:, :3].reshape(30, 9)
    for given, shape in (
        (GREY, (4, 3, 1)),
        (colour, (5, 7, 3)),
        (np.moveaxis(colour, -1, 1), (5, 7, 3)),
        (square, (3, 3, 1)),
    ):
        (found,), _ = to_pixels({"x": given}, free, "a file")
        assert found.shape == (30, *shape)
    with pytest.raises(DataError, match=r"expected a square number of pixels in each image, got 12 in `x`"):
        to_pixels({"x": GREY.reshape(30, 12)}, free, "a file")
    with pytest.raises(DataError, match=r"with transparency: save 3 channels, or one"):
        to_pixels({"x": np.zeros((30, 5, 5, 4), np.uint8)}, free, "a file")


@pytest.mark.parametrize("shape", [(30, 4, 3), (30, 4, 3, 1), (30, 1, 4, 3), (30, 12)], ids=str)
def test_images_of_one_channel_are_read_in_every_shape_that_can_mean_one_thing(shape: tuple[int, ...]) -> None:
    assert (read(GREY.reshape(shape))[0][..., 0] == GREY).all()


def test_channels_may_come_first() -> None:
    colour = np.random.default_rng(1).integers(0, 256, (30, 4, 3, 3), dtype=np.uint8)
    assert (read(np.moveaxis(colour, -1, 1), channels=3)[0] == colour).all()
    assert (read(colour, channels=3)[0] == colour).all()


def test_a_flat_image_of_several_channels_could_mean_two_things_and_is_refused() -> None:
    with pytest.raises(DataError, match=r"got `x` of shape \(30, 36\); save them as \(N, height, width, channels\)"):
        read(np.zeros((30, 36), np.uint8), channels=3)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (GREY.swapaxes(1, 2), "got `x` of shape (30, 3, 4); if height and width are swapped, save x.swapaxes(1, 2)"),
        (np.moveaxis(GREY, 0, -1), "(4, 3, 30); if the last axis counts the images, save np.moveaxis(x, -1, 0)"),
        (np.zeros((30, 8, 8, 3)), "if they are of that size, set dataset.image_shape=[8,8,3]"),
        (np.zeros((30, 8, 8)), "if they are of that size, set dataset.image_shape=[8,8,1]"),
        (np.zeros((30, 13)), "save them as (N, height, width, channels)"),
        (np.zeros(30), "got `x` of shape (30,); save them as"),
    ],
)
def test_another_shape_is_refused_with_what_may_have_happened(images: np.ndarray, told: str) -> None:
    assert told in refusal(x=images)
