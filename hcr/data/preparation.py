"""Prepares source images for a model: colour, polarity of the ink, size. Order and splits do not depend on it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hcr.data.pixels import Images

BRIGHT = 128  # pixels from here on are bright
BOX = 20 / 28  # share of the image that the ink box fills with center_of_mass
MOSTLY = 0.7  # share of bright border pixels from which ink is dark on light
SEEN = 2_000  # images whose borders are looked at


@dataclass(frozen=True)
class Preparation:
    """What is done to each source image, in this order.

    Attributes:
        color: "gray" weighs red, green and blue as ITU-R BT.601 does; "rgb" repeats a gray channel.
        invert: 255 minus each pixel.
        size: (height, width) to prepare to; None: as it is.
        fit: how an image becomes `size`. "stretch" ignores the aspect; "pad" keeps it and adds background; and
            "center_of_mass" scales the box around the ink to 20/28 of the size, keeping its aspect, and moves the
            ink's centre of mass to the middle; without a `size`, to that of the image.

    Source:
        "center_of_mass" follows the description of MNIST by LeCun, Cortes and Burges: NIST's digits were scaled into
        20x20 pixels and centred in 28x28 by their centre of mass.
    """

    color: Literal["gray", "rgb"]
    invert: bool
    size: tuple[int, int] | None
    fit: Literal["stretch", "pad", "center_of_mass"]

    def changes(self, channels: int, size: tuple[int, int] | None) -> bool:
        """False if images of `channels` and of one `size` (height, width; None: of several) stay as they are."""
        resizes = self.size is not None and self.size != size
        return self.invert or resizes or self.fit == "center_of_mass" or channels != self.channels

    @property
    def channels(self) -> int:
        """Channels of a prepared image."""
        return 1 if self.color == "gray" else 3

    def apply(self, image: Images) -> Images:
        """One image (H, W, C), C 1 or 3, prepared."""
        if image.shape[2] != self.channels:
            image = _gray(image) if self.color == "gray" else np.repeat(image, 3, axis=2)
        if self.invert:
            image = 255 - image
        if self.fit == "center_of_mass":
            return _centered(image, self.size or (image.shape[0], image.shape[1]))
        if self.size is None:
            return image
        if self.fit == "stretch":
            return _resized(image, self.size)
        return _padded(image, self.size)

    def apply_all(self, images: Images) -> Images:
        """Images (N, H, W, C) of one size, prepared: (N, height, width, channels)."""
        if not self.changes(images.shape[3], (images.shape[1], images.shape[2])):
            return images
        height, width = self.size or images.shape[1:3]
        found = np.empty((len(images), height, width, self.channels), np.uint8)
        for i, image in enumerate(images):
            found[i] = self.apply(image)
        return found


def preparation_digest(images: Images, preparation: Preparation) -> str:
    """SHA-256 (hex) of a preparation and of what it made of the images (N, h, w, c), in canonical order."""
    sha = hashlib.sha256(json.dumps([asdict(preparation), list(images.shape)]).encode())
    for start in range(0, len(images), 4_096):
        sha.update(np.ascontiguousarray(images[start : start + 4_096]).data)
    return sha.hexdigest()


def border_brightness(image: Images) -> float:
    """The share of bright pixels in the outermost ring of an image (H, W, C), or of images (N, H, W, C)."""
    gray = image.mean(axis=-1)
    ring = [gray[..., 0, :], gray[..., -1, :], gray[..., 1:-1, 0], gray[..., 1:-1, -1]]
    bright = sum(int((part >= BRIGHT).sum()) for part in ring)
    return float(bright / max(1, sum(part.size for part in ring)))


def spaced(count: int) -> NDArray[np.intp]:
    """The indices of at most SEEN of `count` images, evenly spaced."""
    return np.unique(np.linspace(0, max(0, count - 1), min(count, SEEN)).astype(np.intp))


def median_size(sizes: NDArray[np.int64], longest: int = 64) -> tuple[int, int]:
    """The median height and width of images (N, 2); scaled down if the longer side is above `longest` pixels."""
    height, width = np.median(sizes, axis=0)
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _gray(image: Images) -> Images:
    """ITU-R BT.601 luma of an RGB image (H, W, 3)."""
    return np.asarray(Image.fromarray(image).convert("L"))[..., np.newaxis]


def _resized(image: Images, size: tuple[int, int]) -> Images:
    """Bilinear, with the support widened when shrinking, so that thin strokes do not vanish."""
    if image.shape[:2] == tuple(size):
        return image
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    scaled: Images = np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return scaled.reshape(*size, image.shape[2])


def _inside(image: Images, size: tuple[int, int]) -> Images:
    """`image` scaled to fit in `size`, its aspect kept."""
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    return _resized(image, (min(size[0], max(1, round(height * scale))), min(size[1], max(1, round(width * scale)))))


def _padded(image: Images, size: tuple[int, int]) -> Images:
    if image.shape[:2] == tuple(size):
        return image
    scaled = _inside(image, size)
    canvas = np.empty((*size, image.shape[2]), np.uint8)
    canvas[:] = _background(scaled)
    top, left = (size[0] - scaled.shape[0]) // 2, (size[1] - scaled.shape[1]) // 2
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return canvas


def _background(image: Images) -> NDArray[np.uint8]:
    """The median of the border, by channel."""
    ring = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    median: Images = np.median(ring, axis=0).astype(np.uint8)
    return median


def _centered(image: Images, size: tuple[int, int]) -> Images:
    """The ink box scaled to BOX of `size`, its centre of mass in the middle; what leaves the canvas is cut."""
    ground = _background(image).astype(np.int64)
    ink = np.abs(image.astype(np.int64) - ground).max(axis=2)
    rows, columns = np.flatnonzero(ink.max(axis=1) >= 32), np.flatnonzero(ink.max(axis=0) >= 32)
    canvas = np.empty((*size, image.shape[2]), np.uint8)
    canvas[:] = ground
    if not len(rows):
        return canvas  # a blank image
    box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scaled = _inside(box, (max(1, round(size[0] * BOX)), max(1, round(size[1] * BOX))))
    weight = np.abs(scaled.astype(np.float64) - ground).sum(axis=2)
    total = weight.sum()
    row = (weight.sum(axis=1) * np.arange(len(scaled))).sum() / total if total else (len(scaled) - 1) / 2
    column = (weight.sum(axis=0) * np.arange(scaled.shape[1])).sum() / total if total else (scaled.shape[1] - 1) / 2
    top, left = round(size[0] // 2 - row), round(size[1] // 2 - column)  # pixel 14 of 28, as in MNIST's own files
    to_rows = slice(max(0, top), min(size[0], top + scaled.shape[0]))
    to_columns = slice(max(0, left), min(size[1], left + scaled.shape[1]))
    canvas[to_rows, to_columns] = scaled[
        to_rows.start - top : to_rows.stop - top, to_columns.start - left : to_columns.stop - left
    ]
    return canvas
