"""Anonymous memory and time of an epoch, of a small and of a large data set of the same images.

    python experiments/data/memory.py --mnist ../shared/data/mnist-original.mat [--repeat 3] [OVERRIDES ...]

Both sets are copies of MNIST's training images, each shifted at random by up to 2 pixels either way, with MNIST's own
test images beside them, in Keras' layout (.npz). `hcr train` trains on each for two epochs, one process after the
other, `--repeat` times. RssAnon of the process is read ten times a second; the journal tells when the epochs were, and
how long they took. `--dataset` names the config of the data set, which must read this layout (mnist, npz).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, stdev

import numpy as np
from scipy.io import loadmat

EVERY_S = 0.1
SHIFT = 2  # pixels
STRIDE = 7_919  # a prime: the file is sorted by label, and a few images must have every label
EPOCHS = 2  # the first one also traces; times are those of the last
SMALL_MODEL = ("model=mlp", "model.dense_units=[32]")
MOST_MIB = 400  # how much more the large set may take
COLUMNS = ("images", "before", "training", "after", "peak file", "s/epoch", "images/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist-original.mat")
    parser.add_argument("--sizes", type=int, nargs=2, default=(60_000, 1_000_000), metavar=("SMALL", "LARGE"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dataset", default="mnist", help="its config: mnist, npz")
    parser.add_argument("--folder", type=Path, help="where the files are written (default: the system's, 0.8 GB)")
    parser.add_argument("overrides", nargs="*", default=SMALL_MODEL)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        paths = {size: Path(name) / f"shifted-{size}.npz" for size in options.sizes}
        for size, path in paths.items():
            write_shifted(options.mnist, path, size)
        print("MiB of anonymous memory, at most: before, in and after training; MiB of mapped files")
        print("".join(f"{column:>12s}" for column in COLUMNS), flush=True)
        rounds = []
        for number in range(options.repeat):
            rounds.append({})
            for size, path in paths.items():
                root = Path(name) / f"output-{size}-{number}"
                words = (f"dataset={options.dataset}", f"dataset.path={path}", *options.overrides)
                rounds[-1][size] = found = train(root, words)
                print_row(size, found)
        print_answer(rounds, *options.sizes)


def write_shifted(mnist, path, size):
    """An archive of `size` shifted copies of MNIST's training images, and of its test images as they are."""
    file = loadmat(mnist)
    images, labels = file["data"].T.reshape(-1, 28, 28), file["label"][0].astype(np.uint8)
    padded = np.pad(images[:60_000], [(0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (28, 28), axis=(1, 2))
    random = np.random.default_rng(size)
    chosen = random.permutation(np.arange(size) * STRIDE % 60_000)
    down, across = random.integers(0, 2 * SHIFT + 1, (2, size))
    x_train = np.empty((size, 28, 28), np.uint8)
    for start in range(0, size, 10_000):
        part = slice(start, start + 10_000)
        x_train[part] = windows[chosen[part], down[part], across[part]]
    np.savez(path, x_train=x_train, y_train=labels[chosen], x_test=images[60_000:], y_test=labels[60_000:])


def train(root, words):
    """Memory and times of one `hcr train` in a process of its own, which must succeed."""
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "hcr", "train", *words, f"training.epochs={EPOCHS}", "training.patience=null"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        samples = []
        while process.poll() is None:
            samples.append((time.time(), *resident_mib(process.pid)))
            time.sleep(EVERY_S)
        if process.returncode != 0:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{said.read().decode(errors='replace')}")
    (journal,) = root.glob("runs/*/journal.jsonl")
    return {**epochs_of(journal), "samples": samples}


def epochs_of(journal):
    """When training began and ended, in seconds since 1970, and seconds and images per second of the last epoch."""
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    epochs = [event for event in events if event["event"] == "metrics" and "time/epoch_s" in event["values"]]
    first, last = epochs[0], epochs[-1]
    return {
        "begun_s": first["time_ms"] / 1000 - first["values"]["time/epoch_s"],
        "ended_s": last["time_ms"] / 1000,
        "epoch_s": last["values"]["time/epoch_s"],
        "images_per_s": last["values"]["time/images_per_s"],
    }


def resident_mib(pid):
    """Anonymous memory of a process, and memory of files that it has mapped; NaN if it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    return tuple(kib.get(name, float("nan")) / 1024 for name in ("RssAnon", "RssFile"))


def peaks(found):
    """The largest anonymous memory before, in and after training, and the largest memory of mapped files."""
    begun_s, ended_s = found["begun_s"], found["ended_s"]
    parts = {"before": (0, begun_s), "training": (begun_s, ended_s), "after": (ended_s, float("inf"))}
    most = {
        part: max((anon for at_s, anon, _ in found["samples"] if low <= at_s < high and anon == anon), default=0.0)
        for part, (low, high) in parts.items()
    }
    return most | {"file": max((file for _, _, file in found["samples"] if file == file), default=0.0)}


def print_row(size, found):
    most = peaks(found)
    memory = "".join(f"{most[part]:12,.0f}" for part in ("before", "training", "after", "file"))
    print(f"{size:12,d}{memory}{found['epoch_s']:12.2f}{found['images_per_s']:12,.0f}", flush=True)


def print_answer(rounds, small, large):
    """How much more memory the large set took, and the time of an epoch per image against the small set's."""
    more = [peaks(round_[large])["training"] - peaks(round_[small])["training"] for round_ in rounds]
    ratios = [(round_[large]["epoch_s"] / large) / (round_[small]["epoch_s"] / small) for round_ in rounds]
    verdict = "met" if max(more) <= MOST_MIB else "missed"
    print(f"\n{large:,} images against {small:,}, pair by pair (n = {len(rounds)})")
    print(f"  anonymous memory in training: {spread(more, 0)} MiB more; at most {MOST_MIB} were aimed at: {verdict}")
    print(f"  time of an epoch per image: {spread(ratios, 2)} times as long")


def spread(values, digits):
    """Median, standard deviation and range."""
    low, high = min(values), max(values)
    deviation = f", sd {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{median(values):.{digits}f}{deviation} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
