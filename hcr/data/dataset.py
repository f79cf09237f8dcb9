"""A data set in memory: checked, in canonical order, with a digest of its own."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.formats import DataFormat
from hcr.data.labels import Labels, to_groups, to_labels
from hcr.data.pixels import Images, to_pixels


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
        class_names: one per class, in label order.
        source: the file, or what else it came from.
        note: how the pixels were read, where that needs saying.
    """

    images: Images
    labels: Labels
    is_test: NDArray[np.bool_] | None
    groups: Labels | None
    hashes: NDArray[np.uint8]
    digest: str
    class_names: tuple[str, ...]
    source: str
    note: str | None = None


def make_dataset(
    images: NDArray[Any],
    labels: NDArray[Any],
    is_test: NDArray[np.bool_] | None,
    cfg: DataFormat,
    source: str,
    groups: NDArray[Any] | None = None,
) -> Dataset:
    """A Dataset from arrays in any order, after checking that they are what `cfg` declares; `cfg.limit` of them.

    Args:
        images: as `to_pixels` takes them.
        labels: as `to_labels` takes them.
        is_test: (N,) or None.
        source: the file, for messages.
        groups: (N,), whole numbers or text, or None.

    Raises:
        DataError: another shape, no image, NaN, pixels or labels out of range, fewer images than `cfg.limit`.
    """
    (pixels,), note = to_pixels({"images": images}, cfg, source)
    if is_test is not None and (is_test.shape != (len(pixels),) or is_test.dtype != bool):
        raise DataError(
            f"{source}: expected of each image whether it is for test, true or false,"
            f" got {is_test.dtype} of shape {is_test.shape} for {len(pixels)} images"
        )
    numbers = None if groups is None else to_groups(groups, len(pixels), source)
    return in_order(pixels, to_labels(labels, len(pixels), cfg, source), is_test, cfg, source, numbers, note)


def in_order(
    images: Images,
    labels: Labels,
    is_test: NDArray[np.bool_] | None,
    cfg: DataFormat,
    source: str,
    groups: Labels | None = None,
    note: str | None = None,
) -> Dataset:
    """A Dataset of images (N, H, W, C) and labels (N,) that have been checked; `cfg.limit` of them.

    Raises:
        DataError: fewer images than `cfg.limit`.
    """
    hashes = _hash_each(images)
    order = canonical_order(hashes, labels, is_test, groups)
    if cfg.limit is not None:
        order = order[_limited(labels[order], None if is_test is None else is_test[order], cfg, source)]
    ordered = (
        np.ascontiguousarray(images[order]),
        labels[order],
        None if is_test is None else is_test[order],
        None if groups is None else groups[order],
    )
    return Dataset(
        *ordered,
        hashes=hashes[order],
        digest=_digest(*ordered),
        class_names=cfg.class_names,
        source=source,
        note=note,
    )


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


def _limited(labels: Labels, is_test: NDArray[np.bool_] | None, cfg: DataFormat, source: str) -> NDArray[np.intp]:
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


def _digest(images: Images, labels: Labels, is_test: NDArray[np.bool_] | None, groups: Labels | None) -> str:
    sha = hashlib.sha256(repr(images.shape).encode())
    for array in (images, labels, is_test, groups):
        if array is not None:
            sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
