"""Which form of each quick recipe, by validation alone.

    python experiments/speed/choose.py --mnist ../shared/data/mnist-original.mat

The rule, fixed before the first of these runs: of the forms below, the first whose mean validation accuracy over the
seeds is the target plus one standard error of an image set as large as the validation set, which is how much harder
other images may be. `fast_995` is trained once per form and seed and judged twice: as it is, and with
`training.tta=shift`, which takes no training. Test images are loaded with the rest of the file and never predicted.
`accurate` is not chosen by scores at all.

What was not foreseen: `speedrun` was judged with `training.tta=shift` too, and needed 170 steps then. Since its five
predictions of each test image take longer than the steps that they save, it is not an option any more.
"""

import argparse
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from hcr.data.splitting import load_splits
from hcr.evaluation.metrics import accuracy
from hcr.gate.compose import compose
from hcr.gate.resolve import resolve
from hcr.training import configure_threads, fit
from hcr.training.build import build
from hcr.training.finished import finish

# recipe: target, seeds, kinds of `training.tta`, and what differs from the recipe, from the shortest training on
SEARCHED = {
    "speedrun": (
        0.990,
        range(10),
        ["none"],
        [f"training.steps_per_epoch={n}" for n in (80, 110, 140, 170, 190, "null")],
    ),
    "fast_995": (
        0.995,
        range(5),
        ["none", "shift"],
        [f"training.epochs={n}" for n in (2, 3, 4, 5, 6)],
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist-original.mat")
    parser.add_argument("--recipes", nargs="+", choices=SEARCHED, default=list(SEARCHED))
    options = parser.parse_args()
    mnist = options.mnist.resolve()
    for recipe in options.recipes:
        target, seeds, kinds, forms = SEARCHED[recipe]
        chosen = None
        for form in forms:
            overrides = [f"experiment={recipe}", f"dataset.path={mnist}", *form.split()]
            runs = [validation_accuracies([*overrides, f"seed={seed}"]) for seed in seeds]
            for tta in kinds:
                values, sizes = [run[tta] for run in runs], [run["images"] for run in runs]
                needed = target + sqrt(target * (1 - target) / sizes[0])
                told = f"{mean(values):.4f}, sd {stdev(values):.4f}, {min(values):.4f} to {max(values):.4f}"
                print(f"{recipe} {form} tta={tta}: {told}, n={len(values)}; needs {needed:.4f}", flush=True)
                if mean(values) >= needed:
                    chosen = chosen or f"{form} training.tta={tta}"
            if chosen:
                break
        print(f"{recipe}: {chosen or 'none of them'}\n", flush=True)


def validation_accuracies(overrides):
    """By `training.tta`, of the weights that the run would keep; and the number of images that they are measured on."""
    cfg = resolve(compose([*overrides, "training.tta=none"]), in_sweep=True)  # float32 where there is no fast bfloat16
    configure_threads(cfg.training)
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
    found = {"images": len(splits.val)}
    for tta in ("none", "shift"):
        kept = finish(model, splits.val, state, cfg.training.replace(tta=tta), seed=cfg.seed)
        found[tta] = accuracy(kept.uncalibrated, splits.val.labels)
    assert found["none"] == state.best["val/accuracy"]
    return found


if __name__ == "__main__":
    main()
