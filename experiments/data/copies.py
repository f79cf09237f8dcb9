"""How alike different images are, and how alike an image is to what saving it again makes of it.

    python experiments/data/copies.py --mnist mnist-original.mat --letters ocr-letters.npz

`hcr data` calls two images near copies from a correlation of `NEAR` on.
"""

import argparse
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from hcr.data.inspection.copies import NEAR, correlations
from hcr.data.inspection.features import features_of
from hcr.data.pixels import Images
from hcr.data.splitting import load_splits
from hcr.gate.compose import compose

NUM_QUERIES = 10_000  # images whose most alike other image is searched
NUM_CHANGED = 500
CANDIDATES = 5  # nearest images in the projection, which are compared in full


def jpeg(image: Images, quality: int) -> Images:
    """(H, W) as JPEG and back."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(image: Images, factor: float) -> Images:
    """(H, W) scaled by `factor` and back."""
    height, width = image.shape
    other = Image.fromarray(image).resize((round(width * factor), round(height * factor)), Image.Resampling.BILINEAR)
    return np.asarray(other.resize((width, height), Image.Resampling.BILINEAR))


def noisy(image: Images, sd: float) -> Images:
    """(H, W) with normal noise, rounded and clipped."""
    rng = np.random.default_rng(int(image.sum()))
    return np.clip(np.rint(image + rng.normal(0, sd, image.shape)), 0, 255).astype(np.uint8)


CHANGES: Mapping[str, Callable[[Images], Images]] = {
    "JPEG, quality 95": lambda image: jpeg(image, 95),
    "JPEG, quality 75": lambda image: jpeg(image, 75),
    "JPEG, quality 50": lambda image: jpeg(image, 50),
    "noise of sd 5": lambda image: noisy(image, 5),
    "noise of sd 10": lambda image: noisy(image, 10),
    "0.8 times as bright": lambda image: np.rint(image * 0.8).astype(np.uint8),
    "gamma 0.7": lambda image: np.rint(255 * (image / 255) ** 0.7).astype(np.uint8),
    "turned by 2 degrees": lambda image: np.asarray(Image.fromarray(image).rotate(2, Image.Resampling.BILINEAR)),
    "twice the size, and back": lambda image: resized(image, 2),
    "shifted by a pixel": lambda image: np.roll(image, 1, axis=1),
}


def measure(name: str, path: Path | None) -> None:
    """Print the quantiles of the correlation for one data set."""
    cfg = compose([f"dataset={name}", *([] if path is None else [f"dataset.path={path}"])])
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    images = np.concatenate([splits.train.images, splits.val.images, splits.test.images])
    distinct = np.sort(np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1])
    images = images[distinct]
    (features,) = features_of([images])
    chosen = np.linspace(0, len(images) - 1, min(NUM_QUERIES, len(images))).astype(int)
    half = np.square(features).sum(axis=1) / 2
    best = []
    for query in chosen:
        closeness = features @ features[query] - half
        closeness[query] = -np.inf
        near = np.argpartition(-closeness, CANDIDATES)[:CANDIDATES]
        best.append(correlations(images[[query]].repeat(CANDIDATES, axis=0), images[near]).max())
    at = np.quantile(best, [0.5, 0.99, 1])
    count = int((np.array(best) >= NEAR).sum())
    print(f"\n{name}: of {len(chosen):,} distinct images, {count} have another one of {NEAR} or more")
    print("\n| correlation with | median | 1 % quantile | 99 % quantile | largest |\n| --- | --- | --- | --- | --- |")
    print(f"| the most alike other image | {at[0]:.3f} | {np.quantile(best, 0.01):.3f} | {at[1]:.3f} | {at[2]:.3f} |")
    some = images[chosen[:: max(1, len(chosen) // NUM_CHANGED)]][:NUM_CHANGED]
    for what, change in CHANGES.items():
        changed = np.stack([change(image[..., 0]) for image in some])[..., np.newaxis]
        found = np.quantile(correlations(some, changed), [0.5, 0.01, 0.99, 1])
        print(f"| itself, {what} | {' | '.join(f'{value:.3f}' for value in found)} |")


def main() -> None:
    """Measure on digits and on the data sets that are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--letters", type=Path, required=True)
    arguments = parser.parse_args()
    measure("mnist", arguments.mnist)
    measure("letters", arguments.letters)
    measure("digits", None)


if __name__ == "__main__":
    main()
