"""Photos of MNIST's digits, as a person would take them: seeded, 100 each of 6 kinds.

    python experiments/photos/render.py --part test --seed 2026 photos

A digit of 28x28 is scaled up to a stroke with the edges of a pen, put off the centre of a sheet of 240 to 1,200 pixels
a side, lit, and saved as JPEG. The kinds:

    rotated    turned by up to 10 degrees; the other kinds by up to 3
    shadow     light that falls off across the sheet to a half or a third, and the soft edge of a shadow
    blurred    out of focus, by up to a third of a stroke's width
    noisy      sensor noise of 12 to 30 of 255 levels, and a few specks of dust
    inverted   chalk on a board: light on dark
    coloured   ink and paper of any hue, the ink darker, saved at a JPEG quality of 25 to 50

A file is `KIND/LABEL-NUMBER.jpg`. Digits differ from kind to kind.
"""

import argparse
import colorsys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

KINDS = ("rotated", "shadow", "blurred", "noisy", "inverted", "coloured")
PER_KIND = 100
LUMA = np.array([0.299, 0.587, 0.114])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=("val", "test"), default="test", help="of MNIST, divided as for seed 0")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--per-kind", type=int, default=PER_KIND)
    options = parser.parse_args()
    images, labels = digits(options.part)
    render_all(images, labels, options.folder, seed=options.seed, per_kind=options.per_kind)


def digits(part):
    """Images (N, 28, 28, 1) and labels (N,) of MNIST's validation or test part."""
    from hcr.data.splitting import load_splits
    from hcr.gate.compose import compose

    cfg = compose(["dataset=mnist"])
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    side = getattr(splits, part)
    return side.images, side.labels


def render_all(images, labels, folder, *, seed, per_kind=PER_KIND):
    """Write `per_kind` photos of each kind into `folder`, of digits drawn without replacement."""
    drawn = np.random.default_rng(seed).permutation(len(images))[: len(KINDS) * per_kind]
    for position, index in enumerate(drawn):
        kind = KINDS[position // per_kind]
        rng = np.random.default_rng([seed, position])
        path = folder / kind / f"{labels[index]}-{position % per_kind:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo = render(np.asarray(images[index])[..., 0], kind, rng)
        low, high = (25, 50) if kind == "coloured" else (60, 95)
        Image.fromarray(photo).save(path, quality=int(rng.integers(low, high + 1)))


def render(digit, kind, rng):
    """A photo (height, width, 3), uint8, of a digit (28, 28), uint8, light on dark."""
    short = int(rng.integers(240, 901))
    long = int(short * rng.choice([1, 4 / 3]))
    height, width = (short, long) if rng.random() < 0.5 else (long, short)
    cell = short * rng.uniform(0.45, 0.95)  # side of the digit's 28 pixels in the photo
    ink = placed(digit, height, width, cell, most_degrees=10 if kind == "rotated" else 3, rng=rng)
    paper_color, ink_color = colors(kind, rng)
    photo = paper_color + (ink_color - paper_color) * ink[..., None]
    photo *= light(height, width, kind, rng)[..., None]
    if kind == "blurred":
        stroke = 2.5 * cell / 28
        photo = ndimage.gaussian_filter(photo, (*(stroke * rng.uniform(0.15, 0.35),) * 2, 0))
    if kind == "noisy":
        photo += rng.normal(0, rng.uniform(12, 30), photo.shape)
        add_dust(photo, cell, rng)
    else:
        photo += rng.normal(0, 2, photo.shape)
    return np.clip(np.rint(photo), 0, 255).astype(np.uint8)


def placed(digit, height, width, cell, *, most_degrees, rng):
    """How much ink there is, 0 to 1, at each pixel: (height, width)."""
    rows, columns = np.flatnonzero(digit.max(axis=1)), np.flatnonzero(digit.max(axis=0))
    middle = np.array([rows[0] + rows[-1], columns[0] + columns[-1]]) / 2
    scale = 28 / cell
    # The largest extent of a turned 20x20 box is 24; it stays within the photo, with a margin.
    reach = 12.5 / scale
    center = [rng.uniform(min(reach, side / 2), max(side - reach, side / 2)) for side in (height, width)]
    angle = np.deg2rad(rng.uniform(-most_degrees, most_degrees))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    smooth = ndimage.affine_transform(
        digit / 255, turn, middle - turn @ np.array(center), output_shape=(height, width), order=3
    )
    return np.clip((smooth - 0.2) / 0.5, 0, 1)  # a pen's edge is sharper than MNIST's


def colors(kind, rng):
    """Colours of paper and ink, each (3,), 0 to 255."""
    if kind == "inverted":
        return np.full(3, rng.uniform(15, 70)) + rng.uniform(0, 15, 3), np.full(3, rng.uniform(190, 245))
    if kind != "coloured":
        return np.full(3, rng.uniform(190, 245)) + rng.uniform(-8, 8, 3), np.full(3, rng.uniform(10, 90))
    while True:
        paper = 255 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.6), rng.uniform(0.7, 1)))
        ink = 255 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.4, 1), rng.uniform(0.1, 0.6)))
        if (paper - ink) @ LUMA >= 40:
            return paper, ink


def light(height, width, kind, rng):
    """The light that falls on each pixel, 0 to 1: (height, width)."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    across = (np.cos(angle) * y + np.sin(angle) * x) / np.sqrt(2)  # -1 to 1
    least = rng.uniform(0.33, 0.55) if kind == "shadow" else rng.uniform(0.85, 1)
    lit = least + (1 - least) * (1 + across) / 2
    if kind == "shadow":
        angle = rng.uniform(0, 2 * np.pi)
        distance = np.cos(angle) * y + np.sin(angle) * x - rng.uniform(-0.4, 0.4)
        lit *= 1 - rng.uniform(0.25, 0.45) / (1 + np.exp(-distance / rng.uniform(0.02, 0.1)))
    return lit


def add_dust(photo, cell, rng):
    """Draw a few dark and light specks, each smaller than a stroke is wide."""
    height, width = photo.shape[:2]
    y, x = np.ogrid[:height, :width]
    for _ in range(int(rng.integers(2, 9))):
        radius = cell / 28 * rng.uniform(0.2, 0.7)
        row, column = rng.uniform(0, height), rng.uniform(0, width)
        photo[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = rng.choice([40, 220])


if __name__ == "__main__":
    main()
