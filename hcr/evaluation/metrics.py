"""Classification metrics from probabilities and labels. NumPy only."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.text import printable
from hcr.console import num_columns, pad
from hcr.evaluation.statistics import proportion_interval

Probabilities = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

SMALLEST = 1e-7  # probabilities are raised to this before their logarithm is taken, as Keras does


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class, in [0, 1], and `support`, its number of images."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a model on one set of images.

    Attributes:
        num_images: N.
        accuracy: fraction of images classified correctly.
        accuracy_low, accuracy_high: ends of its 95 % Wilson interval.
        loss: mean categorical cross-entropy, in nats.
        top2_accuracy: fraction of images whose label is among the two most probable classes.
        macro_f1: mean F1 over the classes.
        ece: expected calibration error, in [0, 1].
        classes: scores per class, in label order.
        confusion: (K, K); rows are actual classes, columns predicted ones.
    """

    num_images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    loss: float
    top2_accuracy: float
    macro_f1: float
    ece: float
    classes: tuple[ClassScore, ...]
    confusion: NDArray[np.int64]


def evaluate(probabilities: Probabilities, labels: Labels, class_names: tuple[str, ...]) -> Evaluation:
    """Compute all metrics of a model on one set of images.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).
        class_names: K names.

    Raises:
        ValueError: N = 0, or the shapes do not match.
    """
    _check(probabilities, labels, len(class_names))
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, len(class_names))
    precision, recall, f1 = class_scores(confusion)
    right = int((predicted == labels).sum())
    low, high = proportion_interval(right, len(labels))
    return Evaluation(
        num_images=len(labels),
        accuracy=right / len(labels),
        accuracy_low=low,
        accuracy_high=high,
        loss=cross_entropy(probabilities, labels),
        top2_accuracy=top_k_accuracy(probabilities, labels, k=2),
        macro_f1=float(f1.mean()),
        ece=expected_calibration_error(probabilities, labels),
        classes=tuple(
            ClassScore(name, float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(class_names, precision, recall, f1, confusion.sum(axis=1), strict=True)
        ),
        confusion=confusion,
    )


def guessing_note(evaluation: Evaluation) -> str | None:
    """A note that the accuracy is not better than that of always answering the largest class; None if it is.

    It is better if its whole 95 % interval is above the share of that class in the same images.
    """
    actual = evaluation.confusion.sum(axis=1)
    share = float(actual.max() / actual.sum())
    if evaluation.accuracy_low > share:
        return None
    return (
        f"accuracy {evaluation.accuracy:.4f} (95 % interval {evaluation.accuracy_low:.4f} to"
        f" {evaluation.accuracy_high:.4f}) is not shown to be better than always answering the largest class,"
        f" {evaluation.classes[int(actual.argmax())].name!r}, which is right for {share:.4f} of these images"
    )


def confusion_matrix(labels: Labels, predicted: NDArray[np.intp], num_classes: int) -> NDArray[np.int64]:
    """Count images by actual class (rows) and predicted class (columns), (K, K).

    Args:
        labels, predicted: (N,), integers in [0, K).
        num_classes: K.
    """
    pairs = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes).astype(np.int64)


def class_scores(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Precision, recall and F1 of each class, (3, K), from a confusion matrix (K, K); 0/0 is 0."""
    right = np.diag(confusion).astype(np.float64)
    predicted, actual = confusion.sum(axis=0), confusion.sum(axis=1)
    parts = np.stack([right, right, 2 * right])
    wholes = np.stack([predicted, actual, predicted + actual])
    scores: NDArray[np.float64] = np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)
    return scores


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Fraction of the N images whose most probable class is their label; N is 1 or more."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def top_k_accuracy(probabilities: Probabilities, labels: Labels, k: int) -> float:
    """Fraction of images whose label is among the `k` most probable classes; of equal ones the lower class is first."""
    own = probabilities[np.arange(len(labels)), labels][:, np.newaxis]
    classes = np.arange(probabilities.shape[1])
    ahead = (probabilities > own) | ((probabilities == own) & (classes < labels[:, np.newaxis]))
    return float((ahead.sum(axis=1) < k).mean())


def worst_mistakes(probabilities: Probabilities, labels: Labels, most: int) -> NDArray[np.intp]:
    """The indices of at most `most` misclassified images: the most confident ones, most confident first.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    by_confidence = np.argsort(-probabilities.max(axis=1)[wrong], kind="stable")
    return wrong[by_confidence[:most]]


def cross_entropy(probabilities: Probabilities, labels: Labels) -> float:
    """Mean negative log probability of the label, in nats; 0 is perfect."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.clip(own, SMALLEST, 1.0)).mean())


def reliability_bins(probabilities: Probabilities, labels: Labels, num_bins: int = 15) -> NDArray[np.float64]:
    """Confidence and accuracy in bins of equal width over [0, 1].

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).

    Returns:
        (num_bins, 3): number of images, mean confidence and accuracy of each bin; the last two are NaN in empty bins.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    # Bins are open below and closed above, so a confidence of 1 falls into the last one.
    index = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    count = np.bincount(index, minlength=num_bins).astype(float)
    with np.errstate(invalid="ignore"):
        return np.stack(
            [
                count,
                np.bincount(index, confidence, num_bins) / count,
                np.bincount(index, right, num_bins) / count,
            ],
            axis=1,
        )


def expected_calibration_error(probabilities: Probabilities, labels: Labels, num_bins: int = 15) -> float:
    """Mean gap between confidence and accuracy, weighted by bin size.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).

    Returns:
        A fraction in [0, 1].

    Raises:
        ValueError: N = 0.

    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3.
    """
    _check(probabilities, labels, probabilities.shape[1])
    count, confidence, right = reliability_bins(probabilities, labels, num_bins).T
    return float(np.nansum(count * np.abs(confidence - right)) / count.sum())


def classification_report(evaluation: Evaluation) -> dict[str, Any]:
    """The report as plain values for JSON: overall metrics, scores per class, and the confusion matrix."""
    values = asdict(evaluation)
    values["classes"] = [asdict(score) for score in evaluation.classes]
    values["confusion"] = evaluation.confusion.tolist()
    return values


def classification_report_text(evaluation: Evaluation) -> str:
    """The report as a text table."""
    names = [printable(score.name) for score in evaluation.classes]
    width = max(map(num_columns, ["class", *names]))
    lines = [f"{'class':<{width}}  precision  recall      f1  images", ""]
    for name, score in zip(names, evaluation.classes, strict=True):
        lines.append(
            f"{pad(name, width)}  {score.precision:9.4f}  {score.recall:6.4f}  {score.f1:6.4f}  {score.support:6d}"
        )
    lines += [
        "",
        f"accuracy        {evaluation.accuracy:.4f}  (95 % interval {evaluation.accuracy_low:.4f}"
        f" to {evaluation.accuracy_high:.4f}, {evaluation.num_images} images)",
        f"top-2 accuracy  {evaluation.top2_accuracy:.4f}",
        f"macro F1        {evaluation.macro_f1:.4f}",
        f"loss            {evaluation.loss:.4f}  nats",
        f"calibration     {evaluation.ece:.4f}  (expected calibration error, 15 bins)",
    ]
    return "\n".join(lines) + "\n"


def _check(probabilities: Probabilities, labels: Labels, num_classes: int) -> None:
    if len(labels) == 0:
        raise ValueError("expected at least one image, got none")
    if probabilities.shape != (len(labels), num_classes):
        raise ValueError(f"expected probabilities of shape {(len(labels), num_classes)}, got {probabilities.shape}")
