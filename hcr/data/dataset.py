"""A data set: checked, prepared, in canonical order, with its digests."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.formats import DataFormat
from hcr.data.labels import Labels, checked_groups, to_groups, to_labels
from hcr.data.mapped import new_images
from hcr.data.pixels import Images
from hcr.data.preparation import preparation_digest
from hcr.data.raw import Raw, RawPart, Side
from hcr.data.sources import Sources, read_sources

COPIED = 4_096  # images copied at a time


@dataclass(frozen=True)
class Dataset:
    """Prepared images in canonical order: by label, then by SHA-256 of their source pixels.

    So a data set has the same order, digest and split, whatever its file, the order in it, and the preparation.

    Attributes:
        images: (N, h, w, c), 0..255, prepared; may be memory-mapped.
        labels: (N,), in [0, K).
        is_test: (N,), True for official test images; None if the data set has no official test images.
        groups: (N,), images with the same number belong together; None if the data set has no groups.
        hashes: (N, 32), SHA-256 of the source pixels.
        digest: SHA-256 of source images, labels, is_test, groups and is_val, in hex.
        class_names: K names, in label order.
        source: the file, or another origin.
        is_val: (N,), True for official validation images; None if the data set has none.
        sizes: (N, 2), height and width of the source images, if they differ; else None.
        source_shape: height, width, channels of the source images; None if their sizes differ.
        source_channels: 1 or 3.
        preparation: SHA-256 (hex) of what the preparation made; None if the images are the source images.
        notes: how the pixels and labels were read, if that is unusual, one line each.
        rows: (N,), the position of each image among those that the format reads (see `origins`).
    """

    images: Images
    labels: Labels
    is_test: NDArray[np.bool_] | None
    groups: Labels | None
    hashes: NDArray[np.uint8]
    digest: str
    class_names: tuple[str, ...]
    source: str
    is_val: NDArray[np.bool_] | None = None
    sizes: NDArray[np.int64] | None = None
    source_shape: tuple[int, int, int] | None = None
    source_channels: int = 1
    preparation: str | None = None
    notes: tuple[str, ...] = ()
    rows: NDArray[np.intp] | None = None


def of_arrays(cfg: DataFormat, images: Any, labels: Any, is_test: Any = None, groups: Any = None) -> Dataset:
    """See `DataFormat.make_dataset`."""
    source = f"dataset={cfg.name}"
    images, labels = np.asarray(images), np.asarray(labels)
    groups = None if groups is None else np.asarray(groups)
    if is_test is None:
        return assemble(Raw(parts=(RawPart(images=images, labels=labels, groups=groups),)), cfg, source)
    is_test = np.asarray(is_test)
    if is_test.shape != images.shape[:1] or is_test.dtype != bool:
        raise DataError(
            f"{source}: expected is_test to be true or false for each image,"
            f" got {is_test.dtype} of shape {is_test.shape} for {len(images)} images"
        )
    sides: dict[Side, Any] = {"train": ~is_test, "test": is_test}
    parts = tuple(
        RawPart(images=images[of], labels=labels[of], groups=None if groups is None else groups[of], side=side)
        for side, of in sides.items()
    )
    return assemble(Raw(parts=parts), cfg, source)


def assemble(raw: Raw, cfg: DataFormat, source: str, work: Path | None = None) -> Dataset:
    """A Dataset of what a format read, checked against `cfg`, prepared, in order, and cut to `cfg.limit` images.

    Args:
        source: the file, for messages.
        work: an empty folder for the images, which are then memory-mapped; None: they are kept in memory.

    Raises:
        DataError: another shape, no image, pixels or labels that are none, fewer images than `cfg.limit`.
    """
    sources = read_sources(raw, cfg, source, work)
    rows = sources.kept
    labels, names, label_notes = _labels(raw, rows, cfg, source)
    groups = _groups(raw, rows, source)
    sides = np.concatenate([np.full(_count(part), part.side) for part in raw.parts])[rows]
    is_test, is_val = (_on_side(raw, sides, side) for side in ("test", "val"))
    order = canonical_order(sources.hashes, labels, is_test, groups, is_val)
    if cfg.limit is not None:
        order = order[_limited(labels[order], None if is_test is None else is_test[order], len(names), cfg, source)]
    ordered_test = None if is_test is None else is_test[order]
    ordered_val = None if is_val is None else is_val[order]
    ordered_groups = None if groups is None else groups[order]
    images = _in_order(sources.prepared, order, None if work is None else work / "images.npy")
    return Dataset(
        images=images,
        labels=labels[order],
        is_test=ordered_test,
        groups=ordered_groups,
        is_val=ordered_val,
        hashes=sources.hashes[order],
        digest=_digest(sources, order, [labels[order], ordered_test, ordered_groups, ordered_val]),
        class_names=names,
        source=source,
        sizes=None if sources.sizes is None else sources.sizes[order],
        source_shape=sources.shape,
        source_channels=sources.channels,
        preparation=preparation_digest(images, sources.preparation) if sources.is_changed else None,
        notes=(*raw.notes, *sources.notes, *label_notes),
        rows=rows[order],
    )


def canonical_order(
    hashes: NDArray[np.uint8],
    labels: Labels,
    is_test: NDArray[np.bool_] | None,
    groups: Labels | None = None,
    is_val: NDArray[np.bool_] | None = None,
) -> NDArray[np.intp]:
    """The permutation (N,) that sorts by label, SHA-256 of the pixels, train before test, group, and validation last.

    Args:
        hashes: (N, 32), SHA-256 of each image's source pixels.
    """
    words = np.ascontiguousarray(hashes).view(">u8")
    none = np.zeros(len(hashes), dtype=bool)
    last = [none if array is None else array for array in (is_val, groups, is_test)]
    return np.lexsort((*last, words[:, 3], words[:, 2], words[:, 1], words[:, 0], labels))


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


def _on_side(raw: Raw, sides: NDArray[np.str_], side: str) -> NDArray[np.bool_] | None:
    return np.asarray(sides == side) if any(part.side == side for part in raw.parts) else None


def _count(part: RawPart) -> int:
    return len(part.images)


def _labels(
    raw: Raw, rows: NDArray[np.intp], cfg: DataFormat, source: str
) -> tuple[Labels, tuple[str, ...], list[str]]:
    arrays = {_name(raw.parts, i): (np.asarray(part.labels), _count(part)) for i, part in enumerate(raw.parts)}
    found, names, notes = to_labels(arrays, cfg, source, raw.class_names)
    return np.concatenate(found)[rows], names, notes


def _name(parts: Sequence[RawPart], number: int) -> str:
    """The name of the labels of a part, for messages."""
    name = parts[number].names[1]
    return name if all(part.names[1] != name for part in parts[:number]) else f"{name} of {parts[number].side}"


def _groups(raw: Raw, rows: NDArray[np.intp], source: str) -> Labels | None:
    if any(part.groups is None for part in raw.parts):
        return None
    checked = [checked_groups(np.asarray(part.groups), _count(part), source) for part in raw.parts]
    return to_groups(np.concatenate(checked)[rows])


def _limited(
    labels: Labels, is_test: NDArray[np.bool_] | None, num_classes: int, cfg: DataFormat, source: str
) -> NDArray[np.intp]:
    """The sorted indices of the `cfg.limit` images to keep: the first of each class and official side, in proportion.

    Within a class the canonical order is by SHA-256, so the first images are a fair and repeatable draw.
    """
    assert cfg.limit is not None
    if cfg.limit > len(labels):
        raise DataError(f"dataset.limit: expected at most the {len(labels):,} images of {source}, got {cfg.limit}")
    if cfg.limit < num_classes:
        raise DataError(f"dataset.limit: expected {num_classes} or more, one image per class, got {cfg.limit}")
    stratum = labels if is_test is None else labels + num_classes * is_test
    of_stratum = np.bincount(stratum)
    keep = np.zeros(len(labels), dtype=bool)
    for k, count in enumerate(share_out(cfg.limit, of_stratum, num_needed=num_classes)):
        keep[np.flatnonzero(stratum == k)[:count]] = True
    return np.flatnonzero(keep)


def _in_order(images: Images, order: NDArray[np.intp], file: Path | None) -> Images:
    """`images[order]` in a file, memory-mapped; a few are in memory at a time."""
    ordered = new_images(file, (len(order), *images.shape[1:]))
    for start in range(0, len(order), COPIED):
        ordered[start : start + COPIED] = images[order[start : start + COPIED]]
    return ordered


def _digest(sources: Sources, order: NDArray[np.intp], beside: Sequence[NDArray[Any] | None]) -> str:
    """SHA-256 of the source images and of what is known of each."""
    if sources.images is not None:
        sha = hashlib.sha256(repr((len(order), *sources.images.shape[1:])).encode())
        for start in range(0, len(order), COPIED):
            sha.update(np.ascontiguousarray(sources.images[order[start : start + COPIED]]).data)
    else:
        sha = hashlib.sha256(repr((len(order), sources.channels)).encode())
        sha.update(np.ascontiguousarray(sources.hashes[order]).data)
        if sources.sizes is not None:
            sha.update(sources.sizes[order].astype("<i8").tobytes())
        else:
            sha.update(repr(sources.shape).encode())
    *known, is_val = beside
    for array in known:
        if array is not None:
            sha.update(np.ascontiguousarray(array).tobytes())
    if is_val is not None:
        sha.update(b"validation" + np.ascontiguousarray(is_val).tobytes())
    return sha.hexdigest()
