"""Mosaics: pages on which images are laid out in pixels of the PNG, in a single axes.

A grid of axes takes several times as long, and small images stay sharp only if they are not resampled. Images are never
inverted.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from hcr.evaluation.canvas import LINE, PAPER, new_figure

Images = NDArray[np.uint8]

PAGE = 1000  # pixels across


class Mosaic:
    """A white page of pixels, onto which tiles are pasted before it becomes a figure."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels = np.empty((height, width, 3), dtype=np.uint8)
        self.pixels[:] = _rgb(PAPER)

    def paste(self, tile: Images, left: int, top: int, color: str = LINE, border: int = 1) -> None:
        """Paste `tile`, (h, w, 3), with a frame: a white image would otherwise have no visible edge."""
        height, width = tile.shape[:2]
        self.pixels[top - border : top + height + border, left - border : left + width + border] = _rgb(color)
        self.pixels[top : top + height, left : left + width] = tile

    def draw(self) -> tuple[Figure, Axes]:
        """The page as a figure, and its axes, whose coordinates are pixels from the top left."""
        height, width = self.pixels.shape[:2]
        figure = new_figure(width, height)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.add_image(_Background(axes, self.pixels))
        return figure, axes


class _Background(AxesImage):
    """A page of pixels. It is copied to a canvas of the same size: resampling would take most of the drawing time."""

    def __init__(self, axes: Axes, pixels: Images) -> None:
        height, width = pixels.shape[:2]
        super().__init__(axes, interpolation="nearest", origin="upper", extent=(0, width, height, 0))
        self.set_data(pixels)
        self._pixels = pixels

    def draw(self, renderer: RendererBase) -> None:
        """Copy the pixels, or resample them for a canvas of another size."""
        height, width = self._pixels.shape[:2]
        if renderer.get_canvas_width_height() != (width, height):
            super().draw(renderer)
            return
        alpha = np.full((height, width, 1), 255, np.uint8)
        style = renderer.new_gc()
        renderer.draw_image(style, 0, 0, np.concatenate([self._pixels, alpha], axis=2)[::-1])  # from the bottom up
        style.restore()


def _rgb(color: str) -> NDArray[np.uint8]:
    return np.rint(np.multiply(to_rgb(color), 255)).astype(np.uint8)


def enlarge(images: Images, side: int) -> Images:
    """Scale images to tiles (N, h, w, 3) whose longer side is at most `side`, with pixels of equal size.

    The factor is an integer; or 1.5 or 2.5, by averaging pairs of pixels; or 1 / integer, by averaging blocks.
    """
    longest = max(images.shape[1:3])
    halves = 2 * side // longest  # the factor in halves
    if halves in (3, 5):
        grow, shrink = halves, 2
    elif halves >= 2:
        grow, shrink = halves // 2, 1
    else:
        grow, shrink = 1, -(-longest // side)
    tiles = images.repeat(grow, axis=1).repeat(grow, axis=2)
    if shrink > 1:
        height, width = (size // shrink for size in tiles.shape[1:3])
        tiles = tiles[:, : height * shrink, : width * shrink]
        tiles = tiles.reshape(len(tiles), height, shrink, width, shrink, -1).mean(axis=(2, 4)).astype(np.uint8)
    return np.broadcast_to(tiles, (*tiles.shape[:3], 3))


def write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write `text` literally at (x, y), in pixels from the page's top left."""
    axes.text(x, y, text, parse_math=False, **style)
