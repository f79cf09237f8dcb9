"""Made-up points of sweeps and their leaderboards."""

import numpy as np

from hcr.config.replicates import Replicate
from hcr.evaluation.ranking import PointScores, rank


def point(label, *scores, num_planned=None, seeds=None, values=None, **more):
    replicates = map(Replicate, range(len(scores)) if seeds is None else seeds)
    return PointScores(
        label=label,
        values={"model.depth": label} if values is None else values,
        scores=dict(zip(replicates, scores, strict=True)),
        num_planned=len(scores) if num_planned is None else num_planned,
        **more,
    )


def crossed(label, table, num_folds=None, **more):
    """A cross-validated point; `table` has the scores of each seed, by fold."""
    scores = {Replicate(seed, fold): score for seed, row in enumerate(table) for fold, score in enumerate(row)}
    more = {"num_planned": len(scores), "values": {"model.depth": label}} | more
    return PointScores(label=label, scores=scores, num_folds=num_folds or len(table[0]), **more)


def board_of(*points, higher_is_better=True, **more):
    return rank(points, monitor="val/accuracy", higher_is_better=higher_is_better, **more)


def random_points(num_points=5, n=6, effect=1.0):
    random = np.random.default_rng(3)
    return [point(f"p{k}", *(random.normal(size=n) + k * effect), num_params=100 + k) for k in range(num_points)]


def tied(board):
    return [row.label for row in board.rows if row.is_tied]
