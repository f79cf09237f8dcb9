"""Splits a data set into training, validation and the sealed test."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.dataset import Dataset
from hcr.data.formats import DataFormat
from hcr.data.labels import Labels
from hcr.data.loading import load_dataset
from hcr.data.splits import Split
from hcr.data.views import AnyImages, ImageView

Indices = NDArray[np.intp]

MOST_NAMED = 5  # classes in a message


@dataclass(frozen=True)
class Subset:
    """Images (N, H, W, C) uint8, labels (N,) int64, and the index (N,) of each image in the canonical order.

    `images[rows]` is an array; `images` itself is a view of the data set, of which nothing is copied before.
    """

    images: AnyImages
    labels: Labels
    index: Indices

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Splits:
    """The three subsets, and the digests (SHA-256, hex) of the data set and of the split.

    Attributes:
        source: the file of the images, or another origin.
        duplicates_val, duplicates_test: numbers of validation and test images with an identical copy in training.
        data_note: how the pixels were read, if that is unusual.
    """

    train: Subset
    val: Subset
    test: Subset
    class_names: tuple[str, ...]
    dataset_digest: str
    split_digest: str
    source: str
    duplicates_val: int
    duplicates_test: int
    data_note: str | None = None

    @property
    def warning(self) -> str | None:
        """A line about the duplicates, if there are any; they make scores better than on unseen images."""
        counts = {"validation": (self.duplicates_val, self.val), "test": (self.duplicates_test, self.test)}
        found = [f"{n:,} of {len(part):,} {name} images" for name, (n, part) in counts.items() if n]
        return f"{' and '.join(found)} are also in training, pixel for pixel" if found else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Caveats for scores on these images: how pixels were read, and the duplicates."""
        return tuple(note for note in (self.data_note, self.warning) if note is not None)


def load_splits(dataset: DataFormat, split: Split, seed: int) -> Splits:
    """Read a data set and split it; the same data, split and seed give the same subsets, whatever the file's order.

    Raises:
        DataError: a file is missing or damaged, training lacks a class, or a subset is empty.
    """
    data = load_dataset(dataset)
    train, val, test = _parts(data, dataset, split, seed)
    return Splits(
        train=_subset(data, train),
        val=_subset(data, val),
        test=_subset(data, test),
        class_names=dataset.class_names,
        dataset_digest=data.digest,
        split_digest=_digest(data, (train, val, test)),
        source=data.source,
        duplicates_val=_count_duplicates(data, val, train),
        duplicates_test=_count_duplicates(data, test, train),
        data_note=data.note,
    )


class DataDigests(NamedTuple):
    """SHA-256 (hex) of a data set and of its split, and the file of the images."""

    dataset: str
    split: str
    source: str


def data_digests(dataset: DataFormat, split: Split, seed: int) -> DataDigests:
    """The digests of `load_splits`, without copying images and counting duplicates.

    Raises:
        DataError: as `load_splits`.
    """
    data = load_dataset(dataset)
    return DataDigests(data.digest, _digest(data, _parts(data, dataset, split, seed)), data.source)


def _parts(data: Dataset, dataset: DataFormat, split: Split, seed: int) -> tuple[Indices, Indices, Indices]:
    train, val, test = (np.sort(part) for part in split.draw(data, seed))
    _check_parts(data, dataset, {"train": train, "validation": val, "test": test})
    return train, val, test


def _digest(data: Dataset, parts: tuple[Indices, Indices, Indices]) -> str:
    sha = hashlib.sha256(data.digest.encode())
    for part in parts:
        sha.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
    return sha.hexdigest()


def _subset(data: Dataset, part: Indices) -> Subset:
    return Subset(ImageView(data.images, part), data.labels[part], part)


def _count_duplicates(data: Dataset, part: Indices, train: Indices) -> int:
    """The number of images of `part` that are also in `train`, whatever their labels."""
    words = np.ascontiguousarray(data.hashes[:, :8]).view(np.uint64)[:, 0]
    known = train[np.argsort(words[train])]
    place, end = (np.searchsorted(words[known], words[part], side) for side in ("left", "right"))
    found = 0
    # Each image is compared with the training images whose hash begins alike, until one is equal: the first, as a rule.
    while len(part):
        left = place < end
        part, place, end = part[left], place[left], end[left]
        same = (data.hashes[part] == data.hashes[known[place]]).all(axis=1)
        found += int(same.sum())
        part, place, end = part[~same], place[~same] + 1, end[~same]
    return found


def _check_parts(data: Dataset, dataset: DataFormat, parts: Mapping[str, Indices]) -> None:
    for name, part in parts.items():
        if len(part) == 0:
            raise DataError(
                f"split: {name} gets none of the {len(data.labels)} images; add images, or choose other fractions"
            )
    present = np.bincount(data.labels[parts["train"]], minlength=dataset.num_classes) > 0
    if not present.all():
        absent, in_all = np.flatnonzero(~present), np.bincount(data.labels, minlength=dataset.num_classes)
        named = [f"{dataset.class_names[k]} ({in_all[k]} in the data set)" for k in absent[:MOST_NAMED]]
        more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
        raise DataError(
            f"dataset={dataset.name}: expected every class among the training images; there is no"
            f" {', '.join(named)}{more}; add images of it, or remove it from dataset.class_names"
        )
