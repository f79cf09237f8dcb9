"""A data set in memory: checked, in canonical order, with a digest of its own."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.data import DatasetConfig
from hcr.config.errors import DataError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Images in canonical order: by label, then by SHA-256 of their pixels.

    So one data set gives one order, one digest and one split, whatever file and order it came in.

    Attributes:
        images: (N, H, W, C), 0..255.
        labels: (N,), in [0, num_classes).
        is_test: (N,), whether the data set itself says that an image is for test; None where it says nothing.
        digest: SHA-256 of all of these, in hex.
    """

    images: Images
    labels: Labels
    is_test: NDArray[np.bool_] | None
    digest: str


def make_dataset(
    images: NDArray[Any], labels: NDArray[Any], is_test: NDArray[np.bool_] | None, cfg: DatasetConfig, source: str
) -> Dataset:
    """A Dataset from arrays in any order, after checking that they are what `cfg` declares.

    Args:
        images: (N, H, W) or (N, H, W, C), whole numbers from 0 to 255 of any dtype.
        labels: (N,), whole numbers of any dtype.
        is_test: (N,) or None.
        source: the file, for messages.

    Raises:
        DataError: another shape, no image, NaN, pixels or labels out of range.
    """
    checked_images = _check_images(images, cfg, source)
    checked_labels = _check_labels(labels, cfg, source)
    if len(checked_images) != len(checked_labels):
        raise DataError(f"{source}: expected a label per image, got {len(labels)} labels for {len(images)} images")
    order = canonical_order(checked_images, checked_labels, is_test)
    ordered = (
        np.ascontiguousarray(checked_images[order]),
        checked_labels[order],
        None if is_test is None else is_test[order],
    )
    return Dataset(*ordered, digest=_digest(*ordered))


def canonical_order(images: Images, labels: Labels, is_test: NDArray[np.bool_] | None) -> NDArray[np.intp]:
    """The permutation (N,) that sorts by label, then by SHA-256 of the pixels, then train before test."""
    digests = b"".join(hashlib.sha256(image).digest() for image in np.ascontiguousarray(images))
    words = np.frombuffer(digests, dtype=">u8").reshape(len(images), 4)
    last = np.zeros(len(images), dtype=bool) if is_test is None else is_test
    return np.lexsort((last, words[:, 3], words[:, 2], words[:, 1], words[:, 0], labels))


def _check_images(images: NDArray[Any], cfg: DatasetConfig, source: str) -> Images:
    height, width, channels = cfg.image_shape
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.shape[1:] != (height, width, channels):
        shape = "x".join(map(str, images.shape[1:]))
        raise DataError(f"{source}: expected images of {height}x{width}x{channels} (dataset.image_shape), got {shape}")
    if len(images) == 0:
        raise DataError(f"{source}: expected images, got none")
    return _whole_numbers(images, source, "pixels", low=0, high=255).astype(np.uint8, copy=False)


def _check_labels(labels: NDArray[Any], cfg: DatasetConfig, source: str) -> Labels:
    if labels.ndim != 1:
        raise DataError(f"{source}: expected one label per image, got labels of shape {labels.shape}")
    high = cfg.num_classes - 1
    return _whole_numbers(labels, source, "labels", low=0, high=high).astype(np.int64, copy=False)


def _whole_numbers(values: NDArray[Any], source: str, what: str, *, low: int, high: int) -> NDArray[Any]:
    if values.dtype.kind not in "uifb":
        raise DataError(f"{source}: expected {what} that are numbers, got {values.dtype}")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise DataError(f"{source}: expected {what} from {low} to {high}, got NaN or infinity")
        if (values != np.floor(values)).any():
            raise DataError(f"{source}: expected whole {what} from {low} to {high}, got fractions")
    least, most = values.min(initial=high), values.max(initial=low)
    if least < low or most > high:
        raise DataError(f"{source}: expected {what} from {low} to {high}, got {least:g} to {most:g}")
    return values


def _digest(images: Images, labels: Labels, is_test: NDArray[np.bool_] | None) -> str:
    sha = hashlib.sha256(repr(images.shape).encode())
    for array in (images, labels, is_test):
        if array is not None:
            sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
