"""Pictures of images, each a mosaic: numbers first (`*_info`), ink second (`draw_*`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hcr.data.views import AnyImages
from hcr.evaluation.canvas import (
    FIRST,
    HEADER,
    INK,
    LINE,
    MARGIN,
    MISTAKE,
    MUTED,
    SMALL,
    TEXT,
    new_figure,
    shorten,
    text_width,
    widest,
    write_header,
)
from hcr.evaluation.fonts import picture_names
from hcr.evaluation.metrics import Labels, Probabilities, worst_mistakes
from hcr.evaluation.mosaic import PAGE, Images, Mosaic, enlarge, write

MOST_CLASSES = 100  # rows of samples on one page
PER_CLASS = 10  # images in a row of samples
NUM_PREDICTIONS, NUM_MISTAKES = 40, 24  # images on a page
MOST_FILTERS = 64


@dataclass(frozen=True)
class Samples:
    """Images of each class: `rows[k]` has up to PER_CLASS images (n, H, W, C) of `class_names[k]`."""

    class_names: tuple[str, ...]
    rows: tuple[Images, ...]


def samples_info(images: AnyImages, labels: Labels, class_names: Sequence[str]) -> Samples:
    """Choose images of each class, evenly spaced through the class, so that the choice depends only on the data.

    Args:
        images: (N, H, W, C), 0..255, C 1 or 3.
        labels: (N,), integers in [0, K).
        class_names: K names.
    """
    rows = []
    for k in range(len(class_names)):
        own = np.flatnonzero(labels == k)
        places = np.linspace(0, len(own) - 1, min(PER_CLASS, len(own)))
        rows.append(images[own[np.rint(places).astype(int)]])
    return Samples(tuple(picture_names(class_names)), tuple(rows))


def draw_samples(info: Samples) -> Figure:
    """Draw one row per class; two columns of rows for 16 or more classes."""
    rows = info.rows[:MOST_CLASSES]
    names = [shorten(name, TEXT, 90) for name in info.class_names[:MOST_CLASSES]]
    blocks, most = (1, PAGE) if len(rows) <= 15 else (2, 1200)
    label = int(widest(names, TEXT)) + 12
    block_width = (most - MARGIN * (blocks + 1)) // blocks
    step = (block_width - label) // PER_CLASS
    tiles = enlarge(np.concatenate(rows), min(step - 4, 90))
    height, width = tiles.shape[1:3]
    step, down = width + 4, height + 4
    deep = -(-len(rows) // blocks)
    page_width = max(900, MARGIN + blocks * (label + step * PER_CLASS + MARGIN))
    page = Mosaic(page_width, HEADER - 12 + deep * down + MARGIN)
    places, start = [], 0
    for k, row in enumerate(rows):
        block, line = divmod(k, deep)
        left = MARGIN + block * (label + step * PER_CLASS + MARGIN)
        top = HEADER - 12 + line * down
        for i in range(len(row)):
            page.paste(tiles[start + i], left + label + i * step, top)
        start += len(row)
        places.append((left + label, top + height / 2))
    figure, axes = page.draw()
    size = "x".join(map(str, rows[0].shape[1:3]))
    title = f"Samples of each class, {size} pixels"
    if len(rows) < len(info.class_names):
        title += f"; the first {len(rows)} of {len(info.class_names)} classes"
    write_header(figure, title)
    for (x, y), name, row in zip(places, names, rows, strict=True):
        write(axes, x - 10, y, name, color=INK, size=TEXT, ha="right", va="center_baseline")
        if len(row) == 0:
            write(axes, x, y, "no images", color=MISTAKE, size=TEXT, va="center_baseline")
    return figure


@dataclass(frozen=True)
class Predictions:
    """M images, in drawing order, and the model's predictions of them.

    Attributes:
        index: (M,), indices in the whole set.
        images: (M, H, W, C).
        actual, predicted: (M,) class names.
        right: (M,), the prediction is correct.
        confidence: (M,), probability of the predicted class.
        num_images, num_wrong: numbers of images and of mistakes in the whole set.
    """

    index: NDArray[np.int64]
    images: Images
    actual: tuple[str, ...]
    predicted: tuple[str, ...]
    right: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    num_images: int
    num_wrong: int


def predictions_info(
    images: AnyImages, labels: Labels, probabilities: Probabilities, class_names: Sequence[str]
) -> Predictions:
    """Choose NUM_PREDICTIONS random images, in the order of the set; the same indices for sets of equal size.

    Args:
        images: (N, H, W, C), 0..255, C 1 or 3.
        labels: (N,), integers in [0, K).
        probabilities: (N, K), rows sum to 1.
        class_names: K names.
    """
    random = np.random.default_rng(0)
    chosen = random.choice(len(labels), min(NUM_PREDICTIONS, len(labels)), replace=False)
    return _predictions(images, labels, probabilities, class_names, np.sort(chosen))


def mistakes_info(
    images: AnyImages, labels: Labels, probabilities: Probabilities, class_names: Sequence[str]
) -> Predictions:
    """Choose the NUM_MISTAKES most confident mistakes, most confident first; arguments as for `predictions_info`."""
    worst = worst_mistakes(probabilities, labels, NUM_MISTAKES)
    return _predictions(images, labels, probabilities, class_names, worst)


def _predictions(
    images: AnyImages,
    labels: Labels,
    probabilities: Probabilities,
    class_names: Sequence[str],
    chosen: NDArray[np.int64],
) -> Predictions:
    predicted = probabilities.argmax(axis=1)
    names = picture_names(class_names)
    return Predictions(
        index=chosen,
        images=images[chosen],
        actual=tuple(names[k] for k in labels[chosen]),
        predicted=tuple(names[k] for k in predicted[chosen]),
        right=predicted[chosen] == labels[chosen],
        confidence=probabilities.max(axis=1)[chosen].astype(np.float64),
        num_images=len(labels),
        num_wrong=int((predicted != labels).sum()),
    )


def draw_predictions(info: Predictions) -> Figure:
    """Draw images with "actual → predicted" and the confidence; mistakes have another colour and a thicker frame."""
    return _draw_captioned(info, f"{len(info.index)} random predictions", columns=8)


def draw_mistakes(info: Predictions) -> Figure:
    """Draw the most confident mistakes, or a page that says that there are none."""
    if info.num_wrong == 0:
        figure = new_figure(900, 100)
        write_header(figure, "No mistakes", f"All {info.num_images:,} images are classified correctly.")
        return figure
    return _draw_captioned(info, f"The {len(info.index)} most confident of {info.num_wrong:,} mistakes", columns=6)


def _draw_captioned(info: Predictions, title: str, columns: int) -> Figure:
    cell = (PAGE - 2 * MARGIN) // columns
    tiles = enlarge(info.images, cell - 30)
    height, width = tiles.shape[1:3]
    captions = [_caption(a, p, cell - 12) for a, p in zip(info.actual, info.predicted, strict=True)]
    lines = max(len(caption) for caption in captions) + 1
    down = height + 10 + 18 * lines + 16
    page = Mosaic(PAGE, HEADER + -(-len(tiles) // columns) * down)
    places = [(MARGIN + i % columns * cell, HEADER + i // columns * down) for i in range(len(tiles))]
    for (left, top), tile, right in zip(places, tiles, info.right, strict=True):
        page.paste(tile, left + (cell - width) // 2, top, LINE if right else MISTAKE, 1 if right else 3)
    figure, axes = page.draw()
    note = f"actual → predicted, and confidence; {info.num_wrong:,} of {info.num_images:,} are misclassified"
    write_header(figure, title, note)
    for (left, top), caption, right, confidence in zip(places, captions, info.right, info.confidence, strict=True):
        x, y = left + cell / 2, top + height + 22
        for line in caption:
            write(axes, x, y, line, color=INK if right else MISTAKE, size=TEXT, ha="center")
            y += 19
        write(axes, x, y - 1, _percent(confidence), color=MUTED, size=SMALL, ha="center")
    return figure


def _caption(actual: str, predicted: str, width: float) -> list[str]:
    """One line if it fits into `width` pixels, else two, each shortened."""
    line = f"{actual} → {predicted}"
    if text_width(line, TEXT) <= width:
        return [line]
    return [shorten(actual, TEXT, width), shorten(f"→ {predicted}", TEXT, width)]


def _percent(confidence: float) -> str:
    """The confidence to 0.1 %; "100.0%" only if it is exactly 1."""
    text = f"{confidence:.1%}"
    return "> 99.9%" if text == "100.0%" and confidence < 1 else text


@dataclass(frozen=True)
class Filters:
    """Filters of a first convolution.

    Attributes:
        values: (n, h, w), n up to 64; mean over input channels.
        num_filters: number of filters of the layer.
        num_channels: number of input channels.
        limit: the largest absolute value shown; 1 if all are 0.
    """

    values: NDArray[np.float64]
    num_filters: int
    num_channels: int
    limit: float


def filters_info(kernels: NDArray[np.floating[Any]]) -> Filters:
    """The first 64 filters of `kernels`, (h, w, in, out)."""
    values = np.moveaxis(kernels.mean(axis=2, dtype=np.float64), -1, 0)[:MOST_FILTERS]
    finite = np.abs(values[np.isfinite(values)])  # after diverged training, weights are NaN
    return Filters(values, kernels.shape[3], kernels.shape[2], float(finite.max(initial=0.0)) or 1.0)


_DIVERGING = LinearSegmentedColormap.from_list(
    "diverging", [FIRST, "#8db8dc", "#f7f7f7", "#e9a97f", MISTAKE]
).with_extremes(bad=MUTED)


def draw_filters(info: Filters) -> Figure:
    """Draw the filters: blue is negative, white 0, orange positive, on one scale for all filters."""
    columns = 8 if len(info.values) <= 32 else 16
    cell = (PAGE - 2 * MARGIN) // columns
    colors = _DIVERGING(np.ma.masked_invalid(info.values / info.limit / 2 + 0.5), bytes=True)[..., :3]
    tiles = enlarge(colors, cell - 12)
    down = tiles.shape[1] + 12
    rows = -(-len(tiles) // columns)
    page = Mosaic(PAGE, HEADER + rows * down + 64)
    for i, tile in enumerate(tiles):
        page.paste(tile, MARGIN + i % columns * cell, HEADER + i // columns * down)
    ramp = _DIVERGING(np.linspace(0, 1, 300), bytes=True)[np.newaxis, :, :3].repeat(14, axis=0)
    bar = (MARGIN + 90, HEADER + rows * down + 18)
    page.paste(ramp, *bar)
    figure, axes = page.draw()
    few = f"{len(tiles)} of {info.num_filters}" if len(tiles) < info.num_filters else f"{info.num_filters}"
    size = "x".join(map(str, info.values.shape[1:]))
    mean = f"; mean over the {info.num_channels} input channels" if info.num_channels > 1 else ""
    write_header(figure, f"{few} filters, {size}, of the first convolution", f"One scale for all{mean}")
    for x, text, align in ((-10, f"-{info.limit:.3g}", "right"), (310, f"+{info.limit:.3g}", "left")):
        write(axes, bar[0] + x, bar[1] + 7, text, color=INK, size=SMALL, ha=align, va="center")
    write(axes, bar[0] + 150, bar[1] + 20, "0", color=INK, size=SMALL, ha="center", va="top")
    return figure


@dataclass(frozen=True)
class Augmentation:
    """M images (M, H, W, C), and V augmented variants of each (M, V, H, W, C)."""

    originals: Images
    augmented: Images


def augmentation_info(originals: Images, augmented: Images) -> Augmentation:
    """Hold originals (M, H, W, C) and their variants (M, V, H, W, C), 0..255, C 1 or 3."""
    return Augmentation(originals, augmented)


def draw_augmentation(info: Augmentation) -> Figure:
    """Draw one row per image: the original at the left, then its variants."""
    num_rows, variants = info.augmented.shape[:2]
    side = min(max(100, 900 // num_rows), (PAGE - 2 * MARGIN - 24) // (variants + 1) - 6)
    originals = enlarge(info.originals, side)
    height, width = originals.shape[1:3]
    augmented = enlarge(info.augmented.reshape(-1, *info.originals.shape[1:]), side)
    first = MARGIN + max(width + 24, int(text_width("original", SMALL)) + 16)
    page_width = max(900, first + variants * (width + 6) + MARGIN)
    page = Mosaic(page_width, HEADER + 4 + num_rows * (height + 6) + MARGIN)
    for i in range(num_rows):
        top = HEADER + 4 + i * (height + 6)
        page.paste(originals[i], MARGIN, top)
        for j in range(variants):
            page.paste(augmented[i * variants + j], first + j * (width + 6), top)
    figure, axes = page.draw()
    write_header(figure, "Training images, augmented")
    for left, text in ((MARGIN, "original"), (first, "augmented")):
        write(axes, left, HEADER - 6, text, color=MUTED, size=SMALL, va="bottom")
    return figure
