"""Random splits, stratified by class."""

import math

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.dataset import Dataset, share_out
from hcr.data.sides import is_kept, leaving_out, listed

Indices = NDArray[np.intp]

ALL_SIDES, VALIDATION = "training, validation and test", "training and validation"  # names of the sides, for messages


def count_of(fraction: float, total: int) -> int:
    """`fraction` of `total`, rounded up as in scikit-learn, but ignoring float error."""
    return math.ceil(fraction * total - 1e-6)


def stratify(
    data: Dataset,
    indices: Indices,
    count: int,
    seed: int,
    sides: str,
    *,
    kept: NDArray[np.bool_] | None = None,
    num_left: int = 1,
) -> tuple[Indices, Indices]:
    """`indices` of `data` split in two, `count` of them in the second part, each class in proportion.

    A class with more than `num_left` images has at least one in the second part and `num_left` in the first. Does not
    use scikit-learn, whose import takes longer than everything else before training.

    Args:
        sides: what the images are divided into, such as VALIDATION, for messages.
        kept: (classes,), the classes that errors are about; None: all. The draw does not depend on it.
        num_left: images of each class that the first part needs, as it is divided further.

    Raises:
        DataError: a class has too few images, or a part has fewer images than there are classes.
    """
    own = data.labels[indices]
    sizes = np.bincount(own, minlength=len(data.class_names))
    there = is_kept(data, kept) & (sizes > 0)
    num_classes = int(np.count_nonzero(there))
    if num_classes == 0:
        raise DataError(f"split: expected images to split into {sides}, got none")
    if sizes[there].min() <= num_left:
        raise DataError(_too_few(data, sizes, there & (sizes <= num_left), num_left + 1, sides))
    if count < num_classes or len(indices) - count < num_left * num_classes:
        raise DataError(
            f"split: expected to draw at least {num_classes} images and to leave {num_left * num_classes}, to split"
            f" {num_classes} classes into {sides}, got {count} and {len(indices) - count}; add images (or raise"
            " dataset.limit), or choose other fractions"
        )
    drawn = np.zeros(len(indices), dtype=bool)
    random = np.random.default_rng(seed)
    for k, share in enumerate(_on_each_side(share_out(count, sizes), sizes, num_left)):
        drawn[random.permutation(np.flatnonzero(own == k))[:share]] = True
    return indices[~drawn], indices[drawn]


def _on_each_side(shares: NDArray[np.intp], sizes: NDArray[np.intp], num_left: int) -> NDArray[np.intp]:
    """`shares` of classes of such sizes, changed where a class would be missing on a side; the sum stays the same.

    Classes with no more than `num_left` images keep their share. If that is not possible, nothing changes.
    """
    is_enough = sizes > num_left
    most = np.where(is_enough, sizes - num_left, shares)
    least = np.where(is_enough, 1, shares)
    found: NDArray[np.intp] = np.clip(shares, least, most)
    quotas = shares.sum() * sizes / sizes.sum()
    while (excess := found.sum() - shares.sum()) != 0:
        room = found > least if excess > 0 else found < most
        if not room.any():
            return shares
        above = np.where(room, (found - quotas) * np.sign(excess), -np.inf)
        found[np.argmax(above)] -= np.sign(excess)
    return found


def _too_few(data: Dataset, sizes: NDArray[np.intp], classes: NDArray[np.bool_], num_needed: int, sides: str) -> str:
    """The message for classes with too few images to split; `sizes` has the number of images per class."""
    in_all = np.bincount(data.labels, minlength=len(sizes))
    named = []
    for k in np.flatnonzero(classes):
        taken = f" (it has {in_all[k]}, of which {in_all[k] - sizes[k]} for test)" if in_all[k] > sizes[k] else ""
        named.append(f"{sizes[k]} of class {data.class_names[k]!r}{taken}")
    return (
        f"split: expected at least {num_needed} images of each class to split into {sides}, got {listed(named)};"
        f" add images (or raise dataset.limit), or {leaving_out(data, classes)}"
    )
