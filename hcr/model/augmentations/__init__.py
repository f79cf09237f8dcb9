"""Augmentations: a module each, with the class that declares its settings and builds it.

Whole batches of training images are changed at once, in the graph that trains on them. A seed alone decides what is
drawn, so an epoch can be repeated, and nothing is kept between steps.
"""

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

from hcr.config.parts import Part, Parts

Augment: TypeAlias = Callable[[Any, Any], Any]


class Augmentation(Part):
    """Base class of augmentations."""

    group: ClassVar[str] = "augmentation"

    def build(self) -> Augment | None:
        """What is done to a batch; None where it stays as it is.

        Returns:
            A function of images (N, H, W, C) uint8 and a seed (2,) int64, that returns images of the same shape and
            dtype. What moves in from outside is black.
        """
        raise NotImplementedError


AUGMENTATIONS = Parts(__name__, Augmentation, "hcr.augmentations", "build")
