"""How many photos a finished run's model reads, by kind.

    python experiments/photos/score.py RUN FOLDER

FOLDER is what render.py wrote. Intervals are Wilson's, of 95 %.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from hcr.evaluation.statistics import proportion_interval


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    right = read(options.run, options.folder)
    for kind, answers in right.items():
        print(line(kind, answers))
    print(line("all", [answer for answers in right.values() for answer in answers]))


def read(run, folder):
    """Whether each photo was read right, by kind."""
    command = [sys.executable, "-m", "hcr", "predict", run, str(folder), "--csv"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = {}
    for row in csv.DictReader(done.stdout.splitlines()):
        path = Path(row["file"])
        found.setdefault(path.parent.name, []).append(row["label"] == path.name.partition("-")[0])
    return found


def line(kind, answers):
    low, high = proportion_interval(sum(answers), len(answers))
    return f"{kind:10} {sum(answers) / len(answers):.4f} ({low:.4f} to {high:.4f}, n = {len(answers)})"


if __name__ == "__main__":
    main()
