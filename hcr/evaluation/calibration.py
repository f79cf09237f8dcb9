"""Temperature scaling: one number by which the logits are divided, so that confidence matches accuracy.

Logits are taken from probabilities: their logarithms differ from the logits by a constant, which softmax ignores.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hcr.evaluation.metrics import Labels, Probabilities, cross_entropy, expected_calibration_error

LOWEST, HIGHEST = 0.05, 20.0  # bounds of the temperature
FEWEST_IMAGES = 50  # with fewer images no temperature is fitted
NUM_FOLDS = 5  # of the cross-fitted figures
SMALLEST = float(np.finfo(np.float32).tiny)  # a probability of 0 counts as this, the smallest normal float32


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A temperature, and what it changes on the validation images.

    Attributes:
        temperature: above 1 lowers the confidence, below 1 raises it; 1 if none was fitted.
        num_images: N, the number of validation images.
        ece_before, nll_before: expected calibration error in [0, 1], and mean negative log likelihood in nats.
        ece_after, nll_after: the same of cross-fitted probabilities: those of each fold are scaled by a temperature
            that was fitted on the other folds. None if there are no folds.
        note: one line: why there is no temperature, or why it is doubtful; None: neither.
    """

    temperature: float
    num_images: int
    ece_before: float
    nll_before: float
    ece_after: float | None = None
    nll_after: float | None = None
    note: str | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by their public names."""
        found = {
            "calibration/temperature": self.temperature,
            "calibration/val_ece_before": self.ece_before,
            "calibration/val_ece_after": self.ece_after,
            "calibration/val_nll_before": self.nll_before,
            "calibration/val_nll_after": self.nll_after,
        }
        return {name: value for name, value in found.items() if value is not None}


def calibrate(probabilities: Probabilities, labels: Labels, fold: NDArray[np.intp] | None) -> Calibration:
    """Fit a temperature on all images, and measure on other images than it was fitted on what it is worth.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).
        fold: (N,), the fold of each image, for the cross-fitted figures; None: there are no such figures.

    Raises:
        ValueError: N = 0.
    """
    before = Calibration(
        temperature=1.0,
        num_images=len(labels),
        ece_before=expected_calibration_error(probabilities, labels),
        nll_before=cross_entropy(probabilities, labels),
    )
    note: str | None
    if len(labels) < FEWEST_IMAGES:
        note = f"no temperature was fitted: expected {FEWEST_IMAGES} validation images or more, got {len(labels)}"
        return replace(before, note=note)
    temperature = fit_temperature(probabilities, labels)
    fitted = replace(before, temperature=temperature, note=_doubt(probabilities, labels, fold, temperature))
    if fold is None:
        return fitted
    crossed = cross_fitted(probabilities, labels, fold)
    ece, nll = expected_calibration_error(crossed, labels), cross_entropy(crossed, labels)
    note = fitted.note
    if note is None and nll > before.nll_before:
        note = (
            f"on images that did not choose it, a temperature makes the loss higher, {nll:.4f} instead of"
            f" {before.nll_before:.4f}: there are too few validation images, or the model needs none"
        )
    return replace(fitted, ece_after=ece, nll_after=nll, note=note)


def fit_temperature(probabilities: Probabilities, labels: Labels) -> float:
    """The temperature with the smallest mean negative log likelihood, from LOWEST to HIGHEST.

    The mean is convex in 1 / T, so its slope has one root at most, which is found to the last digits; without one, the
    temperature is at a bound.

    If every image is classified correctly, the likelihood only rises as T falls to 0, where a single mistake on other
    images would cost without limit. Then T is the one that gives a mean confidence of (N + 1) / (N + 2): by Laplace's
    rule of succession, the probability that the next image is right too.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).

    Raises:
        ValueError: N = 0.

    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.
    """
    from scipy.optimize import brentq  # takes a third of a second: not at the start of a run

    if not len(labels):
        raise ValueError("expected at least one image, got none")
    logits = to_logits(probabilities)
    own = logits[np.arange(len(labels)), labels]
    is_separated = bool((own >= logits.max(axis=1)).all())

    def rises(log_temperature: float) -> float:
        """Above 0 where T is too low: the slope of the likelihood, or the confidence that is too much."""
        scaled = _softmax(logits / np.exp(log_temperature))
        if is_separated:
            return float(scaled.max(axis=1).mean() - (len(labels) + 1) / (len(labels) + 2))
        return float(((scaled * logits).sum(axis=1) - own).mean())

    low, high = np.log(LOWEST), np.log(HIGHEST)
    if rises(low) <= 0:
        return LOWEST
    if rises(high) >= 0:
        return HIGHEST
    return float(np.exp(brentq(rises, low, high, xtol=1e-12)))


def cross_fitted(probabilities: Probabilities, labels: Labels, fold: NDArray[np.intp]) -> NDArray[np.float64]:
    """Calibrated probabilities (N, K): each fold's are scaled by the temperature fitted on the other folds.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).
        fold: (N,), of two folds or more.
    """
    crossed = np.empty(probabilities.shape)
    for k in np.unique(fold):
        held_out = fold == k
        temperature = fit_temperature(probabilities[~held_out], labels[~held_out])
        crossed[held_out] = scale(probabilities[held_out], temperature)
    return crossed


def scale(probabilities: Probabilities, temperature: float) -> NDArray[np.float64]:
    """The probabilities (N, K) after the logits behind `probabilities` are divided by `temperature`."""
    return _softmax(to_logits(probabilities) / temperature)


def to_logits(probabilities: Probabilities) -> NDArray[np.float64]:
    """Logits (N, K) of probabilities (N, K): their logarithms, at most 0."""
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), SMALLEST)))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _doubt(
    probabilities: Probabilities, labels: Labels, fold: NDArray[np.intp] | None, temperature: float
) -> str | None:
    """Why a fitted temperature is doubtful, or has no cross-fitted figures."""
    if temperature in (LOWEST, HIGHEST):
        return f"the temperature is at its bound, {temperature:g}; no temperature fits the validation images"
    if (probabilities.argmax(axis=1) == labels).all():
        chance = (len(labels) + 1) / (len(labels) + 2)
        return (
            f"all {len(labels)} validation images are classified correctly, so the best temperature is not determined;"
            f" this one gives a mean confidence of {chance:.4f}, by the rule of succession"
        )
    if fold is None:
        return "the validation images are of one group, so there are no cross-fitted figures"
    return None
