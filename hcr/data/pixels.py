"""Converts arrays from files to images with pixels 0..255; refuses arrays that are ambiguous."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.formats import DataFormat

Array = NDArray[Any]
Images = NDArray[np.uint8]

NUMBERS = "uifb"  # NumPy's kinds of real numbers: unsigned, signed, float, bool
DARK = 128  # if no pixel is as bright as this, white may not be 255
HALF = 0.0624  # largest rounding error of k/255 in float16, in units of 1/255
SINGLE = 1e-3  # the same for float32 and wider, with a margin for prior arithmetic
SLICE = 1_000  # images converted at a time


def to_pixels(arrays: Mapping[str, Array], cfg: DataFormat, source: str) -> tuple[list[Images], str | None]:
    """The images in `arrays`, which share one scale, as pixels from 0 to 255.

    Whole numbers from 0 to 255 of any dtype are kept. Bool, whole numbers that are all 0 or 1, and floats k/255 are
    scaled. An image may be (H, W, C) or channels first (C, H, W); with C = 1 also (H, W) or (H * W,).

    Args:
        arrays: by name, such as `x_train` and `x_test`; messages use the names.
        source: the file, for messages.

    Returns:
        (N, H, W, C) uint8 for each array; a note if the pixels were scaled or are dark, else None.

    Raises:
        DataError: another shape, no image, the same number in every pixel, or numbers that are no pixels.
    """
    shaped = {name: _shaped(array, name, cfg, source) for name, array in arrays.items()}
    if not sum(map(len, shaped.values())):
        raise DataError(f"{source}: expected images, got none")
    scaled = {name: _from_unit_scale(array) for name, array in shaped.items()}
    whole = {name: array for name, array in shaped.items() if scaled[name] is None and len(array)}
    for array in whole.values():
        check_whole(array, source, "pixels", low=0, high=255, remedy=_remedy(array))
    brightest = {name: int(array.max()) for name, array in whole.items()}
    is_ink = max(brightest.values(), default=0) == 1
    if not is_ink and 1 in brightest.values():
        ranges = ", ".join(f"`{name}` from 0 to {most}" for name, most in brightest.items())
        raise DataError(f"{source}: expected pixels on one scale, got {ranges}; save both from 0 to 255")
    images = []
    for name, array in shaped.items():
        read = scaled[name]
        if read is None:
            read = array.astype(np.uint8, copy=False)
            read = read * np.uint8(255) if is_ink else read
        images.append(read)
    least = min(int(array.min()) for array in images if len(array))
    most = max(int(array.max()) for array in images if len(array))
    if least == most:
        raise DataError(f"{source}: expected images that are not blank, got {least} in every pixel")
    has_fractions = any(array.dtype.kind == "f" and scaled[name] is not None for name, array in shaped.items())
    if is_ink or has_fractions:
        return images, f"{source}: its pixels from 0 to 1 are scaled to 0 to 255"
    if most < DARK:
        return images, (
            f"{source}: its brightest pixel is {most} of 255; if {most} means white,"
            f" save the images as np.rint(x * (255 / {most})).astype('uint8')"
        )
    return images, None


def check_whole(values: Array, source: str, what: str, *, low: int, high: int, remedy: str = "") -> None:
    """Refuse `values` (at least one) unless they are whole numbers from `low` to `high`."""
    end = f"; {remedy}" if remedy else ""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise DataError(f"{source}: expected {what} from {low} to {high}, got NaN or infinity{end}")
        if (values != np.floor(values)).any():
            found = f"from {_number(values.min())} to {_number(values.max())}"
            raise DataError(f"{source}: expected whole {what} from {low} to {high}, got fractions {found}{end}")
    least, most = values.min(), values.max()
    if int(least) < low or int(most) > high:
        raise DataError(f"{source}: expected {what} from {low} to {high}, got {_number(least)} to {_number(most)}{end}")


def _number(value: Any) -> str:
    return f"{float(value):g}" if value.dtype.kind == "f" else str(int(value))


def _shaped(array: Array, name: str, cfg: DataFormat, source: str) -> Array:
    """`array` as (N, H, W, C); an axis is moved or added only if that is unambiguous."""
    height, width, channels = cfg.image_shape
    if array.dtype.kind not in NUMBERS:
        raise DataError(f"{source}: expected pixels that are numbers, got `{name}` of {array.dtype}")
    one = array.shape[1:]
    if one == (height, width, channels):
        return array
    if channels == 1 and one in ((height, width), (1, height, width), (height * width,)):
        return array.reshape(len(array), height, width, 1)
    if one == (channels, height, width):
        return np.moveaxis(array, 1, -1)
    raise DataError(
        f"{source}: expected images of {height}x{width}x{channels} (dataset.image_shape), got `{name}`"
        f" of shape {array.shape}{_other_shape(array.shape, cfg)}"
    )


def _other_shape(shape: tuple[int, ...], cfg: DataFormat) -> str:
    """The likely cause of the wrong shape, and how to fix it."""
    height, width, channels = cfg.image_shape
    one = shape[1:]
    if one[:2] == (width, height) and one[2:] in ((), (channels,)):
        return "; if height and width are swapped, save x.swapaxes(1, 2)"
    if shape[:2] == (height, width) and (shape[2:-1] == (channels,) or (len(shape) == 3 and channels == 1)):
        return "; if the last axis counts the images, save np.moveaxis(x, -1, 0)"
    if len(shape) in (3, 4) and min(one) > 0 and one[2:] in ((), (1,), (3,)):
        size = [*one, 1][:3]
        return f"; if they are of that size, set dataset.image_shape=[{','.join(map(str, size))}]"
    return "; save them as (N, height, width, channels), one image after the other"


def _from_unit_scale(images: Array) -> Images | None:
    """Pixels as 0..255 if they are clearly on a scale from 0 to 1 (bool, or floats k/255); else None."""
    if images.dtype.kind == "b":
        return images.astype(np.uint8) * np.uint8(255)
    if images.dtype.kind != "f" or not len(images):
        return None
    if not (images.min() >= 0 and images.max() <= 1):
        return None  # not finite, or out of range
    tolerance = HALF if images.dtype.itemsize == 2 else SINGLE
    pixels = np.empty(images.shape, np.uint8)
    is_whole = True
    for start in range(0, len(images), SLICE):  # in slices, as float64 takes ten times the memory
        steps = images[start : start + SLICE].astype(np.float64) * 255
        nearest = np.rint(steps)
        if (np.abs(steps - nearest) > tolerance).any():
            return None
        is_whole = is_whole and bool(np.isin(nearest, (0, 255)).all())
        pixels[start : start + SLICE] = nearest
    return None if is_whole and bool((images == np.floor(images)).all()) else pixels


def _remedy(images: Array) -> str:
    """The advice on how to save images whose numbers are no pixels from 0 to 255."""
    plain = "save them as uint8, 0 black and 255 white, before any normalisation"
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        return "fix or remove the images that have them"
    least, most = float(images.min()), float(images.max())
    if images.dtype == np.int8:
        return "an int8 ends at 127: save them as uint8 (x.view('uint8') if they were bytes before)"
    if -1 <= least < 0 and most <= 1:
        return "if -1 is black and 1 is white, save np.rint((x + 1) * 127.5).astype('uint8')"
    if least < 0:
        return plain
    if most <= 1:
        return "save np.rint(x * 255).astype('uint8')"
    if most <= 255:
        return "save np.rint(x).astype('uint8')"
    if most <= 65535:
        white = next(2**bits - 1 for bits in (10, 12, 14, 16) if most < 2**bits)
        return f"if {white} is white, save np.rint(x * (255 / {white})).astype('uint8')"
    return plain
