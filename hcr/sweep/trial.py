"""What a trial's process does: one run, told by files in its folder.

task.json       what to do (written by the controller)
config.yaml     the frozen config
run.txt         the key of the run that it records
epochs.jsonl    the monitored validation metric after each epoch
output.txt      what it printed
error.txt       the traceback, where it failed
result.json     what it came to; absent as long as it may go on
"""

import json
import os
import resource
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hcr import stopping
from hcr.config import HcrError, RunConfig, parse_config
from hcr.config.errors import one_line
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import output_root
from hcr.streams import settle_streams
from hcr.tracking.journal import Journal

TASK, CONFIG, RUN, EPOCHS = "task.json", "config.yaml", "run.txt", "epochs.jsonl"
ERROR, RESULT, OUTPUT = "error.txt", "result.json", "output.txt"
BUILDING = "check"  # the task that needs no more than Keras
CALIBRATION_STEPS = 32


class Pruned(Exception):
    """The search gave this run up."""


def read_config(folder: Path) -> RunConfig:
    """The frozen config in a trial's folder."""
    raw = OmegaConf.load(folder / CONFIG)
    assert isinstance(raw, DictConfig)
    return parse_config(raw)


def run_task(folder: Path) -> int:
    """Do what `task.json` says; the exit code of the process."""
    settle_streams()
    task = json.loads((folder / TASK).read_text(encoding="utf-8"))
    if "output_root" in task:  # on another machine, where our environment is not
        os.environ["HCR_OUTPUT_DIR"] = task["output_root"]
    try:
        with stopping.recording():
            result = TASKS[task["task"]](folder, task)
    except KeyboardInterrupt:
        return stopping.INTERRUPTED  # no result: it goes on another time
    except Exception as error:  # whatever it is, it costs this trial alone
        if stopping.is_requested():
            return stopping.INTERRUPTED
        (folder / ERROR).write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
        told = one_line(error) if isinstance(error, HcrError) else f"{type(error).__name__}: {one_line(error)}"
        result = {"status": "failed", "error": told}
    result["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
    write_result(folder, result)
    return 0 if result["status"] != "failed" else 1


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write `result.json` whole or not at all."""
    new = folder / (RESULT + ".new")
    with new.open("w", encoding="utf-8") as file:
        json.dump(result, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / RESULT)


def read_result(folder: Path) -> dict[str, Any] | None:
    """What a trial came to; None where it has not ended."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) else None


def told_by(folder: Path, result: Mapping[str, Any] | None) -> str:
    """Why the task in `folder` failed, in a line: its error, or the last that its process printed."""
    if result is not None:
        return str(result.get("error"))
    try:
        lines = (folder / OUTPUT).read_text(errors="replace", encoding="utf-8").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "its process ended without a word"


def _train(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    from hcr.runner import run
    from hcr.training import TrainingState

    cfg = read_config(folder)
    journal = Journal(output_root(), uri=task["uri"], experiment=task["experiment"], parent=task["parent"])
    give_up = _pruning(task, cfg)

    def tell_key() -> None:
        journal.on_event = None  # once is enough
        (folder / RUN).write_text(journal.key, encoding="utf-8")

    journal.on_event = tell_key

    def on_epoch(state: TrainingState) -> None:
        value = state.history[-1][cfg.monitor]
        with (folder / EPOCHS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": state.epoch, "value": value}) + "\n")
        if give_up is not None and give_up(state.epoch, value) and state.epoch < cfg.training.epochs:
            raise Pruned(f"after epoch {state.epoch} of {cfg.training.epochs}")

    with journal:
        try:
            result = run(
                cfg,
                journal,
                name=task["name"],
                overrides=task["overrides"],
                tags=task["tags"],
                dataset_digest=task.get("dataset_digest"),
                deleted=frozenset(task["deleted"]),
                on_epoch=on_epoch,
                draw=False,
            )
        except Pruned as stop:
            journal.tags({"hcr.pruned": str(stop)})
            journal.end("KILLED")
            return {"status": "pruned", "key": journal.key, "epoch": int(str(stop).split()[2])}
    best = result.state.best
    return {
        "status": "finished",
        "key": journal.key,
        "value": result.objective,
        "val_accuracy": best["val/accuracy"],
        "val_loss": best["val/loss"],
        "epochs": result.state.epoch,
        "train_s": sum(epoch["time/epoch_s"] for epoch in result.state.history),
    }


def _pruning(task: dict[str, Any], cfg: RunConfig) -> Callable[[int, float], bool] | None:
    """What is asked after each epoch whether to give up; None where nothing is."""
    search = task.get("search")
    if search is None or search["sweep"]["pruner"] == "none":
        return None
    from hcr.sweep.search import Reporter

    reporter = Reporter(
        search["storage"],
        search["name"],
        search["number"],
        SweepConfig(**search["sweep"]),
        higher_is_better=search["higher_is_better"],
        max_epochs=cfg.training.epochs,
    )
    return reporter.report


def _check(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Build the model of every config named, and count its parameters; the first that cannot be built is told."""
    from hcr.config.gate import parse_resolved
    from hcr.training import configure_threads
    from hcr.training.build import build

    configure_threads(task["threads"])  # once in a process, and a launcher's may train next
    counts = []
    for i, values in enumerate(task["configs"]):
        try:
            model, _ = build(parse_resolved(values), task["num_train"])
        except Exception as error:  # Keras has many ways to refuse
            return {"status": "refused", "index": i, "error": one_line(error)}
        counts.append(int(model.count_params()))
    return {"status": "finished", "num_params": counts}


def _calibrate(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Seconds that an epoch of each config takes, from some of its steps and one validation."""
    from hcr.config.gate import parse_resolved
    from hcr.data import load_splits
    from hcr.training import configure_threads, fit
    from hcr.training.build import build
    from hcr.training.loop import steps_per_epoch

    found = []
    for values in task["configs"]:
        cfg = parse_resolved(values)
        configure_threads(cfg.training.num_threads)
        splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
        model, optimizer = build(cfg, len(splits.train))
        some = replace(cfg.training, epochs=2, patience=None, steps_per_epoch=CALIBRATION_STEPS)
        state = fit(
            model, optimizer, splits.train, splits.val, some, cfg.augmentation, monitor=cfg.monitor, seed=cfg.seed
        )
        warm = state.history[1]  # nothing is traced any more
        images = min(len(splits.train), CALIBRATION_STEPS * cfg.training.batch_size)
        validation_s = max(0.0, warm["time/epoch_s"] - images / warm["time/images_per_s"])
        steps = steps_per_epoch(len(splits.train), cfg.training)
        step_s = images / warm["time/images_per_s"] / steps_per_epoch(len(splits.train), some)
        found.append(steps * step_s + validation_s)
    return {"status": "finished", "epoch_s": found}


def _score(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Score a finished run on its sealed test images."""
    from hcr.scoring import score_test

    return {"status": "finished", "test_accuracy": score_test(Path(task["run"]))}


def _draw(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Draw the pictures of finished runs."""
    from hcr.drawing import draw_finished

    for run in task["runs"]:
        draw_finished(Path(run))
    return {"status": "finished"}


TASKS: dict[str, Callable[[Path, dict[str, Any]], dict[str, Any]]] = {
    "train": _train,
    BUILDING: _check,
    "calibrate": _calibrate,
    "score": _score,
    "draw": _draw,
}
