"""Made-up points of sweeps and their leaderboards."""

import numpy as np
from scipy.stats import norm

from hcr.config.replicates import Replicate
from hcr.evaluation.image_scores import ImageScores
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


def board_of(*points, higher_is_better=True, monitor="val/accuracy", **more):
    return rank(points, monitor=monitor, higher_is_better=higher_is_better, **more)


def imaged(label, *runs, index=None, groups=None, **more):
    """A point with the scores of each run's images; those of seed k are `index[k]`, by default the same for all."""
    images = {}
    for seed, values in enumerate(runs):
        own = np.arange(len(values)) if index is None else np.asarray(index[seed])
        images[Replicate(seed)] = ImageScores(own, np.asarray(values, dtype=float), groups)
    return point(label, *(own.mean for own in images.values()), images=images, **more)


def random_images(num_points=3, num_seeds=2, num_images=2000, effect=0.0, seed=0, wrong=0.05):
    """Points whose runs are right or wrong on the same images, some of which are hard for all; the first is better."""
    random = np.random.default_rng(seed)
    difficulty = random.normal(size=num_images)
    margin = 2**0.5 * norm.isf(wrong)
    return [
        imaged(
            f"p{k}",
            *(difficulty + random.normal(size=num_images) < margin + effect * (k == 0) for _ in range(num_seeds)),
            num_params=100 - k,
        )
        for k in range(num_points)
    ]


def random_points(num_points=5, n=6, effect=1.0):
    random = np.random.default_rng(3)
    return [point(f"p{k}", *(random.normal(size=n) + k * effect), num_params=100 + k) for k in range(num_points)]


def tied(board):
    return [row.label for row in board.rows if row.is_tied]
