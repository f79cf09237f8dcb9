"""Prepares an image of any kind as the data set of a finished run was prepared."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hcr.config.errors import DataError
from hcr.data.formats import DataFormat
from hcr.data.pixels import Images
from hcr.data.preparation import Preparation
from hcr.data.sources import INVERTED, UNCLEAR
from hcr.recognition.ink import find_ink, is_light_ink
from hcr.recognition.made_as import MAKERS, as_mnist

BLANK = 13  # levels: an image of less contrast, 5 % of the distance from black to white, has no ink
PLAIN = 32  # levels below which `Preparation`'s center_of_mass takes a pixel for paper
MOSTLY_PLAIN = 0.9  # share of border pixels of a plain scan that are paper so


class NoInkError(DataError):
    """An image is blank: no ink was found."""


@dataclass(frozen=True)
class Preparer:
    """What is done to one image before a model sees it.

    Attributes:
        image_shape: height, width and channels that the model takes.
        source_size: height and width of the data set's own images, if they are of one size.
        made_as: how the makers of the data set prepared its images; None: not known.
        color, fit: as in `Preparation`.
        is_light: True if the data set's prepared images have light ink on dark; None: not known.
    """

    image_shape: tuple[int, int, int]
    source_size: tuple[int, int] | None
    made_as: str | None
    color: Literal["gray", "rgb"]
    fit: Literal["stretch", "pad", "center_of_mass"]
    is_light: bool | None

    def prepare(self, image: Images) -> Images:
        """An image (H, W, C) of any size, C 1 or 3, uint8, as the model takes it: (h, w, c).

        An image that is prepared already stays as it is: see `made_as.is_as_mnist` and `made_as.is_as_digits`; without
        `made_as`, one of the right size and polarity.

        Raises:
            NoInkError: the image is blank.
        """
        if int(np.ptp(image, axis=(0, 1)).max()) < BLANK:  # by channel: a sheet of one colour is blank
            raise NoInkError("no ink found")
        if self.made_as is not None:
            return self._as_made(image)
        inverts = self.is_light is True and not is_light_ink(image)
        if self.fit == "center_of_mass" and not _is_plain(image):
            return self._centered(image)
        return self._resizing(self.fit, invert=inverts).apply(image)

    def _as_made(self, image: Images) -> Images:
        assert self.made_as is not None
        make, is_made = MAKERS[self.made_as]
        sizes = (self.image_shape[:2], self.source_size)
        if image.shape[:2] in sizes:
            gray = self._colored(image, "gray")[..., 0]
            for candidate, invert in ((gray, False), (255 - gray, True)):
                if is_made(candidate):
                    return self._resizing(self.fit, invert=invert).apply(image)
        ink = find_ink(image)
        if ink is None:
            raise NoInkError("no ink found")
        made = make(ink, self.source_size or self.image_shape[:2])[..., np.newaxis]
        return self._resizing(self.fit, invert=False).apply(made)

    def _centered(self, image: Images) -> Images:
        ink = find_ink(image)
        if ink is None:
            raise NoInkError("no ink found")
        made = as_mnist(ink, self.image_shape[:2])[..., np.newaxis]
        if self.is_light is None and not ink.is_light:
            made = 255 - made  # the data set kept its own polarity
        return self._colored(made, self.color)

    def _resizing(self, fit: Literal["stretch", "pad", "center_of_mass"], *, invert: bool) -> Preparation:
        return Preparation(self.color, invert=invert, size=self.image_shape[:2], fit=fit)

    @staticmethod
    def _colored(image: Images, color: Literal["gray", "rgb"]) -> Images:
        return Preparation(color, invert=False, size=None, fit="pad").apply(image)


def preparer_of(dataset: DataFormat, data_notes: str, made_as: str | None = None) -> Preparer:
    """The preparation of images for a model that was trained on `dataset`.

    Args:
        dataset: its settings, filled from the data.
        data_notes: what was decided when the data was read, as the run's tag has it.
        made_as: replaces `dataset.made_as`, which runs of earlier versions lack.
    """
    shape = dataset.input_shape
    assert shape is not None, "a recorded config has it"
    return Preparer(
        image_shape=shape,
        source_size=None if dataset.image_shape is None else (dataset.image_shape[0], dataset.image_shape[1]),
        made_as=made_as or dataset.made_as,
        color="gray" if shape[2] == 1 else "rgb",
        fit=dataset.fit,
        is_light=_is_light(dataset, data_notes),
    )


def _is_light(dataset: DataFormat, data_notes: str) -> bool | None:
    """True if the prepared images of `dataset` have light ink on dark; None if nothing says so."""
    if dataset.invert == "auto":
        return INVERTED in data_notes or UNCLEAR not in data_notes or None
    return dataset.invert == "true" or None


def _is_plain(image: Images) -> bool:
    """True if the border is of one colour, so that the ink box is found without looking for light and shadows."""
    ring = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]]).astype(np.int64)
    is_paper = (np.abs(ring - np.median(ring, axis=0)) < PLAIN).all(axis=1)
    return bool(is_paper.mean() >= MOSTLY_PLAIN)
