"""The page of every picture: size in pixels, axes, palette, text sizes, and the PNG.

Only Matplotlib's objects are used, never pyplot, which keeps global figures. Draw and save inside `default_style`.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text
from PIL import Image

from hcr.evaluation.fonts import drawable, families

# Blue, amber and vermillion after Okabe and Ito 2008, "Color Universal Design", darkened for legible text on white.
PAPER, INK, MUTED, LINE = "#ffffff", "#24292f", "#626a73", "#dfe3e8"
FIRST, SECOND = "#0b5fa5", "#d98a00"
MISTAKE = "#b84300"

DPI = 128  # a power of two, so that a whole number of pixels is exact in inches
SMALL, TEXT, TITLE = 7.5, 9.0, 10.5  # points: 13, 16 and 19 pixels
MARGIN = 24  # pixels around a page
HEADER = 76  # pixels from the top to the first thing below title and note
SHORT_HEADER = 52  # the same below a title without a note
DASHED: dict[str, Any] = {"color": MUTED, "linewidth": 0.9, "linestyle": (0, (4, 3)), "zorder": 1}
ABOVE: dict[str, Any] = {"loc": "left", "size": TEXT, "color": INK, "pad": 8}  # the title of one axes of several


class Page(Figure):
    """A figure that draws texts literally: without mathematics or TeX, in fonts that have their characters."""

    def draw(self, renderer: RendererBase) -> None:
        """Make every text literal, then draw."""
        for text in self.findobj(Text):
            _make_literal(text)
        super().draw(renderer)


def _make_literal(text: Text) -> None:
    text.set_parse_math(False)
    text.set_usetex(False)  # whatever the user's matplotlibrc says: a class called `a_b` is not TeX
    wanted = text.get_text()
    if not (wanted.isascii() and wanted.isprintable()):
        shown = "\n".join(map(drawable, wanted.split("\n")))
        text.set_fontfamily(families(shown))
        if shown != wanted:
            text.set_text(shown)


def new_figure(width: int, height: int) -> Figure:
    """An empty page of this size in pixels."""
    return Page(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)


def new_plot(
    width: int,
    height: int,
    rows: int = 1,
    columns: int = 1,
    *,
    header: int = HEADER,
    filled: float = 1.0,
    **grid: Any,
) -> tuple[Figure, list[Axes]]:
    """A page with axes below its header, in Matplotlib's constrained layout: no label is cut or overlaps other axes.

    Args:
        width, height: size of the page, in pixels.
        rows, columns: numbers of axes.
        header: height above the axes, in pixels.
        filled: fraction of the page's width for the axes.
        grid: further arguments of `Figure.subplots`.

    Returns:
        The page, and its axes row by row, with a light grid and no box.
    """
    figure = new_figure(width, height)
    left, bottom = MARGIN / width, MARGIN / height
    room = (left, bottom, filled - 2 * left, 1 - bottom - header / height)
    figure.set_layout_engine("constrained", rect=room, w_pad=0.0, h_pad=0.0, wspace=0.05, hspace=0.08)
    axes = figure.subplots(rows, columns, squeeze=False, **grid).ravel().tolist()
    for one in axes:
        one.set_axisbelow(True)
        one.grid(True, color=LINE, linewidth=0.6)
        one.tick_params(length=0, pad=5, labelsize=SMALL, labelcolor=INK)
        for side, spine in one.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(LINE)
    return figure, axes


def write_header(figure: Figure, title: str, note: str = "") -> None:
    """Write a title at the page's top left, and below it a smaller note that explains the picture."""
    width, height = figure.get_size_inches() * DPI
    for text, top, size, color in ((title, 16, TITLE, INK), (note, 44, SMALL, MUTED)):
        figure.text(
            MARGIN / width,
            1 - top / height,
            text,
            size=size,
            color=color,
            va="top",
            parse_math=False,
        )


def stamp(figure: Figure, text: str) -> Figure:
    """Write at the page's top right what it shows, such as which images."""
    width, height = figure.get_size_inches() * DPI
    place = (1 - MARGIN / width, 1 - 16 / height)
    figure.text(*place, text, size=SMALL, color=MUTED, va="top", ha="right", parse_math=False)
    return figure


@lru_cache(maxsize=4096)  # half a millisecond each, and names recur
def text_width(text: str, size: float) -> float:
    """Width of `text` in pixels at `size` points, in the fonts that it is drawn with."""
    shown = drawable(text)
    font = get_font([findfont(FontProperties(family=[family])) for family in families(shown)])
    font.set_size(size, DPI)
    font.set_text(shown, 0.0)
    return float(font.get_width_height()[0]) / 64  # FreeType counts in 64ths of a pixel


def widest(texts: Sequence[str], size: float) -> float:
    """Width in pixels of the widest of `texts`; 0 if there are none."""
    return max((text_width(text, size) for text in texts), default=0.0)


def shorten(text: str, size: float, width: float) -> str:
    """`text` in drawable characters, cut and ended with "…" if it is wider than `width` pixels at `size` points."""
    text = drawable(text)
    if text_width(text, size) <= width:
        return text
    fits, too_long = 1, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if text_width(text[:middle] + "…", size) <= width:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…"


def save_figure(figure: Figure, path: Path) -> None:
    """Write `figure` to `path` as PNG. The same figure gives the same bytes: there is no date or version in it.

    It has no alpha channel: three channels are smaller and faster to write than the four of `savefig`.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    Image.fromarray(pixels).save(path, format="PNG", dpi=(DPI, DPI))
