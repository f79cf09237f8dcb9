"""The folds of a cross-validation: stratified by class, and by group where there are groups."""

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.dataset import Dataset
from hcr.data.sides import is_kept, leaving_out, listed

Indices = NDArray[np.intp]

MOST_ORDERS = 10  # in which groups are dealt, until each fold has every class


def fold_of(
    data: Dataset, indices: Indices, num_folds: int, seed: int, *, kept: NDArray[np.bool_] | None = None
) -> NDArray[np.intp]:
    """The fold, 0 .. num_folds - 1, of each of `indices`.

    Without groups, folds differ by at most one image, in each class and in all.

    Args:
        data: the whole data set.
        indices: (N,), the images that test leaves.
        seed: of the draw.
        kept: (classes,), the classes that must be in every fold; None: all. The draw does not depend on it.

    Returns:
        (N,).

    Raises:
        DataError: a class has fewer images, or there are fewer groups, than folds; or a class is missing in a fold.
    """
    labels = data.labels[indices]
    sizes = np.bincount(labels, minlength=len(data.class_names))
    few = is_kept(data, kept) & (sizes > 0) & (sizes < num_folds)
    if few.any():
        named = [f"{sizes[k]} of class {data.class_names[k]!r}" for k in np.flatnonzero(few)]
        raise DataError(
            f"split.folds: expected at least {num_folds} images of each class outside test, one per fold,"
            f" got {listed(named)}; use fewer folds, add images (or raise dataset.limit), or {leaving_out(data, few)}"
        )
    if data.groups is None:
        return deal_images(labels, num_folds, seed)
    groups = np.unique(data.groups[indices], return_inverse=True)[1]
    num_groups = int(groups.max()) + 1
    if num_groups < num_folds:
        raise DataError(
            f"split.folds: expected at most {num_groups}, the number of groups outside test, got {num_folds};"
            f" set split.folds={num_groups}, or use split=grouped"
            if num_groups > 1
            else f"split: expected at least 2 groups outside test for {num_folds} folds, got {num_groups};"
            " use split=stratified"
        )
    fold = deal_whole_groups(labels, groups, num_folds, seed)
    _check_each_fold(data, labels, fold, num_folds, is_kept(data, kept) & (sizes > 0))
    return fold


def deal_images(labels: NDArray[np.int64], num_folds: int, seed: int) -> NDArray[np.intp]:
    """The fold of each image, dealt like cards, class after class, each class shuffled.

    Args:
        labels: (N,).
    """
    random = np.random.default_rng(seed)
    fold = np.zeros(len(labels), dtype=np.intp)
    order = np.concatenate([random.permutation(np.flatnonzero(labels == k)) for k in np.unique(labels)])
    fold[order] = np.arange(len(labels)) % num_folds
    return fold


def deal_whole_groups(
    labels: NDArray[np.int64], groups: NDArray[np.intp], num_folds: int, seed: int
) -> NDArray[np.intp]:
    """The fold of each image: groups stay whole, no fold is empty, and folds are alike in size and classes.

    Each group, large ones first, goes to the fold that has the least of what it holds. If a fold then lacks a class,
    other orders are tried. (scikit-learn's StratifiedGroupKFold may leave a fold empty, even with a group for each.)

    Args:
        labels, groups: (N,), groups numbered from 0, at least `num_folds` of them.
    """
    counts = np.zeros((int(groups.max()) + 1, int(labels.max()) + 1))  # images of each class in each group
    np.add.at(counts, (groups, labels), 1)
    counts = counts[:, counts.any(axis=0)]
    sizes = counts.sum(axis=1, keepdims=True)
    shares = np.hstack([counts / counts.sum(axis=0), sizes / sizes.sum()])
    best: tuple[int, NDArray[np.intp]] | None = None
    for attempt in range(MOST_ORDERS):
        order = np.random.default_rng([seed, attempt]).permutation(len(shares))
        if attempt == 0:
            order = order[np.argsort(-sizes[order, 0], kind="stable")]
        fold_of_group, num_missing = _deal_in_order(shares, order, num_folds)
        if best is None or num_missing < best[0]:
            best = num_missing, fold_of_group
        if num_missing == 0:
            break
    assert best is not None
    return best[1][groups]


def _deal_in_order(
    shares: NDArray[np.float64], order: NDArray[np.intp], num_folds: int
) -> tuple[NDArray[np.intp], int]:
    """The fold of each group, and how many classes are missing in folds.

    Args:
        shares: (groups, classes + 1), the share of each class that a group has, and of all images.
    """
    held = np.zeros((num_folds, shares.shape[1]))
    fold = np.zeros(len(shares), dtype=np.intp)
    for group in order:
        # The increase of the sum of squares. An empty fold has the smallest, as all groups have a share of all images.
        fold[group] = k = int(np.argmin(held @ shares[group]))
        held[k] += shares[group]
    return fold, int((held == 0).sum())


def _check_each_fold(
    data: Dataset, labels: NDArray[np.int64], fold: NDArray[np.intp], num_folds: int, classes: NDArray[np.bool_]
) -> None:
    counts = np.zeros((num_folds, len(data.class_names)), dtype=np.intp)
    np.add.at(counts, (fold, labels), 1)
    missing = classes & (counts == 0).any(axis=0)
    if missing.any():
        named = [f"{data.class_names[k]!r} in fold {int(np.argmin(counts[:, k]))}" for k in np.flatnonzero(missing)]
        raise DataError(
            f"split.folds: expected every class in each of {num_folds} folds of whole groups, got no {listed(named)};"
            f" use fewer folds, draw again (split.seed=1), or {leaving_out(data, missing)}"
        )
