"""Sweeps as users run them: real processes, killed by real signals, one tree in a real store at the end."""

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import UNDRAWN, Hcr, Process
from scipy.stats import t

from hcr.config.training import has_bfloat16
from hcr.tracking.events import first_event, last_event, read_events
from hcr.tracking.store import open_store

pytestmark = pytest.mark.slow

SMALL = ("training=smoke", "model.filters=4", "model.dense_units=[]")


class Sweep:
    """What a sweep left under `folder`: its tree in MLflow, its table, the journals."""

    def __init__(self, folder: Path, uri: str | None = None) -> None:
        self.root = folder / "output"
        self.client = open_store(uri or f"sqlite:///{self.root / 'mlflow.db'}")
        experiment = self.client.get_experiment_by_name("hcr")
        runs = self.client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
        self.parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        self.children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]

    @property
    def parent(self) -> Any:
        (parent,) = self.parents
        return parent

    def statuses(self) -> list[str]:
        return sorted(run.info.status for run in self.children)

    def table(self) -> list[dict[str, str]]:
        """The leaderboard, without how long it took."""
        path = self.root / "runs" / self.parent.data.tags["hcr.key"] / "artifacts" / "leaderboard.csv"
        with path.open(newline="") as file:
            return [{k: v for k, v in row.items() if k != "train_s"} for row in csv.DictReader(file)]

    def artifacts(self) -> set[str]:
        return {entry.path for entry in self.client.list_artifacts(self.parent.info.run_id)}


def journals(folder: Path) -> list[Path]:
    """The journals of all runs of the sweep in `folder`."""
    return list(folder.glob("output/runs/*/journal.jsonl"))


def output_in(folder: Path) -> dict[str, str]:
    """The environment of a command whose runs are kept in `folder`."""
    return {"HCR_OUTPUT_DIR": str(folder / "output")}


def wait_until(what: Callable[[], bool], timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def processes_of(folder: Path) -> list[int]:
    """The processes of the sweep in `folder`: those whose current folder it is."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            current = (path / "cwd").readlink()
            is_alive = (path / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            continue
        if current == folder and is_alive:
            found.append(int(path.name))
    return found


def point_of(run: Any) -> str:
    """The label of a run's point, by its tags."""
    return (
        f"model.depth={run.data.tags['sweep.model.depth']} model.kernel_size={run.data.tags['sweep.model.kernel_size']}"
    )


def test_a_sweep_whose_controller_is_killed_goes_on_and_ends_as_if_nothing_had_been(
    hcr: Hcr, undrawn: Hcr, start_hcr: Callable[..., Process], tmp_path: Path
) -> None:
    command = ("-m", "model.depth=1,2", "model.kernel_size=3,5", "seed=0,1", *SMALL)
    whole = tmp_path / "whole"
    whole.mkdir()
    done = undrawn("train", *command, cwd=whole, env=output_in(whole))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 reused, 0 resumed, 8 to run\n")

    killed = tmp_path / "killed"
    killed.mkdir()
    environment = {**os.environ, **output_in(killed)}
    controller = start_hcr("train", *command, cwd=killed, env=environment, start_new_session=True)

    def fourth_runs() -> bool:
        numbers = [first_event(path.parent).get("tags", {}).get("hcr.sweep_run") for path in journals(killed)]
        return "4" in numbers

    wait_until(fourth_runs)
    assert len(processes_of(killed)) >= 3  # the controller, the one that forks trials, and a trial
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    wait_until(lambda: processes_of(killed) == [], 20)  # what it had started dies with it
    finished = sum(last_event(path.parent).get("status") == "FINISHED" for path in journals(killed))
    assert 2 <= finished < 8
    told = {path: path.read_bytes() for path in journals(killed)}
    again = hcr("train", *command, cwd=killed, env=output_in(killed))
    assert again.returncode == 0, again.stderr
    reused, resumed, to_run = (int(word) for word in again.stdout.split("\n")[0].split() if word.isdecimal())
    assert (reused + resumed + to_run, reused >= finished, resumed >= 1) == (8, True, True)

    one, other = Sweep(whole), Sweep(killed)
    assert other.statuses() == ["FINISHED"] * 8
    assert other.parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in other.children} == {other.parent.info.run_id}
    assert sorted(int(run.data.tags["hcr.sweep_run"]) for run in other.children) == list(range(1, 9))
    whole_before = 0
    # Each of them, the last too, can be made again by the line that it keeps.
    given = [yaml.safe_load(path.read_text()) for path in killed.glob("output/runs/*/artifacts/config/overrides.yaml")]
    assert len(given) == 8
    assert all(words[: len(SMALL)] == list(SMALL) for words in given)
    assert other.parent.info.run_name == " ".join(command[1:4])
    assert other.parent.data.metrics["sweep/finished"] == 8
    assert "model.depth=" in other.parent.data.tags["mlflow.note.content"]
    for path, before in told.items():  # none executed twice: what had finished only hears what its point came to
        assert path.read_bytes().startswith(before)
        events = [event for event, _ in read_events(path.parent)]
        if b'"FINISHED"' in before:
            whole_before += 1
            new = [event for event, offset in read_events(path.parent) if offset > len(before)]
            # Its point's mean; and the best point's runs get their pictures.
            told = ["metrics", "end", *["artifact"] * (len(new) - 3), "end"] if len(new) > 2 else ["metrics", "end"]
            assert [event["event"] for event in new] == told
            assert set(new[0]["values"]) == {"sweep/mean_val_accuracy", "sweep/mean_val_loss"}
            assert all(event["path"].startswith("plots/") for event in new if event["event"] == "artifact")
        assert [event["event"] for event in events].count("run") == 1
    assert whole_before >= finished
    assert len(list(killed.glob("output/runs/*"))) == 9
    assert other.table() == one.table()
    assert {"leaderboard.csv", "runs.csv", "plan.json", "verdict.txt", "plots"} <= other.artifacts()

    # Sorting MLflow's table by the point's mean gives the printed order.
    by_mean = sorted(other.children, key=lambda run: run.data.metrics["sweep/mean_val_loss"])
    order = [row["point"] for row in other.table() for _ in range(2)]
    assert [point_of(run) for run in by_mean] == order
    best = other.client.get_run(other.parent.data.tags["hcr.best_run_id"])
    assert point_of(best) == order[0]
    assert best.data.tags["sweep.model.depth"] == best.data.params["model.depth"]

    # A run of a sweep is, to the bit, the same run alone at the same threads.
    alone = tmp_path / "alone"
    alone.mkdir()
    done = undrawn(
        "train", "model.depth=2", "model.kernel_size=5", "seed=1", "training.threads=1", *SMALL,
        cwd=alone, env=output_in(alone),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (single,) = Sweep(alone).parents
    (child,) = [run for run in one.children if run.data.tags["mlflow.runName"] == "depth=2 kernel_size=5 seed=1"]
    for name in ("val/loss", "val/accuracy", "train/loss", "best/val_loss"):
        assert child.data.metrics[name] == single.data.metrics[name]

    # Everything is there: the same command says so. A grid that grows makes what is new alone.
    done = undrawn("train", *command, cwd=whole, env=output_in(whole))
    assert done.stdout.startswith("8 reused, 0 resumed, 0 to run\n")
    grown = undrawn(
        "train", "-m", "model.depth=1,2", "model.kernel_size=3,5,2", "seed=1", *SMALL,
        cwd=whole, env=output_in(whole),
    )  # fmt: skip
    assert grown.returncode == 0, grown.stderr
    assert grown.stdout.startswith("4 reused, 0 resumed, 2 to run\n")
    assert len(Sweep(whole).children) == 10
    # The views of the grown sweep show its reused runs too, those of the first its own alone.
    client = open_store(f"sqlite:///{whole / 'output' / 'mlflow.db'}")
    parents = client.search_runs(["1"], "tags.`hcr.kind` = 'sweep'", order_by=["attributes.start_time ASC"])
    queries = [f"tags.`hcr.in_sweep.{parent.data.tags['hcr.key']}` LIKE '%'" for parent in parents]
    assert [len(client.search_runs(["1"], query)) for query in queries] == [8, 6]


FAULTY = """
import os, signal, time
from pathlib import Path

from hcr.model.optimizers import Optimizer


class Faulty(Optimizer):
    fault: str

    def build(self, learning_rate):
        import keras

        fault = self.fault

        class Breaking(keras.optimizers.SGD):
            def apply(self, *arguments, **keywords):  # while the step is traced, so not when models are checked
                nonlocal fault
                mark = Path(os.environ["HCR_OUTPUT_DIR"]) / "killed-once"
                if fault == "hang":
                    time.sleep(300)
                if fault == "raise":
                    raise ValueError("a fault of somebody else's")
                if fault == "exit":
                    os._exit(3)
                if fault == "once" and not mark.exists():
                    mark.touch()
                    fault = "kill"
                if fault == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().apply(*arguments, **keywords)

        return Breaking(learning_rate)
"""


@pytest.fixture
def faulty(tmp_path: Path) -> dict[str, Any]:
    """What `hcr` needs so that `optimizer=faulty` is there: an installed package, and a YAML."""
    library = tmp_path / "library"
    info = library / "their_faults-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-faults\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hcr.optimizers]\nfaulty = their_faults:Faulty\n")
    (library / "their_faults.py").write_text(textwrap.dedent(FAULTY))
    optimizer = tmp_path / "conf" / "optimizer"
    optimizer.mkdir(parents=True)
    (optimizer / "faulty.yaml").write_text("name: faulty\nlearning_rate: 0.01\nfault: none\n")
    code = f"{UNDRAWN}\nimport sys\nsys.path.insert(0, {str(library)!r})\n"
    return {"code": code, "env": {"HCR_CONF_DIR": str(tmp_path / "conf")}}


def test_a_trial_that_raises_exits_or_is_killed_costs_itself_alone(
    hcr: Hcr, tmp_path: Path, faulty: dict[str, Any]
) -> None:
    command = ("train", "-m", "optimizer=faulty", "optimizer.fault=none,raise,exit,kill,once", *SMALL)
    done = hcr(*command, **faulty)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    failed = [line for line in done.stderr.splitlines() if line.startswith("hcr: run ")]
    assert len(failed) == 3
    for line, told in zip(
        sorted(failed),
        ("2/5 failed: ValueError: a fault of somebody", "3/5 failed: its process ended with exit code 3",
         "4/5 failed: its process was killed by signal 9"),
        strict=True,
    ):  # fmt: skip
        assert told in line
    assert "run 4 was killed by signal 9; retrying it" in done.stdout
    assert "run 5 was killed by signal 9; retrying it" in done.stdout
    assert "3 of 5 runs failed" in done.stdout
    made = Sweep(tmp_path)
    by_name = {run.data.tags["mlflow.runName"].rpartition("=")[2]: run for run in made.children}
    assert {name: run.info.status for name, run in by_name.items()} == {
        "none": "FINISHED",
        "raise": "FAILED",
        "exit": "FAILED",
        "kill": "FAILED",
        "once": "FINISHED",
    }
    assert len(made.children) == 5
    assert made.parent.info.status == "FAILED"
    (error,) = tmp_path.glob("output/sweeps/*/trials/0002/error.txt")
    assert "Traceback" in error.read_text() and "a fault of somebody else's" in error.read_text()

    # They are left alone, unless one asks; what they are is not compared as if nothing were missing.
    again = hcr(*command, **faulty)
    assert again.returncode == 1
    assert again.stdout.startswith("2 reused, 0 resumed, 0 to run, 3 failed before")
    assert "Incomplete: the statistics are withheld, 3 runs of 3 points are missing." in again.stdout
    # Asking for a retry that then does not begin changes nothing.
    assert "3 runs are left" in hcr(*command, "sweep.retry_failed=true", "sweep.max_time=0.001s", **faulty).stdout
    assert "3 failed before" in hcr(*command, **faulty).stdout.splitlines()[0]
    retried = hcr(*command, "sweep.retry_failed=true", **faulty)
    assert retried.stdout.startswith("2 reused, 3 resumed, 0 to run\n")
    assert len(Sweep(tmp_path).children) == 5


def test_a_trial_that_takes_too_long_is_ended(hcr: Hcr, tmp_path: Path, faulty: dict[str, Any]) -> None:
    done = hcr("train", "-m", "optimizer=faulty", "optimizer.fault=hang", *SMALL, "sweep.trial_timeout=2s", **faulty)
    assert done.returncode == 1
    assert "hcr: run 1/1 failed: took longer than sweep.trial_timeout=2s" in done.stderr
    made = Sweep(tmp_path)
    assert made.statuses() == ["KILLED"]
    assert made.parent.info.status == "FAILED"


def test_a_search_prunes_and_says_so_and_goes_on_where_it_was(undrawn: Hcr, tmp_path: Path) -> None:
    command = (
        "train", "-m", "optimizer.learning_rate=tag(log,interval(0.00001,0.03))", "model.filters=4",
        "training.epochs=6", "model.dense_units=[]", "sweep.sampler=tpe", "sweep.pruner=median",
        "sweep.pruner_startup=2",
    )  # fmt: skip
    done = undrawn(*command, "sweep.n_trials=4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 reused, 0 resumed, 4 to try\n")
    done = undrawn(*command, "sweep.n_trials=9")
    assert done.returncode == 0, done.stderr
    made = Sweep(tmp_path)
    assert made.parent.info.status == "FINISHED"
    assert len(made.children) == 9
    pruned = [run for run in made.children if "hcr.pruned" in run.data.tags]
    assert pruned, done.stdout
    assert {run.info.status for run in pruned} == {"KILLED"}
    for run in pruned:
        history = made.client.get_metric_history(run.info.run_id, "val/loss")
        assert run.data.tags["hcr.pruned"] == f"after epoch {len(history)} of 6"
        assert len(history) < 6
    assert done.stdout.count("pruned after epoch") >= 1
    first = next(run for run in made.children if run.data.tags["hcr.sweep_run"] == "1")
    assert first.data.params["optimizer.learning_rate"] == "0.003"  # the base config is the first


def test_a_point_that_a_search_asks_for_and_that_cannot_be_is_told_and_is_none(
    undrawn: Hcr, tmp_path: Path, mnist_dir: Path
) -> None:
    # Strides of 2 and three blocks are too much for 28x28 images; each by itself is not.
    command = ("train", "-m", "model.depth=range(1,5)", "model.strides=1,2", "dataset=mnist", "dataset.limit=600")
    command += (f"dataset.path={mnist_dir}/mnist-original.mat", *SMALL)
    command += ("sweep.sampler=random", "sweep.n_trials=8")
    done = undrawn(*command)
    assert done.returncode == 0, done.stderr
    assert "is invalid: model.depth: block" in done.stdout
    made = Sweep(tmp_path)
    assert made.parent.info.status == "FINISHED"
    assert len(made.children) < 8
    again = undrawn(*command)
    assert again.returncode == 0, again.stderr
    assert "0 resumed, 0 to try" in again.stdout.splitlines()[0]
    more = undrawn(*command[:-1], "sweep.n_trials=9")
    assert more.returncode == 0, more.stderr
    assert "0 resumed, 1 to try" in more.stdout.splitlines()[0]


def test_a_plan_is_shown_and_refused_before_anything_runs(hcr: Hcr, tmp_path: Path) -> None:
    grid = ("train", "-m", "model.depth=1,2", "seed=0,1", *SMALL)
    done = hcr(*grid, "check_only=true", env={"COLUMNS": "100"})
    assert done.returncode == 0, done.stderr
    for told in ("model.depth", "1, 2", "2 points × 2 seeds = 4 runs: 0 reused, 0 resumed, 4 to run", "until", "MB"):
        assert told in done.stdout
    assert not (tmp_path / "output" / "runs").exists()
    assert not (tmp_path / "output" / "sweeps").exists()
    for overrides, told in (
        (["launcher.workers=99"], "hcr: launcher.workers: expected at most"),
        (["model.depth=1,9"], "hcr: model.depth: given twice with several values"),
    ):
        done = hcr(*grid, *overrides)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith(told)
    assert not (tmp_path / "output" / "runs").exists()


def test_what_a_cpu_lacks_is_told_once_and_every_trial_does_without_it(undrawn: Hcr, tmp_path: Path) -> None:
    done = undrawn("train", "-m", *SMALL, "training.precision=bfloat16", "seed=0,1")
    assert (done.returncode, done.stderr.count("training in float32")) == (0, 0 if has_bfloat16() else 1)
    precision = "bfloat16" if has_bfloat16() else "float32"
    assert [run.data.params["training.precision"] for run in Sweep(tmp_path).children] == [precision] * 2


def test_code_that_changed_stops_a_resume_and_is_named(undrawn: Hcr, tmp_path: Path) -> None:
    grid = ("train", "-m", "seed=0,1,2", *SMALL)
    done = undrawn(*grid, "launcher.workers=1", "sweep.max_time=0.001s")
    assert done.returncode == 0, done.stderr
    assert "3 runs are left; the same command resumes the sweep" in done.stdout
    (path,) = tmp_path.glob("output/sweeps/*/plan.json")
    plan = json.loads(path.read_text())
    plan["code"] |= {"hcr/model/muon.py": "0" * 64, "keras": "3.0.0"}
    path.write_text(json.dumps(plan))
    done = undrawn(*grid)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the code changed since this sweep started: hcr/model/muon.py, keras;" in done.stderr
    asked = undrawn(*grid, "check_only=true")
    assert (asked.returncode, asked.stderr) == (1, done.stderr)
    done = undrawn(*grid, "sweep.allow_code_change=true")
    assert done.returncode == 0, done.stderr
    assert "Mixed code: " in done.stdout
    made = Sweep(tmp_path)
    assert made.statuses() == ["FINISHED"] * 3
    assert made.parent.data.tags["hcr.mixed_code"] == "true"
    # The plan stays that of the code that made it as long as nothing is made by another.
    plan = json.loads(path.read_text())
    plan["code"] |= {"keras": "3.0.1"}
    path.write_text(json.dumps(plan))
    assert undrawn(*grid).returncode == 0
    done = undrawn(*grid, "sweep.confirm=2")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the code changed since this sweep started: keras;" in done.stderr


def test_a_sweep_that_began_anew_is_gone_on_with(undrawn: Hcr, tmp_path: Path) -> None:
    grid = ("train", "-m", "seed=0,1", *SMALL)
    assert undrawn(*grid).returncode == 0
    done = undrawn(*grid, "resume=never", "sweep.max_time=0.001s")
    assert done.returncode == 0, done.stderr
    assert "2 runs are left; the same command without resume=never resumes the sweep" in done.stdout
    done = undrawn(*grid)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 reused, 0 resumed, 2 to run\n")
    made = Sweep(tmp_path)
    assert [run.info.status for run in made.parents] == ["FINISHED"] * 2
    assert made.statuses() == ["FINISHED"] * 4
    assert len({run.data.tags["hcr.sweep_id"] for run in made.parents}) == 2


def test_a_run_that_has_finished_is_named_and_a_new_one_starts_from_it(undrawn: Hcr, tmp_path: Path) -> None:
    assert undrawn("train", *SMALL).returncode == 0
    (folder,) = (tmp_path / "output" / "runs").iterdir()
    done = undrawn("train", *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"run {folder.name} has finished with this config, data and code")
    assert undrawn("train", "-m", "seed=0,1", *SMALL).returncode == 0
    done = undrawn("train", "from=latest", "model.depth=1", "seed=5")
    assert done.returncode == 0, done.stderr
    child = next(run for run in Sweep(tmp_path).parents if run.data.params["seed"] == "5")
    params = child.data.params
    assert (params["model.depth"], params["model.filters"], params["training.epochs"]) == ("1", "4", "1")
    assert params["from"] == "latest"  # the last run of the sweep, not the sweep's own
    done = undrawn("train", *SMALL, "new_run=true")
    assert done.returncode == 0, done.stderr
    assert len(Sweep(tmp_path).parents) == 4


def test_a_winner_is_confirmed_on_fresh_seeds_and_scored_on_test_once(undrawn: Hcr, tmp_path: Path) -> None:
    command = ("train", "-m", "model.depth=1,2,3", *SMALL, "sweep.confirm=2")
    assert undrawn(*command[:-1]).returncode == 0
    done = undrawn(*command, "sweep.max_time=0.001s")
    assert done.returncode == 0, done.stderr
    assert "4 runs are left; the same command resumes the sweep" in done.stdout
    assert Sweep(tmp_path).parent.info.status == "KILLED"
    assert not any("test/accuracy" in run.data.metrics for run in Sweep(tmp_path).children)
    done = undrawn(*command)
    assert done.returncode == 0, done.stderr
    made = Sweep(tmp_path)
    assert made.parent.info.status == "FINISHED"
    assert len(made.children) == 3 + 4
    fresh = [run for run in made.children if run.data.tags["hcr.sweep_run"].startswith("confirm")]
    assert {run.data.params["seed"] for run in fresh} == {"1", "2"}
    scored = [run for run in made.children if "test/accuracy" in run.data.metrics]
    assert len(scored) == 2
    assert {run.data.tags["hcr.test_looks"] for run in scored} == {"1"}
    assert {run.info.status for run in scored} == {"FINISHED"}
    mean = sum(run.data.metrics["test/accuracy"] for run in scored) / 2
    assert f"test accuracy {mean:.4f}" in done.stdout
    again = undrawn(*command)
    assert f"test accuracy {mean:.4f}" in again.stdout
    assert len(Sweep(tmp_path).children) == 7


def test_a_cross_validation_is_a_point_over_folds_and_seeds_and_is_reused(undrawn: Hcr, tmp_path: Path) -> None:
    folds = ("train", "-m", "split=kfold", "split.folds=3", "split.fold=0,1,2", "seed=0,1", "model.depth=1,2", *SMALL)
    done = undrawn(*folds)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 reused, 0 resumed, 12 to run\n")
    assert "mean over 3 folds × 2 seeds; intervals and tests are corrected" in done.stdout
    assert "6 seeds" not in done.stdout
    made = Sweep(tmp_path)
    table = made.table()
    assert [(row["n"], row["mean_over"], row["corrected"]) for row in table] == [("6", "3 folds × 2 seeds", "true")] * 2
    assert {row["point"] for row in table} == {"model.depth=1", "model.depth=2"}

    val: dict[tuple[str, int, int], list[int]] = {}
    values: dict[str, list[float]] = {}
    for run in made.children:
        depth, seed, fold = (run.data.params[key] for key in ("model.depth", "seed", "split.fold"))
        with np.load(made.root / "runs" / run.data.tags["hcr.key"] / "artifacts/predictions/val.npz") as arrays:
            val[depth, int(seed), int(fold)] = arrays["index"].tolist()
        values.setdefault(f"model.depth={depth}", []).append(run.data.metrics["best/val_loss"])
    for seed in (0, 1):
        together = [index for fold in range(3) for index in val["1", seed, fold]]
        assert len(set(together)) == len(together) == 1797 - 360  # every image outside test, once
        assert all(val["1", seed, fold] == val["2", seed, fold] for fold in range(3))
    assert val["1", 0, 0] != val["1", 1, 0]
    for row in table:  # the interval by its formula, of a loss on the scale of its logarithm
        scores = np.array(values[row["point"]])
        half = t.ppf(0.975, 5) * scores.std(ddof=1) * np.sqrt(1 / 6 + 1 / 2) / scores.mean()
        assert [float(row[name]) for name in ("mean", "low", "high")] == pytest.approx(
            [scores.mean(), scores.mean() * np.exp(-half), scores.mean() * np.exp(half)]
        )
    key = made.parent.data.tags["hcr.key"]
    with (made.root / "runs" / key / "artifacts/runs.csv").open(newline="") as file:
        rows = [(int(row["point"]), int(row["seed"]), int(row["fold"])) for row in csv.DictReader(file)]
    assert rows == [(point, seed, fold) for point in (1, 2) for seed in (0, 1) for fold in (0, 1, 2)]

    again = undrawn(*(word.replace("model.depth=1,2", "model.depth=2") for word in folds), "sweep.confirm=2")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("6 reused, 0 resumed, 6 to run\n")  # those on fresh seeds
    assert "On 3 folds × 2 fresh seeds alone, val/loss:" in again.stdout
    assert "(mean over 3 folds × 2 fresh seeds, scored once each)" in again.stdout


def test_ctrl_c_ends_every_run_as_killed_and_says_how_to_go_on(
    hcr: Hcr, start_hcr: Callable[..., Process], tmp_path: Path
) -> None:
    command = ("-m", "seed=0,1", "model.filters=4", "training.epochs=400", "training.patience=null")
    controller = start_hcr("train", *command, start_new_session=True)
    wait_until(lambda: sum(b"train/loss" in path.read_bytes() for path in journals(tmp_path)) == 2)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # however many arrive
        os.killpg(controller.pid, number)
    _, stderr = controller.communicate(timeout=120)
    assert controller.returncode == 130
    (line,) = stderr.splitlines()
    (folder,) = (tmp_path / "output" / "sweeps").iterdir()
    assert line.startswith(f"hcr: interrupted; the same command resumes sweep {folder.name} in {folder}")
    assert hcr("sync").returncode == 0  # what further signals made it leave
    made = Sweep(tmp_path)
    assert made.statuses() == ["KILLED"] * 2
    assert made.parent.info.status == "KILLED"
    assert processes_of(tmp_path) == []


def test_a_sweep_is_whole_in_a_postgresql_store_too(undrawn: Hcr, tmp_path: Path, postgresql: str) -> None:
    command = ("train", "-m", "model.depth=1,2", *SMALL, f"tracking.uri={postgresql}", "tracking.timeout_s=60")
    done = undrawn(*command)
    assert done.returncode == 0, done.stderr
    made = Sweep(tmp_path, postgresql)
    assert made.statuses() == ["FINISHED"] * 2
    assert made.parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in made.children} == {made.parent.info.run_id}
    again = undrawn(*command)
    assert again.stdout.startswith("2 reused, 0 resumed, 0 to run\n")
    assert len(Sweep(tmp_path, postgresql).children) == 2


def test_a_folder_called_hcr_where_the_command_is_given_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "hcr").mkdir()
    (tmp_path / "hcr" / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    script = Path(sys.executable).with_name("hcr")
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(tmp_path / "output")}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [script, "train", "-m", *SMALL, "seed=0", "launcher.workers=1"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Sweep(tmp_path).statuses() == ["FINISHED"]


def test_a_sweep_whose_own_run_was_deleted_in_mlflow_gets_a_new_one(undrawn: Hcr, tmp_path: Path) -> None:
    command = ("train", "-m", "seed=0,1", *SMALL)
    first = undrawn(*command)
    assert first.returncode == 0, first.stderr
    sweep = Sweep(tmp_path)
    deleted, (gone, kept) = sweep.parent, sweep.children
    for run in (deleted, gone):
        sweep.client.delete_run(run.info.run_id)
    again = undrawn(*command)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("was deleted in MLflow; its new one is") == 1
    assert "1 reused, 0 resumed, 1 to run" in again.stdout
    sweep = Sweep(tmp_path)
    key = sweep.parent.data.tags["hcr.key"]
    assert sweep.parent.info.status == "FINISHED"
    assert key != deleted.data.tags["hcr.key"]
    parents = {run.info.run_id: run.data.tags["mlflow.parentRunId"] for run in sweep.children}
    (made,) = parents.keys() - {kept.info.run_id}
    assert parents == {kept.info.run_id: deleted.info.run_id, made: sweep.parent.info.run_id}
    assert sweep.statuses() == ["FINISHED", "FINISHED"]
    last = undrawn(*command)
    assert (last.returncode, last.stderr) == (0, "")
    assert "deleted" not in last.stdout
    assert Sweep(tmp_path).parent.data.tags["hcr.key"] == key
