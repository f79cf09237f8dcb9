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
from hcr.data.sides import check_sides, listed
from hcr.data.splits import Split
from hcr.data.views import AnyImages, ImageView

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Subset:
    """Images of one part of a split.

    `images[rows]` is an array; `images` itself is a view of the data set, of which nothing is copied before.

    Attributes:
        images: (N, H, W, C) uint8.
        labels: (N,) int64.
        index: (N,), of each image in the canonical order.
        groups: (N,) int64, images with the same number belong together; None if the data set has no groups.
    """

    images: AnyImages
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
        groups_val, groups_test: numbers of groups of validation and test with images in training.
        data_notes: how pixels and labels were read, if that is unusual.
        preparation_digest: of what the preparation made; None: the images are as they were read.
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
    groups_val: int = 0
    groups_test: int = 0
    data_notes: tuple[str, ...] = ()
    preparation_digest: str | None = None

    def part_digest(self, part: str) -> str:
        """SHA-256 (hex) of the data set and of which of its images "train", "val" or "test" has."""
        index: Indices = getattr(self, part).index
        return hashlib.sha256(self.dataset_digest.encode() + index.astype("<i8").tobytes()).hexdigest()

    @property
    def warning(self) -> str | None:
        """A line about the duplicates, if there are any; they make scores better than on unseen images."""
        counts = {"validation": (self.duplicates_val, self.val), "test": (self.duplicates_test, self.test)}
        found = [f"{n:,} of {len(part):,} {name} images" for name, (n, part) in counts.items() if n]
        return f"{' and '.join(found)} are also in training, pixel for pixel" if found else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Caveats for scores on these images: how pixels were read, and the duplicates."""
        return tuple(note for note in (*self.data_notes, self.warning, self._mixed_groups) if note is not None)

    @property
    def _mixed_groups(self) -> str | None:
        """A line about groups that are on both sides, which make scores better than on unseen writers."""
        counts = {"validation": (self.groups_val, self.val), "test": (self.groups_test, self.test)}
        found = [
            f"{n:,} of {len(np.unique(part.groups)):,} groups of {name}"
            for name, (n, part) in counts.items()
            if n and part.groups is not None
        ]
        return f"{' and '.join(found)} are also in training; split=grouped keeps each in one part" if found else None


def load_splits(dataset: DataFormat, split: Split, seed: int) -> Splits:
    """Read a data set and split it; the same data, split and seed give the same subsets, whatever the file's order.

    Raises:
        DataError: a file is missing or damaged, or a class is missing in training, validation or test.
    """
    data = load_dataset(dataset)
    kept = _kept(data, dataset)
    train, val, test = _parts(data, dataset, split, seed, kept)
    return Splits(
        train=_subset(data, train, kept),
        val=_subset(data, val, kept),
        test=_subset(data, test, kept),
        class_names=tuple(data.class_names[k] for k in kept),
        dataset_digest=_data_digest(data, kept),
        split_digest=_digest(data, (train, val, test)),
        source=data.source,
        duplicates_val=_count_duplicates(data, val, train),
        duplicates_test=_count_duplicates(data, test, train),
        groups_val=_count_groups(data, val, train),
        groups_test=_count_groups(data, test, train),
        data_notes=data.notes,
        preparation_digest=data.preparation,
    )


class DataDigests(NamedTuple):
    """SHA-256 (hex) of a data set, of its split and of its preparation, and the file of the images."""

    dataset: str
    split: str
    source: str
    preparation: str | None


def data_digests(dataset: DataFormat, split: Split, seed: int) -> DataDigests:
    """The digests of `load_splits`, without copying images and counting duplicates.

    Raises:
        DataError: as `load_splits`.
    """
    data = load_dataset(dataset)
    kept = _kept(data, dataset)
    parts = _parts(data, dataset, split, seed, kept)
    return DataDigests(_data_digest(data, kept), _digest(data, parts), data.source, data.preparation)


def dataset_digest(data: Dataset, dataset: DataFormat) -> str:
    """SHA-256 (hex) of the data set with the classes that are used; it is not split.

    Raises:
        DataError: fewer than 2 classes.
    """
    return _data_digest(data, _kept(data, dataset))


def classes_kept(data: Dataset, dataset: DataFormat) -> tuple[str, ...]:
    """The names of the classes to use, by `dataset.classes` and `dataset.min_per_class`, in the order of labels.

    Raises:
        DataError: fewer than 2.
    """
    return tuple(data.class_names[k] for k in _kept(data, dataset))


def _kept(data: Dataset, dataset: DataFormat) -> Indices:
    """The stored labels of the classes to use, in the order of their new labels."""
    names = dataset.classes or data.class_names
    counts = np.bincount(data.labels, minlength=len(data.class_names))
    kept = [data.class_names.index(name) for name in names]
    if dataset.min_per_class > 1:  # else a class without images is an error, not one to leave out
        kept = [k for k in kept if counts[k] >= dataset.min_per_class]
    if len(kept) < 2:
        raise DataError(
            f"dataset.min_per_class: expected 2 classes or more with {dataset.min_per_class} images, got {len(kept)}"
        )
    return np.array(kept, np.intp)


def _parts(
    data: Dataset, dataset: DataFormat, split: Split, seed: int, kept: Indices
) -> tuple[Indices, Indices, Indices]:
    """The three parts. They are drawn among all classes: to leave some out never moves an image between the parts."""
    is_kept = np.isin(np.arange(len(data.class_names)), kept)
    own_seed = split.seed_for(seed)
    drawn = split.draw(data, own_seed) if is_kept.all() else split.draw(data, own_seed, is_kept)
    train, val, test = (np.sort(part[is_kept[data.labels[part]]]) for part in drawn)
    _check_labels(data, dataset, kept)
    check_sides(data, {"training": train, "validation": val, "test": test}, is_kept)
    return train, val, test


def _data_digest(data: Dataset, kept: Indices) -> str:
    """The digest of the data set; another one for a choice of its classes."""
    if len(kept) == len(data.class_names) and (np.diff(kept) == 1).all():
        return data.digest
    return hashlib.sha256(f"{data.digest} {kept.tolist()}".encode()).hexdigest()


def _digest(data: Dataset, parts: tuple[Indices, Indices, Indices]) -> str:
    sha = hashlib.sha256(data.digest.encode())
    for part in parts:
        sha.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
    return sha.hexdigest()


def _subset(data: Dataset, part: Indices, kept: Indices) -> Subset:
    new = np.full(len(data.class_names), -1, np.int64)
    new[kept] = np.arange(len(kept))
    groups = None if data.groups is None else data.groups[part]
    return Subset(ImageView(data.images, part), new[data.labels[part]], part, groups)


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


def _count_groups(data: Dataset, part: Indices, train: Indices) -> int:
    """The number of groups with images in both parts."""
    return 0 if data.groups is None else len(np.intersect1d(data.groups[part], data.groups[train]))


def _check_labels(data: Dataset, dataset: DataFormat, kept: Indices) -> None:
    """Refuse a data set without an image of a class that its config declares."""
    counts = np.bincount(data.labels, minlength=len(data.class_names))
    absent = [repr(data.class_names[k]) for k in kept if counts[k] == 0]
    if absent:
        raise DataError(
            f"dataset={dataset.name}: expected images of every class, got none of {listed(absent)}; add images of it,"
            " or leave it out with dataset.classes"
        )
