"""A picture that explains one answer: the image, what the model saw, where it looked, and its probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hcr.evaluation.canvas import (
    FIRST,
    HEADER,
    INK,
    LINE,
    MARGIN,
    MUTED,
    SMALL,
    TEXT,
    new_figure,
    shorten,
    write_header,
)
from hcr.evaluation.fonts import picture_names
from hcr.evaluation.mosaic import Images

MOST_BARS = 10
SIDE, GAP, BARS = 220, 20, 260  # pixels: of a panel, between panels, and of the panel of bars
HEIGHT = HEADER + SIDE + 46
LEAST_FALL = 0.005  # of the probability: below this, no single part of the image matters


@dataclass(frozen=True)
class Explanation:
    """One image and its answer.

    Attributes:
        title: such as the file's name.
        answer: such as "7, probability 0.998".
        source: (H, W, C), the image as it was given.
        seen: (h, w, c), as the model saw it.
        fall: (h, w), how much less probable the answer is with each pixel covered.
        names: of the most probable classes, most probable first.
        probabilities: theirs.
    """

    title: str
    answer: str
    source: Images
    seen: Images
    fall: NDArray[np.float64]
    names: tuple[str, ...]
    probabilities: tuple[float, ...]


def explanation_info(
    title: str,
    answer: str,
    images: tuple[Images, Images],
    fall: NDArray[np.float64],
    probabilities: NDArray[np.floating[Any]],
    class_names: Sequence[str],
) -> Explanation:
    """Choose what is drawn.

    Args:
        title, answer, fall: as in `Explanation`.
        images: as it was given (H, W, C), and as the model saw it (h, w, c); 0..255, C 1 or 3.
        probabilities: (K,).
        class_names: K names.
    """
    names = picture_names(class_names)
    order = np.argsort(-probabilities, kind="stable")[:MOST_BARS]
    return Explanation(
        title=title,
        answer=answer,
        source=images[0],
        seen=images[1],
        fall=fall,
        names=tuple(names[k] for k in order),
        probabilities=tuple(float(probabilities[k]) for k in order),
    )


def draw_explanation(info: Explanation) -> Figure:
    """Draw four panels in a row."""
    width = 2 * MARGIN + 3 * (SIDE + GAP) + 60 + BARS
    figure = new_figure(width, HEIGHT)
    write_header(figure, shorten(info.title, 10.5, width - 2 * MARGIN), info.answer)
    deepest = float(info.fall.max())
    looked = f"where it looked: p falls by {deepest:.2f}" if deepest >= LEAST_FALL else "where it looked: no part alone"
    panels = [_panel(figure, k, text) for k, text in enumerate(("the image", "as the model saw it", looked))]
    _show(panels[0], info.source, smooth=True)
    _show(panels[1], info.seen)
    _show(panels[2], info.seen)
    if deepest >= LEAST_FALL:
        shade = np.clip(info.fall / deepest, 0, 1)
        # The image stays visible where nothing was looked at.
        panels[2].imshow(shade, cmap="inferno", alpha=np.where(shade > 0.05, 0.25 + 0.6 * shade, 0.0), vmin=0, vmax=1)
    left = MARGIN + 3 * (SIDE + GAP) + 60
    bars = figure.add_axes((left / width, 46 / HEIGHT, (BARS - 50) / width, SIDE / HEIGHT))
    places = range(len(info.names))
    colors = [FIRST if k == 0 else MUTED for k in places]
    bars.barh(places, info.probabilities, color=colors, height=0.7)
    bars.set_yticks(places, [shorten(name, TEXT, 70) for name in info.names], size=TEXT, color=INK)
    bars.set_ylim(max(len(places), 3) - 0.4, -0.6)
    bars.set_xlim(0, 1)
    bars.set_xticks([])
    for place, value in zip(places, info.probabilities, strict=True):
        bars.text(value + 0.02, place, f"{value:.3f}", va="center", size=SMALL, color=INK)
    for name, spine in bars.spines.items():
        spine.set_visible(name == "left")
        spine.set_color(LINE)
    bars.tick_params(length=0)
    return figure


def _panel(figure: Figure, column: int, text: str) -> Axes:
    width, height = figure.get_size_inches() * figure.dpi
    left = MARGIN + column * (SIDE + GAP)
    axes = figure.add_axes((left / width, 46 / height, SIDE / width, SIDE / height))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(text, size=SMALL, color=MUTED, labelpad=8)
    for spine in axes.spines.values():
        spine.set_color(LINE)
    return axes


def _show(axes: Axes, image: Images, *, smooth: bool = False) -> None:
    shown = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    step = max(1, max(shown.shape[:2]) // (4 * SIDE))  # a large photo
    axes.imshow(shown[::step, ::step], interpolation="antialiased" if smooth else "nearest")
