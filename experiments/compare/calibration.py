"""How often a leaderboard makes a false claim, and how often it finds a true difference.

In a simulated sweep, the margin by which an image is right has a part that all runs share (its difficulty), a part that
the runs of one point share, and a part of each run; a seed moves all margins of a run. The numbers are those that
`structure.py` measured on MNIST.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from hcr.config.replicates import Replicate
from hcr.evaluation.best_of_many import range_p
from hcr.evaluation.image_scores import ImageScores
from hcr.evaluation.ranking import ALPHA, PointScores, against_best
from hcr.evaluation.statistics import holm, permutation_p

# As measured by structure.py on MNIST, of the latent margin of an image, which is right where it is positive.
ERROR = 0.0078  # share of wrong answers of a run
# Parts of the margin's variance that all runs, and all runs of a point, share. Measured: 0.95 within and between two
# points that are much alike; others share less.
SHARED, OF_POINT = 0.94, 0.01
SEED_SD = 0.012  # of a run's mean margin from seed to seed, in standard deviations of the margin
LOSS_SEED_SD = 0.019  # of the logarithm of a run's loss from seed to seed, beyond its images
# The loss of an image is FLOOR + log(1 + exp(-SLOPE margin)): near the measured 0.09, 0.25, 0.96 and 2.3 at 50, 90, 99
# and 99.9 % of the images (label smoothing makes the floor).
FLOOR, SLOPE = 0.08, 2.0
POOL = 10  # images that validation is drawn from, over those drawn


@dataclass(frozen=True)
class Cell:
    """Simulated sweeps of one kind.

    Attributes:
        monitor: "val/accuracy" or "val/loss".
        num_points, num_seeds, num_images: of the sweep, the seeds of a point and the validation images of a run.
        is_drawn: each seed draws its own validation images; else all share them.
        seeds: factor of the measured noise of seeds; 0 with one seed: equal are the trained models themselves.
        unequal: factor of the seed noise of every second point.
        error: share of wrong answers.
        group_size: images that are drawn together and are alike.
        is_steep: losses without a floor and with a longer tail, as those of models without label smoothing.
        has_images: scores of images are known; else the tests use seeds alone.
    """

    monitor: str
    num_points: int
    num_seeds: int
    num_images: int
    is_drawn: bool
    seeds: float = 1.0
    unequal: float = 1.0
    error: float = ERROR
    group_size: int = 1
    is_steep: bool = False
    has_images: bool = True

    @property
    def name(self) -> str:
        images = "drawn" if self.is_drawn else "shared"
        return f"{self.monitor[4:]}, {self.num_points} points x {self.num_seeds} seeds, {self.num_images} {images}"


A, L = "val/accuracy", "val/loss"
CELLS = [
    Cell(A, 2, 1, 6000, is_drawn=False, seeds=0.0),
    Cell(L, 10, 1, 6000, is_drawn=False, seeds=0.0),
    Cell(A, 30, 1, 6000, is_drawn=False, seeds=0.0),
    Cell(A, 2, 2, 6000, is_drawn=True),
    Cell(L, 3, 2, 6000, is_drawn=True),
    Cell(A, 10, 2, 6000, is_drawn=False),
    Cell(L, 30, 2, 2000, is_drawn=True),
    Cell(A, 3, 3, 6000, is_drawn=False),
    Cell(L, 10, 3, 6000, is_drawn=False),
    Cell(A, 10, 5, 6000, is_drawn=True),
    Cell(L, 3, 10, 6000, is_drawn=False),
    Cell(A, 30, 10, 2000, is_drawn=True),
]
# What the assumptions cost where they do not hold, or where there are few images.
HARDER = {
    "seed noise 10 times as large": [
        Cell(A, 2, 2, 6000, is_drawn=True, seeds=10.0),
        Cell(L, 10, 3, 6000, is_drawn=True, seeds=10.0),
        Cell(A, 10, 5, 6000, is_drawn=False, seeds=10.0),
    ],
    "no seed noise": [
        Cell(A, 2, 2, 6000, is_drawn=True, seeds=0.0),
        Cell(L, 10, 3, 6000, is_drawn=True, seeds=0.0),
    ],
    "seed noise 5 times as large, doubled for every second point": [
        Cell(L, 4, 3, 6000, is_drawn=True, seeds=5.0, unequal=2.0),
        Cell(A, 10, 5, 6000, is_drawn=True, seeds=5.0, unequal=2.0),
    ],
    "losses with a longer tail": [
        Cell(L, 10, 1, 6000, is_drawn=False, seeds=0.0, is_steep=True),
        Cell(L, 10, 3, 6000, is_drawn=True, is_steep=True),
    ],
    "few images, many errors, as the digits": [
        Cell(A, 2, 1, 180, is_drawn=False, seeds=0.0, error=0.05),
        Cell(A, 6, 2, 180, is_drawn=True, error=0.05),
        Cell(L, 6, 2, 180, is_drawn=True, error=0.05),
        Cell(L, 6, 4, 180, is_drawn=True, error=0.05),
    ],
    "whole groups of 20 images": [Cell(A, 3, 3, 6000, is_drawn=True, group_size=20)],
    "seeds alone, without scores of images": [
        Cell(A, 3, 3, 6000, is_drawn=True, has_images=False),
        Cell(L, 10, 2, 6000, is_drawn=False, has_images=False),
    ],
}


def simulate(cell: Cell, random: np.random.Generator, better: float = 0.0) -> list[PointScores]:
    """The points of one sweep; the mean margin of the first is higher by `better`."""
    count = cell.num_images * (POOL if cell.is_drawn else 1)
    groups = np.arange(count) // cell.group_size
    shared = random.normal(size=count)
    if cell.group_size > 1:  # half of what images share, their groups share
        shared = (shared + random.normal(size=groups[-1] + 1)[groups]) / 2**0.5
    shared *= SHARED**0.5
    drawn = [_draw(cell, groups, random) for _ in range(cell.num_seeds)]
    points = []
    for place in range(cell.num_points):
        own = shared + OF_POINT**0.5 * random.normal(size=count)
        seeds = cell.seeds * (cell.unequal if place % 2 else 1.0)
        # The same error in expectation over seeds, whatever their noise.
        middle = -norm.ppf(cell.error) * (1 + (seeds * SEED_SD) ** 2) ** 0.5 + (better if place == 0 else 0.0)
        images = {}
        for seed, chosen in enumerate(drawn):
            noise = (1 - SHARED - OF_POINT) ** 0.5 * random.normal(size=len(chosen))
            margin = middle + seeds * SEED_SD * random.normal() + own[chosen] + noise
            if cell.monitor == A:
                values = margin > 0
            else:
                floor, slope = (0.0, 5.0) if cell.is_steep else (FLOOR, SLOPE)
                factor = np.exp(seeds * LOSS_SEED_SD * random.normal())
                values = factor * (floor + np.log1p(np.exp(-slope * margin)))
            own_groups = groups[chosen] if cell.group_size > 1 else None
            images[Replicate(seed)] = ImageScores(chosen, values.astype(np.float64), own_groups)
        scores = {own: scored.mean for own, scored in images.items()}
        known = images if cell.has_images else {}
        points.append(PointScores(label=str(place), values={}, scores=scores, num_planned=cell.num_seeds, images=known))
    return points


def _draw(cell: Cell, groups: NDArray[np.intp], random: np.random.Generator) -> NDArray[np.intp]:
    if not cell.is_drawn:
        return np.arange(cell.num_images)
    chosen = random.choice(groups[-1] + 1, cell.num_images // cell.group_size, replace=False)
    return np.flatnonzero(np.isin(groups, chosen)) if cell.group_size > 1 else np.sort(chosen)


def claims(points: Sequence[PointScores], monitor: str) -> list[bool]:
    """For each point that is not the best: it is called worse than the best; as `rank` decides."""
    sign = -1 if monitor == A else 1
    ordered = sorted(points, key=lambda point: sign * np.mean(point.sorted_scores))
    tests = against_best(ordered, monitor, higher_is_better=monitor == A)
    if tests is None:
        return [False] * (len(points) - 1)
    raw = [range_p(t, 2, df) for t, df in zip(tests.t_values, tests.dfs, strict=True)]
    told = [False] * len(raw)
    for step, place in enumerate(
        sorted(range(len(raw)), key=raw.__getitem__)
    ):  # as `adjusted_for_best`, to the first miss
        if raw[place] > ALPHA or range_p(tests.t_values[place], len(points) - step, tests.dfs[place]) > ALPHA:
            break
        told[place] = True
    return told


def earlier_claims(points: Sequence[PointScores], monitor: str) -> list[bool]:
    """The same by the test before: permutations of the seeds, Holm's factors for the number of comparisons."""
    sign = -1 if monitor == A else 1
    ordered = sorted(points, key=lambda point: sign * np.mean(point.sorted_scores))
    scores = [point.sorted_scores for point in ordered]
    if len(scores[0]) < 2:
        return [False] * (len(points) - 1)
    return [p <= ALPHA for p in holm([permutation_p(scores[0], own) for own in scores[1:]])]


def false_claims(cell: Cell, repeats: int, decide: Callable[..., list[bool]] = claims) -> float:
    """The share of sweeps of equal points in which any point is called worse than the best."""
    return float(np.mean([any(decide(simulate(cell, _random(0, k)), cell.monitor)) for k in range(repeats)]))


def power(cell: Cell, repeats: int, better: float) -> tuple[float, float]:
    """The share of worse points that are called worse, now and by the test before, if the first point is better."""
    found = np.zeros((repeats, 2))
    for k in range(repeats):
        points = simulate(cell, _random(1, k), better)
        means = [np.mean(point.sorted_scores) * (1 if cell.monitor == A else -1) for point in points]
        if np.argmax(means) == 0:
            found[k] = np.mean(claims(points, cell.monitor)), np.mean(earlier_claims(points, cell.monitor))
    now, before = found.mean(axis=0)
    return float(now), float(before)


def _random(kind: int, repeat: int) -> np.random.Generator:
    return np.random.default_rng([kind, repeat])


def main() -> None:
    """Print the tables of the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="simulated sweeps of each cell")
    parser.add_argument("--images", type=int, help="validation images of every cell, to be quicker")
    parser.add_argument(
        "--better", type=float, default=0.15, help="margin by which the first point is better, for power"
    )
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cells, from 1")
    parser.add_argument("--part", choices=["equal", "power", "harder"], default="equal")
    options = parser.parse_args()
    cells = [("", cell) for cell in CELLS]
    if options.part == "harder":
        cells = [(why, cell) for why, some in HARDER.items() for cell in some]
    for number, (why, cell) in enumerate(cells, 1):
        if options.only and number not in options.only:
            continue
        cell = cell if options.images is None else replace(cell, num_images=options.images)
        start = perf_counter()
        if options.part == "power":
            now, before = power(cell, options.repeats, options.better)
            text = f"{100 * now:5.1f} | {100 * before:5.1f}"
        else:
            share = false_claims(cell, options.repeats)
            error = max(share * (1 - share), 1e-4) ** 0.5 / options.repeats**0.5
            text = f"{100 * share:5.1f} | {100 * error:4.1f}"
        print(
            f"| {number} | {cell.name}{', ' if why else ''}{why} | {text} |  {perf_counter() - start:.0f} s", flush=True
        )


if __name__ == "__main__":
    main()
