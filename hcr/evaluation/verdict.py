"""The verdict on a sweep: sentences on the points that differ from the best, and on the selection bias of the best."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from hcr.config.text import printable
from hcr.evaluation.labels import counted, counted_replicates
from hcr.evaluation.ranking import ALPHA, Leaderboard, LeaderboardRow, test_to_train
from hcr.evaluation.statistics import smallest_n, smallest_p

MOST_NAMED = 8  # points that one sentence names


def verdict(board: Leaderboard) -> list[str]:
    """The sentences to print below `board`.

    If runs are missing, they only say which; with `allow_incomplete` they give the statistics, each beginning with
    "Incomplete".
    """
    is_withheld = board.is_incomplete and not board.allow_incomplete
    lines = _withheld(board.rows) if is_withheld else _compared(board)
    return [printable(f"Incomplete: {line}" if board.is_incomplete else line) for line in lines]


def winner_bias(num_points: int, n: float) -> float:
    """The expected selection bias of the best mean if all points are equal.

    Args:
        num_points: at least 1.
        n: runs of each point, at least 1; of a cross-validation, as many independent runs as its runs are worth.

    Returns:
        The bias in standard deviations of a single run, at least 0; 0.94 for 12 points of 3 runs.

    Source:
        The mean of the largest of K standard normal draws, David and Nagaraja 2003, "Order Statistics", over sqrt(n).
    """
    from scipy.integrate import quad  # takes half a second: not at the start of a sweep
    from scipy.special import ndtr

    above = quad(lambda x: 1 - ndtr(x) ** num_points, 0, np.inf)[0]
    below = quad(lambda x: ndtr(x) ** num_points, -np.inf, 0)[0]
    return max(0.0, float(above - below)) / sqrt(n)


def _withheld(rows: Sequence[LeaderboardRow]) -> list[str]:
    short = [row for row in rows if row.is_incomplete]
    total = sum(row.num_missing for row in short)
    ends = [
        f"{row.label}: {row.num_missing} of {row.n + row.num_missing}"
        + (f", {row.num_failed} failed" if row.num_failed else "")
        + (f", {row.num_pruned} pruned" if row.num_pruned else "")
        for row in short
    ]
    what = f"{counted(total, 'run')} of {counted(len(short), 'point')} {'is' if total == 1 else 'are'} missing"
    return [f"the statistics are withheld, {what}.", f"missing: {_name(ends)}."]


def _compared(board: Leaderboard) -> list[str]:
    compared = [row for row in board.rows if row.n]
    lines = []
    pruned = sum(row.n == 0 and row.num_pruned > 0 for row in board.rows)
    if pruned:
        lines.append(f"{counted(pruned, 'point')} had all runs pruned and cannot be compared.")
    if len(compared) < 2:
        what = "one point has finished runs" if compared else "no point has a finished run"
        return [*lines, f"{what.capitalize()}: there is nothing to compare."]
    best = compared[0]
    over = _what_means_are_over(compared)
    if len({row.num_folds for row in compared}) > 1:
        lines.append("The points differ in split.folds, and so in their training images: they are not compared.")
    elif board.folds and best.is_tied is None:
        lines.append("One run each: the noise of folds and seeds is unknown, so no point can be called better.")
    elif board.folds:
        lines += _tied_lines(compared, f"{board.monitor}, {over}, corrected resampled t tests")
        lines.append(
            "Folds share training images: intervals and tests use Nadeau and Bengio's corrected variance of a mean."
            f" More seeds never bring it below {1 / (board.folds[0] - 1):.2g} of the variance of a single run."
        )
    elif best.is_tied is None:
        lines.append("One seed each: the seed noise is unknown, so no point can be called better than another.")
        lines.append(_smallest_n_line(len(compared)))
    else:
        smallest = min(smallest_p(best.n, row.n) for row in compared[1:])
        if smallest * (len(compared) - 1) > ALPHA:
            adjusted = min(1.0, smallest * (len(compared) - 1))
            lines.append(
                f"With {over} no difference from the best, {best.label}, can be significant: the smallest possible "
                f"two-sided permutation p is {smallest:#.2g}"
                + (
                    f", {adjusted:#.2g} after adjustment for {len(compared) - 1} comparisons."
                    if len(compared) > 2
                    else "."
                )
            )
            lines.append(_smallest_n_line(len(compared)))
        else:
            lines += _tied_lines(compared, f"{board.monitor}, {over}, permutation tests")
    lines.append(_bias_line(compared))
    return lines


def _what_means_are_over(compared: Sequence[LeaderboardRow]) -> str:
    """`4 seeds each`, `3 to 6 seeds each`, `5 folds × 2 seeds each`."""
    texts = list(dict.fromkeys(counted_replicates(row.scores) for row in compared))
    if len(texts) == 1:
        return f"{texts[0]} each"
    ns = sorted({row.n for row in compared})
    is_crossed = any(row.num_folds is not None for row in compared)
    return f"{ns[0]} to {ns[-1]} {'runs' if is_crossed else 'seeds'} each"


def _tied_lines(compared: Sequence[LeaderboardRow], tests: str) -> list[str]:
    best, tied = compared[0], [row for row in compared if row.is_tied]
    how = f"{tests} against the best, Holm-adjusted, alpha {ALPHA:g}"
    if len(tied) == 1:
        others = "the other point" if len(compared) == 2 else f"all of the {len(compared) - 1} other points"
        return [f"{best.label} differs significantly from {others} ({how})."]
    lines = [
        f"{len(tied)} of {len(compared)} points are not significantly different from the best ({how}): "
        f"{_name([f'{best.label}, the best', *(row.label for row in tied[1:])])}."
    ]
    sizes = {row.label: row.num_params for row in tied if row.num_params is not None}
    if len(set(sizes.values())) > 1:
        smallest = min(sizes, key=lambda label: sizes[label] or 0)
        against = f", the best has {best.num_params:,}" if best.num_params and smallest != best.label else ""
        lines.append(f"The smallest model of these is {smallest}: {sizes[smallest]:,} parameters{against}.")
    return lines


def _smallest_n_line(num_points: int) -> str:
    fewest = smallest_n(num_points - 1, ALPHA)
    if fewest is None:
        return f"No number of seeds can make a difference among {num_points} points significant in this test."
    return f"A significant difference among {num_points} points needs at least {fewest} seeds each."


def _bias_line(compared: Sequence[LeaderboardRow]) -> str:
    best = compared[0]
    bias = winner_bias(len(compared), 1 / (1 / best.n + test_to_train(best.num_folds)))
    spread = [(row.n - 1, row.sd) for row in compared if row.sd is not None]
    pooled = (sum(d * sd**2 for d, sd in spread) / sum(d for d, _ in spread)) ** 0.5 if spread else 0.0
    here = f" (here {pooled * bias:.2g})" if pooled else ""
    over = counted_replicates(best.scores)
    return (
        f"The best mean has a selection bias: among {len(compared)} equal points with {over} each "
        f"it is on average {bias:.2f} standard deviations of a run{here} too good. Evaluate the best on new seeds."
    )


def _name(labels: Sequence[str]) -> str:
    more = len(labels) - MOST_NAMED
    return "; ".join(labels[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
