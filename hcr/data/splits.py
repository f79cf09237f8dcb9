"""Which images are for training, for validation and for the sealed test."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcr.config.data import DatasetConfig, GroupedSplitConfig, OfficialSplitConfig, SplitConfig, StratifiedSplitConfig
from hcr.config.errors import DataError
from hcr.data.dataset import Dataset, share_out
from hcr.data.groups import draw_groups
from hcr.data.labels import Labels
from hcr.data.pixels import Images
from hcr.data.sources import load_dataset

Indices = NDArray[np.intp]

TEST, VALIDATION = "test and the rest", "training and validation"  # what images are shared between
MOST_NAMED = 5  # classes in a message


@dataclass(frozen=True)
class Subset:
    """Images (N, H, W, C) uint8 and labels (N,) int64, and where each stands in the canonical order (N,)."""

    images: Images
    labels: Labels
    index: Indices

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Splits:
    """The three subsets, and the digests (SHA-256, hex) of the data set and of who is where.

    Attributes:
        source: the file the images came from, or what else.
        duplicates_val, duplicates_test: validation and test images that also stand in training, pixel for pixel.
        data_note: how the pixels were read, where that needs saying.
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
        """A line on the duplicates, if there are any: scores on them are better than on unseen images."""
        counts = {"validation": (self.duplicates_val, self.val), "test": (self.duplicates_test, self.test)}
        found = [f"{n:,} of {len(part):,} {name} images" for name, (n, part) in counts.items() if n]
        return f"{' and '.join(found)} also stand in training, pixel for pixel" if found else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever reads scores on these images should know: how pixels were read, and the duplicates."""
        return tuple(note for note in (self.data_note, self.warning) if note is not None)


def load_splits(dataset: DatasetConfig, split: SplitConfig, seed: int) -> Splits:
    """Read a data set and split it; the same data, split and seed give the same subsets, whatever the file's order.

    Raises:
        DataError: files that are absent or damaged, a class that training lacks, an empty subset.
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
    """What tells data apart: SHA-256 (hex) of the data set and of its split, and the file the images came from."""

    dataset: str
    split: str
    source: str


def data_digests(dataset: DatasetConfig, split: SplitConfig, seed: int) -> DataDigests:
    """The digests that `load_splits` would give, without its copies and its count of duplicates.

    Raises:
        DataError: as `load_splits`.
    """
    data = load_dataset(dataset)
    return DataDigests(data.digest, _digest(data, _parts(data, dataset, split, seed)), data.source)


def _parts(data: Dataset, dataset: DatasetConfig, split: SplitConfig, seed: int) -> tuple[Indices, Indices, Indices]:
    train, val, test = (np.sort(part) for part in SPLITTERS[type(split)](data, split, seed))
    _check_parts(data, dataset, {"train": train, "validation": val, "test": test})
    return train, val, test


def _digest(data: Dataset, parts: tuple[Indices, Indices, Indices]) -> str:
    sha = hashlib.sha256(data.digest.encode())
    for part in parts:
        sha.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
    return sha.hexdigest()


def _subset(data: Dataset, part: Indices) -> Subset:
    return Subset(data.images[part], data.labels[part], part)


def _count_duplicates(data: Dataset, part: Indices, train: Indices) -> int:
    """How many images of `part` also stand in `train`, whatever they are labelled."""
    known = {image_hash.tobytes() for image_hash in data.hashes[train]}
    return sum(image_hash.tobytes() in known for image_hash in data.hashes[part])


def split_official(data: Dataset, cfg: OfficialSplitConfig, seed: int) -> tuple[Indices, Indices, Indices]:
    """The data set's own test images; validation drawn from its training images, each class in proportion."""
    assert data.is_test is not None  # the gate refuses this split of a data set without test images
    official = np.flatnonzero(~data.is_test)
    train, val = _stratify(data, official, _count(cfg.validation, len(official)), seed, VALIDATION)
    return train, val, np.flatnonzero(data.is_test)


def split_stratified(data: Dataset, cfg: StratifiedSplitConfig, seed: int) -> tuple[Indices, Indices, Indices]:
    """Test, then validation drawn at random, each class in proportion; both fractions are of all images."""
    total = len(data.labels)
    rest, test = _stratify(data, np.arange(total), _count(cfg.test, total), cfg.test_seed, TEST)
    train, val = _stratify(data, rest, _count(cfg.validation, total), seed, VALIDATION)
    return train, val, test


def split_grouped(data: Dataset, cfg: GroupedSplitConfig, seed: int) -> tuple[Indices, Indices, Indices]:
    """Test, then validation, of whole groups, as near to the fractions and to each class' proportion as they allow."""
    assert data.groups is not None  # the gate refuses this split of a data set without groups
    rest, test = draw_groups(np.arange(len(data.labels)), data.labels, data.groups, cfg.test, cfg.test_seed)
    train, val = draw_groups(rest, data.labels, data.groups, cfg.validation / (1 - cfg.test), seed)
    return train, val, test


def _count(fraction: float, total: int) -> int:
    """`fraction` of `total`, rounded up as scikit-learn does, but not for what float arithmetic adds."""
    return math.ceil(fraction * total - 1e-6)


def _stratify(data: Dataset, indices: Indices, count: int, seed: int, sides: str) -> tuple[Indices, Indices]:
    """`indices` of `data` in two, the second with `count` of them, each class in proportion.

    Written out and not left to scikit-learn, whose import alone takes longer than everything else before training.

    Args:
        sides: what the two are called, such as VALIDATION.

    Raises:
        DataError: a class with one image, or a side with fewer images than there are classes.
    """
    own = data.labels[indices]
    sizes = np.bincount(own)
    num_classes = np.count_nonzero(sizes)
    if num_classes == 0:
        raise DataError(f"split: expected images to share between {sides}, got none")
    if sizes[sizes > 0].min() < 2:
        raise DataError(_too_few(data, sizes, sides))
    if min(count, len(indices) - count) < num_classes:
        raise DataError(
            f"split: expected at least {num_classes} images, one a class, on either side of {sides},"
            f" got {len(indices) - count} and {count}; add images (or raise dataset.limit), or choose other fractions"
        )
    drawn = np.zeros(len(indices), dtype=bool)
    random = np.random.default_rng(seed)
    for k, share in enumerate(share_out(count, sizes)):
        drawn[random.permutation(np.flatnonzero(own == k))[:share]] = True
    return indices[~drawn], indices[drawn]


def _too_few(data: Dataset, sizes: NDArray[np.intp], sides: str) -> str:
    """That some classes have one image among those to be shared, of which `sizes` says how many there are of each."""
    lonely = np.flatnonzero(sizes == 1)
    in_all = np.bincount(data.labels)
    named = []
    for k in lonely[:MOST_NAMED]:
        taken = f" (it has {in_all[k]}, of which {in_all[k] - 1} for test)" if in_all[k] > 1 else ""
        named.append(f"{data.class_names[k]!r}{taken}")
    more = f" and {len(lonely) - MOST_NAMED} more" if len(lonely) > MOST_NAMED else ""
    return (
        f"split: expected at least 2 images of each class to share between {sides}, got 1 of class"
        f" {', '.join(named)}{more}; add images (or raise dataset.limit), or take the class out of the data set"
    )


def _check_parts(data: Dataset, dataset: DatasetConfig, parts: Mapping[str, Indices]) -> None:
    for name, part in parts.items():
        if len(part) == 0:
            raise DataError(f"split: {name} is empty; expected at least one image of {len(data.labels)}")
    present = np.bincount(data.labels[parts["train"]], minlength=dataset.num_classes) > 0
    if not present.all():
        absent, in_all = np.flatnonzero(~present), np.bincount(data.labels, minlength=dataset.num_classes)
        named = [f"{dataset.class_names[k]} ({in_all[k]} in the data set)" for k in absent[:MOST_NAMED]]
        more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
        raise DataError(
            f"dataset={dataset.name}: expected every class among the training images; there is no"
            f" {', '.join(named)}{more}; add images of it, or take it out of dataset.class_names"
        )


SPLITTERS: Mapping[type[SplitConfig], Callable[[Dataset, Any, int], tuple[Indices, Indices, Indices]]] = (
    MappingProxyType(
        {
            OfficialSplitConfig: split_official,
            StratifiedSplitConfig: split_stratified,
            GroupedSplitConfig: split_grouped,
        }
    )
)
