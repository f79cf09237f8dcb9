"""Suspicious labels: images whose nearest neighbours nearly all carry one other label.

An image is listed if the nearest other image by its features (`features_of`) has another label, most of its NEIGHBOURS
nearest agree on one other label, and the nearest images of its own label are clearly further away. Agreement alone
would also list unusual images of the right label. `experiments/data/labels.py` measures precision and recall.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hcr.data.inspection.copies import NEAR, Indices
from hcr.data.inspection.features import Features
from hcr.data.labels import Labels

NEIGHBOURS = 10
AGREEMENT = 8  # of the neighbours that carry one other label
RATIO = 1.3  # mean distance to the OWN nearest images of the own label, over the mean distance to the neighbours
OWN = 5
CLOSEST = float(np.sqrt(2 * (1 - NEAR)))  # distances of near copies count as this, as they may be 0
MOST_REFERENCES = 20_000  # images among which neighbours are searched; evenly spaced in each class
MOST_JUDGED = 60_000  # images whose labels are judged; evenly spaced
ROWS = 64  # images that are judged together: 5 MB of distances


@dataclass(frozen=True)
class Suspicion:
    """An image that its neighbours contradict.

    Attributes:
        index: its place.
        label: its own label.
        neighbours_label: the label of most neighbours.
        agreement: number of neighbours with that label, of NEIGHBOURS.
        ratio: mean distance to the nearest images of its own label, in mean distances to its neighbours.
    """

    index: int
    label: int
    neighbours_label: int
    agreement: int
    ratio: float


@dataclass(frozen=True)
class Suspicions:
    """The suspicious labels of a data set, largest ratio first.

    Attributes:
        num_images: images given.
        num_judged: of these, images whose label was judged; a blank image is not, nor is one of a label with too few
            images.
        num_references: images among which neighbours were searched.
        agreement: how often the nearest image has the same label, from 0 (by chance) to 1 (always); may be below 0.
            This is Cohen's kappa of an image's label and that of its nearest image, with the class shares as chance.
    """

    num_images: int
    num_judged: int
    num_references: int
    agreement: float
    found: tuple[Suspicion, ...]

    @property
    def share(self) -> float:
        """The fraction of judged images that are listed."""
        return len(self.found) / self.num_judged if self.num_judged else 0.0


def suspicious_labels(features: Features, labels: Labels, num_classes: int) -> Suspicions:
    """The images whose label is doubtful. Never give it labels of the sealed test.

    Args:
        features: (N, m), as `features_of`; NaN for images to leave out.
        labels: (N,), in [0, num_classes).
    """
    usable = np.flatnonzero(~np.isnan(features[:, 0]))
    references = usable[_spread(labels[usable], num_classes, MOST_REFERENCES)]
    of_class = np.bincount(labels[references], minlength=num_classes)
    judged = usable[of_class[labels[usable]] > OWN]
    judged = judged[:: max(1, -(-len(judged) // MOST_JUDGED))]
    if len(references) <= NEIGHBOURS or not len(judged):
        return Suspicions(len(labels), 0, len(references), 1.0, ())
    # The nearest reference r of q has the largest q.r - |r|²/2: one product of matrices with a column more.
    half = np.square(features[references]).sum(axis=1, keepdims=True) / 2
    columns = np.concatenate([features[references], half], axis=1).T
    found: list[Suspicion] = []
    num_agreeing = 0
    for start in range(0, len(judged), ROWS):
        images = judged[start : start + ROWS]
        block = np.concatenate([features[images], np.full((len(images), 1), -1, np.float32)], axis=1)
        closeness = block @ columns
        place = np.searchsorted(references, images)
        own = np.flatnonzero(references[np.minimum(place, len(references) - 1)] == images)
        closeness[own, place[own]] = -np.inf  # an image is no neighbour of itself
        doubtful = labels[references[closeness.argmax(axis=1)]] != labels[images]
        num_agreeing += int(np.count_nonzero(~doubtful))
        length = np.square(features[images[doubtful]]).sum(axis=1, keepdims=True)
        squared = np.maximum(length - 2 * closeness[doubtful], 0)
        found += _contradicted(images[doubtful], squared, labels, labels[references], num_classes)
    found.sort(key=lambda one: (-one.ratio, one.index))
    chance = float(np.square(np.bincount(labels[usable]) / len(usable)).sum())
    agreement = (num_agreeing / len(judged) - chance) / (1 - chance) if chance < 1 else 1.0
    return Suspicions(len(labels), len(judged), len(references), agreement, tuple(found))


def _spread(labels: Labels, num_classes: int, most: int) -> Indices:
    """The sorted places of at most about `most` images, evenly spaced in each class and in proportion to it.

    A class keeps enough images for a label to be judged.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    chosen = []
    for k in range(num_classes):
        own = np.flatnonzero(labels == k)
        count = min(len(own), max(NEIGHBOURS + 1, len(own) * most // len(labels)))
        chosen.append(own[np.linspace(0, len(own) - 1, count).astype(np.intp)])
    return np.sort(np.concatenate(chosen))


def _contradicted(
    images: Indices, squared: Features, labels: Labels, reference_labels: Labels, num_classes: int
) -> Iterator[Suspicion]:
    """The suspicious ones of n images.

    Args:
        squared: (n, references), squared distances.
    """
    nearest = np.argpartition(squared, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    distance = np.sqrt(np.take_along_axis(squared, nearest, axis=1)).mean(axis=1)
    squared = np.where(reference_labels == labels[images, np.newaxis], squared, np.inf)
    own = np.sqrt(np.partition(squared, OWN - 1, axis=1)[:, :OWN]).mean(axis=1)
    ratio = own / np.maximum(distance, CLOSEST)
    for i, image in enumerate(images):
        votes = np.bincount(reference_labels[nearest[i]], minlength=num_classes)
        most = int(votes.argmax())
        if most != labels[image] and votes[most] >= AGREEMENT and ratio[i] >= RATIO:
            yield Suspicion(int(image), int(labels[image]), most, int(votes[most]), float(ratio[i]))
