"""A page for every picture: its size in pixels, its axes, one palette, sizes of text, and the PNG.

Only Matplotlib's objects, never pyplot, which keeps figures of its own. Draw and save inside `default_style`.
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

# Blue, amber and vermillion after Okabe and Ito 2008, "Color Universal Design", darkened until they can be read
# as text on white.
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
    """A figure whose texts are drawn as they stand: no mathematics, no TeX, in fonts that have their characters."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, once every text has been settled."""
        for text in self.findobj(Text):
            _settle(text)
        super().draw(renderer)


def _settle(text: Text) -> None:
    text.set_parse_math(False)
    text.set_usetex(False)  # whatever the user's matplotlibrc says: a class called `a_b` is no TeX
    wanted = text.get_text()
    if not (wanted.isascii() and wanted.isprintable()):
        shown = "\n".join(map(drawable, wanted.split("\n")))
        text.set_fontfamily(families(shown))
        if shown != wanted:
            text.set_text(shown)


def new_figure(width: int, height: int) -> Figure:
    """An empty page of so many pixels."""
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
    """A page with axes below its header, laid out by Matplotlib so that no label is cut or covers another axes.

    Args:
        width, height: of the page, in pixels.
        rows, columns: of axes.
        header: pixels above them.
        filled: the part of the page's width that they take.
        grid: what else `Figure.subplots` takes.

    Returns:
        The page, and its axes row by row: a light grid, no box.
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
    """A title at the page's top left, and a smaller line below it that says how to read the picture."""
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
    """Say at the page's top right what is seen on it, such as which images."""
    width, height = figure.get_size_inches() * DPI
    place = (1 - MARGIN / width, 1 - 16 / height)
    figure.text(*place, text, size=SMALL, color=MUTED, va="top", ha="right", parse_math=False)
    return figure


@lru_cache(maxsize=4096)  # half a millisecond each, and names come again and again
def text_width(text: str, size: float) -> float:
    """Pixels that `text` takes at `size` points, in the fonts that it is drawn with."""
    shown = drawable(text)
    font = get_font([findfont(FontProperties(family=[family])) for family in families(shown)])
    font.set_size(size, DPI)
    font.set_text(shown, 0.0)
    return float(font.get_width_height()[0]) / 64  # FreeType counts in 64ths of a pixel


def widest(texts: Sequence[str], size: float) -> float:
    """Pixels of the longest of `texts`; 0 for none."""
    return max((text_width(text, size) for text in texts), default=0.0)


def shorten(text: str, size: float, width: float) -> str:
    """`text` as it can be drawn, cut and ended with "…" where it takes more than `width` pixels at `size` points."""
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
    """Write `figure` to `path` as PNG; the same figure gives the same bytes: no date, no version.

    Paper is opaque, so three channels do: smaller, and sooner written, than what `savefig` makes of four.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    Image.fromarray(pixels).save(path, format="PNG", dpi=(DPI, DPI))
