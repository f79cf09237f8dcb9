"""Pictures of what is doubtful in a data set: suspicious labels, and images that are nearly identical.

Numbers first (`*_info`), ink second (`draw_*`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from hcr.evaluation.canvas import (
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
    write_header,
)
from hcr.evaluation.fonts import picture_names
from hcr.evaluation.metrics import Labels
from hcr.evaluation.mosaic import PAGE, Images, Mosaic, enlarge, write
from hcr.evaluation.suspects import Suspects

MOST_DOUBTED, COLUMNS = 24, 6
MOST_PAIRS, PAIR_COLUMNS = 16, 4
BETWEEN = 20  # pixels between the two images of a pair


@dataclass(frozen=True)
class Doubted:
    """M images whose labels are suspicious, most suspicious first.

    Attributes:
        images: (M, H, W, C).
        names: (M,), such as "train 17".
        labels, neighbours: (M,) class names: its own, and that of most of its neighbours.
        agreement: (M,), such as "9 of 10".
        num_doubted, num_judged: in the whole set.
    """

    images: Images
    names: tuple[str, ...]
    labels: tuple[str, ...]
    neighbours: tuple[str, ...]
    agreement: tuple[str, ...]
    num_doubted: int
    num_judged: int


def doubted_info(
    images: Images,
    names: Sequence[str],
    labels: Labels,
    neighbours: Labels,
    agreement: Sequence[str],
    class_names: Sequence[str],
    *,
    num_doubted: int,
    num_judged: int,
) -> Doubted:
    """The first MOST_DOUBTED of the images, with the names of their classes.

    Args:
        images: (N, H, W, C), 0..255, C 1 or 3; those to show, most suspicious first.
        names, agreement: N texts.
        labels, neighbours: (N,), in [0, K).
        class_names: K names.
    """
    shown, most = picture_names(class_names), MOST_DOUBTED
    return Doubted(
        images=images[:most],
        names=tuple(names[:most]),
        labels=tuple(shown[k] for k in labels[:most]),
        neighbours=tuple(shown[k] for k in neighbours[:most]),
        agreement=tuple(agreement[:most]),
        num_doubted=num_doubted,
        num_judged=num_judged,
    )


def draw_doubted(info: Doubted) -> Figure:
    """Draw images with their label and that of their neighbours, or a page that says that there are none."""
    if not info.num_doubted:
        return empty_page(
            "No suspicious labels", f"Of {info.num_judged:,} labels none is contradicted by its neighbours."
        )
    count = f"The {len(info.images)} most suspicious of {info.num_doubted:,}"
    note = (
        f"of {info.num_judged:,} labels of training and validation; how many of the nearest images agree,"
        " and the image's place"
    )
    title = f"{count} labels" if info.num_doubted > len(info.images) else "The suspicious labels"
    captions = [
        (f"labelled {label}", f"neighbours say {said}", f"{agreement}, {name}")
        for label, said, agreement, name in zip(info.labels, info.neighbours, info.agreement, info.names, strict=True)
    ]
    return draw_captioned(info.images, captions, title, note)


@dataclass(frozen=True)
class Contradicted:
    """M images whose labels a model contradicts, worst first.

    Attributes:
        images: (M, H, W, C).
        names: (M,), where each is from, such as "x_train[17]".
        given, suggested: (M,) class names.
        quality, probability: (M,), the probabilities of the two, in [0, 1].
        num_found, num_images: in the whole set.
    """

    images: Images
    names: tuple[str, ...]
    given: tuple[str, ...]
    suggested: tuple[str, ...]
    quality: tuple[float, ...]
    probability: tuple[float, ...]
    num_found: int
    num_images: int


def contradicted_info(
    images: Images, names: Sequence[str], found: Suspects, class_names: Sequence[str]
) -> Contradicted:
    """The first of the suspects, with the names of their classes.

    Args:
        images: (n, H, W, C), 0..255, C 1 or 3, of the first n suspects; at most MOST_DOUBTED are shown.
        names: n texts.
        found: M >= n suspects.
        class_names: K names.
    """
    shown, most = picture_names(class_names), min(len(images), MOST_DOUBTED)
    return Contradicted(
        images=images[:most],
        names=tuple(names[:most]),
        given=tuple(shown[k] for k in found.given[:most]),
        suggested=tuple(shown[k] for k in found.suggested[:most]),
        quality=tuple(found.quality[:most].tolist()),
        probability=tuple(found.probability[:most].tolist()),
        num_found=len(found),
        num_images=found.num_images,
    )


def draw_contradicted(info: Contradicted) -> Figure:
    """Draw images with their given and their suggested label, or a page that says that there are none."""
    if not info.num_found:
        return empty_page("No suspicious labels", f"Of {info.num_images:,} labels none is probably wrong.")
    few = f"The {len(info.images)} worst of {info.num_found:,}" if info.num_found > len(info.images) else "The"
    note = (
        f"of {info.num_images:,} images on which the model was not trained; the probabilities of both, and the source"
    )
    captions = [
        (f"labelled {given}", f"probably {suggested}", f"{_decimals(quality)} : {_decimals(probability)}, {name}")
        for given, suggested, quality, probability, name in zip(
            info.given, info.suggested, info.quality, info.probability, info.names, strict=True
        )
    ]
    return draw_captioned(info.images, captions, f"{few} labels that are probably wrong", note)


def _decimals(probability: float) -> str:
    return f"{probability:.3f}" if 0.0005 <= probability <= 0.9995 else ("0" if probability < 0.5 else "1")


def draw_captioned(images: Images, captions: Sequence[tuple[str, str, str]], title: str, note: str) -> Figure:
    """Draw images in rows, each with three lines below it: a reproach, an answer, and details."""
    cell = (PAGE - 2 * MARGIN) // COLUMNS
    tiles = enlarge(images, cell - 30)
    height, width = tiles.shape[1:3]
    down = height + 88
    page = Mosaic(PAGE, HEADER + -(-len(tiles) // COLUMNS) * down)
    places = [(MARGIN + i % COLUMNS * cell, HEADER + i // COLUMNS * down) for i in range(len(tiles))]
    for (left, top), tile in zip(places, tiles, strict=True):
        page.paste(tile, left + (cell - width) // 2, top)
    figure, axes = page.draw()
    write_header(figure, title, note)
    for (left, top), (first, second, third) in zip(places, captions, strict=True):
        x, y = left + cell / 2, top + height + 22
        write(axes, x, y, shorten(first, TEXT, cell - 8), color=MISTAKE, size=TEXT, ha="center")
        write(axes, x, y + 19, shorten(second, TEXT, cell - 8), color=INK, size=TEXT, ha="center")
        write(axes, x, y + 37, shorten(third, SMALL, cell - 8), color=MUTED, size=SMALL, ha="center")
    return figure


@dataclass(frozen=True)
class Pairs:
    """M pairs of nearly identical images.

    Attributes:
        first, second: (M, H, W, C).
        captions: (M,) pairs of texts, of the first and the second image, such as "test 17".
        correlation: (M,), of the pixels.
        num_pairs: in the whole set.
        limit: correlation from which images are nearly identical.
    """

    first: Images
    second: Images
    captions: tuple[tuple[str, str], ...]
    correlation: tuple[float, ...]
    num_pairs: int
    limit: float


def pairs_info(
    first: Images,
    second: Images,
    captions: Sequence[tuple[str, str]],
    correlation: Sequence[float],
    *,
    num_pairs: int,
    limit: float,
) -> Pairs:
    """The first MOST_PAIRS of the pairs, (N, H, W, C) each, 0..255, C 1 or 3."""
    most = MOST_PAIRS
    return Pairs(first[:most], second[:most], tuple(captions[:most]), tuple(correlation[:most]), num_pairs, limit)


def draw_pairs(info: Pairs) -> Figure:
    """Draw pairs side by side with their correlation, or a page that says that there are none."""
    if not info.num_pairs:
        return empty_page("No nearly identical images", f"No two images have a correlation of {info.limit} or more.")
    cell = (PAGE - 2 * MARGIN) // PAIR_COLUMNS
    side = (cell - 30 - BETWEEN) // 2
    tiles = enlarge(np.concatenate([info.first, info.second]), side)
    height, width = tiles.shape[1:3]
    count = len(info.first)
    down = height + 72
    page = Mosaic(PAGE, HEADER + -(-count // PAIR_COLUMNS) * down)
    places = []
    for i in range(count):
        left = MARGIN + i % PAIR_COLUMNS * cell + (cell - 2 * width - BETWEEN) // 2
        top = HEADER + i // PAIR_COLUMNS * down
        places.append((left, top))
        page.paste(tiles[i], left, top, LINE)
        page.paste(tiles[count + i], left + width + BETWEEN, top, LINE)
    figure, axes = page.draw()
    few = f"{count} of {info.num_pairs:,}" if count < info.num_pairs else f"{count}"
    pairs = "pair" if info.num_pairs == 1 else "pairs"
    note = f"pixels have a correlation of {info.limit} or more; those of test in training first"
    write_header(figure, f"{few} {pairs} of nearly identical images", note)
    for (left, top), captions, correlation in zip(places, info.captions, info.correlation, strict=True):
        y = top + height + 20
        for x, caption in zip((left + width / 2, left + 1.5 * width + BETWEEN), captions, strict=True):
            text = shorten(caption, SMALL, width + BETWEEN - 6)
            write(axes, x, y, text, color=INK, size=SMALL, ha="center")
        x = left + width + BETWEEN / 2
        write(axes, x, y + 18, f"{correlation:.4f}", color=MUTED, size=SMALL, ha="center")
    return figure


def empty_page(title: str, note: str) -> Figure:
    """A page that says that there is nothing to show."""
    figure = new_figure(900, 100)
    write_header(figure, title, note)
    return figure
