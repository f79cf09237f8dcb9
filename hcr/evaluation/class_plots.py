"""Pictures of each class: confusion matrix, class balance and F1.

Numbers first (`*_info`), ink second (`draw_*`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from hcr.evaluation.canvas import (
    ABOVE,
    DASHED,
    FIRST,
    HEADER,
    INK,
    LINE,
    MISTAKE,
    MUTED,
    PAPER,
    SHORT_HEADER,
    SMALL,
    TEXT,
    new_plot,
    shorten,
    text_width,
    widest,
    write_header,
)
from hcr.evaluation.fonts import picture_names
from hcr.evaluation.metrics import ClassScore, Evaluation, Labels

MOST_LABELS = 64  # more class names than this do not fit along one side of a page
MOST_COUNTS = 30  # with more classes, a cell of the confusion matrix has no room for its count
DARKEST_FROM = 0.05  # smallest share that may get the darkest colour: one mistake in 36 images is minor


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix.

    Attributes:
        class_names: K names, as in `picture_names`.
        counts: (K, K) images; rows are actual classes, columns predicted ones.
        mistaken_share: (K, K), fraction of the actual class's images predicted as another class; 0 on the diagonal.
    """

    class_names: tuple[str, ...]
    counts: NDArray[np.int64]
    mistaken_share: NDArray[np.float64]
    accuracy: float
    num_images: int
    num_wrong: int


def confusion_info(evaluation: Evaluation) -> Confusion:
    """Compute each mistake's share of its actual class; 0 for a class without images."""
    counts = evaluation.confusion
    wrong = counts - np.diag(np.diag(counts))
    return Confusion(
        class_names=tuple(picture_names([score.name for score in evaluation.classes])),
        counts=counts,
        mistaken_share=wrong / np.maximum(counts.sum(axis=1, keepdims=True), 1),
        accuracy=evaluation.accuracy,
        num_images=evaluation.num_images,
        num_wrong=int(wrong.sum()),
    )


_SHARES = LinearSegmentedColormap.from_list("shares", [PAPER, "#f3c19c", "#dd7a35", MISTAKE, "#7a2a00"])


def draw_confusion(info: Confusion) -> Figure:
    """Draw the matrix. Only mistakes are coloured: a coloured diagonal would hide them."""
    return draw_matrix(
        info.class_names,
        info.counts.astype(str),
        info.mistaken_share,
        title=f"Accuracy {info.accuracy:.2%}: {info.num_wrong:,} of {info.num_images:,} misclassified",
        note="Colour: share of the actual class predicted as another. Grey: correct." if info.num_wrong else "",
        colors=_SHARES,
        limits=(0, max(float(info.mistaken_share.max()), DARKEST_FROM)),
        is_empty=info.counts == 0,
    )


def draw_matrix(
    class_names: Sequence[str],
    texts: NDArray[np.str_],
    shares: NDArray[np.float64],
    *,
    title: str,
    note: str,
    colors: LinearSegmentedColormap,
    limits: tuple[float, float],
    is_empty: NDArray[np.bool_],
) -> Figure:
    """Draw a matrix of actual by predicted classes; its diagonal is grey.

    Args:
        class_names: K names, as in `picture_names`.
        texts: (K, K), written in the cells if there is room.
        shares: (K, K), which give a cell's colour; 0 on the diagonal. If all are 0 there is no colour bar.
        limits: the shares at the two ends of `colors`.
        is_empty: (K, K), cells without a text.
    """
    num_classes = len(class_names)
    names = [shorten(name, SMALL, 120) for name in class_names]
    labels = int(widest(names, SMALL))
    cell = min(110, max(1, (780 if num_classes <= 15 else 900) // num_classes))
    turned = labels > cell
    side = min(900, cell * num_classes)
    has_bar = bool(shares.any())
    drawn = side + labels + 90 + 100 * has_bar
    width = max(900, drawn)
    figure, (axes,) = new_plot(width, HEADER + side + (labels if turned else 20) + 60, filled=drawn / width)
    write_header(figure, title, note)
    axes.grid(False)
    axes.set_anchor("NW")
    image = axes.imshow(shares, cmap=colors, vmin=limits[0], vmax=limits[1])
    every = np.arange(num_classes)
    diagonal = np.where(np.eye(num_classes, dtype=bool)[..., np.newaxis], [0.89, 0.9, 0.91, 1.0], 0.0)
    axes.imshow(diagonal, interpolation="nearest")
    if num_classes <= MOST_LABELS:
        edges = np.arange(num_classes + 1) - 0.5
        axes.hlines(edges, -0.5, num_classes - 0.5, color=LINE, linewidth=0.6, clip_on=False)
        axes.vlines(edges, -0.5, num_classes - 0.5, color=LINE, linewidth=0.6, clip_on=False)
    if num_classes <= MOST_COUNTS:
        is_dark = np.abs(shares) > 0.6 * max(abs(limits[0]), limits[1])
        _write_texts(axes, np.where(is_empty, "", texts), is_dark, cell)
    shown = every[:: -(-num_classes // MOST_LABELS)]
    size = min(SMALL, SMALL * cell * len(every) / len(shown) / 14)
    style: dict[str, Any] = {"size": size, "parse_math": False}
    axes.set_xticks(shown, [names[k] for k in shown], rotation=90 if turned else 0, **style)
    axes.set_yticks(shown, [names[k] for k in shown], **style)
    axes.set_xlabel("predicted", size=TEXT, color=MUTED)
    axes.set_ylabel("actual", size=TEXT, color=MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if has_bar:
        percent = FuncFormatter(lambda value, _: f"{100 * value:.3g}%")
        length = min(1.0, 300 / side)
        bar = figure.colorbar(image, shrink=length, aspect=length * side / 14, anchor=(0, 1), pad=0.03, format=percent)
        bar.ax.tick_params(length=0, labelsize=SMALL, labelcolor=INK)
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(5, steps=[1, 2, 5, 10])
    return figure


def _write_texts(axes: Axes, texts: NDArray[np.str_], is_dark: NDArray[np.bool_], cell: int) -> None:
    longest = max(texts.ravel(), key=len)
    size = min(TEXT, TEXT * (cell - 3) / max(1, text_width(longest, TEXT)))
    for row, column in zip(*np.nonzero(texts != ""), strict=True):
        color = PAPER if is_dark[row, column] else INK
        text = str(texts[row, column])
        axes.text(column, row, text, size=size, color=color, ha="center", va="center_baseline", clip_on=True)


@dataclass(frozen=True)
class ClassBalance:
    """Number of images of each class in each split: `counts` is (S, K)."""

    splits: tuple[str, ...]
    class_names: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def is_log(self) -> bool:
        """True if a class has over 50 times the images of another, which a linear axis would hide."""
        return any(row.any() and row.max() > 50 * row[row > 0].min() for row in self.counts)


def class_balance_info(labels_by_split: Mapping[str, Labels], class_names: Sequence[str]) -> ClassBalance:
    """Count the images of each of K classes in each split; labels are integers in [0, K)."""
    counts = [np.bincount(labels, minlength=len(class_names)) for labels in labels_by_split.values()]
    return ClassBalance(tuple(labels_by_split), tuple(picture_names(class_names)), np.stack(counts))


def draw_class_balance(info: ClassBalance) -> Figure:
    """Draw one row of bars per split, each with its own axis, so that a small test set stays readable."""
    num_classes = len(info.class_names)
    names = [shorten(name, SMALL, 120) for name in info.class_names]
    turned = widest(names, SMALL) > 890 / num_classes - 1
    labels = int(widest(names, SMALL)) if turned else 18
    height = SHORT_HEADER + 182 * len(info.splits) + labels
    figure, every = new_plot(1000, height, rows=len(info.splits), header=SHORT_HEADER, sharex=True)
    write_header(figure, "Images per class (log scale)" if info.is_log else "Images per class")
    shown = np.arange(num_classes)[:: -(-num_classes // MOST_LABELS)]
    # One outline of all bars instead of a patch for each: there may be thousands.
    edges = (np.arange(num_classes)[:, np.newaxis] + [-0.36, 0.36]).ravel()
    for axes, split, counts in zip(every, info.splits, info.counts, strict=True):
        heights = np.column_stack([counts, np.zeros(num_classes)]).ravel()[:-1]
        axes.stairs(np.maximum(heights, 0.01), edges, baseline=0.01, fill=True, color=FIRST, alpha=0.85)
        few, many = (f"{counts[k]:,} ({names[k]})" for k in (counts.argmin(), counts.argmax()))
        title = f"{split}: {counts.sum():,} images, from {few} to {many}"
        axes.set_title(title, **ABOVE, parse_math=False)
        top = max(1, counts.max())
        if info.is_log:
            axes.set(yscale="log", ylim=(0.7, top * 2))
            axes.yaxis.set_major_locator(LogLocator(numticks=5))
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            axes.set_ylim(0, top * 1.08)
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid(False, axis="x")
        axes.set_xlim(-0.6, num_classes - 0.4)
        for k in np.flatnonzero(counts == 0)[:MOST_LABELS]:
            axes.text(float(k), 1.2 if info.is_log else 0, "0", size=SMALL, color=MISTAKE, ha="center", clip_on=True)
    axes.set_xticks(shown, [names[k] for k in shown], rotation=90 if turned else 0, parse_math=False)
    return figure


@dataclass(frozen=True)
class ClassF1:
    """F1 per class, worst first.

    Attributes:
        scores: scores of the classes that have images, by rising F1.
        absent: names of classes without images, whose F1 is meaningless.
        macro_f1: mean over all classes.
        axis_floor: start of the F1 axis, in [0, 1).
    """

    scores: tuple[ClassScore, ...]
    absent: tuple[str, ...]
    macro_f1: float
    axis_floor: float


def class_f1_info(evaluation: Evaluation) -> ClassF1:
    """Sort classes by F1, and start the axis just below the worst, so that 0.95 and 0.99 look different."""
    names = picture_names([score.name for score in evaluation.classes])
    classes = [replace(score, name=name) for score, name in zip(evaluation.classes, names, strict=True)]
    scores = sorted((score for score in classes if score.support), key=lambda score: score.f1)
    missing = 1 - scores[0].f1
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if missing <= 5 * step)
    return ClassF1(
        scores=tuple(scores),
        absent=tuple(score.name for score in classes if not score.support),
        macro_f1=evaluation.macro_f1,
        axis_floor=max(0.0, round(1 - step * (int(missing / step + 1e-9) + 1), 2)),
    )


def draw_class_f1(info: ClassF1) -> Figure:
    """Draw one dot per class. Bars would mislead, because the axis need not start at 0."""
    scores = info.scores[:MOST_LABELS]
    row = int(np.clip(560 / len(scores), 18, 34))
    names = [shorten(score.name, SMALL, 150) for score in scores]
    figure, (axes,) = new_plot(900, HEADER + row * len(scores) + 94)
    note = "Worst first; dashed: macro average"
    if len(scores) < len(info.scores):
        note += f"; only the worst {len(scores)} of {len(info.scores)}"
    if info.absent:
        note += f"; no images, so 0 in the average: {', '.join(info.absent)}"
    write_header(figure, f"F1 per class, macro average {info.macro_f1:.4f}", shorten(note, SMALL, 850))
    rows = np.arange(len(scores))
    values = [score.f1 for score in scores]
    dot = min(6, row / 4)
    axes.plot(values, rows, "o", color=FIRST, markersize=dot, clip_on=False, zorder=3)
    if info.macro_f1 >= info.axis_floor:
        axes.axvline(info.macro_f1, **DASHED)
    axes.set(ylim=(len(scores) - 0.5, -0.5), xlim=(info.axis_floor, 1 + 0.02 * (1 - info.axis_floor)))
    axes.set_yticks(rows, names, parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    start = f" (the axis starts at {info.axis_floor:g})" if info.axis_floor > 0 else ""
    axes.set_xlabel(f"F1{start}", size=TEXT, color=MUTED)
    for points, title, texts, color in (
        (48, "F1", [f"{score.f1:.4f}" for score in scores], INK),
        (84, "images", [f"{score.support:,}" for score in scores], MUTED),
    ):
        # Right of the axes, whatever its width: x as a fraction of it, y in rows, plus an offset in points.
        column: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
        column |= {"xytext": (points, 0), "size": SMALL, "ha": "right", "va": "center_baseline"}
        axes.annotate(title, (1, -0.5 - 14 / row), color=MUTED, **column)
        for y, text in enumerate(texts):
            axes.annotate(text, (1, y), color=color, **column)
    return figure
