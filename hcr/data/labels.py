"""Maps stored labels to classes, and groups to numbers; refuses those that are ambiguous."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.config.text import printable
from hcr.data.formats import DataFormat
from hcr.data.pixels import NUMBERS, check_whole

Array = NDArray[Any]
Labels = NDArray[np.int64]

TEXT = "US"  # NumPy's kinds of text: str and bytes
SHOWN = 5  # names in a message
LARGEST = 2**53  # whole floats up to this are exact


def to_labels(
    arrays: Mapping[str, tuple[Array, int]], cfg: DataFormat, source: str, class_names: Sequence[str] | None = None
) -> tuple[list[Labels], tuple[str, ...], list[str]]:
    """The class of each image, by its stored label.

    Stored labels are whole numbers of any dtype, text, or one-hot rows. Without declared names, the labels that occur
    are the classes, sorted as numbers or, for text, naturally ("9" before "10"). With `cfg.class_names`, a label is its
    class's name; if they are no names, the number from 0 of its class; else the number from 1, if the names are no
    numbers. So 1 to 10 for the digits 0 to 9 is refused: some files use 10 for the digit 0, others for 9.

    Args:
        arrays: by name, for messages: the labels, (N,), (N, 1), (1, N) or one-hot (N, K), and the number of images N.
        source: the file, for messages.
        class_names: names that the file itself has; labels are then whole numbers from 0, or the names.

    Returns:
        Labels (N,) in [0, K) for each array; the names of the K classes; notes, one line each.

    Raises:
        DataError: the number of labels differs, or they are no labels.
    """
    flat = {name: _flat(labels, num, cfg, source, name) for name, (labels, num) in arrays.items()}
    names = cfg.class_names or (None if class_names is None else tuple(class_names))
    if cfg.class_names is not None and class_names is not None:
        return _renumbered(flat, tuple(class_names), cfg, source)
    if len({labels.dtype.kind for labels in flat.values()}) > 1:  # NumPy would take bytes to be ASCII
        flat = {name: _decoded(labels) for name, labels in flat.items()}
    joined = np.concatenate([labels for labels in flat.values() if len(labels)] or [np.zeros(0, np.int64)])
    if not len(joined):
        raise DataError(f"{source}: expected labels, got none")
    stored, inverse = np.unique(joined, return_inverse=True)
    texts = _as_texts(stored, source)
    notes: list[str] = []
    if names is None:
        names, classes = _sorted_names(texts, stored.dtype.kind in TEXT, cfg, source)
    else:
        classes, notes = _of_declared(stored, texts, names, source)
    numbers = classes[inverse.reshape(-1)]
    ends = np.cumsum([len(labels) for labels in flat.values()])[:-1]
    return list(np.split(numbers, ends)), names, notes


def checked_groups(groups: Array, num_images: int, source: str) -> Array:
    """The group of each image (N,), checked.

    Raises:
        DataError: not one group per image, or neither whole numbers nor text.
    """
    if groups.shape in ((num_images, 1), (1, num_images)):
        groups = groups.reshape(num_images)
    is_whole = groups.dtype.kind in "ui" + TEXT
    if groups.dtype.kind == "f" and np.isfinite(groups).all():  # MATLAB saves whole numbers as floats
        is_whole = bool((groups == np.floor(groups)).all())
    if groups.shape != (num_images,) or not is_whole:
        raise DataError(
            f"{source}: expected one group per image, whole numbers or text,"
            f" got {groups.dtype} of shape {groups.shape} for {num_images} images"
        )
    return groups


def to_groups(groups: Array) -> Labels:
    """Groups (N,) numbered 0, 1, ... in natural order of their names, whether they are stored as numbers or as text."""
    stored, inverse = np.unique(groups, return_inverse=True)
    names = [_as_text(int(group) if stored.dtype.kind == "f" else group) for group in stored]
    numbers = np.empty(len(names), np.int64)
    numbers[sorted(range(len(names)), key=lambda i: natural(names[i]))] = np.arange(len(names))
    return numbers[inverse.reshape(-1)]


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts names as people do: "2" before "10", "a2" before "a10"."""
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def _flat(labels: Array, num_images: int, cfg: DataFormat, source: str, name: str) -> Array:
    """Stored labels (N,): numbers or text; one-hot rows become numbers."""
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(str)
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
    if labels.dtype.kind in TEXT:
        return labels
    is_whole = labels.dtype.kind != "f" or (np.isfinite(labels) & (labels == np.floor(labels))).all()
    if not is_whole or (len(labels) and not -LARGEST <= labels.min() <= labels.max() <= LARGEST):
        num_classes = cfg.num_classes or len(cfg.class_names or ())
        low, high = (0, num_classes - 1) if num_classes else (-LARGEST, LARGEST)
        check_whole(labels, source, "labels", low=low, high=high)
    return labels.astype(np.int64)


def _is_one_hot(labels: Array, num_images: int, num_classes: int | None) -> bool:
    if labels.ndim != 2 or len(labels) != num_images or labels.shape[1] < 2 or labels.dtype.kind not in NUMBERS:
        return False
    if num_classes is not None and labels.shape[1] != num_classes:
        return False
    return bool(((labels == 0) | (labels == 1)).all() and ((labels == 1).sum(axis=1) == 1).all())


def _decoded(labels: Array) -> Array:
    """`labels`, with text for bytes."""
    return np.char.decode(labels, "utf-8", "backslashreplace") if labels.dtype.kind == "S" else labels


def _as_texts(stored: Array, source: str) -> list[str]:
    """The distinct labels as class names."""
    texts = [_as_text(label) for label in stored]
    if "" in texts:
        raise DataError(f"{source}: expected a label for every image, got an empty one")
    return texts


def _as_text(name: object) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def _sorted_names(texts: list[str], is_text: bool, cfg: DataFormat, source: str) -> tuple[tuple[str, ...], Labels]:
    """The labels that occur as class names in order, and the class of each text."""
    order = sorted(range(len(texts)), key=lambda i: natural(texts[i]) if is_text else int(texts[i]))
    names = tuple(texts[i] for i in order)
    if len(names) < 2:
        raise DataError(f"{source}: expected images of 2 classes or more, got only {printable(names[0])!r}")
    if cfg.num_classes is not None and len(names) != cfg.num_classes:
        raise DataError(f"{source}: expected {cfg.num_classes} classes (dataset.num_classes), got {len(names)}")
    classes = np.empty(len(texts), np.int64)
    classes[order] = np.arange(len(texts))
    return names, classes


def _of_declared(stored: Array, texts: list[str], names: tuple[str, ...], source: str) -> tuple[Labels, list[str]]:
    """The class of each distinct label, and notes."""
    index = {name: k for k, name in enumerate(names)}
    if all(text in index for text in texts):
        return np.array([index[text] for text in texts], np.int64), []
    if stored.dtype.kind in TEXT:
        strangers = [repr(text) for text in texts if text not in index]
        more = f" and {len(strangers) - SHOWN} more" if strangers[SHOWN:] else ""
        raise DataError(
            f"{source}: expected labels that are names of dataset.class_names, or numbers from 0,"
            f" got {', '.join(strangers[:SHOWN])}{more}"
        )
    count, least, most = len(names), int(stored.min()), int(stored.max())
    if least >= 1 and most == count and not any(name.lstrip("-").isdecimal() for name in names):
        note = f"{source}: its labels count from 1: {names[0]!r} is 1 and {names[-1]!r} is {count}"
        return stored.astype(np.int64) - 1, [note]
    remedy = f"dataset.num_classes is {count}"
    if least >= 1 and most == count:
        remedy = f"if they count from 1, save y - 1; if {count} is the class of number 0, save y % {count}"
    check_whole(stored, source, "labels", low=0, high=count - 1, remedy=remedy)
    return stored.astype(np.int64), []


def _renumbered(
    flat: Mapping[str, Array], own: tuple[str, ...], cfg: DataFormat, source: str
) -> tuple[list[Labels], tuple[str, ...], list[str]]:
    """Labels that index the file's own names, as those of `cfg.class_names`, which may be in another order."""
    declared = cfg.class_names
    assert declared is not None
    used = np.unique(np.concatenate([labels.astype(np.int64) for labels in flat.values()]))
    strangers = [own[k] for k in used if own[k] not in declared]
    if strangers:
        shown = ", ".join(repr(printable(name)) for name in strangers[:SHOWN])
        raise DataError(f"{source}: expected the classes of dataset.class_names, got {shown}")
    table = np.array([declared.index(name) if name in declared else -1 for name in own], np.int64)
    return [table[labels.astype(np.int64)] for labels in flat.values()], declared, []
