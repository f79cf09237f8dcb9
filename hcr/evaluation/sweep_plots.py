"""Pictures of the points of a sweep: the leaderboard, and the effect of each axis.

Numbers first (`*_info`), ink second (`draw_*`). Only points with a finished run are drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from hcr.config.replicates import sorted_replicates
from hcr.evaluation.canvas import (
    ABOVE,
    DASHED,
    FIRST,
    HEADER,
    MARGIN,
    MUTED,
    PAPER,
    SECOND,
    SMALL,
    TEXT,
    new_plot,
    shorten,
    text_width,
    widest,
    write_header,
)
from hcr.evaluation.labels import format_value, number_format, short_labels, short_names
from hcr.evaluation.ranking import Leaderboard, PointScores
from hcr.evaluation.scores import finished_rows, in_order, means_of, score_range

MOST_ROWS = 25  # points in a picture of the leaderboard
MOST_LINES = 3  # per label


@dataclass(frozen=True)
class LeaderboardDots:
    """The scores of the first R points with a finished run, best first.

    Attributes:
        labels: R labels, with only the axes that differ.
        scores: for each point, the scores of its n runs.
        means: (R,).
        intervals: 95 % Student's t intervals, of a cross-validation corrected; None for n < 2.
        is_tied: not significantly different from the best; False without a test.
        was_tested: points were tested against the best.
        is_incomplete: runs are missing.
        low, high: ends of the score axis; a worse score may be beyond.
        num_left_out: number of further points with a finished run.
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
    is_cross_validated: bool = False


def leaderboard_info(board: Leaderboard) -> LeaderboardDots | None:
    """Collect the first MOST_ROWS points; None if no point has a finished run."""
    rows = finished_rows(board)
    if not rows:
        return None
    shown = rows[:MOST_ROWS]
    scores = tuple(tuple(row.scores[own] for own in sorted_replicates(row.scores)) for row in shown)
    low, high = score_range([score for own in scores for score in own], board.higher_is_better)
    low, high = _widen(low, high, [row.interval for row in shown])
    return LeaderboardDots(
        labels=tuple(short_labels(rows)[: len(shown)]),
        scores=scores,
        means=means_of(shown),
        intervals=tuple(row.interval for row in shown),
        is_tied=tuple(bool(row.is_tied) for row in shown),
        was_tested=any(row.is_tied is not None for row in shown),
        is_incomplete=board.is_incomplete,
        low=low,
        high=high,
        monitor=board.monitor,
        num_left_out=len(rows) - len(shown),
        is_cross_validated=bool(board.folds),
    )


def draw_leaderboard(info: LeaderboardDots) -> Figure:
    """Draw one row per point: small dots for runs, a large one for the mean, a bar for its interval; ties in blue."""
    most = 560  # pixels for labels, of 1100
    lines = [_break(f"{rank}  {label}", most) for rank, label in enumerate(info.labels, 1)]
    step = 12 + 17 * max(map(len, lines))
    figure, (axes,) = new_plot(1100, HEADER + step * len(lines) + 74)
    dots, corrected = ("folds and seeds", ", corrected for folds") if info.is_cross_validated else ("seeds", "")
    notes = [f"Small dots: {dots}. Large dots: means. Bars: 95 % confidence intervals{corrected}."]
    if info.was_tested:
        notes.append("Blue: not significantly different from the best.")
    if info.is_incomplete:
        notes.append("Runs are missing.")
    if info.num_left_out:
        notes.append(f"{info.num_left_out} more {'point is' if info.num_left_out == 1 else 'points are'} not shown.")
    write_header(figure, f"{info.monitor} of {len(lines) + info.num_left_out} points", " ".join(notes))
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
class Effect:
    """Scores for V values of one axis, in order, including the base's value.

    Attributes:
        values: as text.
        means: (V,).
        intervals: 95 % Student's t intervals; None for n < 2.
        base: index of the base's value.
    """

    name: str
    values: tuple[str, ...]
    means: NDArray[np.float64]
    intervals: tuple[tuple[float, float] | None, ...]
    base: int


@dataclass(frozen=True)
class Effects:
    """Effects of changing one axis at a time.

    Attributes:
        panels: one per axis.
        base_mean: mean score of the base.
        low, high: ends of the score axis of all panels.
        num_unfinished: number of points without a finished run.
    """

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
    """Collect the scores of the points that differ from `base` in one axis.

    Args:
        base: the base; its `values` include every axis.
        effects: by axis, (value, point) for each other value; the base itself may be included.

    Returns:
        None if the base has no finished run, or there is no axis.
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
        ordered = in_order([value for value, _ in points.values()])
        chosen = [points[value][1] for value in ordered]
        scores = [point.sorted_scores for point in chosen]
        every += [score for some in scores for score in some]
        panels.append(
            Effect(
                name=names[axis],
                values=tuple(ordered),
                means=np.array([np.mean(some) for some in scores]),
                intervals=tuple(point.interval(monitor) for point in chosen),
                base=ordered.index(format_value(own)),
            )
        )
    low, high = score_range(every, higher_is_better)
    low, high = _widen(low, high, [interval for panel in panels for interval in panel.intervals])
    return Effects(tuple(panels), float(np.mean(list(base.scores.values()))), low, high, monitor, unfinished)


def draw_effects(info: Effects) -> Figure:
    """Draw one panel per axis, all on one scale; the base is amber, and a dashed line shows its mean."""
    across = min(len(info.panels), 4)
    down = -(-len(info.panels) // across)
    page = 900 if across < 4 else 1200
    side = (page - 2 * MARGIN - 60) // across - 20  # approximate width of a panel
    values = [[shorten(value, SMALL, 110) for value in panel.values] for panel in info.panels]
    is_turned = [widest(texts, SMALL) > side / len(texts) - 6 for texts in values]
    turned = [int(widest(texts, SMALL)) for texts, turns in zip(values, is_turned, strict=True) if turns]
    height = HEADER + down * (250 + max(turned, default=14))
    figure, panels = new_plot(page, height, down, across, sharey=True)
    note = "One value changed at a time. Amber and dashed: the base. Bars: 95 % confidence intervals of the mean."
    if info.num_unfinished:
        note += f" Without a finished run: {info.num_unfinished}."
    write_header(figure, f"Effect of each value on {info.monitor}", note)
    for axes, panel, texts, turns in zip(panels, info.panels, values, is_turned, strict=False):
        _draw_effect(axes, info, panel)
        axes.set_title(shorten(panel.name, TEXT, side), parse_math=False, **ABOVE)
        every = -(-16 * len(texts) // side) if turns else 1
        axes.set_xticks(range(0, len(texts), every), texts[::every], rotation=90 if turns else 0, parse_math=False)
    for axes in panels[len(info.panels) :]:
        axes.remove()
    return figure


def _draw_effect(axes: Axes, info: Effects, panel: Effect) -> None:
    places = np.arange(len(panel.values))
    axes.axhline(info.base_mean, **DASHED)
    axes.plot(places, panel.means, color=FIRST, linewidth=1, alpha=0.35)
    for place, (mean, interval) in enumerate(zip(panel.means, panel.intervals, strict=True)):
        color = SECOND if place == panel.base else FIRST
        if interval is not None:
            axes.plot([place, place], interval, color=color, linewidth=2, alpha=0.5, solid_capstyle="butt")
        inside = min(max(mean, info.low), info.high)
        # A mean beyond the axis is drawn hollow at its end.
        axes.plot(place, inside, "o", color=color, markersize=6, mfc=color if inside == mean else PAPER, clip_on=False)
    axes.set(xlim=(-0.5, len(places) - 0.5), ylim=(info.low, info.high))
    axes.grid(False, axis="x")
    _number_axis(axes.yaxis, 6)


def _widen(low: float, high: float, intervals: Sequence[tuple[float, float] | None]) -> tuple[float, float]:
    """Widen an axis for intervals, at most by a third on each side: those of two seeds may be ten times as wide."""
    most = (high - low) / 3
    ends = [interval for interval in intervals if interval is not None and interval[0] < high and interval[1] > low]
    return (
        max(low - most, min([low, *(end[0] for end in ends)])),
        min(high + most, max([high, *(end[1] for end in ends)])),
    )


def _break(text: str, width: float) -> list[str]:
    """Break `text` at spaces into lines of at most `width` pixels; text beyond MOST_LINES is cut."""
    words = text.split(" ")
    lines: list[str] = []
    while words and len(lines) < MOST_LINES - 1:
        fits = max((k for k in range(1, len(words) + 1) if text_width(" ".join(words[:k]), SMALL) <= width), default=1)
        lines.append(shorten(" ".join(words[:fits]), SMALL, width))
        words = words[fits:]
    return [*lines, shorten(" ".join(words), SMALL, width)] if words else lines


def _number_axis(axis: Axis, count: int) -> None:
    axis.set_major_locator(MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.5g}"))
