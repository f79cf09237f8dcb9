"""Augmentations, one per module: a class that declares its settings and builds it.

Augmentations run on whole batches, inside the training graph. They are stateless: the random draws depend only on a
seed, so an epoch can be repeated.
"""

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

from hcr.config.parts import Part, Parts

Augment: TypeAlias = Callable[[Any, Any], Any]


class Augmentation(Part):
    """Base class of augmentations."""

    group: ClassVar[str] = "augmentation"

    def build(self) -> Augment | None:
        """Build the function that augments a batch; None: no augmentation.

        Returns:
            A function of images (N, H, W, C) uint8 and a seed (2,) int64, that returns images of the same shape and
            dtype. Pixels that move in from outside are black.
        """
        raise NotImplementedError


AUGMENTATIONS = Parts(__name__, Augmentation, "hcr.augmentations", "build")
