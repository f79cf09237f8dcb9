"""Where a model looked: how much less probable its answer becomes when a part of the image is covered."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hcr.data.pixels import Images

PATCH = 1 / 7  # side of the patch, as a fraction of the image's shorter side: 4 pixels of 28
BATCH = 1_000  # covered copies in memory at a time
FEWEST = 2  # pixels of a patch's side


def occlusion_sensitivity(
    predict: Callable[[Images], NDArray[np.float32]], image: Images, label: int
) -> NDArray[np.float64]:
    """The mean fall of the probability of `label` over the patches that cover each pixel: (h, w), in [-1, 1].

    A square patch of the image's paper (the median of its border) is put at every place that it fits.

    Args:
        predict: images (N, h, w, c) to probabilities (N, K).
        image: (h, w, c), prepared.
        label: a class.

    Source:
        Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2.
    """
    height, width = image.shape[:2]
    side = min(height, width, max(FEWEST, round(min(height, width) * PATCH)))
    paper = np.median(np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]), axis=0)
    places = [(top, left) for top in range(height - side + 1) for left in range(width - side + 1)]
    whole = float(predict(image[np.newaxis])[0, label])
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for start in range(0, len(places), BATCH):
        some = places[start : start + BATCH]
        covered = np.repeat(image[np.newaxis], len(some), axis=0)
        for number, (top, left) in enumerate(some):
            covered[number, top : top + side, left : left + side] = paper
        for (top, left), probability in zip(some, predict(covered)[:, label], strict=True):
            total[top : top + side, left : left + side] += whole - float(probability)
            count[top : top + side, left : left + side] += 1
    return total / count
