"""The check of an exported model: its own runtime and Keras give the same probabilities for the same images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcr.config import DataError
from hcr.config.errors import one_line
from hcr.data.pixels import Images
from hcr.data.views import AnyImages
from hcr.exporting.formats import LoadedExport
from hcr.recorded import RecordedRun

TOLERANCE = 1e-4  # of a probability; float32 sums in another order differ by some 1e-6
BATCH = 1_000  # images at a time
SMALL_BATCHES = (1, 7)  # also run, since an exported model takes any number of images
GENERATED = 1_000  # images, where the run's own are not on this machine


@dataclass(frozen=True)
class Difference:
    """How far the probabilities of two models are apart.

    Attributes:
        largest: the largest absolute difference of a probability.
        num_other: number of images whose most probable class differs.
    """

    largest: float
    num_other: int


@dataclass(frozen=True)
class CheckImages:
    """The images that an export is checked on.

    Attributes:
        images: (N, H, W, C) uint8.
        what: the words for them, in the plural.
        why_generated: why they are not the run's own; None if they are.
    """

    images: AnyImages
    what: str
    why_generated: str | None = None


def check_images(run: RecordedRun) -> CheckImages:
    """The run's validation images; generated ones if its data set cannot be read here, or has changed. Never test."""
    try:
        return CheckImages(run.load_splits().val.images, "validation images")
    except DataError as error:
        return CheckImages(generated_images(run.image_shape), "generated images", one_line(error))


def generated_images(shape: tuple[int, int, int], count: int = GENERATED) -> Images:
    """`count` images (N, H, W, C): noise of any brightness within a random box on black, always the same."""
    random = np.random.default_rng(0)
    height, width, _ = shape
    images = random.integers(0, 256, (count, *shape), np.uint8)
    images //= random.integers(1, 9, (count, 1, 1, 1), np.uint8)
    for image in images:
        top, left = random.integers(0, height), random.integers(0, width)
        inside = np.zeros(shape, bool)
        inside[top : top + random.integers(1, height + 1), left : left + random.integers(1, width + 1)] = True
        image[~inside] = 0
    return images


def run_exported(model: LoadedExport, images: AnyImages) -> NDArray[np.float32]:
    """Probabilities (N, K) by the exported model, in batches of BATCH; the first images also in SMALL_BATCHES.

    Raises:
        ValueError: a small batch gives other probabilities.
    """
    found = np.concatenate(
        [model.probabilities(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    )
    for size in SMALL_BATCHES:
        few = model.probabilities(images[:size])
        apart = difference(few, found[:size]).largest
        if not apart <= TOLERANCE:
            raise ValueError(f"a batch of {size} differs by {apart:.1g} from the same images in a batch of {BATCH}")
    return found


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> Difference:
    """The difference of two models' probabilities (N, K) for the same images; NaN in one of them counts as infinite."""
    assert one.shape == other.shape, f"{one.shape} and {other.shape}"
    apart = float(np.abs(one.astype(np.float64) - other).max(initial=0.0))
    num_other = int((one.argmax(axis=1) != other.argmax(axis=1)).sum())
    return Difference(apart if np.isfinite(apart) else float("inf"), num_other)
