"""Ink: how bright pixels are, in all images and at their borders; blank images, and images of the other polarity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcr.data.inspection.blocks import blocks
from hcr.data.labels import Labels
from hcr.data.pixels import Images
from hcr.data.views import AnyImages

BRIGHT = 128  # a pixel from here on is bright
CLEAR = 0.75  # share of bright (or dark) border pixels from which an image is dark on light (or light on dark)


@dataclass(frozen=True)
class Ink:
    """Statistics of pixels 0..255 of N images in K classes.

    Attributes:
        mean, sd: of all pixels.
        bright_share, border_bright_share: fraction of pixels that are bright, in whole images and in their outermost
            rows and columns.
        class_means: (K,), mean pixel of each class; NaN for a class without images.
        dark_on_light: True if more images have a clearly bright border than a clearly dark one.
        blank: (N,), every pixel of the image is the same.
        turned: (N,), the image's border is clearly bright where that of most is clearly dark, or the other way round;
            a blank image is neither.
    """

    mean: float
    sd: float
    bright_share: float
    border_bright_share: float
    class_means: NDArray[np.float64]
    dark_on_light: bool
    blank: NDArray[np.bool_]
    turned: NDArray[np.bool_]


def ink_of(sides: Sequence[tuple[AnyImages, Labels]], num_classes: int) -> Ink:
    """The ink of the images of all sides, one after the other.

    Args:
        sides: images (N, H, W, C), 0..255, and labels (N,), in [0, num_classes).
    """
    per_image, border_shares, blank, bright = [], [], [], 0
    total_square, num_pixels = 0.0, 0
    for block in (block for images, _ in sides for _, block in blocks(images)):
        flat = block.reshape(len(block), -1)
        per_image.append(flat.mean(axis=1, dtype=np.float64))
        # uint8 squares in float32 are exact, and their sum per image loses nothing that is shown.
        total_square += float(np.square(flat, dtype=np.float32).sum(axis=1, dtype=np.float64).sum())
        num_pixels += flat.size
        bright += int(np.count_nonzero(flat >= BRIGHT))
        border_shares.append((border_pixels(block) >= BRIGHT).mean(axis=1))
        blank.append(flat.min(axis=1) == flat.max(axis=1))
    means, is_blank, border = np.concatenate(per_image), np.concatenate(blank), np.concatenate(border_shares)
    labels = np.concatenate([labels for _, labels in sides])
    mean = float(means.mean())
    counts = np.bincount(labels, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        class_means = np.bincount(labels, means, minlength=num_classes) / counts
    is_light, is_dark = (border >= CLEAR) & ~is_blank, (border <= 1 - CLEAR) & ~is_blank
    dark_on_light = bool(is_light.sum() > is_dark.sum())
    return Ink(
        mean=mean,
        sd=float(np.sqrt(max(0.0, total_square / num_pixels - mean**2))),
        bright_share=bright / num_pixels,
        border_bright_share=float(border.mean()),
        class_means=class_means,
        dark_on_light=dark_on_light,
        blank=is_blank,
        turned=is_dark if dark_on_light else is_light,
    )


def border_pixels(images: Images) -> Images:
    """The outermost rows and columns of images (N, H, W, C), each pixel once: (N, pixels)."""
    frame = np.ones(images.shape[1:3], dtype=bool)
    frame[1:-1, 1:-1] = False
    return images[:, frame].reshape(len(images), -1)
