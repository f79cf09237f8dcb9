"""Converts labels and groups from files to numbers; refuses those that are ambiguous."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.formats import DataFormat
from hcr.data.pixels import NUMBERS, check_whole

Array = NDArray[Any]
Labels = NDArray[np.int64]

TEXT = "US"  # NumPy's kinds of text: str and bytes
SHOWN = 5  # names in a message


def to_labels(labels: Array, num_images: int, cfg: DataFormat, source: str, name: str = "labels") -> Labels:
    """The label of each of `num_images` images, in [0, cfg.num_classes).

    Accepts whole numbers of any dtype, names of `cfg.class_names`, and one-hot rows. Refuses numbers that count from 1:
    some MATLAB files use 1..10 with 10 for the digit 0, and subtracting 1 would mislabel every class.

    Args:
        labels: (N,), (N, 1) or (1, N); or one-hot (N, K).
        source: the file, for messages.
        name: of the array, for messages.

    Raises:
        DataError: the number of labels differs, or they are no labels.
    """
    if labels.dtype.kind not in NUMBERS + TEXT:
        raise DataError(f"{source}: expected labels that are numbers or class names, got `{name}` of {labels.dtype}")
    if labels.shape in ((num_images, 1), (1, num_images)):
        labels = labels.reshape(num_images)
    elif _is_one_hot(labels, num_images, cfg.num_classes):
        classes: Labels = labels.argmax(axis=1).astype(np.int64)
        return classes
    if labels.ndim != 1:
        raise DataError(
            f"{source}: expected one label per image, got `{name}` of shape {labels.shape} for {num_images} images"
        )
    if len(labels) != num_images:
        raise DataError(
            f"{source}: expected one label per image, got {len(labels)} labels (`{name}`) for {num_images} images"
        )
    if not num_images:
        return np.zeros(0, dtype=np.int64)
    if labels.dtype.kind in TEXT:
        return _from_names(labels, cfg, source)
    check_whole(labels, source, "labels", low=0, high=cfg.num_classes - 1, remedy=_remedy(labels, cfg))
    return labels.astype(np.int64, copy=False)


def to_groups(groups: Array, num_images: int, source: str) -> Labels:
    """Groups numbered 0, 1, ... in sorted order of their names.

    Raises:
        DataError: not one group per image, or neither whole numbers nor text.
    """
    if groups.shape in ((num_images, 1), (1, num_images)):
        groups = groups.reshape(num_images)
    if groups.shape != (num_images,) or groups.dtype.kind not in "ui" + TEXT:
        raise DataError(
            f"{source}: expected one group per image, whole numbers or text,"
            f" got {groups.dtype} of shape {groups.shape} for {num_images} images"
        )
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _is_one_hot(labels: Array, num_images: int, num_classes: int) -> bool:
    if labels.shape != (num_images, num_classes) or labels.dtype.kind not in NUMBERS:
        return False
    return bool(((labels == 0) | (labels == 1)).all() and ((labels == 1).sum(axis=1) == 1).all())


def _from_names(labels: Array, cfg: DataFormat, source: str) -> Labels:
    names, numbers = np.unique(labels, return_inverse=True)
    texts = [name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name) for name in names]
    strangers = [repr(text) for text in texts if text not in cfg.class_names]
    if strangers:
        more = f" and {len(strangers) - SHOWN} more" if strangers[SHOWN:] else ""
        raise DataError(
            f"{source}: expected labels that are names of dataset.class_names, or numbers from 0,"
            f" got {', '.join(strangers[:SHOWN])}{more}"
        )
    found: Labels = np.array([cfg.class_names.index(text) for text in texts], dtype=np.int64)[numbers.reshape(-1)]
    return found


def _remedy(labels: Array, cfg: DataFormat) -> str:
    count = cfg.num_classes
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        return ""
    if labels.min() >= 1 and labels.max() == count:
        return f"if they count from 1, save y - 1; if {count} is the class of number 0, save y % {count}"
    return f"dataset.num_classes is {count}"
