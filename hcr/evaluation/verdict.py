"""The verdict on a sweep: sentences on the points that differ from the best, and on the selection bias of the best."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, sqrt

import numpy as np

from hcr.config.text import printable
from hcr.evaluation.best_of_many import critical_t
from hcr.evaluation.claims import Scale, told_difference, told_p, told_size
from hcr.evaluation.labels import counted, counted_replicates
from hcr.evaluation.ranking import ALPHA, Leaderboard, LeaderboardRow, kind_of, test_to_train
from hcr.evaluation.score_model import Basis, detectable
from hcr.evaluation.statistics import Kind

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
    if len({row.num_folds for row in compared}) > 1:
        lines.append("The points differ in split.folds, and so in their training images: they are not compared.")
    elif board.folds and compared[0].is_tied is None:
        lines.append("One run each: the noise of folds and seeds is unknown, so no point can be called better.")
    elif compared[0].is_tied is None:
        why = f" ({board.no_images_why})" if board.no_images_why else ""
        lines.append(
            f"One seed each, and scores of single images are not known{why}: the noise is unknown, so no point can be"
            " called better than another."
        )
    else:
        lines += [*_result_lines(board, compared), *_models_lines(compared), *_method_lines(board, compared)]
    lines.append(_bias_line(compared))
    return lines


def _result_lines(board: Leaderboard, compared: Sequence[LeaderboardRow]) -> list[str]:
    """What was found: the points that the best is better than, and those that it is not told from."""
    best, others = compared[0], compared[1:]
    tied, worse = [row for row in others if row.is_tied], [row for row in others if not row.is_tied]
    data = _data(board, compared)
    what = f"{board.monitor}, {data}"
    if len(others) == 1:
        return [*_lines_of_two(board, compared, data), *_size_lines([best, *tied])]
    most = _told_most([row.p_adjusted or 0.0 for row in worse])
    if not tied:
        return [f"{best.label} is better than each of the {len(others)} other points ({what}; {most})."]
    if worse:
        named = _name([f"{row.label} ({told_p(row.p_adjusted or 0.0)})" for row in tied])
        lines = [
            f"{best.label}, the best, is better than {len(worse)} of the {len(others)} other points ({what}; {most})."
            f" Not significantly different: {named}."
        ]
    else:
        least = min(0.99, *(row.p_adjusted or 0.0 for row in tied))
        lines = [
            f"No difference shown between the best, {best.label}, and the {len(others)} other points ({what}; every p"
            f" at least {least:#.2g})."
        ]
    smallest = _smallest_shown(board, compared)
    if smallest is not None:
        lines.append(f"{data} can only show differences from the best above {told_size(smallest, _scale(board))}.")
    return lines + _size_lines([best, *tied])


def _told_most(p_values: Sequence[float]) -> str:
    """`p = 0.031` of one, `every p at most 0.031` of several, `every p < 0.001`."""
    most = max(p_values, default=0.0)
    if len(p_values) == 1:
        return told_p(most)
    return "every p < 0.001" if most < 0.001 else f"every p at most {most:#.2g}"


def _lines_of_two(board: Leaderboard, compared: Sequence[LeaderboardRow], data: str) -> list[str]:
    """The claim on two points."""
    best, other = compared
    assert other.gap is not None and other.p_adjusted is not None, "it is tested"
    what = f"{board.monitor}, {data}"
    if board.is_ratio:  # told of the worse one, whose loss is larger
        times = (
            f"whose {board.monitor} is {told_difference(other.gap, Scale.RATIO)} as large, {told_p(other.p_adjusted)}"
        )
        if not other.is_tied:
            return [f"{best.label} is better than {other.label}, {times} ({data})."]
        lines = [f"No difference shown between {best.label} and {other.label}, {times} ({data})."]
    else:
        ahead = replace(other.gap, value=-other.gap.value)
        found = f"{told_difference(ahead, _scale(board))}, {told_p(other.p_adjusted)} ({what})"
        if not other.is_tied:
            return [f"{best.label} is better than {other.label}: {found}."]
        lines = [f"No difference shown between {best.label} and {other.label}: {found}."]
    smallest = _smallest_shown(board, compared)
    if smallest is not None:
        lines.append(f"{data} can only show differences above {told_size(smallest, _scale(board))}.")
    return lines


def _models_lines(compared: Sequence[LeaderboardRow]) -> list[str]:
    """The points whose trained models are worse than those of the best, although their seeds are too few to tell."""
    best, *others = compared
    worse = [row for row in others if row.is_tied and row.p_of_models is not None and row.p_of_models <= ALPHA]
    if not worse:
        return []
    found = _told_most([row.p_of_models or 0.0 for row in worse])
    return [
        f"On new images these trained models of {best.label} are better than those of"
        f" {_name([row.label for row in worse])} ({found}, without the noise of seeds); more seeds would tell whether"
        " the configs are."
    ]


def _smallest_shown(board: Leaderboard, compared: Sequence[LeaderboardRow]) -> float | None:
    """The difference from the first tied point that would be found in four of five cases; None if unknown."""
    gap = next(row.gap for row in compared[1:] if row.is_tied)
    if gap is None or not isfinite(gap.error) or not gap.error:
        return None
    return detectable(gap, critical_t(len(compared), gap.df, ALPHA))


def _method_lines(board: Leaderboard, compared: Sequence[LeaderboardRow]) -> list[str]:
    """How it was tested, and what that cannot say."""
    adjusted = f", adjusted for {len(compared)} points and the choice of the best" if len(compared) > 2 else ""
    if board.folds:
        return [
            f"Corrected resampled t tests against the best{adjusted}, alpha {ALPHA:g}. Folds share training images:"
            " intervals and tests use Nadeau and Bengio's corrected variance of a mean. More seeds never bring it below"
            f" {1 / (board.folds[0] - 1):.2g} of the variance of a single run."
        ]
    if board.basis is Basis.IMAGES:
        return [
            f"One seed each: tests paired over the same images{adjusted}, alpha {ALPHA:g}. They say which of these"
            " trained models is better on new images, not which config is: other seeds may give another order."
        ]
    noise = "the noise of seeds and of the validation images, which the points share"
    if board.basis is Basis.SEEDS:
        why = f": {board.no_images_why}" if board.no_images_why else ""
        noise = f"the noise of seeds alone, as scores of single images are not known{why}"
    return [f"t tests against the best with {noise}{adjusted}, alpha {ALPHA:g}."]


def _data(board: Leaderboard, compared: Sequence[LeaderboardRow]) -> str:
    """`4 seeds each on 6,000 validation images`."""
    over = _what_means_are_over(compared)
    return over if board.num_images is None else f"{over} on {board.num_images:,} validation {board.images_are}"


def _scale(board: Leaderboard) -> Scale:
    if board.is_ratio:
        return Scale.RATIO
    return Scale.POINTS if kind_of(board.monitor) is Kind.ACCURACY else Scale.PLAIN


def _what_means_are_over(compared: Sequence[LeaderboardRow]) -> str:
    """`4 seeds each`, `3 to 6 seeds each`, `5 folds × 2 seeds each`."""
    texts = list(dict.fromkeys(counted_replicates(row.scores) for row in compared))
    if len(texts) == 1:
        return f"{texts[0]} each"
    ns = sorted({row.n for row in compared})
    is_crossed = any(row.num_folds is not None for row in compared)
    return f"{ns[0]} to {ns[-1]} {'runs' if is_crossed else 'seeds'} each"


def _size_lines(tied: Sequence[LeaderboardRow]) -> list[str]:
    """The smallest model among the best and those not told from it."""
    best, sizes = tied[0], {row.label: row.num_params for row in tied if row.num_params is not None}
    if len(set(sizes.values())) < 2:
        return []
    smallest = min(sizes, key=lambda label: sizes[label] or 0)
    against = f", the best has {best.num_params:,}" if best.num_params and smallest != best.label else ""
    return [f"The smallest model of these is {smallest}: {sizes[smallest]:,} parameters{against}."]


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
