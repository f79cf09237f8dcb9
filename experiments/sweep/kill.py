"""What a sweep loses when its controller is killed, again and again: nothing.

    python experiments/sweep/kill.py grid|search [--kills 20] [--launcher local] [--seed 0]

A sweep of 12 runs is made once undisturbed. Then the same command is issued in another folder, killed by SIGKILL at a
random moment, and issued again, until it has been killed so many times; the last time it is left to end. Printed is
whether there is one parent, whether a run was made twice, and whether the leaderboard (times apart) and each run's
metrics are those of the undisturbed sweep.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMON = ("training=smoke", "training.epochs=4", "training.patience=null", "model.filters=8", "training.threads=1")
COMMANDS = {
    "grid": ("model.depth=1,2", "model.kernel_size=3,5", "seed=0,1,2", *COMMON),
    "search": (
        "optimizer.learning_rate=tag(log,interval(0.0001,0.1))",
        "model.kernel_size=3,5",
        "sweep.sampler=tpe",
        "sweep.n_trials=12",
        "sweep.pruner=median",
        "sweep.pruner_startup=3",
        "launcher.workers=1",
        *COMMON,
    ),
}
NOT_TOLD_TWICE = ("time/", "sweep/")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--launcher", default="local")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        whole, killed = Path(name) / "whole", Path(name) / "killed"
        start = time.monotonic()
        assert begin(whole, COMMANDS[options.what]).wait() == 0
        took = time.monotonic() - start
        print(f"undisturbed: {took:.0f} s", flush=True)
        command = (*COMMANDS[options.what], f"launcher={options.launcher}")
        for i in range(options.kills):
            process = begin(killed, command)
            after = chance.uniform(0.5, max(3.0, 1.3 * took / (1 + options.kills / 8)))
            try:
                code = process.wait(after)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                code = None
            state = "killed" if code is None else f"ended with {code}"
            print(f"  {i + 1}: {state} after {after:.1f} s; {len(finished(killed))} runs have finished", flush=True)
        assert begin(killed, command).wait() == 0
        compare(whole, killed)


def begin(root, command):
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    words = [sys.executable, "-m", "hcr", "train", "-m", *command]
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)


def events_of(root):
    """The events of each run under `root`, by key."""
    found = {}
    for path in root.glob("runs/*/journal.jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith(b"\n")]
        if events:
            found[path.parent.name] = events
    return found


def finished(root):
    return [e for e in events_of(root).values() if e[-1].get("status") == "FINISHED" and e[0]["parent"]]


def metrics_of(root):
    """Each run's metrics by its number in the sweep, and how often any of them was told twice."""
    by_number, twice = {}, 0
    for events in events_of(root).values():
        number = events[0]["tags"].get("hcr.sweep_run")
        if number is None:
            continue
        told = {}
        for event in events:
            if event["event"] != "metrics":
                continue
            for name, value in event["values"].items():
                if not name.startswith(NOT_TOLD_TWICE):
                    twice += (name, event["step"]) in told
                    told[name, event["step"]] = value
        twice += number in by_number
        by_number[number] = told
    return by_number, twice


def leaderboard(root):
    (path,) = root.glob("runs/*/artifacts/leaderboard.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "train_s"} for row in csv.DictReader(file)]


def compare(whole, killed):
    parents = [events for events in events_of(killed).values() if events[0]["parent"] is None]
    (before, _), (after, twice) = metrics_of(whole), metrics_of(killed)
    print(f"parents: {len(parents)}; runs: {len(after)} (undisturbed {len(before)})")
    print(f"metrics told twice, or runs made twice: {twice}")
    same = sum(before[number] == after.get(number) for number in before)
    print(f"runs whose metrics are those of the undisturbed sweep, to the bit: {same} of {len(before)}")
    print(f"the leaderboard is the same: {leaderboard(whole) == leaderboard(killed)}")


if __name__ == "__main__":
    main()
