"""Everything that is looked at in a data set's splits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcr.data.inspection.copies import Copies, Indices, conflicting, copies_of, identities
from hcr.data.inspection.counts import Counts, Sizes, count_images, sizes_of
from hcr.data.inspection.features import features_of
from hcr.data.inspection.ink import Ink, ink_of
from hcr.data.inspection.suspicious import Suspicions, suspicious_labels
from hcr.data.labels import Labels
from hcr.data.splitting import Splits, Subset
from hcr.data.views import AnyImages

SIDES = ("train", "val", "test")
OPEN_SIDES = ("train", "val")  # the sides whose labels may be judged


@dataclass(frozen=True)
class Inspection:
    """What a data set holds. Places of images count through the sides, one after the other.

    Attributes:
        source_sizes: of the images as they are stored; None if they are as they are prepared.
        prepared: height, width, channels of the images that a model gets.
        ink: of all images.
        labels: (N,), of all images.
        copies: within and across sides.
        conflicts: places of training and validation images that are identical to one with another label.
        suspicions: doubtful labels of training and validation; those of the sealed test are not judged.
    """

    counts: Counts
    source_sizes: Sizes | None
    prepared: tuple[int, int, int]
    ink: Ink
    labels: Labels
    copies: tuple[Copies, ...]
    conflicts: Indices
    suspicions: Suspicions

    @property
    def num_open(self) -> int:
        """Number of training and validation images."""
        return sum(int(self.counts.images[self.counts.sides.index(side)].sum()) for side in OPEN_SIDES)

    def side_of(self, place: int) -> tuple[str, int]:
        """The side of the image at `place`, and its place there."""
        for side, size in zip(self.counts.sides, self.counts.images.sum(axis=1).tolist(), strict=True):
            if place < size:
                return side, place
            place -= size
        raise IndexError(place)


def inspect_splits(splits: Splits, source_sizes: NDArray[np.integer] | None = None) -> Inspection:
    """Look at the images of `splits`.

    Args:
        source_sizes: (N, 2), height and width of the stored images, if those differ from the prepared ones.
    """
    return inspect_images([splits.train, splits.val, splits.test], splits.class_names, source_sizes)


def inspect_images(
    subsets: Sequence[Subset], class_names: Sequence[str], source_sizes: NDArray[np.integer] | None = None
) -> Inspection:
    """Look at the images of training, validation and test, in this order; further arguments as in `inspect_splits`."""
    images = {side: subset.images for side, subset in zip(SIDES, subsets, strict=True)}
    labels = {side: subset.labels for side, subset in zip(SIDES, subsets, strict=True)}
    identity = identities(images)
    features = dict(zip(SIDES, features_of(list(images.values())), strict=True))
    open_labels = np.concatenate([labels[side] for side in OPEN_SIDES])
    return Inspection(
        counts=count_images(labels, class_names),
        source_sizes=None if source_sizes is None else sizes_of(source_sizes),
        prepared=_shape(images["train"]),
        ink=ink_of([(subset.images, subset.labels) for subset in subsets], len(class_names)),
        labels=np.concatenate(list(labels.values())),
        copies=copies_of(images, features, identity),
        conflicts=conflicting(np.concatenate([identity[side] for side in OPEN_SIDES]), open_labels),
        suspicions=suspicious_labels(
            np.concatenate([features[side] for side in OPEN_SIDES]), open_labels, len(class_names)
        ),
    )


def _shape(images: AnyImages) -> tuple[int, int, int]:
    height, width, channels = images.shape[1:]
    return height, width, channels
