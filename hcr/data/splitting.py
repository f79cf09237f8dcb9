"""Splits a data set into training, validation and the sealed test."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.dataset import Dataset
from hcr.data.formats import DataFormat
from hcr.data.labels import Labels
from hcr.data.loading import load_dataset
from hcr.data.pixels import Images
from hcr.data.sides import check_sides, listed
from hcr.data.splits import Split

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Subset:
    """Images of one part of a split.

    Attributes:
        images: (N, H, W, C) uint8.
        labels: (N,) int64.
        index: (N,), of each image in the canonical order.
        groups: (N,) int64, images with the same number belong together; None if the data set has no groups.
    """

    images: Images
    labels: Labels
    index: Indices
    groups: Labels | None = None

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
        DataError: a file is missing or damaged, or a class is missing in training, validation or test.
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
    train, val, test = (np.sort(part) for part in split.draw(data, split.seed_for(seed)))
    _check_labels(data, dataset)
    check_sides(data, {"training": train, "validation": val, "test": test})
    return train, val, test


def _digest(data: Dataset, parts: tuple[Indices, Indices, Indices]) -> str:
    sha = hashlib.sha256(data.digest.encode())
    for part in parts:
        sha.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
    return sha.hexdigest()


def _subset(data: Dataset, part: Indices) -> Subset:
    groups = None if data.groups is None else data.groups[part]
    return Subset(data.images[part], data.labels[part], part, groups)


def _count_duplicates(data: Dataset, part: Indices, train: Indices) -> int:
    """The number of images of `part` that are also in `train`, whatever their labels."""
    known = {image_hash.tobytes() for image_hash in data.hashes[train]}
    return sum(image_hash.tobytes() in known for image_hash in data.hashes[part])


def _check_labels(data: Dataset, dataset: DataFormat) -> None:
    """Refuse a data set without an image of a class that its config declares."""
    absent = np.flatnonzero(np.bincount(data.labels, minlength=dataset.num_classes) == 0)
    if len(absent):
        raise DataError(
            f"dataset={dataset.name}: expected images of every class, got none of"
            f" {listed([repr(dataset.class_names[k]) for k in absent])}; add images of it, or remove it from"
            " dataset.class_names"
        )
