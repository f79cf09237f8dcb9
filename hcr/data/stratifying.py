"""Random splits, stratified by class."""

import math

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.dataset import Dataset, share_out

Indices = NDArray[np.intp]

TEST, VALIDATION = "test and the rest", "training and validation"  # names of the two sides, for messages
MOST_NAMED = 5  # classes in a message


def count_of(fraction: float, total: int) -> int:
    """`fraction` of `total`, rounded up as in scikit-learn, but ignoring float error."""
    return math.ceil(fraction * total - 1e-6)


def stratify(data: Dataset, indices: Indices, count: int, seed: int, sides: str) -> tuple[Indices, Indices]:
    """`indices` of `data` split in two, `count` of them in the second part, each class in proportion.

    Does not use scikit-learn, whose import takes longer than everything else before training.

    Args:
        sides: the names of the two parts, such as VALIDATION.

    Raises:
        DataError: a class has only one image, or a part has fewer images than there are classes.
    """
    own = data.labels[indices]
    sizes = np.bincount(own)
    num_classes = np.count_nonzero(sizes)
    if num_classes == 0:
        raise DataError(f"split: expected images to split into {sides}, got none")
    if sizes[sizes > 0].min() < 2:
        raise DataError(_too_few(data, sizes, sides))
    if min(count, len(indices) - count) < num_classes:
        raise DataError(
            f"split: expected at least {num_classes} images (one per class) each for {sides},"
            f" got {len(indices) - count} and {count}; add images (or raise dataset.limit), or choose other fractions"
        )
    drawn = np.zeros(len(indices), dtype=bool)
    random = np.random.default_rng(seed)
    for k, share in enumerate(share_out(count, sizes)):
        drawn[random.permutation(np.flatnonzero(own == k))[:share]] = True
    return indices[~drawn], indices[drawn]


def _too_few(data: Dataset, sizes: NDArray[np.intp], sides: str) -> str:
    """The message for classes with only one image to split; `sizes` has the number of images per class."""
    lonely = np.flatnonzero(sizes == 1)
    in_all = np.bincount(data.labels)
    named = []
    for k in lonely[:MOST_NAMED]:
        taken = f" (it has {in_all[k]}, of which {in_all[k] - 1} for test)" if in_all[k] > 1 else ""
        named.append(f"{data.class_names[k]!r}{taken}")
    more = f" and {len(lonely) - MOST_NAMED} more" if len(lonely) > MOST_NAMED else ""
    return (
        f"split: expected at least 2 images of each class to split into {sides}, got 1 of class"
        f" {', '.join(named)}{more}; add images (or raise dataset.limit), or remove the class from the data set"
    )
