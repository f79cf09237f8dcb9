"""How cost grows: with images, with parameters, and with the number of runs in the store.

    python experiments/speed/scaling.py --mnist ../shared/data/mnist-original.mat

Every row is a process of its own: one epoch of a real run, or, for the store, a whole smoke run on digits.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from programs import run
from scipy.io import loadmat

LIMITS = (1_400, 7_000, 28_000, 70_000)  # of which 54/70 are trained on
REPEATED = 10
FILTERS = (4, 8, 16, 32, 64)
STORED = (1, 100, 500)
EXAMPLE = ("experiment=keras_example", "training.epochs=1")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist-original.mat")
    mnist = parser.parse_args().mnist.resolve()
    print(f"{'training images':>20s} {'s/epoch':>8s} {'images/s':>9s} {'peak MiB':>9s}")
    with tempfile.TemporaryDirectory() as folder:
        for limit in LIMITS:
            row(one_epoch(*EXAMPLE, f"dataset.path={mnist}", f"dataset.limit={limit}"), "images")
        repeated = Path(folder) / "repeated.npz"
        write_repeated(mnist, repeated)
        row(one_epoch(*EXAMPLE, f"dataset.path={repeated}"), "images")
    print(f"\n{'parameters':>20s} {'s/epoch':>8s} {'images/s':>9s} {'peak MiB':>9s}   model=cnn on 9,257 images")
    for filters in FILTERS:
        small = ("dataset=mnist", "model=cnn", "training.epochs=2", "dataset.limit=12000", f"dataset.path={mnist}")
        row(one_epoch(*small, f"model.filters={filters}"), "params")
    print(f"\n{'runs in the store':>20s} {'s in all':>8s}   hcr train training=smoke, median of 3")
    with tempfile.TemporaryDirectory() as folder:
        have = 0
        for count in STORED:
            fill_store(Path(folder), count - have)
            command = [sys.executable, "-m", "hcr", "train", "training=smoke", "new_run=true"]
            walls = [run(command, {"HCR_OUTPUT_DIR": folder})[0] for _ in range(3)]
            have = count + 3
            print(f"{count:20,d} {median(walls):8.2f}", flush=True)


def one_epoch(*overrides):
    """The figures of a run's last epoch."""
    with tempfile.TemporaryDirectory() as folder:
        _, rss_mib = run([sys.executable, "-m", "hcr", "train", *overrides], {"HCR_OUTPUT_DIR": folder})
        (journal,) = Path(folder).glob("runs/*/journal.jsonl")
        events = [json.loads(line) for line in journal.read_text().splitlines()]
    (begun,) = [event["tags"] for event in events if event["event"] == "run"]
    images = json.loads(begun["hcr.images"])["train"]
    values = [event["values"] for event in events if event["event"] == "metrics"]
    (params,) = [v["model/params"] for v in values if "model/params" in v]
    epoch_s = [v["time/epoch_s"] for v in values if "time/epoch_s" in v][-1]
    return {"images": images, "params": params, "epoch_s": epoch_s, "rss_mib": rss_mib}


def row(found, what):
    speed = found["images"] / found["epoch_s"]
    print(f"{found[what]:20,.0f} {found['epoch_s']:8.2f} {speed:9,.0f} {found['rss_mib']:9,.0f}", flush=True)


def write_repeated(mnist, path):
    """MNIST with its training images ten times over, in Keras' layout."""
    file = loadmat(mnist)
    images, labels = file["data"].T.reshape(-1, 28, 28), file["label"][0].astype(np.uint8)
    np.savez(
        path,
        x_train=np.tile(images[:60_000], (REPEATED, 1, 1)),
        y_train=np.tile(labels[:60_000], REPEATED),
        x_test=images[60_000:],
        y_test=labels[60_000:],
    )


def fill_store(root, count):
    """`count` more finished runs of 15 epochs, journalled and delivered as real ones are."""
    from hcr.tracking.journal import Journal
    from hcr.tracking.replay import Replay

    os.environ["HCR_OUTPUT_DIR"] = str(root)
    for number in range(count):
        with Journal(root, uri=f"sqlite:///{root / 'mlflow.db'}", experiment="hcr") as journal:
            journal.begin(name=f"run {number}", tags={})
            journal.params({f"param{i}": str(i) for i in range(40)})
            for epoch in range(1, 16):
                journal.metrics({f"metric{i}": 1 / epoch for i in range(7)}, step=epoch)
        Replay(journal.folder).upload()
        journal.release()


if __name__ == "__main__":
    main()
