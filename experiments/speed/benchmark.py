"""hcr against plain Keras on the same model and settings, and its fast recipes, interleaved in one run.

    python experiments/speed/benchmark.py --mnist ../shared/data/mnist-original.mat [--rounds 3] [--epochs 12]

Each round starts every program once, in a process of its own, one after the other, so that a slow minute of the machine
hits them all. Ratios are taken within a round. What was measured is kept in --output as JSON, and printed as a table;
rounds that are there already are not run again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median, stdev

HERE = Path(__file__).parent
NUM_TRAIN, NUM_VALIDATION = 54_000, 6_000
TARGET = 0.99

# Multiplications and additions of the example, forward: 26x26 and 11x11 outputs of 3x3 convolutions, then the softmax
# layer. Backward takes twice that, but for the first convolution, which needs no gradient of its images.
FIRST_FLOP = 2 * 26 * 26 * 9 * 32
REST_FLOP = 2 * (11 * 11 * 9 * 32 * 64 + 1600 * 10)
FLOP_PER_IMAGE = 2 * FIRST_FLOP + 3 * REST_FLOP

EXAMPLE = ("experiment=keras_example", "training.patience=null")
PROGRAMS = {
    "Keras, stock fit": ["keras_stock.py"],
    "Keras, stall-free": ["keras_stall_free.py"],
    "hcr float32": EXAMPLE,
    "hcr bfloat16": (*EXAMPLE, "training.precision=bfloat16"),
}
RECIPES = {"speedrun": ("experiment=speedrun", 4), "fast_995": ("experiment=fast_995", 2)}  # and runs of it in a round
FIRST_SEED = 200  # values were compared on lower seeds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist-original.mat")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--output", type=Path, default=Path("speed.json"))
    options = parser.parse_args()
    done = json.loads(options.output.read_text()) if options.output.exists() else {}
    rounds = done.get("rounds", [])
    peaks = done.get("peak_flop_per_s") or {name: peak_flop_per_s(name) for name in ("float32", "bfloat16")}
    for number in range(len(rounds), options.rounds):
        rounds.append(one_round(options.mnist.resolve(), number, options.epochs))
        options.output.write_text(json.dumps({"peak_flop_per_s": peaks, "rounds": rounds}, indent=1))
    print_tables(rounds, peaks)


def one_round(mnist, number, epochs):
    """Every program once, every recipe a few times; what each measured."""
    found = {}
    for name, arguments in PROGRAMS.items():
        seed = FIRST_SEED + number
        if name.startswith("Keras"):
            found[name] = run_keras(arguments[0], mnist, seed, epochs)
        else:
            found[name] = run_hcr((*arguments, f"training.epochs={epochs}", f"seed={seed}"), mnist)
        print(f"round {number + 1}  {name}: {median(found[name]['epoch_s']):.2f} s an epoch", flush=True)
    for name, (experiment, times) in RECIPES.items():
        seeds = [FIRST_SEED + number * times + i for i in range(times)]
        found[name] = [run_hcr((experiment, f"seed={seed}"), mnist) for seed in seeds]
        print(f"round {number + 1}  {name}: {mean(sum(run['epoch_s']) for run in found[name]):.2f} s", flush=True)
    return found


def run_keras(script, mnist, seed, epochs):
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "measured.json"
        wall_s, rss_mib = run([sys.executable, HERE / script, mnist, seed, epochs, output], {})
        return {**json.loads(output.read_text()), "wall_s": wall_s, "rss_mib": rss_mib}


def run_hcr(overrides, mnist):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hcr", "train", *overrides, f"dataset.path={mnist}"]
        wall_s, rss_mib = run(command, {"HCR_OUTPUT_DIR": folder})
        (journal,) = Path(folder).glob("runs/*/journal.jsonl")
        events = [json.loads(line) for line in journal.read_text().splitlines()]
    metrics = [event["values"] for event in events if event["event"] == "metrics"]
    epochs = [values for values in metrics if "time/epoch_s" in values]
    (test,) = [values["test/accuracy"] for values in metrics if "test/accuracy" in values]
    return {
        "epoch_s": [values["time/epoch_s"] for values in epochs],
        "val_accuracy": [values["val/accuracy"] for values in epochs],
        "test_accuracy": [test],
        "wall_s": wall_s,
        "rss_mib": rss_mib,
    }


def run(command, variables):
    """Wall time in seconds and peak memory in MiB of a process that must succeed."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # TensorFlow would take 24 s to import
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], env=environment, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        if status != 0:
            said.seek(0)
            sys.exit(f"{' '.join(map(str, command))} failed:\n{said.read().decode(errors='replace')}")
    return wall_s, usage.ru_maxrss / 1024


def peak_flop_per_s(precision):
    """What a large product of square matrices reaches on all cores; the best of several, in a process of its own."""
    code = f"""
import time, tensorflow as tf
a = tf.cast(tf.random.normal([4096, 4096]), "{precision}")
tf.matmul(a, a).numpy()
def once():
    start = time.perf_counter(); tf.matmul(a, a).numpy(); return time.perf_counter() - start
print(2 * 4096 ** 3 / min(once() for _ in range(10)))
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def print_tables(rounds, peaks):
    print(f"\npeak of this machine: {', '.join(f'{p} {v / 1e9:.0f} GFLOP/s' for p, v in peaks.items())}")
    print(f"n = {len(rounds)} rounds; an epoch is {NUM_TRAIN:,} images and a validation on {NUM_VALIDATION:,}\n")
    rows = [("", "s/epoch", "images/s", "s to 99.0 % val", "of peak", "peak RSS MiB", "test accuracy")]
    for name in PROGRAMS:
        runs = [round_[name] for round_ in rounds]
        epoch_s = median(s for run in runs for s in run["epoch_s"])
        peak = peaks["bfloat16" if "bfloat16" in name else "float32"]
        reached = [time_to(run["val_accuracy"], run["epoch_s"]) for run in runs]
        rows.append(
            (
                name,
                f"{epoch_s:.2f}",
                f"{NUM_TRAIN / epoch_s:,.0f}",
                f"{mean(reached):.1f}" if all(reached) else f"{sum(map(bool, reached))} of {len(runs)} did",
                f"{(NUM_TRAIN + NUM_VALIDATION / 3) * FLOP_PER_IMAGE / epoch_s / peak:.0%}",
                f"{max(run['rss_mib'] for run in runs):,.0f}",
                spread([run["test_accuracy"][-1] for run in runs], 4),
            )
        )
    print_rows(rows)
    print("\nratios of the time of an epoch, mean over the epochs of a round, round by round")
    pairs = [(f"hcr {p}", f"Keras, {k}") for k in ("stock fit", "stall-free") for p in ("float32", "bfloat16")]
    print_rows([(ours, "against", theirs, spread(ratios(rounds, ours, theirs), 2)) for ours, theirs in pairs])
    print_recipes(rounds)


def print_recipes(rounds):
    keras = [round_["Keras, stall-free"] for round_ in rounds]
    curve = [mean(values) for values in zip(*(run["test_accuracy"] for run in keras), strict=True)]
    print(f"\nstall-free Keras on test, mean of n={len(keras)}: {' '.join(f'{value:.4f}' for value in curve)}")
    needed = next((epoch for epoch, value in enumerate(curve, start=1) if value >= TARGET), None)
    print(f"its mean reaches 99.0 % after {needed or f'more than {len(curve)}'} epochs\n")
    for name in RECIPES:
        runs = [run for round_ in rounds for run in round_[name]]
        accuracy = [run["test_accuracy"][-1] for run in runs]
        train_s = [sum(run["epoch_s"]) for run in runs]
        in_epochs = [
            mean(sum(run["epoch_s"]) for run in round_[name]) / mean(round_["Keras, stall-free"]["epoch_s"])
            for round_ in rounds
        ]
        print(f"{name}: test accuracy {spread(accuracy, 4)}; training {spread(train_s, 2)} s")
        print(f"  in epochs of stall-free Keras, round by round: {spread(in_epochs, 2)}")
        if name == "speedrun" and needed:
            faster = [
                sum(round_["Keras, stall-free"]["epoch_s"][:needed]) / mean(sum(r["epoch_s"]) for r in round_[name])
                for round_ in rounds
            ]
            print(f"  time to a mean of 99.0 % on test, Keras' over ours, round by round: {spread(faster, 1)}")


def ratios(rounds, ours, theirs):
    return [mean(round_[theirs]["epoch_s"]) / mean(round_[ours]["epoch_s"]) for round_ in rounds]


def time_to(accuracy, epoch_s):
    """Seconds of training until validation first reaches the target; None where it does not."""
    for epoch, value in enumerate(accuracy, start=1):
        if value >= TARGET:
            return sum(epoch_s[:epoch])
    return None


def spread(values, digits):
    few = f", sd {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return (
        f"{mean(values):.{digits}f} (median {median(values):.{digits}f}{few},"
        f" {min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)})"
    )


def print_rows(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
