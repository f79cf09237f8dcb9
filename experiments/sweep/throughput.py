"""What a trial of a sweep costs: against a process of its own, and as trials become many.

    python experiments/sweep/throughput.py [--trials 20] [--many 1000]

Trials are one epoch on the bundled digits, into a store that is there already. Fresh processes run one after another,
with as many threads as the sweep has workers, and as many at a time as it has workers, with one thread each like its
trials. Then `--many` smaller trials: seconds of each hundred, and the memory of controller and nursery.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

ONE_EPOCH = ("training.epochs=1",)
TRIVIAL = ("training.epochs=1", "training.steps_per_epoch=1", "model=mlp", "model.dense_units=[8]")
HUNDRED = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.trials:
            against_fresh(Path(folder), options)
        if options.many:
            many(Path(folder) / "many", options)


def against_fresh(folder, options):
    threads = "training.threads=1"
    for name in ("alone", "beside", "sweep"):
        hcr(folder / name, *TRIVIAL)
    alone = fresh(folder / "alone", options.trials, 1, f"training.threads={options.workers}")
    beside = fresh(folder / "beside", options.trials, options.workers, threads)
    start = time.perf_counter()
    hcr(
        folder / "sweep",
        "-m",
        *ONE_EPOCH,
        threads,
        f"seed=range(0,{options.trials})",
        f"sweep.workers={options.workers}",
    )
    forked = time.perf_counter() - start
    begun = min(path.stat().st_mtime for path in (folder / "sweep").glob("sweeps/*/trials/*/task.json"))
    ended = max(path.stat().st_mtime for path in (folder / "sweep").glob("sweeps/*/trials/*/result.json"))
    print(f"{options.trials} one-epoch trials")
    for name, took in (
        ("fresh processes, one after another", alone),
        (f"fresh processes, {options.workers} at a time", beside),
        (f"a sweep, {options.workers} workers", forked),
        ("  of it, its trials", ended - begun),
    ):
        hourly = 3600 * options.trials / took
        ratios = f"{took / forked:.1f} times the sweep's time, {took / (ended - begun):.1f} of its trials'"
        print(f"  {name:36s} {took:6.1f} s  {hourly:6,.0f} an hour  {ratios}")
    peaks = [result["peak_rss_mib"] for result in results(folder / "sweep")]
    second, last = peaks[1], peaks[-1]
    print(
        f"  peak memory: trial 2 {second:.0f} MiB, trial {len(peaks)} {last:.0f} MiB ({last / second - 1:+.1%})",
        flush=True,
    )


def fresh(root, trials, at_a_time, threads):
    start = time.perf_counter()
    with ThreadPoolExecutor(at_a_time) as pool:
        jobs = [
            pool.submit(hcr, root, *ONE_EPOCH, threads, "score_test=false", f"seed={seed}") for seed in range(trials)
        ]
        for job in jobs:
            job.result()
    return time.perf_counter() - start


def many(root, options):
    command = ("-m", *TRIVIAL, f"seed=range(0,{options.many})", f"sweep.workers={options.workers}")
    process = start_hcr(root, *command)
    start, done_at, memory = time.perf_counter(), [], []
    while process.poll() is None:
        done = len(list(root.glob("sweeps/*/trials/*/result.json")))
        while len(done_at) < done // HUNDRED:
            done_at.append(time.perf_counter() - start)
            memory.append((rss_mib(process.pid), rss_mib(nursery_of(process.pid))))
        time.sleep(0.5)
    whole = time.perf_counter() - start
    assert process.returncode == 0
    print(f"{options.many:,} trials of one step, {options.workers} at a time: {whole:.0f} s in all")
    before = 0.0
    for number, (at, (controller, nursery)) in enumerate(zip(done_at, memory, strict=True), start=1):
        each = (at - before) / HUNDRED
        memory_told = f"controller {controller:.0f} MiB, nursery {nursery:.0f} MiB"
        print(f"  to {number * HUNDRED:5,d}: {each:.2f} s a trial; {memory_told}")
        before = at
    peaks = [result["peak_rss_mib"] for result in results(root)]
    print(
        f"  peak memory of trials: first hundred {mean(peaks[:HUNDRED]):.0f} MiB, last {mean(peaks[-HUNDRED:]):.0f} MiB"
    )


def start_hcr(root, *overrides):
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "hcr", "train", *overrides]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def hcr(root, *overrides):
    assert start_hcr(root, *overrides).wait() == 0


def results(root):
    return [json.loads(path.read_text()) for path in sorted(root.glob("sweeps/*/trials/*/result.json"))]


def rss_mib(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), float("nan"))


def nursery_of(pid):
    return next(iter(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()), "0")


if __name__ == "__main__":
    main()
