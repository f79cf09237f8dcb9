"""Made-up points of sweeps and their leaderboards."""

import numpy as np

from hcr.evaluation.ranking import PointScores, rank


def point(label, *scores, num_planned=None, seeds=None, values=None, **more):
    seeds = range(len(scores)) if seeds is None else seeds
    return PointScores(
        label=label,
        values={"model.depth": label} if values is None else values,
        scores=dict(zip(seeds, scores, strict=True)),
        num_planned=len(scores) if num_planned is None else num_planned,
        **more,
    )


def board_of(*points, higher_is_better=True, **more):
    return rank(points, monitor="val/accuracy", higher_is_better=higher_is_better, **more)


def random_points(num_points=5, n=6, effect=1.0):
    random = np.random.default_rng(3)
    return [point(f"p{k}", *(random.normal(size=n) + k * effect), num_params=100 + k) for k in range(num_points)]


def tied(board):
    return [row.label for row in board.rows if row.is_tied]
