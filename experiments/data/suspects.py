"""Wrong labels are put into a data set, and counted in the list of `hcr suspects` of a cross-validation.

    python experiments/data/suspects.py [--letters ocr-letters.npz] [--seeds 0 1 2]

A copy with 2 % of its labels replaced by any other is written into a temporary folder, `hcr train -m split=kfold` runs
on it, and the suspects of the sweep are compared with the labels that were changed. Precision: the fraction of suspects
whose label was changed. Recall: the fraction of changed labels outside test that are suspects. Of the first half: the
precision of as many suspects, worst first, as half of the labels that were changed.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from hcr.data.loading import load_dataset
from hcr.evaluation.suspects import find_suspects
from hcr.held_out import held_out
from hcr.tracking.events import first_event

SHARE = 0.02
WORDS = 1_400  # of the letters, about 10,700 images
SETTINGS = {
    "digits": ("training=small",),
    "letters": ("training.epochs=8", "model.filters=16"),
}

Arrays = dict[str, NDArray[np.generic]]


def read(name: str, letters: Path) -> Arrays:
    """The arrays of a data set: `x`, `y`, and `group` if it has groups."""
    if name == "digits":
        images, labels = load_digits(return_X_y=True)
        return {"x": np.rint(images * 255 / 16).astype(np.uint8).reshape(-1, 8, 8), "y": labels}
    with np.load(letters) as stored:
        kept = np.isin(stored["group"], np.random.default_rng(0).permutation(np.unique(stored["group"]))[:WORDS])
        return {key: stored[key][kept] for key in ("x", "y", "group")}


def measure(name: str, arrays: Arrays, seed: int, folder: Path) -> list[float]:
    """Accuracy, number of suspects, precision, recall, and precision of the first half."""
    rng = np.random.default_rng(seed)
    labels = arrays["y"].astype(np.int64)
    wrong = np.zeros(len(labels), bool)
    wrong[rng.choice(len(labels), round(SHARE * len(labels)), replace=False)] = True
    num_classes = int(labels.max()) + 1
    flipped = np.where(wrong, (labels + rng.integers(1, num_classes, len(labels))) % num_classes, labels)
    np.savez(folder / "flipped.npz", **{**arrays, "y": flipped})
    os.environ["HCR_OUTPUT_DIR"] = str(folder)
    data = ("dataset=npz", f"dataset.path={folder / 'flipped.npz'}", "split=kfold", "split.seed=0")
    command = [sys.executable, "-m", "hcr", "train", "-m", *data, "split.fold=0,1,2,3,4", *SETTINGS[name]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    runs = (folder / "runs").iterdir()
    parent = next(run for run in runs if "hcr.sweep_id" in first_event(run)["tags"])
    held = held_out(parent)
    rows = load_dataset(held.run.cfg.dataset).rows
    assert rows is not None
    found, was_changed = find_suspects(held.probabilities, held.labels), wrong[rows[held.index]]
    hits, total = was_changed[found.place], int(was_changed.sum())
    accuracy = float((held.probabilities.argmax(axis=1) == held.labels).mean())
    return [accuracy, len(found), hits.mean(), hits.sum() / total, hits[: total // 2].mean()]


def main() -> None:
    """Print a row of a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--letters", type=Path, help="measure letters too")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    print("| data | accuracy | suspects | precision | recall | precision of the first half |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in ("digits", "letters") if arguments.letters else ("digits",):
        found = []
        for seed in arguments.seeds:
            with TemporaryDirectory() as folder:
                found.append(measure(name, read(name, arguments.letters), seed, Path(folder)))
        columns = np.array(found).T
        cells = [f"{values.mean():.3g} ({values.min():.3g} to {values.max():.3g})" for values in columns]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
