"""A picture of what a model gains by leaving images of low confidence unanswered.

Numbers first (`reject_info`), ink second (`draw_reject`).
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from hcr.evaluation.canvas import FIRST, MUTED, TEXT, new_plot, write_header
from hcr.evaluation.metrics import Labels, Probabilities
from hcr.evaluation.reject import RejectCurve, reject_curve
from hcr.evaluation.statistics import proportion_interval

MOST_POINTS = 200  # of a curve that is drawn: more would not be seen
QUOTED = (0.95, 0.8)  # shares answered whose thresholds are written down
FALLEN = 0.1  # of the error with all images answered: the axis starts a bit below the share where so much is left


@dataclass(frozen=True)
class Reject:
    """Accuracy on the answered images over their share, at M confidence thresholds, ascending.

    Attributes:
        threshold: (M,), an image is answered if its largest probability is at least this.
        answered, accuracy: (M,), share of images answered in (0, 1], and their accuracy in [0, 1].
        low, high: (M,), ends of the accuracy's 95 % Wilson interval.
        start: share at which the axis starts; below it the accuracy hardly rises.
    """

    threshold: NDArray[np.float64]
    answered: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    start: float


def reject_info(probabilities: Probabilities, labels: Labels) -> Reject:
    """The reject curve, at no more than MOST_POINTS thresholds that are even in the share answered.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).

    Raises:
        ValueError: N = 0.
    """
    curve = reject_curve(probabilities, labels)
    wanted = np.linspace(curve.answered[-1], 1, MOST_POINTS)
    # The shares fall as the threshold rises: they are searched from the end.
    shown = np.unique(len(curve.answered) - 1 - np.searchsorted(curve.answered[::-1], wanted))
    num_answered = np.rint(curve.answered[shown] * len(labels)).astype(int)
    num_right = np.rint(curve.accuracy[shown] * num_answered).astype(int)
    ends = [proportion_interval(int(right), int(total)) for right, total in zip(num_right, num_answered, strict=True)]
    low, high = np.array(ends).T
    return Reject(
        threshold=curve.threshold[shown],
        answered=curve.answered[shown],
        accuracy=curve.accuracy[shown],
        low=low,
        high=high,
        start=_start(curve),
    )


def _start(curve: RejectCurve) -> float:
    """The tenth, more than 0.1 below the largest share with a FALLEN error; 0 if there is none."""
    good = np.flatnonzero(1 - curve.accuracy <= FALLEN * (1 - curve.accuracy[0]))
    share = float(curve.answered[good[0]]) if len(good) else 0.0
    return max(0.0, float(np.floor(10 * share - 1)) / 10)


def draw_reject(info: Reject) -> Figure:
    """Draw accuracy over the share of images answered, with its interval as a band."""
    figure, (axes,) = new_plot(900, 560)
    title = f"Accuracy {info.accuracy[0]:.4f} if all images are answered"
    write_header(figure, title, f"Band: 95 % interval. Answered: {_quoted(info)}.")
    axes.fill_between(info.answered, info.low, info.high, color=FIRST, alpha=0.15, linewidth=0)
    axes.plot(info.answered, info.accuracy, color=FIRST, linewidth=1.6)
    axes.plot(info.answered[0], info.accuracy[0], "o", color=FIRST, markersize=6, clip_on=False)
    bottom = float(info.low[info.answered >= info.start].min())
    pad = max(0.05 * (1 - bottom), 0.0005)
    axes.set(xlim=(info.start, 1 + 0.005 * (1 - info.start)), ylim=(bottom - pad, 1 + pad))
    axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_xlabel("share of images answered, the most confident ones", size=TEXT, color=MUTED)
    axes.set_ylabel("accuracy of the answers", size=TEXT, color=MUTED)
    return figure


def _quoted(info: Reject) -> str:
    """The thresholds of some shares, as a sentence."""
    places = [int(np.flatnonzero(info.answered >= share)[-1]) for share in QUOTED]
    return "; ".join(
        f"from confidence {info.threshold[i]:.3f} on {100 * info.answered[i]:.0f} %, accuracy {info.accuracy[i]:.4f}"
        for i in dict.fromkeys(places)
    )
