"""A model's mistakes as tables: which classes it confuses, and the images that it is most confidently wrong about."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.evaluation.metrics import Evaluation

MOST_CONFUSIONS = 100


def confusions(evaluation: Evaluation) -> dict[str, list[Any]]:
    """The confused classes in columns, the most frequent pair first; at most MOST_CONFUSIONS pairs.

    Returns:
        `actual` and `predicted` names, the number of `images`, and their `share of the class` in [0, 1].
    """
    names = [score.name for score in evaluation.classes]
    counts = np.array(evaluation.confusion)
    np.fill_diagonal(counts, 0)
    pairs = sorted(zip(*np.nonzero(counts), strict=True), key=lambda pair: (-counts[pair], pair))[:MOST_CONFUSIONS]
    return {
        "actual": [names[actual] for actual, _ in pairs],
        "predicted": [names[predicted] for _, predicted in pairs],
        "images": [int(counts[pair]) for pair in pairs],
        "share of the class": [float(counts[pair] / evaluation.classes[pair[0]].support) for pair in pairs],
    }


def mistakes(
    evaluation: Evaluation,
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    chosen: NDArray[np.intp],
    pictures: Sequence[Any],
) -> dict[str, list[Any]]:
    """The misclassified images `chosen` in columns, in their order.

    Args:
        probabilities, labels: (N, K) and (N,), of all images.
        pictures: of each chosen image the cell that shows it; empty: without pictures.

    Returns:
        The `picture`, `actual` and `predicted` names, the probabilities of both, and the `index` in the predictions.
    """
    names = [score.name for score in evaluation.classes]
    predicted = probabilities.argmax(axis=1)[chosen]
    return {
        **({"picture": list(pictures)} if len(pictures) else {}),
        "actual": [names[k] for k in labels[chosen]],
        "predicted": [names[k] for k in predicted],
        "probability of predicted": [float(value) for value in probabilities[chosen, predicted]],
        "probability of actual": [float(value) for value in probabilities[chosen, labels[chosen]]],
        "index": [int(i) for i in chosen],
    }
