"""Kill a run in the middle of an epoch, issue the same command again, and compare with a run that was left alone.

    python experiments/resume/kill.py [--kills 1] [--seed 0] [OVERRIDES ...]

Prints a hash of the final weights of both, and fails unless they are equal, every metric of every epoch is there
exactly once with the same value, and one run is in MLflow.
"""

import argparse
import hashlib
import io
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np

DEFAULT = ("training.epochs=12",)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="draws the moments")
    parser.add_argument(
        "--after", type=int, default=3, help="epochs that are waited for, each time; 0: the run's start"
    )
    parser.add_argument("--within", type=float, default=0.5, help="seconds after that")
    parser.add_argument("overrides", nargs="*", default=DEFAULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        control, killed = Path(folder) / "control", Path(folder) / "killed"
        print("hcr train", *options.overrides, flush=True)
        train(options.overrides, control)
        draw = random.Random(options.seed)
        for number in range(1, options.kills + 1):
            told = train(options.overrides, killed, options.after, draw.uniform(0, options.within))
            print(f"  SIGKILL {number} of {options.kills}: {told} epochs by then", flush=True)
        print(f"  {train(options.overrides, killed)} more epochs")
        hashes = [weights_hash(root) for root in (control, killed)]
        print(f"weights, left alone  {hashes[0]}\nweights, killed      {hashes[1]}")
        histories = [metrics(f"sqlite:///{root / 'mlflow.db'}") for root in (control, killed)]
        assert hashes[0] == hashes[1], "the weights differ"
        assert histories[0] == histories[1], "the metrics differ"
        whole = sum(name == "val/loss" for name, _ in histories[0])
        print(f"the same to the bit; {whole} epochs, each metric once, in one run of MLflow's")


def train(overrides, root, after=0, kill_after_s=None):
    """Run `hcr train` to its end, or kill it so long after so many epochs; how many epochs it printed."""
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "hcr", "train", *overrides], env=environment, stdout=subprocess.PIPE, text=True
    )
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()
    if kill_after_s is not None:
        while process.poll() is None and not (training(root, process.pid) and epochs(lines) >= after):
            time.sleep(0.01)
        time.sleep(kill_after_s)
        process.kill()
    process.wait()
    reader.join()
    if kill_after_s is None and process.returncode != 0:
        sys.exit(f"hcr train failed with {process.returncode}")
    return epochs(lines)


def epochs(lines):
    """How many epochs are among the printed lines."""
    return sum(line.startswith("epoch") for line in lines)


def training(root, pid):
    """Whether the process has opened the journal of a run: everything is imported, and training begins."""
    try:
        opened = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # it has just ended
        return False
    return any(name.startswith(str(root)) and name.endswith("journal.jsonl") for name in opened)


def weights_hash(root):
    """SHA-256 of every array of the model that the one run under `root` has logged."""
    (model,) = root.glob("runs/*/artifacts/model/data/model.keras")
    sha = hashlib.sha256()
    with zipfile.ZipFile(model) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:

        def add(name, item):
            if isinstance(item, h5py.Dataset):
                sha.update(name.encode() + np.asarray(item).tobytes())

        file.visititems(add)
    return sha.hexdigest()


def metrics(uri):
    """Every metric, by name and step, of the one run in the store at `uri`; but not how long things took."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
    assert run.info.status == "FINISHED", run.info.status
    assert "hcr.error" not in run.data.tags
    assert {entry.path for entry in client.list_artifacts(run.info.run_id)} >= {"plots", "predictions"}
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert str(model.status) == "READY", model.status
    found = {}
    for name in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, name):
            assert (name, metric.step) not in found, f"{name} twice at {metric.step}"
            found[name, metric.step] = None if name.startswith("time/") else metric.value
    return found


if __name__ == "__main__":
    main()
