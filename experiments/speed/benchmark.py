"""hcr against plain Keras on the same models and settings, and its fast recipes, interleaved in one run.

    python experiments/speed/benchmark.py --mnist ../shared/data/mnist-original.mat [--rounds 3] [--only models]

Each round starts every program once, in a process of its own, one after the other, so that a slow minute of the machine
hits them all. Ratios are taken within a round. What was measured is kept in --output as JSON, and printed as tables;
rounds that are there already are not run again, and are refused if they were measured with other settings.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from statistics import mean, median

from programs import ALL_IMAGES, BFLOAT16, HERE, MODELS, RECIPES, peak_flop_per_s, run_hcr, run_program
from speed_tables import in_words, print_tables

from hcr.config.training import available_cores, has_bfloat16
from hcr.machine import this_machine

TABLES = {"convnet": ["keras_convnet"], "models": ["cnn", "resnet"], "recipes": []}
EPOCHS = {"keras_convnet": 12, "cnn": 3, "resnet": 3}
IMAGES = {"keras_convnet": ALL_IMAGES, "cnn": 21_000, "resnet": 21_000}
SAME_IMAGES = [6_000, 12_000, 18_000, 21_000, ALL_IMAGES]  # of these hcr's stratified tenth is as large as Keras'
FIRST_SEED = 200  # values were compared on lower seeds


def main():
    options = parse()
    settings = settings_of(options)
    done = kept(options.output, settings)
    rounds = done.get("rounds", [])
    if "keras_convnet" in settings["epochs"] and not settings["bfloat16"]:
        print("bfloat16 is left out: this CPU has neither AVX512-BF16 nor AMX, so it is far slower than float32 here.")
    peaks = done.get("peak_flop_per_s") or peaks_of(settings)
    for number in range(len(rounds), options.rounds):
        rounds.append(one_round(options.mnist.resolve(), number, settings))
        values = {"settings": settings, "peak_flop_per_s": peaks, "rounds": rounds}
        options.output.write_text(json.dumps(values, indent=1))
    print_tables(rounds, peaks, settings)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist-original.mat")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="tables; all if left out")
    parser.add_argument("--threads", nargs="+", type=int, help="all cores, and 1, if left out")
    parser.add_argument("--epochs", type=int, help=f"of each model; if left out {EPOCHS}")
    parser.add_argument(
        "--images", type=int, choices=SAME_IMAGES, help=f"for training and validation; if left out {IMAGES}"
    )
    parser.add_argument("--accurate", action="store_true", help="the recipe `accurate` too, which takes minutes")
    parser.add_argument("--output", type=Path, default=Path("speed.json"))
    return parser.parse_args()


def settings_of(options):
    """What rounds must have in common to be put into one table."""
    models = [model for table in TABLES if table in options.only for model in TABLES[table]]
    machine = this_machine()
    return {
        "threads": options.threads or sorted({available_cores(), 1}, reverse=True),
        "epochs": {model: options.epochs or EPOCHS[model] for model in models},
        "images": {model: options.images or IMAGES[model] for model in models},
        "recipes": [name for name in RECIPES if "recipes" in options.only and (name != "accurate" or options.accurate)],
        "bfloat16": has_bfloat16(),
        "cpu": machine.cpu,
        "cores": machine.cores,
        "versions": machine.versions,
        "code": code_digest(),
    }


def code_digest():
    """SHA-256, shortened, of hcr's code and values, of what it is compared with, and of how both are run."""
    root = HERE.parents[1]
    files = [*root.glob("hcr/**/*.py"), *root.glob("conf/**/*.yaml"), *HERE.glob("keras_*.py"), HERE / "programs.py"]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def kept(output, settings):
    """The contents of an earlier --output, if there is one; exits if its settings are others."""
    if not output.exists():
        return {}
    done = json.loads(output.read_text())
    there = done.get("settings", {})
    other = [f"{name} {there.get(name)}, not {value}" for name, value in settings.items() if there.get(name) != value]
    if other:
        sys.exit(f"{output}: its rounds were measured with {'; '.join(other)}; choose another --output")
    return done


def peaks_of(settings):
    """FLOP/s by precision and number of threads."""
    if "keras_convnet" not in settings["epochs"]:
        return {}
    precisions = ["float32", "bfloat16"] if settings["bfloat16"] else ["float32"]
    return {p: {str(threads): peak_flop_per_s(p, threads) for threads in settings["threads"]} for p in precisions}


def one_round(mnist, number, settings):
    """Every program once with each number of threads, every recipe a few times; what each measured."""
    found = {"recipes": {}}
    for model, epochs in settings["epochs"].items():
        found[model] = {str(threads): {} for threads in settings["threads"]}
        for threads in settings["threads"]:
            for name, command in MODELS[model].items():
                if name == BFLOAT16 and not settings["bfloat16"]:
                    continue
                measured = run_program(
                    command, mnist, seed=FIRST_SEED + number, epochs=epochs, images=settings["images"][model],
                    threads=threads,
                )  # fmt: skip
                found[model][str(threads)][name] = measured
                seconds = f"{median(measured['epoch_s']):.2f} s an epoch"
                print(f"round {number + 1}  {model}, {in_words(threads)}, {name}: {seconds}", flush=True)
            check_same_images(found[model][str(threads)])
    for name in settings["recipes"]:
        seeds = [FIRST_SEED + number * RECIPES[name] + i for i in range(RECIPES[name])]
        runs = [run_hcr((f"experiment={name}", f"seed={seed}"), mnist) for seed in seeds]
        found["recipes"][name] = runs
        print(f"round {number + 1}  {name}: {mean(sum(run['epoch_s']) for run in runs):.2f} s", flush=True)
    return found


def check_same_images(programs):
    """Exit unless all programs trained, and validated, on as many images."""
    images = {name: run["images"] for name, run in programs.items()}
    if any(counts != next(iter(images.values())) for counts in images.values()):
        sys.exit(f"the programs did not have as many images: {images}")


if __name__ == "__main__":
    main()
