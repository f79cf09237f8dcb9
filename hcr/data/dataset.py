"""A data set in memory: checked, in canonical order, with its digest."""

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

    So a data set has the same order, digest and split, whatever its file and the order in it.

    Attributes:
        images: (N, H, W, C), 0..255.
        labels: (N,), in [0, num_classes).
        is_test: (N,), True for official test images; None if the data set has no official test images.
        groups: (N,), images with the same number belong together; None if the data set has no groups.
        hashes: (N, 32), SHA-256 of the pixels.
        digest: SHA-256 of images, labels, is_test and groups, in hex.
        class_names: one per class, in label order.
        source: the file, or another origin.
        note: how the pixels were read, if that is unusual.
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
    """A Dataset from arrays in any order, checked against `cfg` and cut to `cfg.limit` images.

    Args:
        images: as in `to_pixels`.
        labels: as in `to_labels`.
        is_test: (N,) or None.
        source: the file, for messages.
        groups: (N,), whole numbers or text, or None.

    Raises:
        DataError: another shape, no image, NaN, pixels or labels out of range, fewer images than `cfg.limit`.
    """
    (pixels,), note = to_pixels({"images": images}, cfg, source)
    if is_test is not None and (is_test.shape != (len(pixels),) or is_test.dtype != bool):
        raise DataError(
            f"{source}: expected is_test to be true or false for each image,"
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
    """A Dataset of checked images (N, H, W, C) and labels (N,), cut to `cfg.limit` images.

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
    """The sorted indices of the `cfg.limit` images to keep: the first of each class and official side, in proportion.

    Within a class the canonical order is by SHA-256, so the first images are a fair and repeatable draw.
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
    """`total` divided in proportion to `sizes`, by largest remainder; at least 1 for each of the first `num_needed`.

    So every class that has a training image keeps one.
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
