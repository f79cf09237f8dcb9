"""What the errors of runs share image by image, and what seeds move: the numbers of calibration.py.

SWEEP is the key of the parent run of

hcr train -m experiment=speedrun dataset=mnist split.seed=0 split.validation=0.2 model.filters=16,18 seed=0,1,2,3,4,5
"""

import argparse
from collections import defaultdict
from itertools import combinations

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from hcr.config.tracking import output_root
from hcr.evaluation.image_scores import ImageScores, correctness, losses
from hcr.evaluation.score_model import Kind, ScoreModel
from hcr.recorded import read_run
from hcr.tracking.events import first_event
from hcr.tracking.status import run_folders


def main() -> None:
    """Print the error rate, the correlations of the latent margins, and the noise of seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", help="key of the sweep's parent run")
    sweep = parser.parse_args().sweep
    runs: dict[str, list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]] = defaultdict(list)
    for folder in run_folders(output_root()):
        if first_event(folder).get("parent") == sweep:
            run = read_run(folder)
            own = run.predictions("val")
            is_right, loss = correctness(own.probabilities, own.labels), losses(own.probabilities, own.labels)
            runs[run.tags["hcr.sweep_point"]].append((run.cfg.seed, own.index, is_right, loss))
    points = [sorted(own, key=lambda run: run[0]) for own in runs.values()]
    rights = [np.array([run[2] for run in own]) for own in points]
    error = 1 - float(np.mean([own.mean() for own in rights]))
    within = [float((1 - a) @ (1 - b)) / len(a) for own in rights for a, b in combinations(own, 2)]
    between = [
        float((1 - a) @ (1 - b)) / len(a)
        for one, other in combinations(rights, 2)
        for i, a in enumerate(one)
        for j, b in enumerate(other)
        if i != j
    ]
    same_seed = [
        float((1 - a) @ (1 - b)) / len(a)
        for one, other in combinations(rights, 2)
        for a, b in zip(one, other, strict=True)
    ]
    print(f"{len(points)} points of {len(points[0])} seeds, {rights[0].shape[1]} images")
    print(f"errors {error:.4f}, loss {np.mean([run[3].mean() for own in points for run in own]):.4f}")
    for name, shares in (("same point", within), ("other point", between), ("other point, same seed", same_seed)):
        print(f"{name}: both wrong {np.mean(shares):.5f}, latent correlation {latent(np.mean(shares), error):.3f}")
    losses_of = np.array([run[3] for own in points for run in own])
    print(f"correlation of log losses of two runs {np.corrcoef(np.log(losses_of + 1e-7))[0, 1:].mean():.3f}")
    quantiles = np.quantile(losses_of, [0.5, 0.9, 0.99, 0.999])
    print("loss of an image at 50, 90, 99 and 99.9 %:", " ".join(f"{q:.4f}" for q in quantiles))
    for kind, place in ((Kind.ACCURACY, 2), (Kind.LOSS, 3)):
        images = [[ImageScores(run[1], run[place]) for run in own] for own in points]
        seeds = [[run[0] for run in own] for own in points]
        model = ScoreModel([[own.mean for own in some] for some in images], seeds, images, kind)
        sds = [np.std([own.mean for own in some], ddof=1) for some in images]
        means = [np.mean([own.mean for own in some]) for some in images]
        print(
            f"{kind}: means {np.round(means, 5)}, sd over seeds {np.round(sds, 5)}; seed noise beyond images, scaled:"
            f" {model.seed_noise.variance**0.5:.5f} ± {model.seed_noise.information**-0.5:.2g} (of its square)"
        )
    print(f"which is {seed_sd(points, error):.3f} standard deviations of the margin")


def latent(both: float, error: float) -> float:
    """The correlation of two normal margins that are both below 0 in a share `both`, each in a share `error`."""
    low = norm.ppf(error)
    return float(brentq(lambda r: multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([low, low]) - both, 0, 0.9999))


def seed_sd(points: list, error: float) -> float:
    """The sd of a run's mean margin that the variance of accuracies, beyond that of images, stands for."""
    images = [[ImageScores(run[1], run[2]) for run in own] for own in points]
    seeds = [[run[0] for run in own] for own in points]
    model = ScoreModel([[own.mean for own in some] for some in images], seeds, images, Kind.ACCURACY)
    sd = (model.seed_noise.variance * error * (1 - error)) ** 0.5
    return float(sd / norm.pdf(norm.ppf(error)))


if __name__ == "__main__":
    main()
