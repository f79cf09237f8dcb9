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
        groups: (N,), images of one number belong together; None where the data set has no groups.
        hashes: (N, 32), SHA-256 of the pixels.
        digest: SHA-256 of images, labels, is_test and groups, in hex.
        source: the file, or what else it came from.
    """

    images: Images
    labels: Labels
    is_test: NDArray[np.bool_] | None
    groups: Labels | None
    hashes: NDArray[np.uint8]
    digest: str
    source: str


def make_dataset(
    images: NDArray[Any],
    labels: NDArray[Any],
    is_test: NDArray[np.bool_] | None,
    cfg: DatasetConfig,
    source: str,
    groups: NDArray[Any] | None = None,
) -> Dataset:
    """A Dataset from arrays in any order, after checking that they are what `cfg` declares; `cfg.limit` of them.

    Args:
        images: (N, H, W) or (N, H, W, C), whole numbers from 0 to 255 of any dtype.
        labels: (N,), whole numbers of any dtype.
        is_test: (N,) or None.
        source: the file, for messages.
        groups: (N,), whole numbers or text, or None.

    Raises:
        DataError: another shape, no image, NaN, pixels or labels out of range, fewer images than `cfg.limit`.
    """
    checked_images = _check_images(images, cfg, source)
    checked_labels = _check_labels(labels, cfg, source)
    if len(checked_images) != len(checked_labels):
        raise DataError(f"{source}: expected a label per image, got {len(labels)} labels for {len(images)} images")
    numbers = None if groups is None else _check_groups(groups, len(checked_images), source)
    hashes = _hash_each(checked_images)
    order = canonical_order(hashes, checked_labels, is_test, numbers)
    if cfg.limit is not None:
        order = order[_limited(checked_labels[order], None if is_test is None else is_test[order], cfg, source)]
    ordered = (
        np.ascontiguousarray(checked_images[order]),
        checked_labels[order],
        None if is_test is None else is_test[order],
        None if numbers is None else numbers[order],
    )
    return Dataset(*ordered, hashes=hashes[order], digest=_digest(*ordered), source=source)


def canonical_order(
    hashes: NDArray[np.uint8], labels: Labels, is_test: NDArray[np.bool_] | None, groups: Labels | None = None
) -> NDArray[np.intp]:
    """The permutation (N,) that sorts by label, then by SHA-256 of the pixels, then train before test, then by group.

    Args:
        hashes: (N, 32), SHA-256 of each image's pixels.
    """
    words = np.ascontiguousarray(hashes).view(">u8")
    none = np.zeros(len(hashes), dtype=bool)
    last = (none if groups is None else groups, none if is_test is None else is_test)
    return np.lexsort((*last, words[:, 3], words[:, 2], words[:, 1], words[:, 0], labels))


def _hash_each(images: Images) -> NDArray[np.uint8]:
    digests = b"".join(hashlib.sha256(image).digest() for image in np.ascontiguousarray(images))
    return np.frombuffer(digests, dtype=np.uint8).reshape(len(images), 32)


def _limited(labels: Labels, is_test: NDArray[np.bool_] | None, cfg: DatasetConfig, source: str) -> NDArray[np.intp]:
    """Which `cfg.limit` images to keep, in order: of each class on each official side, the first in its proportion.

    The canonical order is by SHA-256 within a class, so the first ones are a fair draw, and the same every time.
    """
    assert cfg.limit is not None
    if cfg.limit > len(labels):
        raise DataError(f"dataset.limit: expected at most the {len(labels):,} images of {source}, got {cfg.limit}")
    stratum = labels if is_test is None else labels + cfg.num_classes * is_test
    of_stratum = np.bincount(stratum)
    keep = np.zeros(len(labels), dtype=bool)
    for k, count in enumerate(share_out(cfg.limit, of_stratum, num_needed=cfg.num_classes)):
        keep[np.flatnonzero(stratum == k)[:count]] = True
    return np.flatnonzero(keep)


def share_out(total: int, sizes: NDArray[np.intp], *, num_needed: int = 0) -> NDArray[np.intp]:
    """`total` shared out in proportion to `sizes`, by largest remainder; at least 1 to each of the first `num_needed`.

    So a class has a training image whatever its size, as long as it has one at all.
    """
    quotas = total * sizes / sizes.sum()
    least = np.minimum(sizes, np.arange(len(sizes)) < num_needed)
    counts: NDArray[np.intp] = np.maximum(np.floor(quotas).astype(np.intp), least)
    while counts.sum() != total:
        wanting = quotas - counts
        if counts.sum() < total:
            counts[np.argmax(np.where(counts < sizes, wanting, -np.inf))] += 1
        else:
            counts[np.argmin(np.where(counts > least, wanting, np.inf))] -= 1
    return counts


def _check_images(images: NDArray[Any], cfg: DatasetConfig, source: str) -> Images:
    height, width, channels = cfg.image_shape
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.shape[1:] != (height, width, channels):
        shape = "x".join(map(str, images.shape[1:])) or "single numbers"
        raise DataError(f"{source}: expected images of {height}x{width}x{channels} (dataset.image_shape), got {shape}")
    if len(images) == 0:
        raise DataError(f"{source}: expected images, got none")
    return _whole_numbers(images, source, "pixels", low=0, high=255).astype(np.uint8, copy=False)


def _check_labels(labels: NDArray[Any], cfg: DatasetConfig, source: str) -> Labels:
    if labels.ndim != 1:
        raise DataError(f"{source}: expected one label per image, got labels of shape {labels.shape}")
    high = cfg.num_classes - 1
    return _whole_numbers(labels, source, "labels", low=0, high=high).astype(np.int64, copy=False)


def _check_groups(groups: NDArray[Any], num_images: int, source: str) -> Labels:
    """Groups numbered 0, 1, ... in the order of their names."""
    if groups.shape != (num_images,) or groups.dtype.kind not in "uiUS":
        raise DataError(
            f"{source}: expected a group per image, whole numbers or text,"
            f" got {groups.dtype} of shape {groups.shape} for {num_images} images"
        )
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


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


def _digest(images: Images, labels: Labels, is_test: NDArray[np.bool_] | None, groups: Labels | None) -> str:
    sha = hashlib.sha256(repr(images.shape).encode())
    for array in (images, labels, is_test, groups):
        if array is not None:
            sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
