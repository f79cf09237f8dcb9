"""Pictures of a sweep: its leaderboard, its axes side by side, two of them as a map, what they matter, what they do.

Numbers first (`*_info`), ink second (`draw_*`). Only points with a finished run are drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from hcr.evaluation.canvas import (
    ABOVE,
    DASHED,
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
    add_axes,
    new_figure,
    shorten,
    text_width,
    widest,
    write_header,
)
from hcr.evaluation.leaderboard import (
    Leaderboard,
    LeaderboardRow,
    PointScores,
    format_value,
    number_format,
    short_labels,
    short_names,
)
from hcr.evaluation.statistics import mean_interval

MOST_ROWS = 25  # points of one leaderboard
MOST_LEVELS = 16  # values of an axis that a map or a scale of categories has room for
MOST_AXES = 8  # side by side
LOG_FROM = 30  # the largest value over the smallest, from which a linear scale hides the small ones
_SCORES = LinearSegmentedColormap.from_list("scores", ["#d9e2ea", "#8db8dc", FIRST, "#06294a"])


@dataclass(frozen=True)
class LeaderboardDots:
    """Every seed of the first R points with a finished run, best first.

    Attributes:
        labels: R of them, naming only what differs.
        scores: of each, its n seeds.
        means: (R,).
        intervals: Student's, 95 %; None for n < 2.
        is_tied: cannot be told from the best; False where nothing was tested.
        was_tested: whether anything was.
        low, high: where the axis ends; a worse score lies beyond.
        num_left_out: points below these that have a finished run.
    """

    labels: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    means: NDArray[np.float64]
    intervals: tuple[tuple[float, float] | None, ...]
    is_tied: tuple[bool, ...]
    was_tested: bool
    is_incomplete: bool
    low: float
    high: float
    monitor: str
    num_left_out: int


def leaderboard_info(board: Leaderboard, most: int = MOST_ROWS) -> LeaderboardDots | None:
    """The first `most` points; None where no point has a finished run."""
    rows = _finished(board)
    if not rows:
        return None
    shown = rows[:most]
    scores = tuple(tuple(row.scores[seed] for seed in sorted(row.scores)) for row in shown)
    low, high = _range([score for own in scores for score in own], board.higher_is_better)
    low, high = _widen(low, high, [row.interval for row in shown])
    return LeaderboardDots(
        labels=tuple(short_labels(rows)[: len(shown)]),
        scores=scores,
        means=_means(shown),
        intervals=tuple(row.interval for row in shown),
        is_tied=tuple(bool(row.is_tied) for row in shown),
        was_tested=any(row.is_tied is not None for row in shown),
        is_incomplete=board.is_incomplete,
        low=low,
        high=high,
        monitor=board.monitor,
        num_left_out=len(rows) - len(shown),
    )


def draw_leaderboard(info: LeaderboardDots) -> Figure:
    """A row a point: small dots are seeds, the large one their mean, the bar its interval; blue: tied with the best."""
    most = 560  # pixels for labels, of 1100
    lines = [_break(f"{rank}  {label}", most) for rank, label in enumerate(info.labels, 1)]
    left = MARGIN + 14 + int(widest([line for own in lines for line in own], SMALL))
    step = 12 + 17 * max(map(len, lines))
    height = step * len(lines)
    figure = new_figure(1100, HEADER + height + 74)
    notes = ["Dots: seeds. Large: mean, with its 95 % interval."]
    if info.was_tested:
        notes.append("Blue: cannot be told from the best.")
    if info.is_incomplete:
        notes.append("Runs are missing.")
    if info.num_left_out:
        notes.append(f"{info.num_left_out} more {'point is' if info.num_left_out == 1 else 'points are'} not shown.")
    write_header(figure, f"{info.monitor} of {len(lines) + info.num_left_out} points", " ".join(notes))
    axes = add_axes(figure, left, HEADER, 1100 - left - MARGIN - 10, height)
    axes.grid(False, axis="y")
    show = number_format([info.low, info.high])
    for place, (own, mean, interval, is_tied) in enumerate(
        zip(info.scores, info.means, info.intervals, info.is_tied, strict=True)
    ):
        color = FIRST if is_tied else MUTED
        if interval is not None:
            axes.plot(interval, [place, place], color=color, linewidth=2, alpha=0.45, solid_capstyle="butt")
        axes.plot(own, [place] * len(own), "o", color=color, markersize=3.4, alpha=0.6, markeredgewidth=0)
        axes.plot(mean, place, "o", color=color, markersize=7, markeredgecolor=PAPER, markeredgewidth=1)
        for beyond, end, align in ((mean < info.low, info.low, "left"), (mean > info.high, info.high, "right")):
            if beyond:
                text = f"← {show(mean)}" if align == "left" else f"{show(mean)} →"
                axes.text(end, place, f" {text} ", size=SMALL, color=color, ha=align, va="center")
    axes.set(xlim=(info.low, info.high), ylim=(len(lines) - 0.4, -0.6))
    axes.set_yticks(range(len(lines)), ["\n".join(own) for own in lines], parse_math=False, ma="left")
    _number_axis(axes.xaxis, 8)
    axes.set_xlabel(info.monitor, size=TEXT, color=MUTED)
    return figure


@dataclass(frozen=True)
class Scale:
    """One swept axis as a line from 0 to 1.

    Attributes:
        ticks: where what is written, from 0 to 1.
        is_log: numbers that span more than a factor LOG_FROM.
        is_numeric: otherwise categories, evenly spaced.
    """

    name: str
    ticks: tuple[tuple[float, str], ...]
    is_log: bool
    is_numeric: bool


@dataclass(frozen=True)
class Parallel:
    """Each of P points as a line through A scales, and its score.

    Attributes:
        scales: A of them; axes with a single value are left out, and those beyond MOST_AXES.
        positions: (P, A), in [0, 1]; best point first.
        scores: (P,), the means.
        heights: (P,), of the scores between `low` and `high`, in [0, 1]; 0 for what lies beyond.
        left_out: names of the axes beyond.
    """

    scales: tuple[Scale, ...]
    positions: NDArray[np.float64]
    scores: NDArray[np.float64]
    heights: NDArray[np.float64]
    low: float
    high: float
    monitor: str
    higher_is_better: bool
    best: str
    left_out: tuple[str, ...]


def parallel_info(board: Leaderboard) -> Parallel | None:
    """Where each point stands on each axis; None where no axis has two values among the finished points."""
    rows = _finished(board)
    axes = _varying(rows, board.axes)
    if not axes:
        return None
    names = short_names(axes)
    # The axes that explain most, if there are too many, in the order in which they were swept.
    kept = sorted(axes, key=lambda axis: -_explained(rows, axis))[:MOST_AXES]
    placed = [_scale(names[axis], rows, axis) for axis in axes if axis in kept]
    scores = _means(rows)
    low, high = _range(scores.tolist(), board.higher_is_better, pad=0)
    return Parallel(
        scales=tuple(scale for scale, _ in placed),
        positions=np.stack([positions for _, positions in placed], axis=1),
        scores=scores,
        heights=np.clip((scores - low) / (high - low), 0, 1),
        low=low,
        high=high,
        monitor=board.monitor,
        higher_is_better=board.higher_is_better,
        best=short_labels(rows)[0],
        left_out=tuple(names[axis] for axis in axes if axis not in kept),
    )


def draw_parallel(info: Parallel) -> Figure:
    """A line a point, the darker the better; the best is amber."""
    count = len(info.scales) + 1
    width, height, bottom = max(900, min(1200, 190 * count)), 380, 30
    figure = new_figure(width, HEADER + 34 + height + bottom)
    note = "A line is a point, the darker the better. Amber: the best."
    if info.left_out:
        note += f" Not shown: {', '.join(info.left_out)}."
    write_header(figure, f"{info.monitor} along {count - 1} {'axis' if count == 2 else 'axes'}", _cut(note, width))
    right = int(text_width("≤ 0.00000", SMALL)) + 12
    inner = width - 2 * MARGIN - 50 - right
    axes = add_axes(figure, MARGIN + 50, HEADER + 34, inner, height)
    axes.axis("off")
    places = np.arange(count)
    step = inner / (count - 1)
    goodness = info.heights if info.higher_is_better else 1 - info.heights
    # Points that share a value fan out by their score, or each would hide the next.
    shared = np.array([len(np.unique(column)) < len(column) for column in info.positions.T])
    fanned = info.positions + 0.05 * (info.heights[:, np.newaxis] - 0.5) * shared
    lines = np.column_stack([fanned, info.heights])
    for line, good in reversed(list(zip(lines, goodness, strict=True))):
        axes.plot(places, line, color=_SCORES(good), linewidth=1.3, alpha=0.85)
    axes.plot(places, lines[0], color=SECOND, linewidth=2.6)
    names = [scale.name + (", log" if scale.is_log else "") for scale in info.scales]
    is_staggered = widest(names, SMALL) > step - 12
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
    # A score beyond is drawn at the end.
    if info.scores.min() < info.low:
        ticks[0] = (0.0, f"≤ {ticks[0][1]}")
    if info.scores.max() > info.high:
        ticks[-1] = (1.0, f"≥ {ticks[-1][1]}")
    return Scale(info.monitor, tuple(ticks), False, True)


@dataclass(frozen=True)
class Heat:
    """Mean score for each pair of values of two axes.

    Attributes:
        rows, columns: the names of the axes, and R and C values of each, as text.
        means: (R, C), of the means of the points there; 0 where there is none.
        counts: (R, C), points there.
        others: names of the axes that are averaged over.
        low, high: scores that the colours span.
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


def heat_info(board: Leaderboard, axes: tuple[str, str] | None = None) -> Heat | None:
    """The map of two axes, averaged over the others.

    Args:
        axes: which two, rows first; None: the two that explain most among those with up to MOST_LEVELS values.

    Returns:
        None where there are not two such axes with at least two values each.
    """
    rows = _finished(board)
    varying = _varying(rows, board.axes)
    able = [axis for axis in varying if len(_levels(rows, axis)) <= MOST_LEVELS]
    if axes is None:
        best = sorted(able, key=lambda axis: -_explained(rows, axis))[:2]
        able = [axis for axis in able if axis in best]
    else:
        able = [axis for axis in axes if axis in able]
    if len(able) != 2:
        return None
    names = short_names(varying)
    downwards, across = (_levels(rows, axis) for axis in able)
    sums, counts = np.zeros((len(downwards), len(across))), np.zeros((len(downwards), len(across)), dtype=np.int64)
    for row, mean in zip(rows, _means(rows), strict=True):
        cell = (downwards.index(_text(row, able[0])), across.index(_text(row, able[1])))
        sums[cell] += mean
        counts[cell] += 1
    means = sums / np.maximum(counts, 1)
    low, high = _range(means[counts > 0].tolist(), board.higher_is_better, pad=0)
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
    """A cell a pair of values with its mean written in, the darker the better; no point, no cell."""
    (row_name, row_values), (column_name, column_values) = info.rows, info.columns
    ys = [shorten(value, SMALL, 200) for value in row_values]
    left = MARGIN + 40 + int(widest(ys, SMALL))
    cell = min(140, (1200 - left - MARGIN) // len(column_values))
    xs = [shorten(value, SMALL, 160) for value in column_values]
    is_turned = widest(xs, SMALL) > cell - 8
    below = (int(widest(xs, SMALL)) if is_turned else 16) + 52
    row_height = min(56, cell)
    side, height = cell * len(xs), row_height * len(ys)
    width = max(900, left + side + MARGIN)
    figure = new_figure(width, HEADER + height + below)
    note = "The darker the better."
    if info.others:
        note += f" Averaged over {', '.join(info.others)}."
    write_header(figure, _cut(f"{info.monitor} by {row_name} and {column_name}", width, TITLE), _cut(note, width))
    axes = add_axes(figure, left, HEADER, side, height)
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
        axes.text(
            place[1], place[0], show(info.means[place]), size=size, color=color, ha="center", va="center_baseline"
        )
    axes.set_xticks(range(len(xs)), xs, rotation=90 if is_turned else 0, parse_math=False)
    axes.set_yticks(range(len(ys)), ys, parse_math=False)
    axes.set_xlabel(shorten(column_name, TEXT, max(side, 300)), size=TEXT, color=MUTED, parse_math=False)
    axes.set_ylabel(shorten(row_name, TEXT, max(height, 120)), size=TEXT, color=MUTED, parse_math=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@dataclass(frozen=True)
class Importance:
    """How much of the scores' variance each axis explains, most first.

    Attributes:
        names: A axes.
        shares: (A,), in [0, 1].
        by_luck: (A,), what an axis with so many values would explain on average if it did nothing; None where the
            importances were given.
    """

    names: tuple[str, ...]
    shares: NDArray[np.float64]
    by_luck: NDArray[np.float64] | None
    monitor: str


def importance_info(board: Leaderboard, importances: Mapping[str, float] | None = None) -> Importance | None:
    """What each axis alone explains of the variance of the points' means: eta squared, between-level over total.

    It adds up to at most 1 on a full grid; what is left are interactions and noise. An axis with L values over P
    points explains (L - 1) / (P - 1) of pure noise, so many values seem to matter.

    Args:
        importances: by axis, at least 0, such as Optuna's; None: computed.

    Returns:
        None where no axis has two values, or the mapping is empty.

    Source:
        Fisher 1925, "Statistical Methods for Research Workers", on the intraclass correlation and eta.
    """
    rows = _finished(board)
    if importances is None:
        axes = _varying(rows, board.axes)
        found = {axis: _explained(rows, axis) for axis in axes}
        luck = {axis: (len(_levels(rows, axis)) - 1) / (len(rows) - 1) for axis in axes}
    else:
        found, luck = dict(importances), {}
    if not found:
        return None
    ordered = sorted(found, key=lambda axis: -found[axis])
    names = short_names(list(found))
    return Importance(
        names=tuple(names[axis] for axis in ordered),
        shares=np.array([found[axis] for axis in ordered], dtype=np.float64),
        by_luck=np.array([luck[axis] for axis in ordered]) if luck else None,
        monitor=board.monitor,
    )


def draw_importance(info: Importance) -> Figure:
    """A bar an axis; the dashed mark is what luck alone would give."""
    names = [shorten(name, SMALL, 300) for name in info.names]
    left = MARGIN + 14 + int(widest(names, SMALL))
    height = 34 * len(names)
    figure = new_figure(900, HEADER + height + 70)
    note = "" if info.by_luck is None else "Each axis alone, over the means of points. Dashed: what luck would give."
    write_header(figure, f"What explains {info.monitor}", note)
    axes = add_axes(figure, left, HEADER, 900 - left - 90, height)
    axes.grid(False, axis="y")
    places = np.arange(len(names))
    axes.barh(places, info.shares, 0.62, color=FIRST, alpha=0.8)
    if info.by_luck is not None:
        axes.vlines(info.by_luck, places - 0.42, places + 0.42, color=INK, linewidth=1.2, linestyle=(0, (3, 2)))
    ends = info.shares if info.by_luck is None else np.maximum(info.shares, info.by_luck)
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
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.set_xlabel("importance" if info.by_luck is None else "share of variance", size=TEXT, color=MUTED)
    return figure


@dataclass(frozen=True)
class Effect:
    """One axis around the base: V values in order, the base's among them.

    Attributes:
        values: as text.
        means: (V,).
        intervals: Student's, 95 %; None for n < 2.
        base: which of the values is the base's.
    """

    name: str
    values: tuple[str, ...]
    means: NDArray[np.float64]
    intervals: tuple[tuple[float, float] | None, ...]
    base: int


@dataclass(frozen=True)
class Effects:
    """What changing one thing at a time does; `low` and `high` are where every panel's axis ends."""

    panels: tuple[Effect, ...]
    base_mean: float
    low: float
    high: float
    monitor: str
    num_unfinished: int


def effects_info(
    base: PointScores,
    effects: Mapping[str, Sequence[tuple[object, PointScores]]],
    *,
    monitor: str,
    higher_is_better: bool,
) -> Effects | None:
    """Scores of the points that differ from `base` by one axis each.

    Args:
        base: `values` holds its value of each axis.
        effects: by axis, (value, point) for each other value; the base itself may be among them.

    Returns:
        None where the base has no finished run, or there is no axis.
    """
    if not base.scores or not effects:
        return None
    names = short_names(list(effects))
    panels, every, unfinished = [], list(base.scores.values()), 0
    for axis, others in effects.items():
        own = base.values.get(axis)
        points = {format_value(value): (value, point) for value, point in others if point.scores}
        unfinished += sum(not point.scores for _, point in others)
        points[format_value(own)] = (own, base)
        ordered = _ordered([value for value, _ in points.values()])
        scores = [list(points[value][1].scores.values()) for value in ordered]
        every += [score for some in scores for score in some]
        panels.append(
            Effect(
                name=names[axis],
                values=tuple(ordered),
                means=np.array([np.mean(some) for some in scores]),
                intervals=tuple(mean_interval(some) for some in scores),
                base=ordered.index(format_value(own)),
            )
        )
    low, high = _range(every, higher_is_better)
    low, high = _widen(low, high, [interval for panel in panels for interval in panel.intervals])
    return Effects(tuple(panels), float(np.mean(list(base.scores.values()))), low, high, monitor, unfinished)


def draw_effects(info: Effects) -> Figure:
    """A panel an axis, all on one scale; the base is amber, and the dashed line its mean."""
    across = min(len(info.panels), 4)
    page = 900 if across < 4 else 1200
    pitch = (page - 2 * MARGIN - 50) // across
    side, height = pitch - 30, 190
    slots = [side / len(panel.values) for panel in info.panels]
    widths = [widest([shorten(value, SMALL, 110) for value in panel.values], SMALL) for panel in info.panels]
    is_turned = [width > slot - 6 for width, slot in zip(widths, slots, strict=True)]
    tops, end = [], HEADER + 24
    for first in range(0, len(info.panels), across):
        tops.append(end)
        row = zip(widths[first : first + across], is_turned[first : first + across], strict=True)
        end += height + 62 + max(int(wide) if turned else 14 for wide, turned in row)
    figure = new_figure(page, end - 20)
    note = "One value changed at a time. Amber and dashed: the base. Bars: 95 % intervals of the mean."
    if info.num_unfinished:
        note += f" Without a finished run: {info.num_unfinished}."
    write_header(figure, f"{info.monitor} around the base", note)
    for place, panel in enumerate(info.panels):
        row_place, column = divmod(place, across)
        axes = add_axes(figure, MARGIN + 50 + column * pitch, tops[row_place], side, height)
        _draw_effect(axes, info, panel, is_turned[place], slots[place])
        axes.set_title(shorten(panel.name, TEXT, side), parse_math=False, **ABOVE)
        if column:
            axes.tick_params(labelleft=False)
    return figure


def _draw_effect(axes: Axes, info: Effects, panel: Effect, is_turned: bool, slot: float) -> None:
    places = np.arange(len(panel.values))
    axes.axhline(info.base_mean, **DASHED)
    axes.plot(places, panel.means, color=FIRST, linewidth=1, alpha=0.35)
    for place, (mean, interval) in enumerate(zip(panel.means, panel.intervals, strict=True)):
        color = SECOND if place == panel.base else FIRST
        if interval is not None:
            axes.plot([place, place], interval, color=color, linewidth=2, alpha=0.5, solid_capstyle="butt")
        inside = min(max(mean, info.low), info.high)
        # What lies beyond the axis is hollow, at its end.
        axes.plot(place, inside, "o", color=color, markersize=6, mfc=color if inside == mean else PAPER, clip_on=False)
    axes.set(xlim=(-0.5, len(places) - 0.5), ylim=(info.low, info.high))
    every = -(-16 // int(max(1, slot))) if is_turned else 1
    shown = places[::every]
    texts = [shorten(panel.values[k], SMALL, 110) for k in shown]
    axes.set_xticks(shown, texts, rotation=90 if is_turned else 0, parse_math=False)
    axes.grid(False, axis="x")
    _number_axis(axes.yaxis, 6)


def _finished(board: Leaderboard) -> list[LeaderboardRow]:
    return [row for row in board.rows if row.n]


def _means(rows: Sequence[LeaderboardRow]) -> NDArray[np.float64]:
    return np.array([row.mean for row in rows], dtype=np.float64)


def _text(row: LeaderboardRow, axis: str) -> str:
    return format_value(row.values[axis]) if axis in row.values else "–"


def _levels(rows: Sequence[LeaderboardRow], axis: str) -> list[str]:
    there = _ordered([row.values[axis] for row in rows if axis in row.values])
    return there if all(axis in row.values for row in rows) else [*there, "–"]


def _varying(rows: Sequence[LeaderboardRow], axes: Sequence[str]) -> list[str]:
    return [axis for axis in axes if len(_levels(rows, axis)) > 1]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _ordered(values: Sequence[object]) -> list[str]:
    """Different values as text, numbers (and lists of them) by size, else by text."""
    different = {format_value(value): value for value in values}
    try:
        return sorted(different, key=different.__getitem__)  # type: ignore[arg-type]
    except TypeError:
        return sorted(different)


def _explained(rows: Sequence[LeaderboardRow], axis: str) -> float:
    """Eta squared of `axis`; 0 where all means are equal."""
    means = _means(rows)
    deviations = means - means.mean()
    total = float(np.sum(deviations**2))
    if total <= 1e-24 * float(np.max(np.abs(means))) ** 2:
        return 0.0
    texts = np.array([_text(row, axis) for row in rows])
    between = sum((texts == t).sum() * deviations[texts == t].mean() ** 2 for t in np.unique(texts))
    return min(1.0, float(between) / total)


def _scale(name: str, rows: Sequence[LeaderboardRow], axis: str) -> tuple[Scale, NDArray[np.float64]]:
    """A scale for the values of `axis`, and where on it each row stands."""
    values = [row.values.get(axis) for row in rows]
    if all(map(_is_number, values)):
        numbers = np.array(values, dtype=np.float64)
        is_log = bool(numbers.min() > 0 and numbers.max() > LOG_FROM * numbers.min())
        stretched = np.log(numbers) if is_log else numbers
        positions = (stretched - stretched.min()) / (stretched.max() - stretched.min())
        places = {float(at): f"{number:.4g}" for at, number in zip(positions, numbers, strict=True)}
        return Scale(name, _thin(places), is_log, True), positions
    levels = _levels(rows, axis)
    at = {text: place / (len(levels) - 1) for place, text in enumerate(levels)}
    ticks = _thin({place: text for text, place in at.items()})
    return Scale(name, ticks, False, False), np.array([at[_text(row, axis)] for row in rows])


def _thin(places: Mapping[float, str], gap: float = 0.055) -> tuple[tuple[float, str], ...]:
    """The ticks that stand at least `gap` apart, both ends among them."""
    ticks = sorted(places.items())
    kept = ticks[:1]
    for tick in ticks[1:-1]:
        if tick[0] - kept[-1][0] >= gap and 1 - tick[0] >= gap:
            kept.append(tick)
    return (*kept, *ticks[1:][-1:])


def _range(scores: Sequence[float], higher_is_better: bool, pad: float = 0.06) -> tuple[float, float]:
    """Where an axis of scores ends: scores five times as far from the best as the median is do not squeeze the rest."""
    low, high = min(scores), max(scores)
    best = high if higher_is_better else low
    reach = 5 * abs(best - float(np.median(scores)))
    if 0 < reach < high - low:
        low, high = (high - reach, high) if higher_is_better else (low, low + reach)
    span = high - low
    if span <= 1e-9 * max(abs(low), abs(high)):
        span = 0.02 * max(abs(low), 1e-6)
        low, high = low - span / 2, low + span / 2
    return low - pad * span, high + pad * span


def _widen(low: float, high: float, intervals: Sequence[tuple[float, float] | None]) -> tuple[float, float]:
    """Room for intervals too, but no more than a third on each side: of two seeds they are ten times as wide."""
    most = (high - low) / 3
    ends = [interval for interval in intervals if interval is not None and interval[0] < high and interval[1] > low]
    return (
        max(low - most, min([low, *(end[0] for end in ends)])),
        min(high + most, max([high, *(end[1] for end in ends)])),
    )


def _break(text: str, width: float, most: int = 3) -> list[str]:
    """`text` in lines of at most `width` pixels, broken at spaces; what does not fit into `most` lines is cut."""
    words = text.split(" ")
    lines: list[str] = []
    while words and len(lines) < most - 1:
        fits = max((k for k in range(1, len(words) + 1) if text_width(" ".join(words[:k]), SMALL) <= width), default=1)
        lines.append(shorten(" ".join(words[:fits]), SMALL, width))
        words = words[fits:]
    return [*lines, shorten(" ".join(words), SMALL, width)] if words else lines


def _cut(text: str, width: int, size: float = SMALL) -> str:
    return shorten(text, size, width - 2 * MARGIN)


def _number_axis(axis: Axis, count: int) -> None:
    axis.set_major_locator(MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.5g}"))
