"""Wrong labels are put into MNIST, and counted in the list of suspicious labels of `hcr data`.

    python experiments/data/labels.py --mnist mnist-original.mat [--letters ocr-letters.npz]

Only training and validation are used. Precision: the fraction of listed images whose label was changed; the labels that
are wrong in MNIST itself count against it. Recall: the fraction of changed labels that are listed.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcr.data.inspection.features import features_of
from hcr.data.inspection.suspicious import suspicious_labels
from hcr.data.splitting import load_splits
from hcr.gate.compose import compose

Labels = NDArray[np.int64]
SEEDS = (0, 1, 2)


def uniform(labels: Labels, num_classes: int, fraction: float, rng: np.random.Generator) -> Labels:
    """The places of `fraction` of all labels, which are replaced by any other label."""
    places = rng.choice(len(labels), round(fraction * len(labels)), replace=False)
    labels[places] = (labels[places] + rng.integers(1, num_classes, len(places))) % num_classes
    return places


def of_one_class(labels: Labels, num_classes: int, fraction: float, rng: np.random.Generator) -> Labels:
    """The places of `fraction` of the sevens, which all become ones."""
    own = np.flatnonzero(labels == 7)
    places = rng.choice(own, round(fraction * len(own)), replace=False)
    labels[places] = 1
    return places


Change = Callable[[Labels, int, float, np.random.Generator], Labels]
CHANGES: tuple[tuple[str, Change, float], ...] = (
    ("1 % of all", uniform, 0.01),
    ("5 % of all", uniform, 0.05),
    ("10 % of all", uniform, 0.10),
    ("5 % of the sevens, to 1", of_one_class, 0.05),
    ("20 % of the sevens, to 1", of_one_class, 0.20),
)


def measure(name: str, path: Path) -> None:
    """Print a table for one data set."""
    cfg = compose([f"dataset={name}", f"dataset.path={path}"])
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    num_classes = len(splits.class_names)
    labels = np.concatenate([splits.train.labels, splits.val.labels])
    start = time.perf_counter()
    features = np.concatenate(features_of([splits.train.images, splits.val.images]))
    between = time.perf_counter()
    clean = suspicious_labels(features, labels, num_classes)
    end = time.perf_counter()
    print(f"\n{name}: {clean.num_judged:,} of {clean.num_images:,} labels judged among {clean.num_references:,} images")
    print(f"features {between - start:.1f} s, search {end - between:.1f} s; agreement {clean.agreement:.3f}")
    print(f"unchanged: {len(clean.found)} listed ({clean.share:.2%})\n")
    print("| changed labels | listed | precision | recall | precision of the first 24 |")
    print("| --- | --- | --- | --- | --- |")
    for what, change, fraction in CHANGES:
        if change is of_one_class and name != "mnist":
            continue
        rows = []
        for seed in SEEDS:
            changed = labels.copy()
            places = change(changed, num_classes, fraction, np.random.default_rng(seed))
            listed = [one.index for one in suspicious_labels(features, changed, num_classes).found]
            hits = np.isin(listed, places)
            rows.append((len(listed), hits.mean(), hits.sum() / len(places), hits[:24].mean()))
        mean = np.mean(rows, axis=0)
        low, high = np.min(rows, axis=0), np.max(rows, axis=0)
        cells = [f"{mean[0]:,.0f}", *(f"{m:.2f} ({a:.2f} to {b:.2f})" for m, a, b in zip(mean, low, high, strict=True))]
        print(f"| {what} | {cells[0]} | {' | '.join(cells[2:])} |", flush=True)


def main() -> None:
    """Measure on the data sets that are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--letters", type=Path)
    arguments = parser.parse_args()
    measure("mnist", arguments.mnist)
    if arguments.letters is not None:
        measure("letters", arguments.letters)


if __name__ == "__main__":
    main()
