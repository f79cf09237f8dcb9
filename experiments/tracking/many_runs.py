"""How long commands take when a store has many runs.

    python experiments/tracking/many_runs.py [--runs 10000] [--store sqlite | postgresql] [--times 3] [--only WORD ...]

One real sweep is trained, and its runs are copied (`filling.py`) to 10, 100, ... runs. Each command is a process of its
own: the seconds of the fastest of `--times`, and in brackets the CPU seconds of that process and its children, which
other work on the machine disturbs less. Everything that it imports is in both. The column of 10 runs is the control:
what a column has more than that is what the size of the store costs. First with the journals of all runs under the
output root, then with an output root that is empty, as on another machine of the team.
"""

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filling import Filling, postgresql

SWEEP = ("train", "-m", "model.depth=1,2", "seed=0,1", "training.epochs=3", "training.threads=1", "launcher.workers=2")
SINGLE = ("train", "training=smoke", "model.filters=4", "model.dense_units=[]")
CONTROL = 10
NEEDS_JOURNALS = ("train", "SWEEP/1")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="only commands with one of these words")
    parser.add_argument("--step", type=int, default=10, help="each size is so many times the one before")
    options = parser.parse_args()
    sizes = [CONTROL]
    while sizes[-1] < options.runs:
        sizes.append(min(options.step * sizes[-1], options.runs))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root = folder / "output"
        uri = stack.enter_context(postgresql()) if options.store == "postgresql" else f"sqlite:///{root / 'mlflow.db'}"
        hcr(root, uri, folder, *SWEEP)
        filling = Filling(root, uri)
        hcr(root, uri, folder, *SINGLE)
        tables = {"here": {}, "elsewhere": {}}
        for size in sizes:
            begun = time.perf_counter()
            filling.fill(size)
            print(f"{size:,} runs after {time.perf_counter() - begun:.0f} s", flush=True)
            for place, columns in tables.items():
                where = root if place == "here" else folder / "elsewhere"
                for name, words in commands(filling).items():
                    is_asked = options.only is None or any(word in name for word in options.only)
                    if is_asked and (place == "here" or not any(word in name for word in NEEDS_JOURNALS)):
                        times = 1 if "first" in name else options.times
                        took = min(hcr(where, uri, folder, *words) for _ in range(times))
                        columns.setdefault(name, []).append(took)
                        print(f"  {place}: {name}: {took[0]:.2f} s, {took[1]:.2f} s of CPU", flush=True)
        for place, columns in tables.items():
            whose = "runs of this machine" if place == "here" else "runs that only the store has"
            print_table(f"{options.store}, {whose}", sizes, columns)


def commands(filling):
    """The commands by name."""
    first, *_, last = filling.keys or [path.name for path in filling.below]
    sweep = filling.sweep  # of 20 runs, where there are so many
    return {
        "hcr show latest, first": ("show", "latest"),
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
        "hcr train -m, the plan": (*SWEEP, "check_only=true"),
        "hcr train -m, resumed": SWEEP,
    }


def hcr(root, uri, folder, *words):
    """The seconds of one command, and those of the CPU."""
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(root), "MLFLOW_TRACKING_URI": uri}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "hcr", *words]
    used, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=False)
    took, now = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, (words, done.stdout.decode(), done.stderr.decode())
    return took, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def print_table(title, sizes, columns):
    """A Markdown table; its last column is what the last size costs more than the first."""
    print(f"\n| {title} | {' | '.join(f'{size:,}' for size in sizes)} | for the size |")
    print(f"| --- |{' --- |' * (len(sizes) + 1)}")
    for name, took in columns.items():
        cells = " | ".join(f"{whole:.2f} ({cpu:.2f})" for whole, cpu in took)
        more = [took[-1][i] - took[0][i] for i in range(2)]
        print(f"| `{name}` | {cells} | {more[0]:+.2f} ({more[1]:+.2f}) |")


if __name__ == "__main__":
    main()
