"""How much faster a training step is with oneDNN, and with the batch cut into shards, for several models.

    python experiments/speed/steps.py --mnist ../shared/data/mnist-original.mat [--rounds 12] [--threads 2]

For each model three processes train on the same images: with `training.shards=1` and without oneDNN, as TensorFlow is
by itself on x86 without VNNI, bfloat16 or AMX instructions; with `training.shards=1`; and with a shard for each thread.
They take turns of 0.7 s, so that a slow moment of the machine hits all; a ratio is of turns in succession, to the
process before.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles

from programs import environment

TURN_S = 0.7
STEPS = 16  # in a chunk
MODELS = {
    "keras_convnet": ["experiment=keras_example"],
    "mnist's default": ["dataset=mnist"],
    "cnn": ["dataset=mnist", "model=cnn", "training=default"],
    "resnet": ["dataset=mnist", "model=resnet", "training=default"],
    "fast_995": ["experiment=fast_995"],
    "accurate": ["experiment=accurate"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist-original.mat")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, help="training.threads; all cores if left out")
    parser.add_argument("--turns-of", nargs="+", metavar="OVERRIDE", help=argparse.SUPPRESS)  # this is one of the three
    options = parser.parse_args()
    if options.turns_of:
        take_turns(options.turns_of)
        return
    shared = [f"dataset.path={options.mnist.resolve()}", "training.precision=float32"]
    shared += [] if options.threads is None else [f"training.threads={options.threads}"]
    print("images/s, medians; the ratios are medians of the rounds, with their quartiles", flush=True)
    for name, overrides in MODELS.items():
        own = [[*overrides, *shared, *more] for more in (["training.shards=1"], ["training.shards=1"], [])]
        plain, whole, cut = compare(own, [{"TF_ENABLE_ONEDNN_OPTS": "0"}, {}, {}], options)
        print(
            f"{name}: without oneDNN {median(plain):,.0f}, whole {median(whole):,.0f} {ratio(whole, plain)},"
            f" shards {median(cut):,.0f} {ratio(cut, whole)}, n={len(cut)}",
            flush=True,
        )


def ratio(ours, theirs):
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    low, _, high = quantiles(ratios, n=4)
    return f"({median(ratios):.2f}x, {low:.2f} to {high:.2f})"


def compare(settings, variables, options):
    """Images a second of each setting, turn by turn."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--mnist", options.mnist, "--turns-of", *overrides],
            env=environment(**own), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for overrides, own in zip(settings, variables, strict=True)
    ]  # fmt: skip
    found = [[] for _ in processes]
    for turn in range(options.rounds + 1):
        for process, speeds in zip(processes, found, strict=True):
            process.stdin.write("turn\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                sys.exit(f"{' '.join(map(str, process.args))} failed")
            if turn > 0:  # the first turn traces the step
                speeds.append(json.loads(line))
    for process in processes:
        process.stdin.close()
        process.wait()
    return found


def take_turns(overrides):
    """Train for a turn whenever a line arrives, and answer with the images a second."""
    import numpy as np

    from hcr.data.splitting import load_splits
    from hcr.gate.compose import compose
    from hcr.gate.resolve import resolve
    from hcr.training import configure_threads
    from hcr.training.build import build
    from hcr.training.chunks import Chunk
    from hcr.training.steps import TrainingSteps

    cfg = resolve(compose(overrides), in_sweep=False)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    configure_threads(cfg.training)
    model, optimizer = build(cfg, len(splits.train))
    steps = TrainingSteps(model, optimizer, splits.train.labels, cfg.training, cfg.augmentation)
    size = STEPS * cfg.training.batch_size
    chunk = Chunk(splits.train.images[:size], splits.train.labels[:size].astype(np.int32))
    done = 0
    for _ in sys.stdin:
        begun, before = time.perf_counter(), done
        while time.perf_counter() - begun < TURN_S:
            np.asarray(steps.run(chunk, [cfg.seed, done])[0])
            done += STEPS
        print(json.dumps((done - before) / STEPS * size / (time.perf_counter() - begun)), flush=True)


if __name__ == "__main__":
    main()
