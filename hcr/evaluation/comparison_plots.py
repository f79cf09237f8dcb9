"""Pictures of a comparison: learning curves, the difference of the confusion matrices, reliability, disagreements.

Numbers first (`*_info`), ink second (`draw_*`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from hcr.evaluation.answers import Answers, only_right
from hcr.evaluation.canvas import (
    ABOVE,
    DASHED,
    FIRST,
    HEADER,
    INK,
    MARGIN,
    MISTAKE,
    MUTED,
    PAPER,
    SECOND,
    SMALL,
    TEXT,
    new_plot,
    shorten,
    write_header,
)
from hcr.evaluation.class_plots import DARKEST_FROM, draw_matrix
from hcr.evaluation.fonts import picture_names
from hcr.evaluation.inspection_pictures import draw_captioned, empty_page
from hcr.evaluation.mosaic import Images
from hcr.evaluation.plots import FEW_IMAGES, Reliability

# After Okabe and Ito 2008, darkened as FIRST and SECOND; the dashes tell the sides apart without colours.
COLORS = (FIRST, SECOND, "#00785a", "#a3457f", "#4d4d4d", "#4a97c9")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 3)))
MOST_SIDES = len(COLORS)
MOST_IMAGES = 18  # on a page of disagreements
LABEL_WIDTH = 300  # pixels of a side's name in a legend
METRICS = ("val/loss", "val/accuracy")


@dataclass(frozen=True)
class SideCurve:
    """One metric of a side's runs over E epochs.

    Attributes:
        mean, low, high: (E,), over the runs that reached an epoch.
        num_runs: (E,), how many did.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    num_runs: NDArray[np.int64]


@dataclass(frozen=True)
class ComparedCurves:
    """Learning curves of S sides: `curves[metric]` has one for each of `labels`.

    Attributes:
        labels: names of the sides.
        curves: by metric.
        loss_is_log: the loss axis is logarithmic.
        has_bands: a side has several runs.
    """

    labels: tuple[str, ...]
    curves: Mapping[str, tuple[SideCurve, ...]]
    loss_is_log: bool
    has_bands: bool


def compared_curves_info(
    labels: Sequence[str], histories: Sequence[Sequence[Sequence[Mapping[str, float]]]]
) -> ComparedCurves:
    """Mean and range of the validation metrics of each side in each epoch; at most MOST_SIDES sides.

    Args:
        labels: of S sides.
        histories: for each side, for each of its runs, the metrics of each epoch, at least one.
    """
    curves = {
        metric: tuple(_side_curve([[epoch[metric] for epoch in run] for run in own]) for own in histories[:MOST_SIDES])
        for metric in METRICS
    }
    losses = np.concatenate([curve.mean for curve in curves["val/loss"]])
    losses = losses[np.isfinite(losses)]
    return ComparedCurves(
        labels=tuple(labels[:MOST_SIDES]),
        curves=curves,
        loss_is_log=len(losses) > 0 and 0 < 5 * losses.min() < losses.max(),
        has_bands=any(len(own) > 1 for own in histories),
    )


def _side_curve(runs: Sequence[Sequence[float]]) -> SideCurve:
    longest = max(map(len, runs))
    values = np.full((len(runs), longest), np.nan)
    for row, run in zip(values, runs, strict=True):
        row[: len(run)] = run
    is_there = np.arange(longest) < np.array([[len(run)] for run in runs])
    finite = np.ma.masked_array(values, ~is_there)
    return SideCurve(
        mean=np.ma.getdata(finite.mean(axis=0)),
        low=np.ma.getdata(finite.min(axis=0)),
        high=np.ma.getdata(finite.max(axis=0)),
        num_runs=is_there.sum(axis=0),
    )


def draw_compared_curves(info: ComparedCurves) -> Figure:
    """Draw loss at the left and accuracy at the right, a line and a band from lowest to highest for each side."""
    figure, every = new_plot(1000, 452, columns=2, header=HEADER + 18)
    note = "Lines: means over the runs; bands: from the lowest run to the highest" if info.has_bands else ""
    write_header(figure, "Validation in each epoch", note)
    for axes, metric in zip(every, METRICS, strict=True):
        for k, (label, curve) in enumerate(zip(info.labels, info.curves[metric], strict=True)):
            _draw_curve(axes, curve, k, shorten(label, SMALL, LABEL_WIDTH))
        axes.set_xlabel("epoch", size=SMALL, color=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    loss, accuracy = every
    if info.loss_is_log:
        loss.set_yscale("log")
        loss.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
        loss.yaxis.set_minor_locator(NullLocator())
    loss.set_title("loss (log scale)" if info.loss_is_log else "loss", **ABOVE)
    accuracy.set_title("accuracy", **ABOVE)
    for axes in every:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    _write_legend(figure, loss)
    return figure


def _draw_curve(axes: Axes, curve: SideCurve, k: int, label: str) -> None:
    epochs = np.arange(1, len(curve.mean) + 1)
    marker = "o" if len(epochs) <= 20 else ""
    style = {"color": COLORS[k], "linestyle": DASHES[k], "marker": marker, "markersize": 3.2, "linewidth": 1.4}
    axes.plot(epochs, curve.mean, label=label, **style)  # type: ignore[arg-type]
    if (curve.num_runs > 1).any():
        axes.fill_between(epochs, curve.low, curve.high, color=COLORS[k], alpha=0.15, linewidth=0)


def _write_legend(figure: Figure, axes: Axes) -> None:
    """The sides' names at the top left, below the note."""
    handles, _ = axes.get_legend_handles_labels()
    width, height = figure.get_size_inches() * figure.dpi
    place = (MARGIN / width - 0.01, 1 - 56 / height)
    legend = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=place, ncols=3, frameon=False, fontsize=SMALL, labelcolor=INK
    )
    legend.set_in_layout(False)


@dataclass(frozen=True)
class ConfusionDifference:
    """The confusion matrix of a second side minus that of a first, on the same images.

    Attributes:
        labels: names of the two sides.
        class_names: K names, as in `picture_names`.
        counts: (K, K), differences of numbers of images; means over the runs, so that they need not be whole.
        shares: (K, K), the same as shares of the actual class; 0 on the diagonal.
        num_images: number of images.
        num_wrong: the mean number of mistakes of each side.
    """

    labels: tuple[str, str]
    class_names: tuple[str, ...]
    counts: NDArray[np.float64]
    shares: NDArray[np.float64]
    num_images: int
    num_wrong: tuple[float, float]


def confusion_difference_info(
    labels: tuple[str, str], first: Answers, second: Answers, class_names: Sequence[str]
) -> ConfusionDifference:
    """Subtract the confusion matrix of `first` from that of `second`; both are of the same images."""
    one, other = first.confusion, second.confusion
    counts = np.round(other - one, 9)  # shares of votes sum to whole numbers only up to rounding
    shares = counts / np.maximum(one.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    wrong = [float(matrix.sum() - np.trace(matrix)) for matrix in (one, other)]
    return ConfusionDifference(
        labels, tuple(picture_names(class_names)), counts, shares, len(first.labels), (wrong[0], wrong[1])
    )


_DIVERGING = LinearSegmentedColormap.from_list("fewer_more", [FIRST, "#8db8dc", PAPER, "#e9a97f", MISTAKE])


def draw_confusion_difference(info: ConfusionDifference) -> Figure:
    """Draw the difference: blue where the second side makes fewer mistakes, orange where it makes more."""
    first, second = (shorten(label, SMALL, LABEL_WIDTH) for label in info.labels)
    texts = np.array([[_signed(value) for value in row] for row in info.counts])
    limit = max(float(np.abs(info.shares).max()), DARKEST_FROM)
    one, other = (f"{wrong:,.4g}" for wrong in info.num_wrong)
    return draw_matrix(
        info.class_names,
        texts,
        info.shares,
        title=f"Mistakes: {one} and {other} of {info.num_images:,} images",
        note=f"{second} minus {first}. Blue: fewer mistakes of the second; orange: more. Grey: right answers.",
        colors=_DIVERGING,
        limits=(-limit, limit),
        is_empty=info.counts == 0,
    )


def _signed(value: float) -> str:
    text = f"{value:+.1f}".removesuffix(".0")
    return text.replace("-", "\u2212")


@dataclass(frozen=True)
class Disagreements:
    """Images that the runs of one side have right and those of another wrong, the clearest first; M of them are shown.

    Attributes:
        right, wrong: names of the two sides.
        place: (M,), positions in the data set.
        images: (M, H, W, C).
        labels, answers: (M,) class names: the label, and what the wrong side says.
        votes: (M,), how many of the runs of each side are right, such as "3/3 : 0/3"; empty for single runs.
        num_found, num_images: in the whole set.
    """

    right: str
    wrong: str
    place: NDArray[np.int64]
    images: Images
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    votes: tuple[str, ...]
    num_found: int
    num_images: int


def shown_disagreements(right: Answers, wrong: Answers) -> NDArray[np.int64]:
    """The positions in the data set of the images that `disagreements_info` shows."""
    found: NDArray[np.int64] = right.index[only_right(right, wrong)[:MOST_IMAGES]]
    return found


def disagreements_info(
    names: tuple[str, str], right: Answers, wrong: Answers, images: Images, class_names: Sequence[str]
) -> Disagreements:
    """What there is to say of the images that only the first side has right.

    Args:
        names: of the two sides.
        right, wrong: their answers to the same images.
        images: (M, H, W, C), those at `shown_disagreements`.
        class_names: K names.
    """
    places, classes = only_right(right, wrong), picture_names(class_names)
    shown = places[:MOST_IMAGES]
    mistakes = wrong.mistakes[shown]
    is_single = int(max(right.num_runs.max(), wrong.num_runs.max())) == 1
    numbers = [
        (int(side.votes[place, side.labels[place]]), int(side.num_runs[place]))
        for place in shown
        for side in (right, wrong)
    ]
    votes = [
        f"{one[0]}/{one[1]} : {other[0]}/{other[1]}" for one, other in zip(numbers[::2], numbers[1::2], strict=True)
    ]
    return Disagreements(
        right=names[0],
        wrong=names[1],
        place=right.index[shown],
        images=images,
        labels=tuple(classes[k] for k in right.labels[shown]),
        answers=tuple(classes[k] for k in mistakes),
        votes=("",) * len(shown) if is_single else tuple(votes),
        num_found=len(places),
        num_images=len(right.labels),
    )


def draw_disagreements(info: Disagreements) -> Figure:
    """Draw the images with their label and the wrong answer, or a page that says that there are none."""
    right, wrong = (shorten(label, TEXT, LABEL_WIDTH) for label in (info.right, info.wrong))
    title = f"Right by {right}, wrong by {wrong}"
    if not info.num_found:
        return empty_page(title, f"None of {info.num_images:,} images.")
    few = f"{len(info.images)} of {info.num_found:,}" if info.num_found > len(info.images) else f"{info.num_found:,}"
    note = f"{few} of {info.num_images:,} images; what the second says, the label, and the image's place in the data"
    if any(info.votes):
        note += "; how many of the runs of each are right"
    captions = [
        (f"says {answer}", f"is {label}", f"{votes}, {place}" if votes else f"image {place}")
        for answer, label, votes, place in zip(info.answers, info.labels, info.votes, info.place.tolist(), strict=True)
    ]
    return draw_captioned(info.images, captions, title, note)


def draw_compared_reliability(labels: Sequence[str], infos: Sequence[Reliability]) -> Figure:
    """Draw accuracy over mean confidence of each bin, for each side; at most MOST_SIDES."""
    sides = list(zip(labels, infos, strict=True))[:MOST_SIDES]
    figure, (axes,) = new_plot(900, 600, header=HEADER + 18 * -(-len(sides) // 2))
    write_header(
        figure,
        "Confidence and accuracy",
        f"Below the diagonal: overconfident. Hollow: fewer than {FEW_IMAGES} predictions, mostly chance.",
    )
    axes.plot([0, 1], [0, 1], **DASHED)
    for k, (label, info) in enumerate(sides):
        enough = info.images >= FEW_IMAGES
        name = f"{shorten(label, SMALL, LABEL_WIDTH)}: ECE {info.ece:.4f}"
        axes.plot(info.confidence, info.accuracy, color=COLORS[k], linestyle=DASHES[k], linewidth=1.2, label=name)
        axes.plot(info.confidence[enough], info.accuracy[enough], "o", color=COLORS[k], markersize=6)
        axes.plot(info.confidence[~enough], info.accuracy[~enough], "o", color=COLORS[k], markersize=6, mfc=PAPER)
    axes.set(xlim=(0, 1.01), ylim=(-0.03, 1.03), xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
    axes.set_ylabel("accuracy", size=TEXT, color=MUTED)
    axes.set_xlabel("confidence: probability of the predicted class", size=TEXT, color=MUTED)
    _write_legend(figure, axes)
    return figure
