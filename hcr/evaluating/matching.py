"""Matches the classes of a data set with those of a model, by name."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcr.config import DataError
from hcr.config.text import printable

MOST_NAMED = 8  # classes in a message


@dataclass(frozen=True)
class ClassMatch:
    """The model's class of each class of a data set.

    Attributes:
        model_labels: (classes of the data set,), the label that the model has for each; -1: it has none.
        unknown: the names that the model does not know, in the order of the data set.
    """

    model_labels: NDArray[np.int64]
    unknown: tuple[str, ...]


def match_classes(model_names: Sequence[str], data_names: Sequence[str], kept: Sequence[str], name: str) -> ClassMatch:
    """Match classes by name, whatever their order.

    Args:
        model_names: the model's classes, in label order.
        data_names: the data set's classes, in label order.
        kept: those of them to use.
        name: the data set's name, for messages.

    Raises:
        DataError: no class has the same name on both sides.
    """
    label_of = {name: label for label, name in enumerate(model_names)}
    labels = [label_of.get(each, -1) if each in kept else -1 for each in data_names]
    if max(labels) < 0:
        folded = {each.casefold() for each in model_names} & {each.casefold() for each in kept}
        remedy = "; they differ only in case: dataset.class_names=[...] names the classes of a file" if folded else ""
        raise DataError(
            f"dataset={name}: expected a class that the model knows ({listed(model_names)}), got {listed(kept)}{remedy}"
        )
    return ClassMatch(np.array(labels, np.int64), tuple(each for each in kept if each not in label_of))


def listed(names: Sequence[str]) -> str:
    """The first of `names`, in one line."""
    more = f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else ""
    return f"{', '.join(map(printable, names[:MOST_NAMED]))}{more}"
