"""What a trial of a sweep costs: against a process of its own, as trials become many, on Ray, and with many workers.

    python experiments/sweep/throughput.py [--trials 20] [--many 1000] [--ray 20] [--simulated 1000] [--repeat 3]

Trials are one epoch on the bundled digits, five learning rates with as many seeds each, into a store that is there
already. Fresh processes run as many at a time as the sweep has workers, with one thread each like its trials. `--many`
are smaller trials: seconds of each hundred, and the memory of the controller. `--ray` trains the same trials on a Ray
that is up, beside local workers, warm. `--simulated` is a controller with so many workers that train nothing and report
an epoch a minute, of 1 MB. What is 0 is left out.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

ONE_EPOCH = ("training.epochs=1",)
LEARNING_RATES = (0.0005, 0.001, 0.002, 0.003, 0.004)
TRIVIAL = ("training.epochs=1", "training.steps_per_epoch=1", "model=mlp", "model.dense_units=[8]")
HUNDRED = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--ray", type=int, default=20)
    parser.add_argument("--simulated", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.trials:
            against_fresh(folder / "fresh", options)
        if options.ray:
            on_ray(folder / "ray", options)
        if options.many:
            many(folder / "many", options)
        if options.simulated:
            simulated(folder / "simulated", options)


def against_fresh(folder, options):
    """Fresh processes and a sweep of the same trials, one after the other, `repeat` times."""
    threads, ratios = "training.threads=1", []
    for i in range(options.repeat):
        for name in ("beside", "sweep"):
            hcr(folder / f"{name}{i}", *TRIVIAL)
        beside = fresh(folder / f"beside{i}", options.trials, options.workers, threads)
        whole = sweep(folder / f"sweep{i}", options.trials, options.workers, threads)
        itself = trials_took(folder / f"sweep{i}")
        ratios.append((beside / whole, beside / itself))
        print(
            f"{options.trials} trials: fresh {beside:.1f} s, a sweep {whole:.1f} s, its trials {itself:.1f} s",
            flush=True,
        )
    for what, column in (("the sweep", 0), ("its trials", 1)):
        told = sorted(row[column] for row in ratios)
        print(f"  {what}: {told[len(told) // 2]:.2f} times as fast (n = {len(told)}, {told[0]:.2f} to {told[-1]:.2f})")


def fresh(root, trials, at_a_time, threads):
    start = time.perf_counter()
    with ThreadPoolExecutor(at_a_time) as pool:
        jobs = [
            pool.submit(
                hcr, root, *ONE_EPOCH, threads, "score_test=false", f"optimizer.learning_rate={rate}", f"seed={seed}"
            )
            for rate in LEARNING_RATES
            for seed in range(trials // len(LEARNING_RATES))
        ]
        for job in jobs:
            job.result()
    return time.perf_counter() - start


def sweep(root, trials, workers, *more):
    start = time.perf_counter()
    rates = ",".join(map(str, LEARNING_RATES))
    points = (f"optimizer.learning_rate={rates}", f"seed=range(0,{trials // len(LEARNING_RATES)})")
    hcr(root, "-m", *ONE_EPOCH, *points, f"launcher.workers={workers}", *more)
    return time.perf_counter() - start


def trials_took(root, skip=0):
    """Seconds from the start of a sweep's first trial, some left out, to the end of its last."""
    begun = sorted(path.stat().st_mtime for path in root.glob("sweeps/*/trials/*/task.json"))
    return max(ends(root)) - begun[skip]


def ends(root):
    """When each run of a sweep ended, by its journal."""
    found = []
    for path in root.glob("runs/*/journal.jsonl"):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        over = [line["time_ms"] / 1000 for line in lines if line["event"] == "end"]
        if lines and lines[0].get("parent") and over:
            found.append(over[0])
    return sorted(found)


def on_ray(folder, options):
    """The same trials in local workers and on a Ray that is up; seconds a trial once its workers are warm."""
    import ray

    ray.init(num_cpus=options.workers, include_dashboard=False, log_to_driver=False)
    address = ray.get_runtime_context().gcs_address
    ratios = []
    try:
        for i in range(options.repeat):
            took = {}
            for name, more in (("local", ()), ("ray", ("launcher=ray", f"launcher.address={address}"))):
                root = folder / f"{name}{i}"
                hcr(root, *TRIVIAL)
                sweep(root, options.ray, options.workers, "training.threads=1", *more)
                took[name] = warm_s(root, options.workers)
            ratios.append(took["ray"] / took["local"])
            print(f"{options.ray} trials: {took['local']:.2f} s each locally, {took['ray']:.2f} s on Ray", flush=True)
    finally:
        ray.shutdown()
    told = sorted(ratios)
    print(f"  Ray: {told[len(told) // 2]:.2f} times a local trial (n = {len(told)}, {told[0]:.2f} to {told[-1]:.2f})")


def warm_s(root, workers):
    """Seconds a trial, those apart that each worker made first."""
    over = ends(root)[workers - 1 :]
    return (over[-1] - over[0]) / (len(over) - 1)


def many(root, options):
    process = start_hcr(root, "-m", *TRIVIAL, f"seed=range(0,{options.many})", f"launcher.workers={options.workers}")
    memory, stop = [], threading.Event()

    def watch():
        while not stop.wait(5):
            memory.append((time.time(), rss_mib(process.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    assert process.wait() == 0
    whole = time.perf_counter() - start
    stop.set()
    watcher.join()
    print(f"{options.many:,} trials of one step, {options.workers} at a time: {whole:.0f} s in all")
    over = ends(root)
    for first in range(0, len(over), HUNDRED):
        part = over[first : first + HUNDRED]
        before = over[first - 1] if first else part[0]
        held = mean(mib for at, mib in memory if before <= at <= part[-1])
        each = (part[-1] - before) / (len(part) - (not first))
        print(f"  {first + 1:5,d} to {first + len(part):5,d}: {each:.2f} s a trial; controller {held:.0f} MiB")


class Simulated:
    """Workers that train nothing: each of their runs reports an epoch a minute and leaves files of 1 MB.

    Args:
        slots: how many there are.
        epochs: of each run.
        minute_s: seconds of a minute.
    """

    def __init__(self, slots, epochs, minute_s):
        from collections import deque

        self.slots, self._epochs, self._minute_s = slots, epochs, minute_s
        self._due, self._late = deque(), []
        self._journals = {}

    def start(self, folder):
        from hcr.sweep.trial import read_task
        from hcr.tracking.journal import Journal

        task = read_task(folder)
        journal = Journal(Path(task.root), uri=task.uri, experiment=task.experiment, parent=task.parent)
        journal.begin(name=task.name, tags=task.tags, key=task.key)
        self._journals[folder] = journal
        offset = self._minute_s * len(self._journals) / self.slots if len(self._journals) < self.slots else 0
        self._due.append((time.monotonic() + offset + self._minute_s, folder, 1))

    def events(self, timeout_s):
        from hcr.sweep.workers import Ended, Epoch

        found, now = [], time.monotonic()
        for _ in range(len(self._due)):
            due, folder, epoch = self._due.popleft()
            if due > now:
                self._due.append((due, folder, epoch))
                continue
            self._late.append(now - due)
            journal, value = self._journals[folder], 1 / epoch
            (journal.folder / f"checkpoint{epoch % 2}").write_bytes(os.urandom(1_000_000))
            journal.metrics({"train/loss": value, "val/loss": value, "val/accuracy": 0.5}, step=epoch)
            found.append(Epoch(folder, epoch, value))
            if epoch < self._epochs:
                self._due.append((due + self._minute_s, folder, epoch + 1))
                continue
            journal.metrics({"best/val_loss": value, "best/val_accuracy": 0.5, "model/params": 1.0}, step=epoch)
            journal.end("FINISHED")
            journal.release()
            for path in journal.folder.glob("checkpoint*"):
                path.unlink()
            del self._journals[folder]
            found.append(Ended(folder, 0))
        if not found:
            time.sleep(min(timeout_s, 0.05))
        return found

    def answer(self, folder, *, go_on):
        pass

    def stop(self, folder, *, at_once=False):
        pass

    def close(self):
        pass

    def lateness(self):
        """How long after its time each epoch was heard of, in seconds, in order."""
        return self._late


def simulated(root, options, minute_s=60.0, epochs=4):
    """A controller with many workers: whether it keeps up, and its memory."""
    os.environ["HCR_OUTPUT_DIR"] = str(root)
    from hcr.gate.compose import Composer
    from hcr.sweep import sweep as story
    from hcr.sweep.command import plan_of
    from hcr.sweep.identity import Fingerprints

    workers = Simulated(options.simulated, epochs, minute_s)
    story.workers_of = lambda *_: workers
    words = ["training.epochs=4", f"seed=range(0,{2 * options.simulated})", "launcher.workers=1"]
    checked, fingerprints = Composer().check(words, multirun=True), Fingerprints()
    plan, samples = plan_of(checked, words, fingerprints)
    base, space = checked.configs[0], checked.space
    memory, stop = [], threading.Event()

    def watch():
        while not stop.wait(5):
            memory.append(rss_mib(os.getpid()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, cpu = time.perf_counter(), time.process_time()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            story.run_sweep(plan, space.sweep, space.launcher, base.tracking, samples, fingerprints)
    finally:
        stop.set()
        watcher.join()
    whole, late = time.perf_counter() - start, sorted(workers.lateness())
    print(f"{options.simulated:,} simulated workers, {2 * options.simulated:,} runs of {epochs} epochs: {whole:.0f} s")
    cpu = time.process_time() - cpu
    print(f"  of which {2 * epochs * minute_s:.0f} s are the epochs; the controller's CPU {cpu:.0f} s")
    print(f"  an epoch is heard of {late[len(late) // 2]:.2f} s late (median), {late[-1]:.1f} s at most")
    quarters = [memory[i * len(memory) // 4 : (i + 1) * len(memory) // 4] for i in range(4)]
    print("  memory by quarter: " + ", ".join(f"{mean(part):.0f} MiB" for part in quarters if part))


def start_hcr(root, *overrides):
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "hcr", "train", *overrides]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def hcr(root, *overrides):
    assert start_hcr(root, *overrides).wait() == 0


def rss_mib(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), float("nan"))


if __name__ == "__main__":
    main()
