"""Pictures of the axes of a sweep: parallel coordinates, a heat map of two axes, and the importance of each axis.

Numbers first (`*_info`), ink second (`draw_*`). Only points with a finished run are drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from hcr.evaluation.canvas import (
    FIRST,
    HEADER,
    INK,
    MARGIN,
    MUTED,
    PAPER,
    SECOND,
    SMALL,
    TEXT,
    TITLE,
    new_figure,
    new_plot,
    shorten,
    text_width,
    widest,
    write_header,
)
from hcr.evaluation.labels import format_value, number_format, short_names
from hcr.evaluation.ranking import Leaderboard, LeaderboardRow
from hcr.evaluation.scores import finished_rows, in_order, is_number, means_of, score_range

MOST_LEVELS = 16  # values of an axis for which a heat map has room
MOST_AXES = 8  # side by side
GAP = 0.055  # smallest distance of two ticks, as a fraction of the scale's length
LOG_FROM = 30  # ratio of the largest to the smallest value above which a scale is logarithmic
_SCORES = LinearSegmentedColormap.from_list("scores", ["#d9e2ea", "#8db8dc", FIRST, "#06294a"])


@dataclass(frozen=True)
class Scale:
    """One swept axis as a line from 0 to 1.

    Attributes:
        ticks: (position from 0 to 1, text).
        is_log: the scale is logarithmic, because its numbers span more than a factor LOG_FROM.
    """

    name: str
    ticks: tuple[tuple[float, str], ...]
    is_log: bool


@dataclass(frozen=True)
class Parallel:
    """Parallel coordinates: each of P points as a line through A scales, and its score.

    Attributes:
        scales: A scales; axes with a single value, and those beyond MOST_AXES, are left out.
        positions: (P, A), in [0, 1]; best point first.
        scores: (P,), means over seeds.
        heights: (P,), position of the scores between `low` and `high`, clipped to [0, 1].
        low, high: the scores at the ends of the score scale.
        left_out: names of the axes beyond MOST_AXES.
    """

    scales: tuple[Scale, ...]
    positions: NDArray[np.float64]
    scores: NDArray[np.float64]
    heights: NDArray[np.float64]
    low: float
    high: float
    monitor: str
    higher_is_better: bool
    left_out: tuple[str, ...]


def parallel_info(board: Leaderboard) -> Parallel | None:
    """Compute the position of each point on each axis; None if no axis has two values among the finished points."""
    rows = finished_rows(board)
    axes = _varying(rows, board.axes)
    if not axes:
        return None
    names = short_names(axes)
    # If there are too many axes, keep those that explain most, in the order in which they were swept.
    kept = sorted(axes, key=lambda axis: -_explained(rows, axis))[:MOST_AXES]
    placed = [_scale(names[axis], rows, axis) for axis in axes if axis in kept]
    scores = means_of(rows)
    low, high = score_range(scores.tolist(), board.higher_is_better, pad=0)
    return Parallel(
        scales=tuple(scale for scale, _ in placed),
        positions=np.stack([positions for _, positions in placed], axis=1),
        scores=scores,
        heights=np.clip((scores - low) / (high - low), 0, 1),
        low=low,
        high=high,
        monitor=board.monitor,
        higher_is_better=board.higher_is_better,
        left_out=tuple(names[axis] for axis in axes if axis not in kept),
    )


def draw_parallel(info: Parallel) -> Figure:
    """Draw one line per point; darker is better, and the best is amber."""
    count = len(info.scales) + 1
    width, height, bottom = max(900, min(1200, 190 * count)), 380, 30
    figure = new_figure(width, HEADER + 34 + height + bottom)
    note = "One line per point; darker is better. Amber: the best."
    if info.left_out:
        note += f" Not shown: {', '.join(info.left_out)}."
    write_header(figure, f"{info.monitor} along {count - 1} {'axis' if count == 2 else 'axes'}", _cut(note, width))
    right = int(text_width("≤ 0.00000", SMALL)) + 12
    inner = width - 2 * MARGIN - 50 - right
    # Scales, ticks and names are lines and texts of a single axes, which Matplotlib's layout engines do not handle.
    page = HEADER + 34 + height + bottom
    axes = figure.add_axes(((MARGIN + 50) / width, bottom / page, inner / width, height / page))
    axes.axis("off")
    places = np.arange(count)
    step = inner / (count - 1)
    goodness = info.heights if info.higher_is_better else 1 - info.heights
    # Points that share a value fan out by their score, so that they do not hide each other.
    shared = np.array([len(np.unique(column)) < len(column) for column in info.positions.T])
    fanned = info.positions + 0.05 * (info.heights[:, np.newaxis] - 0.5) * shared
    lines = np.column_stack([fanned, info.heights])
    for line, good in reversed(list(zip(lines, goodness, strict=True))):
        axes.plot(places, line, color=_SCORES(good), linewidth=1.3, alpha=0.85)
    axes.plot(places, lines[0], color=SECOND, linewidth=2.6)
    names = [scale.name + (", log" if scale.is_log else "") for scale in info.scales]
    is_staggered = 1.5 * widest(names, SMALL) > step - 12  # the first name begins at its axis, the others are centred
    for place, scale in enumerate([*info.scales, _score_scale(info)]):
        axes.plot([place, place], [-0.028, 1.028], color=INK, linewidth=0.9, zorder=5)
        room = 0.62 * step if place < count - 1 else right + MARGIN
        for at, text in scale.ticks:
            axes.plot(place, at, "_", color=INK, markersize=5, zorder=5)
            axes.annotate(
                shorten(text, SMALL, room),
                (place, at),
                xytext=(5, 0),
                textcoords="offset points",
                size=SMALL,
                color=INK,
                va="center",
                zorder=6,
                parse_math=False,
                bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
            )
        is_score = place == count - 1
        axes.text(
            place + (right / step if is_score else 0),
            1.12 if is_staggered and place % 2 else 1.06,
            shorten(info.monitor if is_score else names[place], SMALL, (2 if is_staggered else 1) * step - 12),
            size=SMALL,
            color=MUTED,
            ha="right" if is_score else "center" if place else "left",
            parse_math=False,
        )
    axes.set(xlim=(0, count - 1), ylim=(-0.03, 1.03))
    for artist in [*axes.lines, *axes.texts]:
        artist.set_clip_on(False)
    return figure


def _score_scale(info: Parallel) -> Scale:
    show = number_format([info.low, info.high])
    ticks = [(float(at), show(info.low + at * (info.high - info.low))) for at in np.linspace(0, 1, 6)]
    # A score beyond the scale is drawn at its end.
    if info.scores.min() < info.low:
        ticks[0] = (0.0, f"≤ {ticks[0][1]}")
    if info.scores.max() > info.high:
        ticks[-1] = (1.0, f"≥ {ticks[-1][1]}")
    return Scale(info.monitor, tuple(ticks), False)


@dataclass(frozen=True)
class Heat:
    """Mean score for each pair of values of two axes.

    Attributes:
        rows, columns: name of the axis, and its R or C values as text.
        means: (R, C), mean score of the points with this pair of values; 0 if there are none.
        counts: (R, C), number of these points.
        others: names of the axes that are averaged over.
        low, high: scores at the ends of the colour scale.
    """

    rows: tuple[str, tuple[str, ...]]
    columns: tuple[str, tuple[str, ...]]
    means: NDArray[np.float64]
    counts: NDArray[np.int64]
    others: tuple[str, ...]
    low: float
    high: float
    monitor: str
    higher_is_better: bool


def heat_info(board: Leaderboard) -> Heat | None:
    """Compute the heat map of the two axes that explain most, among axes with 2 to MOST_LEVELS values.

    Scores are averaged over the other axes.

    Returns:
        None if there are fewer than two such axes.
    """
    rows = finished_rows(board)
    varying = _varying(rows, board.axes)
    able = [axis for axis in varying if len(_levels(rows, axis)) <= MOST_LEVELS]
    best = sorted(able, key=lambda axis: -_explained(rows, axis))[:2]
    able = [axis for axis in able if axis in best]
    if len(able) != 2:
        return None
    names = short_names(varying)
    downwards, across = (_levels(rows, axis) for axis in able)
    sums, counts = np.zeros((len(downwards), len(across))), np.zeros((len(downwards), len(across)), dtype=np.int64)
    for row, mean in zip(rows, means_of(rows), strict=True):
        cell = (downwards.index(_text(row, able[0])), across.index(_text(row, able[1])))
        sums[cell] += mean
        counts[cell] += 1
    means = sums / np.maximum(counts, 1)
    low, high = score_range(means[counts > 0].tolist(), board.higher_is_better, pad=0)
    return Heat(
        rows=(names[able[0]], tuple(downwards)),
        columns=(names[able[1]], tuple(across)),
        means=means,
        counts=counts,
        others=tuple(names[axis] for axis in varying if axis not in able),
        low=low,
        high=high,
        monitor=board.monitor,
        higher_is_better=board.higher_is_better,
    )


def draw_heat(info: Heat) -> Figure:
    """Draw one cell per pair of values, with its mean; darker is better. A pair without points has no cell."""
    (row_name, row_values), (column_name, column_values) = info.rows, info.columns
    ys = [shorten(value, SMALL, 200) for value in row_values]
    xs = [shorten(value, SMALL, 160) for value in column_values]
    width = 900 if len(xs) <= 8 else 1200
    cell = (width - 2 * MARGIN - 40 - int(widest(ys, SMALL))) // len(xs)  # approximate width of a cell
    is_turned = widest(xs, SMALL) > cell - 8
    height = HEADER + 56 * len(ys) + 2 * MARGIN + 36 + (int(widest(xs, SMALL)) if is_turned else 16)
    figure, (axes,) = new_plot(width, height)
    title, note = f"{info.monitor} by {row_name} and {column_name}", "Darker is better."
    if info.others:
        note += f" Averaged over {', '.join(info.others)}."
    write_header(figure, _cut(title, width, TITLE), _cut(note, width))
    axes.grid(False)
    shares = np.clip((info.means - info.low) / (info.high - info.low), 0, 1)
    goodness = shares if info.higher_is_better else 1 - shares
    axes.imshow(np.ma.masked_where(info.counts == 0, goodness), cmap=_SCORES, vmin=0, vmax=1, aspect="auto")
    axes.hlines(np.arange(len(ys) + 1) - 0.5, -0.5, len(xs) - 0.5, color=PAPER, linewidth=1.5)
    axes.vlines(np.arange(len(xs) + 1) - 0.5, -0.5, len(ys) - 0.5, color=PAPER, linewidth=1.5)
    show = number_format(info.means[info.counts > 0].tolist())
    room = max(text_width(show(mean), SMALL) for mean in info.means.flat)
    for place in zip(*np.nonzero(info.counts), strict=True):
        color = PAPER if goodness[place] > 0.5 else INK
        size = min(SMALL, SMALL * (cell - 6) / room)
        where: dict[str, Any] = {"ha": "center", "va": "center_baseline", "clip_on": True}
        axes.text(place[1], place[0], show(info.means[place]), size=size, color=color, **where)
    axes.set_xticks(range(len(xs)), xs, rotation=90 if is_turned else 0, parse_math=False)
    axes.set_yticks(range(len(ys)), ys, parse_math=False)
    axes.set_xlabel(shorten(column_name, TEXT, width - 300), size=TEXT, color=MUTED, parse_math=False)
    axes.set_ylabel(shorten(row_name, TEXT, height - HEADER - MARGIN), size=TEXT, color=MUTED, parse_math=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@dataclass(frozen=True)
class Importance:
    """The share of the scores' variance that each axis explains, largest first.

    Attributes:
        names: A axes.
        shares: (A,), in [0, 1].
        by_chance: (A,), the expected share of an axis with as many values and no effect; None if the importances
            were given.
    """

    names: tuple[str, ...]
    shares: NDArray[np.float64]
    by_chance: NDArray[np.float64] | None
    monitor: str


def importance_info(board: Leaderboard, importances: Mapping[str, float] | None = None) -> Importance | None:
    """Compute the share of the variance of the points' means that each axis explains alone.

    It is eta squared: the sum of squares between levels over the total. On a full grid the shares add up to at most 1;
    the rest is interactions and noise. An axis with L values and no effect explains (L - 1) / (P - 1) of P points on
    average, so an axis with many values seems to matter.

    Args:
        importances: by axis, at least 0, such as Optuna's; None: compute them.

    Returns:
        None if no axis has two values, or the mapping is empty.

    Source:
        Fisher 1925, "Statistical Methods for Research Workers", on the intraclass correlation and eta.
    """
    rows = finished_rows(board)
    if importances is None:
        axes = _varying(rows, board.axes)
        found = {axis: _explained(rows, axis) for axis in axes}
        chance = {axis: (len(_levels(rows, axis)) - 1) / (len(rows) - 1) for axis in axes}
    else:
        found, chance = dict(importances), {}
    if not found:
        return None
    ordered = sorted(found, key=lambda axis: -found[axis])
    names = short_names(list(found))
    return Importance(
        names=tuple(names[axis] for axis in ordered),
        shares=np.array([found[axis] for axis in ordered], dtype=np.float64),
        by_chance=np.array([chance[axis] for axis in ordered]) if chance else None,
        monitor=board.monitor,
    )


def draw_importance(info: Importance) -> Figure:
    """Draw one bar per axis; a dashed mark shows the share expected by chance."""
    names = [shorten(name, SMALL, 300) for name in info.names]
    figure, (axes,) = new_plot(900, HEADER + 34 * len(names) + 70)
    note = (
        ""
        if info.by_chance is None
        else "Variance of the points' means that each axis explains alone. Dashed: expected by chance."
    )
    write_header(figure, f"Importance of each axis for {info.monitor}", note)
    axes.grid(False, axis="y")
    places = np.arange(len(names))
    axes.barh(places, info.shares, 0.62, color=FIRST, alpha=0.8)
    if info.by_chance is not None:
        axes.vlines(info.by_chance, places - 0.42, places + 0.42, color=INK, linewidth=1.2, linestyle=(0, (3, 2)))
    ends = info.shares if info.by_chance is None else np.maximum(info.shares, info.by_chance)
    for place, (share, end) in enumerate(zip(info.shares, ends, strict=True)):
        axes.annotate(
            f"{share:.0%}",
            (end, place),
            xytext=(7, 0),
            textcoords="offset points",
            size=SMALL,
            color=INK,
            va="center_baseline",
        )
    axes.set(xlim=(0, max(0.01, 1.1 * float(ends.max()))), ylim=(len(names) - 0.4, -0.6))
    axes.set_yticks(places, names, parse_math=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}%"))
    axes.set_xlabel("importance" if info.by_chance is None else "share of variance", size=TEXT, color=MUTED)
    return figure


def _text(row: LeaderboardRow, axis: str) -> str:
    return format_value(row.values[axis]) if axis in row.values else "–"


def _levels(rows: Sequence[LeaderboardRow], axis: str) -> list[str]:
    there = in_order([row.values[axis] for row in rows if axis in row.values])
    return there if all(axis in row.values for row in rows) else [*there, "–"]


def _varying(rows: Sequence[LeaderboardRow], axes: Sequence[str]) -> list[str]:
    return [axis for axis in axes if len(_levels(rows, axis)) > 1]


def _explained(rows: Sequence[LeaderboardRow], axis: str) -> float:
    """Eta squared of `axis`; 0 where all means are equal."""
    means = means_of(rows)
    deviations = means - means.mean()
    total = float(np.sum(deviations**2))
    if total <= 1e-24 * float(np.max(np.abs(means))) ** 2:
        return 0.0
    texts = np.array([_text(row, axis) for row in rows])
    between = sum((texts == t).sum() * deviations[texts == t].mean() ** 2 for t in np.unique(texts))
    return min(1.0, float(between) / total)


def _scale(name: str, rows: Sequence[LeaderboardRow], axis: str) -> tuple[Scale, NDArray[np.float64]]:
    """A scale for the values of `axis`, and the position of each row on it."""
    values = [row.values.get(axis) for row in rows]
    if all(map(is_number, values)):
        numbers = np.array(values, dtype=np.float64)
        is_log = bool(numbers.min() > 0 and numbers.max() > LOG_FROM * numbers.min())
        stretched = np.log(numbers) if is_log else numbers
        positions = (stretched - stretched.min()) / (stretched.max() - stretched.min())
        places = {float(at): f"{number:.4g}" for at, number in zip(positions, numbers, strict=True)}
        return Scale(name, _thin(places), is_log), positions
    levels = _levels(rows, axis)
    at = {text: place / (len(levels) - 1) for place, text in enumerate(levels)}
    ticks = _thin({place: text for text, place in at.items()})
    return Scale(name, ticks, False), np.array([at[_text(row, axis)] for row in rows])


def _thin(places: Mapping[float, str]) -> tuple[tuple[float, str], ...]:
    """Select ticks that are at least GAP apart, including both ends."""
    ticks = sorted(places.items())
    kept = ticks[:1]
    for tick in ticks[1:-1]:
        if tick[0] - kept[-1][0] >= GAP and 1 - tick[0] >= GAP:
            kept.append(tick)
    return (*kept, *ticks[1:][-1:])


def _cut(text: str, width: int, size: float = SMALL) -> str:
    return shorten(text, size, width - 2 * MARGIN)
