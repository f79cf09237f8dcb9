"""Random splits that keep groups of images together."""

import warnings
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError, one_line

Indices = NDArray[np.intp]

FEW = 12  # up to this many groups, every combination is tried
MOST_FOLDS = 20  # more groups are dealt into at most this many folds, some of which make up the fraction
TOLERANCE = 0.01  # share of all images: the seed chooses among combinations this close to the best


def draw_groups(
    indices: Indices, labels: NDArray[np.int64], groups: NDArray[np.int64], fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """`indices` split in two, about `fraction` of them in the second part, no group in both.

    With more than FEW groups, scikit-learn's StratifiedGroupKFold makes equal folds, some of which are drawn; with
    fewer, every combination is tried. Choices that leave the first part without a class are avoided.

    Args:
        indices: the images of the data set to split.
        labels, groups: (N,), of all images of the data set.

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
        part, sizes = _deal(own_labels, own_groups, num_parts, seed), range(num_taken, num_taken + 1)
    num_parts = int(part.max()) + 1
    counts = np.zeros((num_parts, int(own_labels.max()) + 1))  # images of each class in each part
    np.add.at(counts, (part, own_labels), 1)
    taken = _choose(counts, fraction, list(_choices(num_parts, sizes)), seed)
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


def _deal(labels: NDArray[np.int64], groups: NDArray[np.intp], num_parts: int, seed: int) -> NDArray[np.intp]:
    """The part, 0 .. num_parts - 1, of each image: groups stay whole, classes in proportion."""
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


def _choose(counts: NDArray[np.float64], fraction: float, choices: list[tuple[int, ...]], seed: int) -> tuple[int, ...]:
    """One of the choices closest to `fraction` of all images, among those that take away the fewest whole classes."""
    of_class, num_images = counts.sum(axis=0), counts.sum()
    taken = np.stack([counts[list(choice)].sum(axis=0) for choice in choices])
    lost = ((of_class > 0) & (taken == of_class)).sum(axis=1)
    away = np.abs(taken.sum(axis=1) - fraction * num_images) / num_images
    away[lost > lost.min()] = np.inf
    good = np.flatnonzero(away <= away.min() + TOLERANCE)
    return choices[int(np.random.default_rng(seed).choice(good))]
