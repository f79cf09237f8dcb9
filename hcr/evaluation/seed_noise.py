"""The noise of runs' means that comes from seeds, beyond that of images: a variance component."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAME_NOISE = 0.05  # level of the test that two points have the seed noise of the others
STEPS = 100  # of Fisher scoring, at most

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SeedNoise:
    """The variance of a run's expected score from seed to seed.

    Attributes:
        variance: at least 0.
        information: Fisher's, of the variance: 1 over the variance of its estimate.
        num_free: degrees of freedom of the runs around their points' means.
    """

    variance: float
    information: float
    num_free: int


class SeedResiduals:
    """The runs' deviations from the means of their points, along directions in which they are independent.

    Each is normal with mean 0 and variance `image_variances` + the variance that seeds add.

    Args:
        means: (R,), of the runs, scaled so that seeds add the same variance to each.
        points: (R,), the point of each run.
        covariance: (R, R), of the means, from images; zeros if unknown.

    Attributes:
        values: (F,), F = R - number of points.
        image_variances: (F,).
    """

    def __init__(self, means: Vector, points: Sequence[int], covariance: NDArray[np.float64]) -> None:
        contrasts = _contrasts(points)
        self.image_variances, directions = np.linalg.eigh(contrasts.T @ covariance @ contrasts)
        self.image_variances = self.image_variances.clip(0)
        self.values = directions.T @ (contrasts.T @ means)

    def fit(self) -> SeedNoise:
        """The estimate of the highest restricted likelihood (REML); 0 where the images explain all that runs vary.

        Source:
            Patterson and Thompson 1971, "Recovery of Inter-Block Information when Block Sizes are Unequal".
        """
        squares, known = self.values**2, self.image_variances
        size = float(squares.mean() + known.mean()) if len(squares) else 0.0
        if not size:  # one run for each point, or runs that are all the same
            return SeedNoise(0.0, np.inf, len(squares))
        # The likelihood may have two maxima: start from the best of a grid.
        starts = size * np.concatenate([[1e-9], np.geomspace(1e-6, 10, 50)])
        variance = float(starts[np.argmax([self._likelihood(start) for start in starts])])
        for _ in range(STEPS):
            weights = 1 / np.maximum(known + variance, 1e-12 * size) ** 2
            # Fisher scoring: the weighted mean of what each direction says of the variance.
            update = max(0.0, float((weights * (squares - known)).sum() / weights.sum()))
            if abs(update - variance) <= 1e-13 * size or self._likelihood(update) < self._likelihood(variance) - 1e-9:
                break
            variance = update
        total = np.maximum(known + variance, 1e-12 * size)
        # An estimate that is cut at 0, where the variance is 0, has half the mean square error of one that is not.
        cut = 2 if variance <= 1e-12 * size else 1
        return SeedNoise(variance, float(cut * (0.5 / total**2).sum()), len(squares))

    def _likelihood(self, variance: float) -> float:
        """The logarithm of the restricted likelihood, up to a constant."""
        size = float((self.values**2).mean() + self.image_variances.mean())
        total = np.maximum(self.image_variances + variance, 1e-12 * size)
        return float(-0.5 * (np.log(total) + self.values**2 / total).sum())

    def exceed(self, noise: SeedNoise) -> bool:
        """True if these runs vary more than `noise`, an estimate from many runs, explains; an F test at SAME_NOISE."""
        from scipy.stats import f

        expected = np.maximum(self.image_variances + noise.variance, 1e-300)
        ratio = float((self.values**2 / expected).mean()) if len(self.values) else 0.0
        return bool(f.sf(ratio, len(self.values), noise.num_free) < SAME_NOISE) if ratio > 1 else False


def _contrasts(points: Sequence[int]) -> NDArray[np.float64]:
    """Orthonormal contrasts within each point, (R, F)."""
    from scipy.linalg import block_diag, helmert

    order = np.argsort(points, kind="stable")
    counts = np.unique(np.asarray(points), return_counts=True)[1]
    blocks = [helmert(int(n)).T if n > 1 else np.zeros((1, 0)) for n in counts]
    found = np.zeros((len(points), len(points) - len(counts)))
    found[order] = block_diag(*blocks)
    return found
