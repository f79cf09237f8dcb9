"""The sides of a split, training, validation and test: each has every class."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.dataset import Dataset

MOST_NAMED = 5  # classes in a message


def check_sides(data: Dataset, sides: Mapping[str, NDArray[np.intp]], kept: NDArray[np.bool_] | None = None) -> None:
    """Refuse a split with a side that has no image, or none of a class that the data set has.

    Args:
        data: the whole data set.
        sides: the indices of training, validation and test, by these names.
        kept: (classes,), the classes to check; None: all.

    Raises:
        DataError: names the side and the classes, and says what to do.
    """
    classes = is_kept(data, kept)
    in_all = np.bincount(data.labels, minlength=len(classes))
    for side, indices in sides.items():
        here = np.bincount(data.labels[indices], minlength=len(classes))
        if not here[classes].any():
            raise DataError(
                f"split: {side} gets none of the {in_all[classes].sum()} images; add images, or choose other fractions"
            )
        missing = classes & (in_all > 0) & (here == 0)
        if missing.any():
            raise DataError(
                f"split: expected every class in {side}, got no {listed(_counts(data, missing))};"
                f" {leaving_out(data, missing)}, {_other_draw(data, sides, side, missing)}"
            )


def is_kept(data: Dataset, kept: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """(classes,), `kept` or, if it is None, all True."""
    return np.ones(len(data.class_names), dtype=bool) if kept is None else kept


def leaving_out(data: Dataset, classes: NDArray[np.bool_]) -> str:
    """What to set to leave out `classes`, with which the data set cannot be split.

    Args:
        classes: (classes,), True for those to leave out.
    """
    several = int(np.count_nonzero(classes) > 1)
    sizes = np.bincount(data.labels, minlength=len(classes))
    least = int(sizes[classes].max()) + 1
    ways = [f"dataset.min_per_class={least}"] if (sizes[~classes] >= least).any() else []
    return f"leave the class{'es' * several} out ({' or '.join([*ways, 'dataset.classes=[...]'])})"


def listed(texts: Sequence[str]) -> str:
    """At most MOST_NAMED of `texts`, and how many more there are."""
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return ", ".join(texts[:MOST_NAMED]) + more


def _counts(data: Dataset, classes: NDArray[np.bool_]) -> list[str]:
    """Each class with its images, and its groups, in the whole data set."""
    texts = []
    for k in np.flatnonzero(classes):
        own = data.labels == k
        groups = "" if data.groups is None else f" in {len(np.unique(data.groups[own]))} groups"
        texts.append(f"{data.class_names[k]!r} ({np.count_nonzero(own)} images{groups})")
    return texts


def _other_draw(data: Dataset, sides: Mapping[str, NDArray[np.intp]], side: str, missing: NDArray[np.bool_]) -> str:
    is_all_in_test = set(np.flatnonzero(missing[data.labels])) <= set(sides["test"])
    if side == "test" or is_all_in_test:
        return "use split=stratified, or draw another test (split.test_seed=1)"
    return f"draw again (split.seed=1){'' if data.groups is None else ', or use split=stratified'}"
