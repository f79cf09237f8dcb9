"""Labels that are probably wrong, by confident learning on out-of-sample probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcr.evaluation.metrics import Labels, Probabilities

FEWEST_CLASSES = 2  # among the labels: of one class alone nothing can be said


@dataclass(frozen=True)
class Suspects:
    """M of N labels that are probably wrong, worst first.

    Attributes:
        place: (M,), positions among the N images.
        given, suggested: (M,), the label, and the most probable other class.
        quality: (M,), the probability of the given label, in [0, 1]; low is bad.
        probability: (M,), that of the suggested label.
        num_images: N.
        estimated: the estimated number of wrong labels among the N.
    """

    place: NDArray[np.intp]
    given: Labels
    suggested: Labels
    quality: NDArray[np.float64]
    probability: NDArray[np.float64]
    num_images: int
    estimated: int

    def __len__(self) -> int:
        return len(self.place)


def find_suspects(probabilities: Probabilities, labels: Labels) -> Suspects:
    """The labels that a model, which did not learn from these images, contradicts too confidently.

    How confident is too confident, and how many labels of a class are wrong, is estimated for each pair of classes, so
    that a class on which the model is unsure is not blamed for it.

    Args:
        probabilities: (N, K), rows sum to 1, each of a model that was not trained on the image.
        labels: (N,), integers in [0, K).

    Raises:
        ValueError: fewer than FEWEST_CLASSES classes have images.

    Source:
        Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", with
        cleanlab's defaults: prune by noise rate, ranked by self-confidence.
    """
    from cleanlab.count import num_label_issues
    from cleanlab.filter import find_label_issues

    if len(np.unique(labels)) < FEWEST_CLASSES:
        raise ValueError(f"expected images of {FEWEST_CLASSES} classes or more, got {len(np.unique(labels))}")
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    # In one process: cleanlab would fork others, which is not safe beside threads, and gains little here.
    is_suspect = find_label_issues(labels, exact, n_jobs=1)
    estimated = int(num_label_issues(labels, exact))
    quality = exact[np.arange(len(labels)), labels]
    found = np.flatnonzero(is_suspect)
    place = found[np.argsort(quality[found], kind="stable")]
    others = exact[place]
    others[np.arange(len(place)), labels[place]] = -1
    suggested = others.argmax(axis=1)
    return Suspects(
        place=place,
        given=labels[place],
        suggested=suggested.astype(np.int64),
        quality=quality[place],
        probability=exact[place, suggested],
        num_images=len(labels),
        estimated=estimated,
    )
