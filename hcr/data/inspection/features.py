"""Images as short vectors, among which near copies and neighbours are searched.

Two images are compared by the correlation r of their pixels, which does not depend on brightness and contrast. With
each image centred to mean 0 and scaled to length 1, r is the inner product, and |a - b|² = 2 (1 - r). The vectors are
then projected on their principal components. A projection only shortens distances, so images that are far apart in it
are far apart.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hcr.data.inspection.blocks import BLOCK_BYTES, blocks
from hcr.data.pixels import Images
from hcr.data.views import AnyImages

Features = NDArray[np.float32]

LARGEST = 32  # pixels of a side; larger images are averaged down to it before they are projected
NUM_COMPONENTS = 32
NUM_FITTED = 10_000  # images that the components are computed from


def features_of(sides: Sequence[AnyImages]) -> list[Features]:
    """The vectors of the images of each side, (n, m) with m at most NUM_COMPONENTS, in one projection for all.

    A blank image becomes NaN, as it has no correlation with any other. Memory is bounded: images are read in blocks.

    Args:
        sides: images (n, H, W, C), 0..255.
    """
    step = max(1, -(-sum(map(len, sides)) // NUM_FITTED))
    sample = np.concatenate(
        [unit_vectors(_averaged(images[some])) for images in sides for some in _every(step, images)]
    )
    sample = sample[~np.isnan(sample[:, 0])]
    if not len(sample):
        return [np.full((len(images), 1), np.nan, np.float32) for images in sides]
    middle = sample.mean(axis=0)
    sample -= middle
    components = np.linalg.eigh(sample.T @ sample)[1][:, ::-1][:, :NUM_COMPONENTS]
    components = np.ascontiguousarray(components, dtype=np.float32)
    return [_projected(images, middle, components) for images in sides]


def _every(step: int, images: AnyImages) -> list[NDArray[np.intp]]:
    """The places of every `step`-th image, in arrays of at most BLOCK_BYTES of images."""
    places = np.arange(0, len(images), step)
    size = max(1, BLOCK_BYTES // max(1, images[:1].nbytes))
    return [places[start : start + size] for start in range(0, len(places), size)]


def _projected(images: AnyImages, middle: Features, components: Features) -> Features:
    features = np.empty((len(images), components.shape[1]), np.float32)
    for rows, block in blocks(images):
        features[rows] = (unit_vectors(_averaged(block)) - middle) @ components
    return features


def unit_vectors(pixels: NDArray[np.generic]) -> Features:
    """Each row of (n, d) centred to mean 0 and scaled to length 1; NaN for a row of equal numbers."""
    centred = pixels.reshape(len(pixels), -1).astype(np.float32)
    is_blank = centred.min(axis=1) == centred.max(axis=1)
    centred -= centred.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    length[is_blank] = np.nan
    centred /= length
    return centred


def _averaged(images: Images) -> NDArray[np.generic]:
    """Images in grey (n, h, w), averaged over cells to at most LARGEST pixels a side."""
    grey: NDArray[np.generic] = images[..., 0] if images.shape[3] == 1 else images.mean(axis=3, dtype=np.float32)
    for axis in (1, 2):
        size = grey.shape[axis]
        if size > LARGEST:
            edges = np.linspace(0, size, LARGEST + 1).astype(int)
            sums = np.add.reduceat(grey, edges[:-1], axis=axis, dtype=np.float32)
            shape = [1, 1, 1]
            shape[axis] = LARGEST
            grey = sums / np.diff(edges).astype(np.float32).reshape(shape)
    return grey
