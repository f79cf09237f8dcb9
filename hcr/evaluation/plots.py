"""Pictures of a model's training and calibration: training curves and the reliability diagram.

Numbers first (`*_info`), ink second (`draw_*`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from hcr.evaluation.canvas import (
    ABOVE,
    DASHED,
    FIRST,
    INK,
    MISTAKE,
    MUTED,
    PAPER,
    SECOND,
    SHORT_HEADER,
    SMALL,
    TEXT,
    new_plot,
    write_header,
)
from hcr.evaluation.metrics import Labels, Probabilities, expected_calibration_error, reliability_bins

NUM_BINS = 15
FEW_IMAGES = 20  # with fewer images a bin's accuracy is mostly chance: a standard error of up to 0.11


@dataclass(frozen=True)
class Curves:
    """Loss and accuracy of each epoch.

    Attributes:
        values: (E,) by metric name ("train/loss", ...).
        best_epoch: counted from 1.
        monitor: the metric that determined it.
        loss_is_log: the loss axis is logarithmic, because a linear one would hide the later epochs.
        accuracy_floor: start of the accuracy axis; the first epochs may be below it.
    """

    values: Mapping[str, NDArray[np.float64]]
    best_epoch: int
    monitor: str
    loss_is_log: bool
    accuracy_floor: float

    @property
    def num_epochs(self) -> int:
        return len(self.values[self.monitor])


def curves_info(history: Sequence[Mapping[str, float]], best_epoch: int, monitor: str) -> Curves:
    """Collect the curves of one run, and choose its axes.

    Args:
        history: train/loss, train/accuracy, val/loss and val/accuracy of each of E epochs, E at least 1.
        best_epoch: in 1..E.
        monitor: one of these metrics.
    """
    names = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
    values = {name: np.array([epoch[name] for epoch in history], dtype=np.float64) for name in names}
    losses = np.concatenate([values["train/loss"], values["val/loss"]])
    losses = losses[np.isfinite(losses)]  # losses of diverged training are not finite
    accuracies = np.stack([values["train/accuracy"], values["val/accuracy"]])
    lowest = float(accuracies.min())
    # Cut off the first tenth of the epochs if this at least halves the axis: the last epochs matter.
    if len(history) >= 5:
        later = float(accuracies[:, max(1, len(history) // 10) :].min())
        if accuracies.max() - later < (accuracies.max() - lowest) / 2:
            lowest = later
    return Curves(
        values=values,
        best_epoch=best_epoch,
        monitor=monitor,
        loss_is_log=len(losses) > 0 and 0 < 5 * losses.min() < losses.max(),
        accuracy_floor=lowest,
    )


def draw_curves(info: Curves) -> Figure:
    """Draw loss at the left and accuracy at the right, with the best epoch marked in both."""
    figure, (loss_axes, accuracy_axes) = new_plot(1000, 420, columns=2, header=SHORT_HEADER)
    best = info.values[info.monitor][info.best_epoch - 1]
    write_header(figure, f"Best epoch {info.best_epoch} of {info.num_epochs}, by {info.monitor} = {best:.4f}")
    for axes, metric in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
        _draw_epochs(axes, info, metric)
    if info.loss_is_log:
        loss_axes.set_yscale("log")
        loss_axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
        loss_axes.yaxis.set_minor_locator(NullLocator())
    else:
        loss_axes.set_ylim(bottom=0)
    loss_axes.set_title("loss (log scale)" if info.loss_is_log else "loss", **ABOVE)
    accuracies = np.stack([info.values["train/accuracy"], info.values["val/accuracy"]])
    pad = max(0.06 * (accuracies.max() - info.accuracy_floor), 0.002)
    accuracy_axes.set_ylim(info.accuracy_floor - pad, accuracies.max() + pad)
    accuracy_axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    below = " (the first epochs are below)" if accuracies.min() < info.accuracy_floor else ""
    accuracy_axes.set_title(f"accuracy{below}", **ABOVE)
    for axes in figure.axes:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    handles, _ = loss_axes.get_legend_handles_labels()
    figure.legend(handles=handles, loc="upper right", ncols=3, frameon=False, fontsize=SMALL, labelcolor=INK)
    return figure


def _draw_epochs(axes: Axes, info: Curves, metric: str) -> None:
    epochs = np.arange(1, info.num_epochs + 1)
    marker = "o" if info.num_epochs <= 20 else ""
    axes.axvline(info.best_epoch, **DASHED, label="best epoch")
    for split, color in (("train", SECOND), ("val", FIRST)):
        curve = info.values[f"{split}/{metric}"]
        axes.plot(epochs, curve, color=color, linewidth=1.4, marker=marker, markersize=3.2, label=split)
    chosen = info.values[f"val/{metric}"][info.best_epoch - 1]
    axes.plot(info.best_epoch, chosen, "o", color=FIRST, markersize=7, mfc=PAPER, markeredgewidth=1.4, clip_on=False)
    pad = max(0.5, 0.02 * info.num_epochs)
    axes.set_xlim(max(0.1, 1 - pad), info.num_epochs + pad)
    axes.margins(y=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlabel("epoch", size=SMALL, color=MUTED)


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy of the B bins that have images.

    Attributes:
        low: (B,), lower ends of the bins.
        width: width of each bin.
        images, confidence, accuracy: (B,), number of images, their mean confidence, and their accuracy.
        ece: expected calibration error, in [0, 1].
    """

    low: NDArray[np.float64]
    width: float
    images: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    ece: float


def reliability_info(probabilities: Probabilities, labels: Labels) -> Reliability:
    """Compute confidence and accuracy in NUM_BINS bins of equal width over [0, 1], without empty bins.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).

    Raises:
        ValueError: N = 0.
    """
    ece = expected_calibration_error(probabilities, labels, NUM_BINS)
    bins = reliability_bins(probabilities, labels, NUM_BINS)
    there = np.flatnonzero(bins[:, 0])
    return Reliability(
        low=there / NUM_BINS,
        width=1 / NUM_BINS,
        images=bins[there, 0].astype(np.int64),
        confidence=bins[there, 1],
        accuracy=bins[there, 2],
        ece=ece,
    )


def draw_reliability(info: Reliability, before: Reliability | None = None) -> Figure:
    """Draw accuracy over mean confidence of each bin, and below it the number of images in each bin.

    Args:
        info: of the model.
        before: of the same images before the model was calibrated; None: it was not.
    """
    figure, (axes, below) = new_plot(900, 708, rows=2, sharex=True, height_ratios=(3.5, 1))
    write_header(
        figure,
        f"Expected calibration error (ECE) {info.ece:.4f}"
        + ("" if before is None else f", {before.ece:.4f} before calibration"),
        f"Below the diagonal: overconfident. Hollow: fewer than {FEW_IMAGES} images, mostly chance.",
    )
    axes.plot([0, 1], [0, 1], **DASHED)
    axes.vlines(info.confidence, info.accuracy, info.confidence, color=MISTAKE, linewidth=1.6, alpha=0.6)
    if before is not None:
        _draw_bins(axes, before, SECOND, "before calibration")
    _draw_bins(axes, info, FIRST, "after")
    axes.set(xlim=(0, 1.01), ylim=(-0.03, 1.03), xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
    axes.set_ylabel("accuracy", size=TEXT, color=MUTED)
    bars = below.bar(info.low, info.images, info.width * 0.9, align="edge", color=FIRST, alpha=0.75)
    below.bar_label(bars, [f"{images:,}" for images in info.images], size=SMALL, color=INK, padding=1)
    below.set(yscale="log", ylim=(0.7, info.images.max() * 4))
    below.yaxis.set_minor_locator(NullLocator())
    below.yaxis.set_major_locator(LogLocator(numticks=4))
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    below.set_ylabel("images (log)", size=SMALL, color=MUTED)
    below.set_xlabel("confidence: probability of the predicted class", size=TEXT, color=MUTED)
    if before is not None:
        axes.legend(loc="upper left", frameon=False, fontsize=SMALL, labelcolor=INK)
    return figure


def _draw_bins(axes: Axes, info: Reliability, color: str, label: str) -> None:
    enough = info.images >= FEW_IMAGES
    axes.plot(info.confidence, info.accuracy, color=color, linewidth=1, alpha=0.35)
    axes.plot(info.confidence[enough], info.accuracy[enough], "o", color=color, markersize=6, label=label)
    axes.plot(info.confidence[~enough], info.accuracy[~enough], "o", color=color, markersize=6, mfc=PAPER)
