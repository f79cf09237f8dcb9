"""Makes an image of found ink as the makers of a published data set made theirs; recognizes such images."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from hcr.data.pixels import Images
from hcr.data.preparation import BOX
from hcr.recognition.ink import Ink

Plane = NDArray[np.float32]

BLACK = 32  # pixels below this are paper, as JPEG leaves them
INKED_BORDER = 0.1  # share of border pixels that ink may touch; of MNIST at most 0.05
OFF_CENTER = 1.5  # pixels of 28 that the centre of mass of a ready image may be from the middle; of MNIST at most 0.6
BLOCK = 4  # pixels of a side that one pixel of `digits` counts
WIDTH = 20 / 32  # of the height: the width to which NIST's programs stretch a character
MOST_STRETCHED = 2  # times its width; a 1 stays narrow
INKED = 0.3  # share of ink in an image of `digits`; 0.305 on average
MOST_GROWN = 2.0  # pixels of 32 by which strokes are made thicker for that, at most
LEAST_GROWN = -1.0


def as_mnist(ink: Ink, size: tuple[int, int]) -> Images:
    """Ink scaled into 20/28 of the image, its aspect kept, with its centre of mass on the middle pixel: (h, w).

    Source:
        LeCun, Cortes and Burges, "The MNIST database of handwritten digits": 20x20 pixels in 28x28. Its images have
        their centre of mass at pixel 14 (standard deviation 0.29), and a longer side of 20 pixels (59,987 of 60,000).
    """
    height, width = size
    inside = max(1, round(height * BOX)), max(1, round(width * BOX))
    scale = min(inside[0] / ink.strength.shape[0], inside[1] / ink.strength.shape[1])
    tall = min(inside[0], max(1, round(ink.strength.shape[0] * scale)))
    wide = min(inside[1], max(1, round(ink.strength.shape[1] * scale)))
    scaled = _resized(ink.strength, (tall, wide))
    weight = scaled.sum()
    row = float((scaled.sum(axis=1) * np.arange(tall)).sum() / weight)
    column = float((scaled.sum(axis=0) * np.arange(wide)).sum() / weight)
    top, left = round(height // 2 - row), round(width // 2 - column)
    rows = slice(max(0, top), min(height, top + tall))
    columns = slice(max(0, left), min(width, left + wide))
    canvas = np.zeros(size, np.float32)
    canvas[rows, columns] = scaled[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return _pixels(canvas)


def as_digits(ink: Ink, size: tuple[int, int]) -> Images:
    """Ink made upright, stretched to the height and 20/32 of the width, and counted in blocks of 4x4: (h, w).

    Strokes are made as thick as those of the set, which has ink in 0.3 of an image.

    Source:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (UCI, 1998): bitmaps of 32x32 by NIST's
        programs, counted in blocks of 4x4. Garris et al. 1994, "NIST Form-Based Handprint Recognition System": a
        character is sheared upright and stretched to 20x32. An SVM trained on the set reads 66 % of MNIST's digits
        if they are only scaled and counted, 78 % if upright, 81 % with the thickness too (n = 1,200).
    """
    tall, most = size[0] * BLOCK, size[1] * BLOCK
    upright = _upright(ink.strength)
    full = max(1, min(most, round(tall * WIDTH)))
    natural = upright.shape[1] * tall / upright.shape[0]
    wide = min(full, max(3, round(natural * MOST_STRETCHED)))
    scaled = np.zeros((tall, most), np.float32)
    left = (most - wide) // 2
    scaled[:, left : left + wide] = _resized(upright, (tall, wide))
    blocks = _thickened(scaled).reshape(size[0], BLOCK, size[1], BLOCK).mean(axis=(1, 3))
    return _pixels(np.rint(blocks * BLOCK**2) / BLOCK**2)


def is_as_mnist(image: Images) -> bool:
    """True if an image (h, w) has a black border, its ink in about 20/28 of it, and the centre of mass in the middle.

    True of all 70,000 images of MNIST.
    """
    height, width = image.shape
    inked = image >= BLACK
    ring = np.concatenate([inked[0], inked[-1], inked[1:-1, 0], inked[1:-1, -1]])
    if ring.mean() > INKED_BORDER or not inked.any():
        return False
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    share = max((rows[-1] - rows[0] + 1) / height, (columns[-1] - columns[0] + 1) / width)
    middle = ndimage.center_of_mass(np.where(inked, image, 0))
    off = max(abs(middle[0] - height // 2) / height, abs(middle[1] - width // 2) / width)
    return bool(BOX - 3.5 / 28 <= share <= BOX + 1.5 / 28 and off <= OFF_CENTER / 28)


def is_as_digits(image: Images) -> bool:
    """True if an image (h, w) has ink in its first and last row, and is darker at the left and right than between.

    True of all 1,797 images of `digits`.
    """
    sides = image[:, [0, -1]].mean()
    has_ends = min(image[0].max(), image[-1].max()) > 0
    return bool(has_ends and sides < image[:, 1:-1].mean())


Make = Callable[[Ink, tuple[int, int]], Images]
MAKERS: Mapping[str, tuple[Make, Callable[[Images], bool]]] = MappingProxyType(
    {"digits": (as_digits, is_as_digits), "mnist": (as_mnist, is_as_mnist)}
)


def _upright(strength: Plane) -> Plane:
    """Ink (h, w) sheared so that its rows and columns are not correlated, cut to its box."""
    height, width = strength.shape
    row, column = ndimage.center_of_mass(strength)
    y, x = np.arange(height)[:, np.newaxis] - row, np.arange(width)[np.newaxis] - column
    spread = float((strength * y**2).sum())
    slant = float(np.clip((strength * y * x).sum() / spread, -1, 1)) if spread else 0.0
    pad = int(abs(slant) * height) + 1
    padded = np.pad(strength, ((0, 0), (pad, pad)))
    sheared: Plane = ndimage.affine_transform(padded, [[1, 0], [slant, 1]], offset=[0, -slant * row], order=1)
    columns = np.flatnonzero(sheared.max(axis=0) >= 0.5)
    return sheared[:, columns[0] : columns[-1] + 1] if len(columns) else strength


def _thickened(strength: Plane) -> Plane:
    """Ink with its outline moved outwards, or inwards, until it covers INKED of the image."""
    inked = strength >= 0.5
    if not inked.any():
        return strength
    outside = ndimage.distance_transform_edt(~inked) - ndimage.distance_transform_edt(inked)
    reach = float(np.clip(np.quantile(outside, INKED), LEAST_GROWN, MOST_GROWN))
    grown: Plane = np.clip(reach - outside + 0.5, 0, 1).astype(np.float32)
    return grown


def _pixels(strength: Plane) -> Images:
    return np.rint(255 * np.clip(strength, 0, 1)).astype(np.uint8)


def _resized(strength: Plane, size: tuple[int, int]) -> Plane:
    picture = Image.fromarray(np.ascontiguousarray(strength, np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))
