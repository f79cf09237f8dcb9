"""Random splits that keep groups of images together."""

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError, one_line

Indices = NDArray[np.intp]

FEW = 12  # up to this many groups, every combination is tried
MOST_FOLDS = 20  # more groups are dealt into at most this many folds, some of which make up the fraction
TOLERANCE = 0.01  # share of all images: the seed chooses among combinations this close to the best


def draw_groups(
    indices: Indices,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    fraction: float,
    seed: int,
    *,
    num_left: int = 1,
) -> tuple[Indices, Indices]:
    """`indices` split in two, about `fraction` of them in the second part, no group in both.

    With more than FEW groups, scikit-learn's StratifiedGroupKFold makes equal folds, some of which are drawn; with
    fewer, every combination is tried. Choices that leave a part without a class are avoided.

    Args:
        indices: the images of the data set to split.
        labels, groups: (N,), of all images of the data set.
        num_left: groups that the first part needs, also of each class, as it is divided further.

    Raises:
        DataError: fewer than 2 groups, or too few images.
    """
    own_labels, own_groups = labels[indices], np.unique(groups[indices], return_inverse=True)[1]
    num_groups = int(own_groups.max()) + 1
    if num_groups < 2:
        raise DataError(
            "split: expected at least 3 groups, one each for training, validation and test,"
            f" got {len(np.unique(groups))} among {len(groups):,} images; split=stratified needs no groups"
        )
    if num_groups <= FEW:
        part, sizes = own_groups, range(1, num_groups)
    else:
        num_parts, num_taken = _as_parts(fraction, min(num_groups, MOST_FOLDS))
        part, sizes = deal_groups(own_labels, own_groups, num_parts, seed), range(num_taken, num_taken + 1)
    contents = _contents(part, own_labels, own_groups)
    taken = _choose(contents, fraction, list(_choices(int(part.max()) + 1, sizes)), seed, num_left)
    drawn = np.isin(part, taken)
    return indices[~drawn], indices[drawn]


def _as_parts(fraction: float, most: int) -> tuple[int, int]:
    """The number of equal parts, and of parts to take, closest to `fraction`; as few parts as possible."""
    _, num_parts, num_taken = min(
        (round(abs(taken / parts - fraction), 9), parts, taken)
        for parts in range(2, most + 1)
        for taken in [min(max(1, round(fraction * parts)), parts - 1)]
    )
    return num_parts, num_taken


def deal_groups(labels: NDArray[np.int64], groups: NDArray[np.intp], num_parts: int, seed: int) -> NDArray[np.intp]:
    """The part, 0 .. num_parts - 1, of each image: groups stay whole, classes in proportion.

    Dealing thousands of groups takes seconds: results are kept in the cache, for all runs of a sweep and later ones.

    Args:
        labels, groups: (N,), groups numbered from 0.

    Raises:
        DataError: every class has fewer images than there are parts.
    """
    from hcr.data.kept import keep

    sha = hashlib.sha256(f"{num_parts} {seed} {version('scikit-learn')} {version('numpy')}".encode())
    for array in (labels, groups):
        sha.update(np.ascontiguousarray(array).data)
    return keep(f"groups-{sha.hexdigest()}", lambda: _deal(labels, groups, num_parts, seed))


def _deal(labels: NDArray[np.int64], groups: NDArray[np.intp], num_parts: int, seed: int) -> NDArray[np.intp]:
    from sklearn.model_selection import StratifiedGroupKFold

    part = np.zeros(len(labels), dtype=np.intp)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "a class has fewer images than parts": harmless here
        folds = StratifiedGroupKFold(num_parts, shuffle=True, random_state=seed)
        try:
            for k, (_, chosen) in enumerate(folds.split(labels, labels, groups)):
                part[chosen] = k
        except ValueError as error:
            raise DataError(
                f"split: expected a class with at least {num_parts} images to split by groups, and the largest has"
                f" {np.bincount(labels).max()} ({one_line(error)})"
            ) from error
    return part


def _choices(num_parts: int, sizes: range) -> Iterator[tuple[int, ...]]:
    """Combinations of parts of the given sizes; at most 1,000 per size."""
    for size in sizes:
        for i, choice in enumerate(combinations(range(num_parts), size)):
            if i == 1000:
                break
            yield choice


@dataclass(frozen=True)
class _Contents:
    """What each part holds: (parts, classes) images of each class, and groups of each class; (parts,) groups."""

    images: NDArray[np.float64]
    groups_of_class: NDArray[np.intp]
    groups: NDArray[np.intp]


def _contents(part: NDArray[np.intp], labels: NDArray[np.int64], groups: NDArray[np.intp]) -> _Contents:
    num_parts, num_classes = int(part.max()) + 1, int(labels.max()) + 1
    images = np.zeros((num_parts, num_classes))
    np.add.at(images, (part, labels), 1)
    part_of_group = np.zeros(int(groups.max()) + 1, dtype=np.intp)
    part_of_group[groups] = part
    has_class = np.zeros((len(part_of_group), num_classes), dtype=np.intp)
    has_class[groups, labels] = 1
    groups_of_class = np.zeros((num_parts, num_classes), dtype=np.intp)
    np.add.at(groups_of_class, part_of_group, has_class)
    return _Contents(images, groups_of_class, np.bincount(part_of_group, minlength=num_parts))


def _choose(
    contents: _Contents, fraction: float, choices: list[tuple[int, ...]], seed: int, num_left: int
) -> tuple[int, ...]:
    """One of the choices closest to `fraction` of all images, among those that take away the fewest whole classes.

    If it leaves a side without a class or with too few groups, one of those for which that holds least.
    """

    def of(table: NDArray[Any]) -> NDArray[Any]:
        """The sums of each choice."""
        return np.stack([table[list(choice)].sum(axis=0) for choice in choices])

    of_class, num_images, taken = contents.images.sum(axis=0), contents.images.sum(), of(contents.images)
    away = np.abs(taken.sum(axis=1) - fraction * num_images) / num_images

    def drawn(wrong: NDArray[np.intp]) -> int:
        """One of the closest choices among those with the fewest `wrong`."""
        distance = np.where(wrong > wrong.min(), np.inf, away)
        good = np.flatnonzero(distance <= distance.min() + TOLERANCE)
        return int(np.random.default_rng(seed).choice(good))

    chosen = drawn(((of_class > 0) & (taken == of_class)).sum(axis=1))
    groups_left = contents.groups_of_class.sum(axis=0) - of(contents.groups_of_class)
    wrong = ((of_class > 0) & ((taken == 0) | (groups_left < num_left))).sum(axis=1)
    wrong += contents.groups.sum() - of(contents.groups) < num_left
    return choices[chosen if wrong[chosen] == 0 else drawn(wrong)]
