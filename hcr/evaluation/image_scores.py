"""Scores of single images, and what the choice of images adds to the noise of the runs' means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.evaluation.metrics import SMALLEST, Labels, Probabilities

BLOCK = 4096  # images whose scores are made dense at a time


@dataclass(frozen=True)
class ImageScores:
    """One score of each image that a run was scored on.

    Attributes:
        index: (N,), positions in the data set in canonical order, each once.
        values: (N,), such as 1 for a right answer and 0 for a wrong one.
        groups: (N,), images with the same number were drawn together; None: each image was drawn by itself.
    """

    index: NDArray[np.integer[Any]]
    values: NDArray[np.floating[Any]]
    groups: NDArray[np.integer[Any]] | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def mean(self) -> float:
        """The run's score."""
        return float(self.values.mean(dtype=np.float64))

    def on(self, index: NDArray[np.integer[Any]]) -> "ImageScores":
        """The scores of those images that are in `index`, too."""
        kept = np.isin(self.index, index)
        groups = None if self.groups is None else self.groups[kept]
        return ImageScores(self.index[kept], self.values[kept], groups)


def correctness(probabilities: Probabilities, labels: Labels) -> NDArray[np.float32]:
    """1 for each image whose most probable class is its label, else 0; (N,), its mean is `accuracy`."""
    right: NDArray[np.float32] = (probabilities.argmax(axis=1) == labels).astype(np.float32)
    return right


def losses(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """The cross-entropy of each image in nats, (N,); its mean is `cross_entropy`."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    found: NDArray[np.float64] = -np.log(np.clip(own, SMALLEST, 1.0))
    return found


class ImageNoise:
    """The noise of R means that comes from the choice of images: images, or whole groups, are drawn, runs are given.

    An image that several runs were scored on moves their means together. This is the variance that resampling the
    images (the groups) many times would give, in closed form.

    Args:
        runs: R, each with at least one image; all with groups, or none.

    Source:
        The delete-none form of the cluster-robust variance, Liang and Zeger 1986, "Longitudinal Data Analysis Using
        Generalized Linear Models"; for runs crossed with images Owen 2007, "The Pigeonhole Bootstrap".
    """

    def __init__(self, runs: Sequence[ImageScores]) -> None:
        from scipy.sparse import csc_array  # takes a quarter of a second: not at the start of a sweep

        names = [run.index if run.groups is None else run.groups for run in runs]
        rows = np.repeat(np.arange(len(runs), dtype=np.int32), [len(run) for run in runs])
        values = np.concatenate([_deviations(run, own) for run, own in zip(runs, names, strict=True)])
        columns, count = _numbered(np.concatenate(names))
        self._deviations = csc_array((values, (rows, columns)), shape=(len(runs), count))

    @property
    def num_units(self) -> int:
        """Number of images, or groups, that any run was scored on."""
        return int(self._deviations.shape[1])

    def covariance(self) -> NDArray[np.float64]:
        """The covariance of the R means, (R, R)."""
        count, total = self._deviations.shape
        found = np.zeros((count, count))
        for first in range(0, total, BLOCK):
            some = self._deviations[:, first : first + BLOCK].toarray()
            found += some @ some.T
        return found

    def variance(self, weights: NDArray[np.float64]) -> tuple[float, float]:
        """The variance of the means' sum with `weights`, (R,), and the degrees of freedom of this estimate.

        The degrees of freedom follow from the fourth moment. They are few where few images differ: m images that one of
        two runs has right and the other wrong give about 2 m.
        """
        squares = (self._deviations.T @ weights) ** 2
        variance = float(squares.sum())
        if variance <= 0:
            return 0.0, np.inf
        # A mean of squares of U units has the relative variance fourth - 1 / U, a chi-squared of f degrees has 2 / f.
        excess = float((squares**2).sum()) / variance**2 - 1 / self.num_units
        return variance, float(np.clip(2 / max(excess, 1e-12), 1, max(1, self.num_units - 1)))


def _numbered(names: NDArray[np.integer[Any]]) -> tuple[NDArray[np.integer[Any]], int]:
    """The names as numbers from 0, in order, and how many there are."""
    low, high = int(names.min()), int(names.max())
    if high - low > 4 * len(names) + 1_000_000:
        units, numbers = np.unique(names, return_inverse=True)
        return numbers.astype(np.int32), len(units)
    is_there = np.zeros(high - low + 1, dtype=bool)  # positions in a data set: faster than sorting them
    is_there[names - low] = True
    return (np.cumsum(is_there, dtype=np.int32) - 1)[names - low], int(is_there.sum())


def _deviations(run: ImageScores, names: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """What each image adds to the deviation of the run's mean, (N,); scaled for the n - 1 of a sample variance."""
    values = run.values.astype(np.float64)
    units = len(run) if run.groups is None else len(np.unique(names))
    found: NDArray[np.float64] = (values - values.mean()) / len(run) * np.sqrt(units / max(1, units - 1))
    return found
