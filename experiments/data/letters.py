"""How well letters are read, and how much a split that ignores their writers flatters.

    python experiments/data/letters.py [--seeds 3] [--epochs 10]

The letters of a word are by one writer: `split=grouped` keeps a word in one part, `split=stratified` does not. Both
draw a tenth for validation and a fifth for the test, which each run scores once, with the weights of its best epoch on
validation. Nothing is chosen on these scores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = {split: accuracies(Path(name) / split, split, options) for split in ("grouped", "stratified")}
    for split, (test, val) in found.items():
        print(f"split={split}: test accuracy {shown(test)}, validation {shown(val)} (n = {len(test)} seeds)")
    difference = [other - own for own, other in zip(found["grouped"][0], found["stratified"][0], strict=True)]
    print(f"the split that ignores words is higher by {shown(difference)} on test")


def accuracies(root, split, options):
    """Accuracy on test and on validation of each seed."""
    seeds = ",".join(map(str, range(options.seeds)))
    words = [
        "dataset=letters",
        f"split={split}",
        f"training.epochs={options.epochs}",
        f"seed={seeds}",
        "score_test=true",
    ]
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "hcr", "train", "-m", *words]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    found = []
    for journal in root.glob("runs/*/journal.jsonl"):
        events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        values = {name: value for event in events for name, value in event.get("values", {}).items()}
        if "test/accuracy" in values:
            found.append((int(values["seed"]), values["test/accuracy"], values["best/val_accuracy"]))
    assert sorted(seed for seed, *_ in found) == list(range(options.seeds))
    return [test for _, test, _ in sorted(found)], [val for *_, val in sorted(found)]


def shown(values):
    spread = f", sd {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f} ({min(values):.4f} to {max(values):.4f}{spread})"


if __name__ == "__main__":
    main()
