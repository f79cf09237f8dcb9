"""The answers of several runs to the same images: votes, a confusion matrix, and where two sides disagree."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcr.evaluation.metrics import Labels, Probabilities


@dataclass(frozen=True)
class Answers:
    """What the runs of one side say to M images.

    Attributes:
        index: (M,), positions in the data set in canonical order, ascending.
        labels: (M,), integers in [0, K).
        votes: (M, K), the number of runs that answer each class; at least one for each image.
    """

    index: NDArray[np.int64]
    labels: Labels
    votes: NDArray[np.int64]

    @property
    def num_runs(self) -> NDArray[np.int64]:
        """(M,), the number of runs that answered an image."""
        count: NDArray[np.int64] = self.votes.sum(axis=1)
        return count

    @property
    def share_right(self) -> NDArray[np.float64]:
        """(M,), the share of these that are right."""
        share: NDArray[np.float64] = self.votes[np.arange(len(self.labels)), self.labels] / self.num_runs
        return share

    @property
    def confusion(self) -> NDArray[np.float64]:
        """(K, K): rows are actual classes, columns predicted ones; each image counts 1, shared among its runs."""
        found = np.zeros((self.votes.shape[1],) * 2)
        np.add.at(found, self.labels, self.votes / self.num_runs[:, np.newaxis])
        return found

    @property
    def mistakes(self) -> NDArray[np.int64]:
        """(M,), the wrong class that most runs answer; of images without a wrong answer, any class."""
        wrong = self.votes.copy()
        wrong[np.arange(len(self.labels)), self.labels] = -1
        most: NDArray[np.int64] = wrong.argmax(axis=1).astype(np.int64)
        return most


def answers_of(runs: Iterable[tuple[Probabilities, Labels, NDArray[np.int64]]], index: NDArray[np.int64]) -> Answers:
    """The answers of runs to the images `index`.

    Args:
        runs: of each run probabilities (N, K), labels (N,) and index (N,), positions in the data set, each once.
        index: (M,), ascending; each image was answered by at least one run.
    """
    labels = np.full(len(index), -1, dtype=np.int64)
    votes: NDArray[np.int64] | None = None
    for probabilities, own_labels, own_index in runs:
        kept = np.isin(own_index, index)
        places = np.searchsorted(index, own_index[kept])
        if votes is None:
            votes = np.zeros((len(index), probabilities.shape[1]), dtype=np.int64)
        labels[places] = own_labels[kept]
        votes[places, probabilities[kept].argmax(axis=1)] += 1
    assert votes is not None and (votes.sum(axis=1) > 0).all(), "each image was answered"
    return Answers(index, labels, votes)


def only_right(first: Answers, second: Answers) -> NDArray[np.int64]:
    """The places in `index` of images that most runs of `first` have right and most runs of `second` wrong.

    The clearest come first: by the difference of the shares of right runs, then by place.

    Args:
        first, second: of the same M images.
    """
    right, wrong = first.share_right, second.share_right
    places = np.flatnonzero((right > 0.5) & (wrong < 0.5))
    order: NDArray[np.int64] = places[np.argsort(wrong[places] - right[places], kind="stable")].astype(np.int64)
    return order
