"""Where the seconds of a run go, from the command to the first step and to the end.

    python experiments/speed/start.py [--times 5] [overrides, such as dataset=mnist training.epochs=1]

Each run is a process of its own, on a store that has runs already.
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

# The last column of the table: what has happened by then.
IMPORTED, STEPPED, TRAINED = "NumPy, TensorFlow and Keras are imported", "the first steps are done", "trained"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(HCR_OUTPUT_DIR=folder)
        command = [sys.executable, __file__, "--child"]
        smoke = [*command, f"{folder}/marks.json", "training=smoke"]
        subprocess.run(smoke, env=variables, check=True, capture_output=True)
        runs, walls = [], []
        for number in range(options.times):
            marks = Path(folder) / f"marks-{number}.json"
            begun = time.perf_counter()
            subprocess.run(
                [*command, marks, "new_run=true", *options.overrides], env=variables, check=True, capture_output=True
            )
            walls.append(time.perf_counter() - begun)
            runs.append(json.loads(marks.read_text()))
    before = (0.0, 0.0)
    print(f"n = {len(runs)}, medians; seconds since the start [since the line before; of all cores' time since then]\n")
    for name in runs[0]:
        at = median(run[name][0] for run in runs), median(run[name][1] for run in runs)
        print(f"{at[0]:6.2f}  [{at[0] - before[0]:5.2f}; {at[1] - before[1]:5.2f}]  {name}")
        before = at
    imports = [import_s(run) for run in runs]
    show("the first steps, without the import of NumPy, TensorFlow and Keras", [
        run[STEPPED][0] - s for run, s in zip(runs, imports, strict=True)
    ])  # fmt: skip
    show("that import", imports)
    show("the whole command", walls)


def import_s(run):
    names = list(run)
    return run[IMPORTED][0] - run[names[names.index(IMPORTED) - 1]][0]


def show(name, values):
    print(f"{name}: {median(values):.2f} s ({min(values):.2f} to {max(values):.2f}, n={len(values)})")


def child_main(output, argv):
    """`hcr train` in this process, which writes down when it had done what."""
    started_s = float(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    first = float(Path("/proc/uptime").read_text().split()[0]) - started_s - time.perf_counter()
    marks = {}

    def mark(name):
        marks.setdefault(name, (first + time.perf_counter(), time.process_time()))

    def watch(owner, attribute, name, before=None):
        function = getattr(owner, attribute)

        def call(*arguments, **keywords):
            if before is not None:
                mark(before)
            try:
                return function(*arguments, **keywords)
            finally:
                mark(name)

        setattr(owner, attribute, call)

    import hcr.cli
    import hcr.launch

    mark("hcr is imported")
    import_keras = hcr.launch.import_keras

    def import_and_watch():
        mark("the config is accepted")
        import_keras()
        mark(IMPORTED)
        import hcr.runner
        from hcr.training.steps import TrainingSteps

        mark("the runner is imported")
        watch(hcr.runner, "load_splits", "the data is loaded and split")
        watch(hcr.runner, "build", "the model is built")
        watch(hcr.runner.Recorder, "start", "recording has begun")
        watch(TrainingSteps, "_steps", "the step is traced")
        watch(TrainingSteps, "run", STEPPED)
        watch(hcr.runner.Recorder, "checkpoint", "the first epoch is saved", "the first epoch is validated")
        watch(hcr.runner, "fit", TRAINED)
        watch(hcr.runner.EndOfRun, "require", "packages for the end are imported")
        watch(hcr.runner, "score", "validation and test are scored")
        watch(hcr.runner.Recorder, "artifacts", "model, metrics and card are recorded")
        watch(hcr.runner, "record_pictures", "pictures are drawn")

    hcr.launch.import_keras = import_and_watch
    leave = os._exit

    def write_and_leave(code):
        mark("the command ends")
        Path(output).write_text(json.dumps(marks))
        leave(code)

    os._exit = write_and_leave
    code = hcr.cli.main(["train", *argv])
    write_and_leave(code)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child_main(sys.argv[2], sys.argv[3:])
    main()
