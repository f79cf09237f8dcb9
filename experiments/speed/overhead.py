"""What hcr costs beside training.

    python experiments/speed/overhead.py --mnist ../shared/data/mnist-original.mat [--times 5]

Every figure is of real processes, on a store that has runs already. "Beside training" is the default run on MNIST with
everything that is imported anyway imported before the clock starts; what is subtracted is the epochs, as the run itself
times them, and the rest is told step by step.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from programs import environment

STEPS = ("load_splits", "build", "fit", "score")
RECORDED = ("start", "metrics", "card", "artifacts")  # methods of the Recorder
IMPORTED = ("tensorflow", "keras", "mlflow.keras", "mlflow.models", "mlflow.store.tracking.sqlalchemy_store")
IMPORTED += ("matplotlib.figure", "matplotlib.backends.backend_agg", "hydra", "scipy.io", "rich.progress", "hcr.runner")
TRAIN = ("train", "dataset=mnist", "new_run=true")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist-original.mat")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="of the runs whose cost beside training is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(HCR_OUTPUT_DIR=folder)
        path = f"dataset.path={options.mnist.resolve()}"
        hcr = [sys.executable, "-m", "hcr"]
        subprocess.run([*hcr, "train", "training=smoke"], env=variables, check=True, capture_output=True)

        def seconds(command, code):
            start = time.perf_counter()
            done = subprocess.run(command, env=variables, capture_output=True, check=False)
            assert done.returncode == code, done.stderr.decode()
            return time.perf_counter() - start

        def child(*overrides):
            command = [sys.executable, __file__, "--child", *TRAIN, path, *overrides]
            done = subprocess.run(command, env=variables, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr.decode()
            return json.loads(done.stdout.decode().splitlines()[-1])

        times = range(options.times)
        show("hcr --help", [seconds([*hcr, "--help"], 0) for _ in times])
        show("a refused config", [seconds([*hcr, "train", "model.dept=3"], 1) for _ in times])
        beside = [child(f"training.epochs={options.epochs}") for _ in times]
        show("beside training, imports aside", [run["beside_s"] for run in beside])
        show(f"  training, {options.epochs} epochs", [run["epochs_s"] for run in beside])
        for name in beside[0]["steps_s"]:
            show(f"    {name}", [run["steps_s"][name] for run in beside])


def show(name, values):
    print(f"{name:42s} {median(values):6.2f} s  ({min(values):.2f} to {max(values):.2f}, n={len(values)})", flush=True)


def child_main(argv):
    """A run in this process with clocks around its named steps; the last line printed is what they say."""
    for name in IMPORTED:
        __import__(name)
    steps = {}
    begun = time.perf_counter()
    import hcr.launch

    import_keras = hcr.launch.import_keras

    def import_and_watch():
        # The runner is imported inside; the clocks go around its steps once it is there.
        import hcr.runner

        for name in STEPS:
            setattr(hcr.runner, name, timed(getattr(hcr.runner, name), name, steps))
        recorder = hcr.runner.Recorder
        for name in RECORDED:
            setattr(recorder, name, timed(getattr(recorder, name), f"record {name}", steps))
        import_keras()

    hcr.launch.import_keras = import_and_watch
    from hcr.cli import main as hcr_main

    code = hcr_main(argv)
    whole_s = time.perf_counter() - begun
    (journal,) = (p for p in Path(os.environ["HCR_OUTPUT_DIR"]).glob("runs/*/journal.jsonl") if is_newest(p))
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    epochs_s = sum(event["values"].get("time/epoch_s", 0) for event in events if event["event"] == "metrics")
    steps["fit"] -= epochs_s
    steps["the rest: config, delivery, display"] = whole_s - epochs_s - sum(steps.values())
    print(json.dumps({"beside_s": whole_s - epochs_s, "epochs_s": epochs_s, "steps_s": steps}))
    return code


def is_newest(path):
    return path.stat().st_mtime == max(other.stat().st_mtime for other in path.parents[1].glob("*/journal.jsonl"))


def timed(function, name, steps):
    def call(*arguments, **keywords):
        start = time.perf_counter()
        try:
            return function(*arguments, **keywords)
        finally:
            steps[name] = steps.get(name, 0.0) + time.perf_counter() - start

    return call


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(child_main(sys.argv[2:]))
    main()
