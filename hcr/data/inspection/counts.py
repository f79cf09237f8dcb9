"""Images of each class and side, and their sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcr.data.labels import Labels


@dataclass(frozen=True)
class Counts:
    """Number of images of each class on each side.

    Attributes:
        sides: names, such as train, val and test.
        class_names: K names.
        images: (S, K), a row per side.
    """

    sides: tuple[str, ...]
    class_names: tuple[str, ...]
    images: NDArray[np.int64]

    @property
    def num_images(self) -> int:
        return int(self.images.sum())

    @property
    def of_class(self) -> NDArray[np.int64]:
        """(K,), images of each class on all sides."""
        total: NDArray[np.int64] = self.images.sum(axis=0)
        return total

    @property
    def imbalance(self) -> float:
        """Images of the largest class for one of the smallest; infinite if a class has none."""
        of_class = self.of_class
        return float(of_class.max() / of_class.min()) if of_class.min() else float("inf")

    def absent(self, side: str) -> tuple[str, ...]:
        """The classes without an image on `side`."""
        row = self.images[self.sides.index(side)]
        return tuple(self.class_names[k] for k in np.flatnonzero(row == 0))


def count_images(labels: Mapping[str, Labels], class_names: Sequence[str]) -> Counts:
    """Count images.

    Args:
        labels: (N,) of each side, in [0, K).
        class_names: K names.
    """
    rows = [np.bincount(own, minlength=len(class_names)).astype(np.int64) for own in labels.values()]
    return Counts(tuple(labels), tuple(class_names), np.stack(rows))


@dataclass(frozen=True)
class Sizes:
    """Height and width of images, in pixels.

    Attributes:
        smallest, median, largest: (height, width), each taken for itself.
        num_different: number of different pairs of height and width.
    """

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    num_different: int


def sizes_of(sizes: NDArray[np.integer]) -> Sizes:
    """Summarize sizes, (N, 2): height and width of each image; (1, 2) if all are alike. N is 1 or more."""
    least, middle, most = np.min(sizes, axis=0), np.median(sizes, axis=0), np.max(sizes, axis=0)
    smallest, median, largest = ((int(pair[0]), int(pair[1])) for pair in (least, np.rint(middle), most))
    return Sizes(smallest, median, largest, len(np.unique(sizes, axis=0)))
