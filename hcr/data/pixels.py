"""Converts stored arrays to source pixels 0..255 by a declared rule; refuses arrays whose scale is ambiguous."""

import math
from collections.abc import Callable, Mapping, Sequence
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
SLICE = 1_000  # images converted at a time: as float64 they take ten times the memory
EDGE = 1e-6  # how far outside its scale a float may be, from prior arithmetic
WIDE = 2**14  # 16-bit pixels as bright as this are on a scale to 65535, not of 10, 12 or 14 bits

# How each rule scales a number to 0..255, and the ends of its scale.
SCALES: Mapping[str, tuple[float, float]] = {
    "0..255": (0, 255),
    "0..1": (0, 1),
    "-1..1": (-1, 1),
    "0..65535": (0, 65535),
}
CHOICES = f"choose dataset.pixels={', '.join(list(SCALES)[:-1])} or {list(SCALES)[-1]}"


def to_pixels(arrays: Mapping[str, Array], cfg: DataFormat, source: str) -> tuple[list[Images], list[str]]:
    """The images in `arrays` as pixels from 0 to 255, by the rule `cfg.pixels`.

    With "auto", whole numbers from 0 to 255 of any dtype are kept. Bool, whole numbers that are all 0 or 1, floats that
    fill [0, 1] or [-1, 1], fractions up to 255, and 16-bit numbers that need all 16 bits are scaled. An image may be
    (H, W, C) or channels first (C, H, W); with C = 1 also (H, W) or (H * W,).

    Args:
        arrays: by name, such as `x_train` and `x_test`; messages use the names.
        source: the file, for messages.

    Returns:
        (N, H, W, C) uint8 for each array, all of one (H, W, C); notes, one line each: scaled, rounded or dark pixels.

    Raises:
        DataError: another shape, no image, the same number in every pixel, or numbers that are no pixels.
    """
    shaped = {name: _shaped(array, name, cfg, source) for name, array in arrays.items()}
    filled = {name: array for name, array in shaped.items() if len(array)}
    if not filled:
        raise DataError(f"{source}: expected images, got none")
    shapes = {array.shape[1:] for array in filled.values()}
    if len(shapes) > 1:
        got = " and ".join(f"`{name}` of shape {array.shape}" for name, array in filled.items())
        raise DataError(f"{source}: expected images of one size, got {got}")
    rules = _recognised(filled, source) if cfg.pixels == "auto" else dict.fromkeys(filled, str(cfg.pixels))
    images = [
        _scaled(array, rules[name], name, source) if name in filled else np.zeros((0, *next(iter(shapes))), np.uint8)
        for name, array in shaped.items()
    ]
    least = min(int(array.min()) for array in images if len(array))
    most = max(int(array.max()) for array in images if len(array))
    return images, [*_notes(filled, rules, source), *check_brightness(least, most, source)]


def check_brightness(least: int, most: int, source: str) -> list[str]:
    """A note if the brightest pixel of a data set is dark.

    Args:
        least, most: the least and the greatest pixel.

    Raises:
        DataError: all pixels are alike.
    """
    if least == most:
        raise DataError(f"{source}: expected images that are not blank, got {least} in every pixel")
    if most >= DARK:
        return []
    return [
        f"{source}: its brightest pixel is {most} of 255; if {most} means white,"
        f" save the images as np.rint(x * (255 / {most})).astype('uint8')"
    ]


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
    return f"{float(value):g}" if np.asarray(value).dtype.kind == "f" else str(int(value))


def _shaped(array: Array, name: str, cfg: DataFormat, source: str) -> Array:
    """`array` as (N, H, W, C); an axis is moved or added only if that is unambiguous."""
    if array.dtype.kind not in NUMBERS:
        raise DataError(f"{source}: expected pixels that are numbers, got `{name}` of {array.dtype}")
    if cfg.image_shape is None:
        return _of_any_shape(array, name, source)
    height, width, channels = cfg.image_shape
    one = array.shape[1:]
    if one == (height, width, channels):
        return array
    if channels == 1 and one in ((height, width), (1, height, width), (height * width,)):
        return array.reshape(len(array), height, width, 1)
    if one == (channels, height, width):
        return np.moveaxis(array, 1, -1)
    raise DataError(
        f"{source}: expected images of {height}x{width}x{channels} (dataset.image_shape), got `{name}`"
        f" of shape {array.shape}{_other_shape(array.shape, cfg.image_shape)}"
    )


def _of_any_shape(array: Array, name: str, source: str) -> Array:
    one = array.shape[1:]
    if len(one) == 1 and (side := math.isqrt(one[0])) ** 2 == one[0] > 0:
        return array.reshape(len(array), side, side, 1)
    if len(one) == 1:
        raise DataError(
            f"{source}: expected a square number of pixels in each image, got {one[0]} in `{name}`; set"
            " dataset.image_shape=[height,width,channels]"
        )
    if len(one) == 2 and min(one) > 0:
        return array[..., np.newaxis]
    if len(one) == 3 and min(one) > 0 and one[2] in (1, 3):
        return array
    if len(one) == 3 and min(one) > 0 and one[0] in (1, 3):
        return np.moveaxis(array, 1, -1)
    what = " (with transparency: save 3 channels, or one)" if len(one) == 3 and 4 in (one[0], one[2]) else ""
    raise DataError(
        f"{source}: expected images as (N, height, width) or (N, height, width, 1 or 3 channels), got `{name}` of shape"
        f" {array.shape}{what}"
    )


def _other_shape(shape: tuple[int, ...], wanted: Sequence[int]) -> str:
    """The likely cause of the wrong shape, and how to fix it."""
    height, width, channels = wanted
    one = shape[1:]
    if one[:2] == (width, height) and one[2:] in ((), (channels,)):
        return "; if height and width are swapped, save x.swapaxes(1, 2)"
    if shape[:2] == (height, width) and (shape[2:-1] == (channels,) or (len(shape) == 3 and channels == 1)):
        return "; if the last axis counts the images, save np.moveaxis(x, -1, 0)"
    if len(shape) in (3, 4) and min(one) > 0 and one[2:] in ((), (1,), (3,)):
        size = [*one, 1][:3]
        return f"; if they are of that size, set dataset.image_shape=[{','.join(map(str, size))}]"
    return "; save them as (N, height, width, channels), one image after the other"


def _recognised(arrays: Mapping[str, Array], source: str) -> dict[str, str]:
    """The rule of each array; floats share one, and so do whole numbers."""
    rules = {name: "0..1" for name, array in arrays.items() if array.dtype.kind == "b"}
    for kinds, rule_of in (("f", _rule_of_floats), ("ui", _rule_of_whole)):
        own = {name: array for name, array in arrays.items() if array.dtype.kind in kinds}
        rules |= dict.fromkeys(own, rule_of(own, source)) if own else {}
    brightest = {name: array.max() for name, array in arrays.items()}
    whole = [name for name, rule in rules.items() if rule == "0..255"]
    is_ink = [name for name, rule in rules.items() if rule == "0..1" and arrays[name].dtype.kind in "ui"]
    dim = [name for name in whole if float(brightest[name]) == 1] or (is_ink if whole else [])
    if dim and len(arrays) > 1:
        ranges = ", ".join(f"`{name}` from 0 to {_number(most)}" for name, most in brightest.items())
        raise DataError(f"{source}: expected pixels on one scale, got {ranges}; save both from 0 to 255")
    return rules


def _rule_of_whole(arrays: Mapping[str, Array], source: str) -> str:
    least, most = _range(arrays)
    if least >= 0 and most <= 1 and most > 0:
        return "0..1"
    if least >= 0 and most <= 255:
        return "0..255"
    has_16 = any(array.dtype == np.uint16 for array in arrays.values())
    if least >= 0 and has_16 and most >= WIDE:
        return "0..65535"
    raise _undecided(arrays, source)


def _rule_of_floats(arrays: Mapping[str, Array], source: str) -> str:
    least, most = _range(arrays)
    if not (math.isfinite(least) and math.isfinite(most)):
        raise DataError(
            f"{source}: expected pixels from 0 to 255, got NaN or infinity; fix or remove the images that have them"
        )
    if not any(map(_has_fractions, arrays.values())):
        if least >= 0 and most <= 1 and most > 0:
            return "0..1"
        if least >= 0 and most <= 255:
            return "0..255"
        if least == -1 and most == 1:
            return "-1..1"
    elif least >= 0 and most <= 1:
        if most > 0.5 or all(map(_is_255ths, arrays.values())):
            return "0..1"
    elif -1 <= least <= -0.98 and 0.98 <= most <= 1:
        return "-1..1"
    elif least >= 0 and DARK <= most <= 255:
        return "0..255"
    raise _undecided(arrays, source)


def _undecided(arrays: Mapping[str, Array], source: str) -> DataError:
    least, most = min(array.min() for array in arrays.values()), max(array.max() for array in arrays.values())
    fractions = "fractions from " if any(map(_has_fractions, arrays.values())) else ""
    kinds = " ".join(sorted({str(array.dtype) for array in arrays.values()}))
    return DataError(
        f"{source}: expected pixels from 0 to 255, got {fractions}{_number(least)} to {_number(most)} ({kinds});"
        f" {_remedy(next(iter(arrays.values())), float(least), float(most))}"
    )


def _remedy(images: Array, least: float, most: float) -> str:
    """The advice for images whose numbers are on no scale that is recognised."""
    if images.dtype == np.int8:
        return "an int8 ends at 127: save them as uint8 (x.view('uint8') if they were bytes before)"
    if least >= -1 and most <= 255:
        return CHOICES
    if 255 < most <= 65535 and least >= 0:
        white = next(2**bits - 1 for bits in (10, 12, 14, 16) if most < 2**bits)
        return (
            f"if 65535 is white, set dataset.pixels=0..65535; if {white} is white, save"
            f" np.rint(x * (255 / {white})).astype('uint8')"
        )
    return "save them as uint8, 0 black and 255 white, before any normalisation"


def _range(arrays: Mapping[str, Array]) -> tuple[float, float]:
    least = min(array.min() for array in arrays.values())
    most = max(array.max() for array in arrays.values())
    return (float(least), float(most))


def _sliced(array: Array, test: Callable[[Array], bool]) -> bool:
    return all(test(array[start : start + SLICE]) for start in range(0, len(array), SLICE))


def _has_fractions(array: Array) -> bool:
    return array.dtype.kind == "f" and not _sliced(array, lambda part: bool((part == np.floor(part)).all()))


def _is_255ths(array: Array) -> bool:
    tolerance = HALF if array.dtype.itemsize == 2 else SINGLE

    def fits(part: Array) -> bool:
        steps = part.astype(np.float64) * 255
        return bool((np.abs(steps - np.rint(steps)) <= tolerance).all())

    return _sliced(array, fits)


def _scaled(array: Array, rule: str, name: str, source: str) -> Images:
    """(N, H, W, C) numbers as pixels 0..255."""
    low, high = SCALES[rule]
    if array.dtype.kind == "f" and not _sliced(array, lambda part: bool(np.isfinite(part).all())):
        raise DataError(f"{source}: expected pixels from {low} to {high}, got NaN or infinity in `{name}`")
    least, most = _range({name: array})
    if least < low - EDGE or most > high + EDGE:
        got = f"{least:g} to {most:g} in `{name}`"
        raise DataError(f"{source}: expected pixels from {low} to {high} (dataset.pixels), got {got}")
    if rule == "0..255" and array.dtype.kind != "f":
        return array.astype(np.uint8, copy=False)
    if rule == "0..1" and array.dtype.kind != "f":
        return array.astype(np.uint8) * np.uint8(255)
    pixels = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), SLICE):
        part = array[start : start + SLICE].astype(np.float64)
        pixels[start : start + SLICE] = np.rint((part - low) * (255 / (high - low))).clip(0, 255)
    return pixels


def _notes(arrays: Mapping[str, Array], rules: Mapping[str, str], source: str) -> list[str]:
    notes = []
    for rule in sorted({rule for name, rule in rules.items() if arrays[name].dtype.kind != "b"} - {"0..255"}):
        low, _, high = rule.partition("..")
        notes.append(f"{source}: its pixels from {low} to {high} are scaled to 0 to 255")
    rounded = [name for name, rule in rules.items() if rule == "0..255" and _has_fractions(arrays[name])]
    if rounded:
        notes.append(f"{source}: its pixels are rounded to whole numbers from 0 to 255")
    return notes
