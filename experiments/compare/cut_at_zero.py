"""How many degrees of freedom has an error whose noise of seeds was estimated as 0?

Equal points: images explain a variance of 1 of each run, and seeds add `added`. The variance of runs is estimated from
them, and is at least 1. Prints the share of sweeps with a false claim, in %: with m degrees of freedom throughout, with
2 m where the estimate was cut, and with infinitely many there.
"""

import numpy as np
from scipy.stats import studentized_range

REPEATS = 20_000


def main() -> None:
    """Print the table."""
    random = np.random.default_rng(0)
    print("points seeds added      m    2 m  infinite")
    for num_points, num_seeds in ((2, 2), (3, 2), (2, 3), (5, 2), (10, 2), (30, 2), (3, 5), (10, 3)):
        free = num_points * (num_seeds - 1)
        critical = studentized_range.ppf(0.95, num_points, free)
        for added in (0.0, 0.15, 0.5, 1.0, 2.0, 5.0, 20.0):
            variance = 1 + added
            means = random.normal(0, (variance / num_seeds) ** 0.5, size=(REPEATS, num_points))
            estimate = variance * random.chisquare(free, size=REPEATS) / free
            t_values = np.ptp(means, axis=1) / (np.maximum(estimate, 1) / num_seeds) ** 0.5
            shares = [
                np.mean(t_values > np.where(estimate <= 1, studentized_range.ppf(0.95, num_points, own), critical))
                for own in (free, 2 * free, np.inf)
            ]
            print(f"{num_points:6} {num_seeds:5} {added:5}  " + "  ".join(f"{100 * share:5.1f}" for share in shares))


if __name__ == "__main__":
    main()
