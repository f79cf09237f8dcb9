"""Which length of each quick recipe, by validation alone.

    python experiments/speed/choose.py --mnist ../shared/data/mnist-original.mat

The rule, fixed before the first of these runs: of the lengths below, the shortest whose mean validation accuracy over
the seeds is the target plus one standard error of an image set as large as the validation set, which is how much harder
other images may be. Test images are loaded with the rest of the file and never predicted. (The lists first ended with 190 steps and 4 epochs,
none of which reached it; longer ones were appended, and the rule left as it was.) `accurate` is not chosen by
scores at all: it takes as many epochs as fit 85 % of the 500 s that it may take.
"""

import argparse
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from hcr.config.compose import compose
from hcr.data import load_splits
from hcr.training import configure_threads, fit
from hcr.training.build import build

# recipe: target, seeds, and lengths from the shortest: (epochs, steps of an epoch or None for all)
SEARCHED = {
    "speedrun": (0.990, range(10), [(1, 80), (1, 110), (1, 140), (1, 170), (1, 190), (1, None), (2, 120), (2, 150)]),
    "fast_995": (0.995, range(5), [(2, None), (3, None), (4, None), (5, None), (6, None), (8, None)]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist-original.mat")
    mnist = parser.parse_args().mnist.resolve()
    for recipe, (target, seeds, lengths) in SEARCHED.items():
        chosen = None
        for epochs, steps in lengths:
            settings = [f"training.epochs={epochs}", f"training.steps_per_epoch={steps or 'null'}"]
            overrides = [f"experiment={recipe}", f"dataset.path={mnist}", *settings]
            values, sizes = zip(*(validation_accuracy([*overrides, f"seed={seed}"]) for seed in seeds), strict=True)
            needed = target + sqrt(target * (1 - target) / sizes[0])
            told = f"{mean(values):.4f}, sd {stdev(values):.4f}, {min(values):.4f} to {max(values):.4f}, n={len(values)}"
            print(f"{recipe} {' '.join(settings)}: {told}; needs {needed:.4f}", flush=True)
            if mean(values) >= needed:
                chosen = settings
                break
        print(f"{recipe}: {' '.join(chosen) if chosen else 'none of them'}\n", flush=True)


def validation_accuracy(overrides):
    """Of the weights that the run would keep, and the number of images that it is measured on."""
    cfg = compose(overrides)
    configure_threads(cfg.training.num_threads)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    model, optimizer = build(cfg, len(splits.train))
    state = fit(
        model,
        optimizer,
        splits.train,
        splits.val,
        cfg.training,
        cfg.augmentation,
        monitor=cfg.monitor,
        seed=cfg.seed,
    )
    return state.best["val/accuracy"], len(splits.val)


if __name__ == "__main__":
    main()
