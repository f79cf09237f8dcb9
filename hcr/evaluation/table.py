"""The leaderboard as a table for a terminal, and as CSV."""

from collections.abc import Sequence
from pathlib import Path

from hcr.config.text import csv_line, printable
from hcr.console import num_columns, pad, wrap
from hcr.evaluation.labels import counted, counted_replicates, format_value, number_format, short_labels
from hcr.evaluation.ranking import Leaderboard, LeaderboardRow
from hcr.evaluation.score_model import Basis

TABLE_WIDTH = 100  # columns of a terminal
INTERVALS_ARE = {
    Basis.BOTH: "with the noise of seeds and of validation images",
    Basis.IMAGES: "with the noise of validation images, for these trained models",
}


def format_table(board: Leaderboard, limit: int | None = None, *, width: int = TABLE_WIDTH) -> str:
    """Format the first `limit` rows (None: all) of the leaderboard for a terminal, at most `width` columns wide."""
    rows = board.rows[:limit]
    show = number_format([row.mean for row in board.rows if row.mean is not None])
    columns = [
        ["", *(f"{'=' if row.is_tied else ' '}{row.rank:>{len(str(len(rows)))}}" for row in rows)],
        ["runs" if board.folds else "n", *(str(row.n) for row in rows)],
        ["mean", *("" if row.mean is None else show(row.mean) for row in rows)],
        ["± sd", *("" if row.sd is None else f"±{show(row.sd)}" for row in rows)],
        ["95 % interval", *("" if row.interval is None else " to ".join(map(show, row.interval)) for row in rows)],
        ["params", *("" if row.num_params is None else f"{row.num_params:,}" for row in rows)],
        ["", *("incomplete" if row.is_incomplete else "" if row.n else "pruned" for row in rows)],
    ]
    widths = [max(map(len, column)) for column in columns]
    labels = _wrap(rows, min(width, TABLE_WIDTH) - sum(widths) - 2 * len(widths))
    label_width = max(num_columns(line) for label in [["point"], *labels] for line in label)
    lines = []
    for cells, label in zip(zip(*columns, strict=True), [["point"], *labels], strict=True):
        mark, *numbers, note = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append("  ".join([mark, pad(label[0], label_width), *numbers, note.strip()]).rstrip())
        lines += [f"{'':{len(mark)}}  {more}" for more in label[1:]]
    left_out = board.rows[len(rows) :]
    if left_out:
        tied = sum(bool(row.is_tied) for row in left_out)
        lines.append(f"and {counted(len(left_out), 'more point')}" + (f", {tied} of them tied (=)" if tied else ""))
    if any(row.is_tied for row in rows[1:]):
        lines.append("= not significantly different from the best")
    if board.folds:
        over = " or ".join(dict.fromkeys(counted_replicates(row.scores) for row in board.rows if row.n))
        lines.append(f"mean over {over}; intervals and tests are corrected, as folds share training images")
    if board.basis in INTERVALS_ARE:
        lines.append(f"95 % intervals: {INTERVALS_ARE[board.basis]}")
    return "\n".join(lines)


def write_csv(board: Leaderboard, path: Path) -> None:
    """Write one row per point, by rank: rank, point, its value of each axis, and the statistics; None is empty.

    `mean_over` says what `n` counts; `noise` names the noise that p and, with images, the interval allow for;
    `corrected` is true if the statistics are those of a cross-validation. Lists and booleans are written as JSON.
    """
    measured = ["n", "mean_over", "corrected", "mean", "sd", "low", "high", "noise", "p_adjusted"]
    others = ["tied_with_best", "num_params", "train_s", "failed", "pruned", "incomplete"]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(["rank", "point", *board.axes, *measured, *others]))
        for row in board.rows:
            values = [format_value(row.values[axis]) if axis in row.values else None for axis in board.axes]
            low, high = row.interval or (None, None)
            noise = None if board.basis is None or not row.n else str(board.basis)
            tied = None if row.is_tied is None else format_value(row.is_tied)
            over = [counted_replicates(row.scores), format_value(row.num_folds is not None)] if row.n else [None, None]
            numbers = [row.n, *over, row.mean, row.sd, low, high, noise, row.p_adjusted, tied]
            ends = [row.num_params, row.train_s, row.num_failed, row.num_pruned, format_value(row.is_incomplete)]
            file.write(csv_line([row.rank, row.label, *values, *numbers, *ends]))


def _wrap(rows: Sequence[LeaderboardRow], width: int) -> list[list[str]]:
    """Labels in lines of at most `width`: complete if all fit, else only the axes that differ, wrapped if needed."""
    labels = [printable(row.label) for row in rows]
    if max(map(num_columns, labels), default=0) > width:
        labels = short_labels(rows)
    return [wrap(label, max(10, width)) for label in labels]
