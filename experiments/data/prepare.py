"""How fast a data set is prepared, and opened again: 60,000 PNG files in folders, and a CSV of 42,000 rows.

    python experiments/data/prepare.py [--pictures 60000] [--rows 42000] [--repeat 3]

The images are real: MNIST's (`HCR_DATA_DIR` names the folder of mnist-original.mat). Each repetition reads them in a
fresh process with an empty cache, then opens them in another with the cache that the first left. What is 0 is left out.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

READ = """
import sys, time
from hcr.gate.compose import compose
from hcr.data.loading import load_dataset
cfg = compose(sys.argv[1:])
start = time.perf_counter()
data = load_dataset(cfg.dataset)
print(time.perf_counter() - start, len(data.labels), data.digest)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=60_000)
    parser.add_argument("--rows", type=int, default=42_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images, labels = mnist()
        if options.pictures:
            save_pictures(folder / "scans", images[: options.pictures], labels[: options.pictures])
            measure("pictures", ["dataset=folder", f"dataset.path={folder / 'scans'}"], folder, options.repeat)
        if options.rows:
            save_csv(folder / "train.csv", images[: options.rows], labels[: options.rows])
            measure("rows of CSV", ["dataset=csv", f"dataset.path={folder / 'train.csv'}"], folder, options.repeat)


def mnist():
    from hcr.data.loading import load_dataset
    from hcr.gate.compose import compose

    data = load_dataset(compose(["dataset=mnist"]).dataset)
    order = np.random.default_rng(0).permutation(len(data.labels))
    return np.asarray(data.images)[order, ..., 0], data.labels[order]


def save_pictures(folder, images, labels):
    for k in range(10):
        (folder / str(k)).mkdir(parents=True)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(folder / str(label) / f"{i}.png")


def save_csv(file, images, labels):
    header = ",".join(["label", *(f"pixel{i}" for i in range(images[0].size))])
    rows = np.column_stack([labels, images.reshape(len(images), -1)])
    np.savetxt(file, rows, fmt="%d", delimiter=",", header=header, comments="")


def measure(what, overrides, folder, repeat):
    prepared, opened = [], []
    for i in range(repeat):
        cache = folder / f"cache-{what[:3]}{i}"
        for found in (prepared, opened):
            seconds, count, _ = read(overrides, cache).split()
            found.append(float(seconds))
        print(
            f"{int(count):,} {what}: prepared in {prepared[-1]:.1f} s, opened again in {opened[-1]:.2f} s", flush=True
        )
    for name, seconds in (("prepared", prepared), ("opened again", opened)):
        low, high = min(seconds), max(seconds)
        print(f"  {name}: median {median(seconds):.2f} s (n = {repeat}, {low:.2f} to {high:.2f})")
    print(f"  {int(count) / median(prepared):,.0f} {what} a second")


def read(overrides, cache):
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [sys.executable, "-c", READ, *overrides], env=environment, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    main()
