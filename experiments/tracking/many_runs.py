"""How long commands take when a store has many runs.

    python experiments/tracking/many_runs.py [--runs 10000] [--store sqlite | postgresql] [--times 3]

One real sweep is trained, and its runs are copied (`filling.py`) to 10, 100, ... runs. Each command is a process of its
own: the fastest of `--times`, in seconds, with everything that it imports. The column of 10 runs is the control: what a
column has more than that is what the size of the store costs. First with the journals of all runs under the output
root, then with an output root that is empty, as on another machine of the team.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filling import Filling, postgresql

SWEEP = ("train", "-m", "model.depth=1,2", "seed=0,1", "training.epochs=3", "training.threads=1", "launcher.workers=2")
SINGLE = ("train", "training=smoke", "model.filters=4", "model.dense_units=[]")
CONTROL = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it there")
    options = parser.parse_args()
    sizes = [CONTROL]
    while sizes[-1] < options.runs:
        sizes.append(min(10 * sizes[-1], options.runs))
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root = folder / "output"
        uri = stack.enter_context(postgresql()) if options.store == "postgresql" else f"sqlite:///{root / 'mlflow.db'}"
        hcr(root, uri, *SWEEP)
        filling = Filling(root, uri)
        hcr(root, uri, *SINGLE)
        tables = {"here": {}, "elsewhere": {}}
        for size in sizes:
            begun = time.perf_counter()
            filling.fill(size)
            print(f"{size:,} runs after {time.perf_counter() - begun:.0f} s", flush=True)
            first, *_, last = filling.keys or [path.name for path in filling.below]
            asked = commands(filling.sweep, first, last)
            for place, columns in tables.items():
                where = root if place == "here" else folder / "elsewhere"
                for name, words in asked.items():
                    if (place == "elsewhere" and words[0] == "train") or (place == "elsewhere" and "SWEEP/1" in name):
                        continue
                    took = [hcr(where, uri, *words, cache=folder / "cache") for _ in range(options.times)]
                    columns.setdefault(name, []).append(min(took))
                    print(f"  {place}: {name}: {', '.join(f'{each:.2f}' for each in took)}", flush=True)
        for place, columns in tables.items():
            print_table(f"{options.store}, runs of this machine" if place == "here" else options.store, sizes, columns)


def commands(sweep, first, last):
    """The commands by name; `first` and `last` are keys of runs, `sweep` that of a sweep of 20."""
    return {
        "hcr show latest (first)": ("show", "latest"),
        "hcr --version": ("--version",),
        "hcr runs": ("runs",),
        "hcr runs SWEEP": ("runs", sweep),
        "hcr runs --where --sort": ("runs", "--where", "model.depth = 2", "--sort", "best/val_loss"),
        "hcr show latest": ("show", "latest"),
        "hcr show best": ("show", "best"),
        "hcr show RUN": ("show", last),
        "hcr compare RUN RUN": ("compare", first, last),
        "hcr compare SWEEP/1 SWEEP/2": ("compare", f"{sweep}/1", f"{sweep}/2"),
        "hcr train, finished before": SINGLE,
        "hcr train, a new run": (*SINGLE, "new_run=true"),
        "hcr train -m, resumed": SWEEP,
    }


def hcr(root, uri, *words, cache=None):
    """The seconds of one command."""
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(root), "MLFLOW_TRACKING_URI": uri}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3"} | ({} if cache is None else {"XDG_CACHE_HOME": str(cache)})
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begun = time.perf_counter()
    command = [sys.executable, "-m", "hcr", *words]
    done = subprocess.run(command, env=environment, cwd=root.parent, capture_output=True, check=False)
    assert done.returncode == 0, (words, done.stdout.decode(), done.stderr.decode())
    return time.perf_counter() - begun


def print_table(title, sizes, columns):
    print(f"\n| {title} | {' | '.join(f'{size:,}' for size in sizes)} | for the size |")
    print(f"| --- |{' --- |' * (len(sizes) + 1)}")
    for name, took in columns.items():
        print(f"| `{name}` | {' | '.join(f'{each:.2f}' for each in took)} | {took[-1] - took[0]:+.2f} |")


if __name__ == "__main__":
    main()
