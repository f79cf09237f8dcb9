"""A trial: one run of a sweep, as a folder that any worker can execute.

task.json       the task, beside the config (see `Task`)
config.yaml     the frozen config
journal.jsonl   events that the run's own journal cannot record, such as a process that died (see `ledger`)
output.txt      the output of its process
error.txt       the traceback, if it failed
"""

import json
import os
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from hcr import stopping
from hcr.config import HcrError, TrackingError
from hcr.config.errors import one_line
from hcr.gate import RunConfig, parse_config
from hcr.gate.run_config import to_yaml
from hcr.streams import settle_streams
from hcr.tracking.events import last_event
from hcr.tracking.journal import Journal, append_event

TASK, CONFIG, ERROR, OUTPUT = "task.json", "config.yaml", "error.txt", "output.txt"
DATASETS = "datasets"  # on a remote node, in its output root: data sets that the controller sent, by digest
FAILED, WHY = "failed", "why"  # an event of a trial's journal

Report = Callable[[int, float], bool]


class Pruned(Exception):
    """The search pruned this run."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that a worker needs beside the config.

    Attributes:
        key: the run's: a new one, or that of the run to resume.
        root: the controller's output root.
        uri, experiment: the store.
        parent: the key of the parent run.
        name: shown in MLflow.
        overrides: recorded with the run.
        tags: of the run.
        dataset_digest: of the data at planning time; None: unknown.
        monitor: the metric reported to the controller.
        waits: True if the run waits after each epoch for the pruner's decision.
    """

    key: str
    root: str
    uri: str
    experiment: str
    parent: str
    name: str
    overrides: list[str]
    tags: dict[str, str]
    dataset_digest: str | None
    monitor: str
    waits: bool

    @property
    def run(self) -> Path:
        """The run's folder on the controller's disk."""
        return Path(self.root) / "runs" / self.key


def write_trial(folder: Path, task: Task, cfg: RunConfig) -> None:
    """Write the task and the config for a worker.

    Raises:
        TrackingError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ERROR).unlink(missing_ok=True)  # of an earlier attempt
        (folder / CONFIG).write_text(to_yaml(cfg), encoding="utf-8")
        new = folder / (TASK + ".new")
        new.write_text(json.dumps(asdict(task)), encoding="utf-8")
        new.replace(folder / TASK)
    except OSError as error:
        raise TrackingError(f"{folder}: expected a folder that can be written ({error.strerror})") from error


def read_task(folder: Path) -> Task:
    """The task in a trial's folder."""
    return Task(**json.loads((folder / TASK).read_text(encoding="utf-8")))


def read_config(folder: Path) -> RunConfig:
    """The frozen config in a trial's folder."""
    raw = OmegaConf.load(folder / CONFIG)
    assert isinstance(raw, DictConfig)
    return parse_config(raw)


def run_trial(folder: Path, report: Report, *, root: Path | None = None) -> int:
    """Run the trial in `folder` in this process; returns the exit code.

    Args:
        report: called after each epoch with its number, from 1, and the monitored metric; returns False to prune. If
            the task `waits`, it blocks until the controller answers.
        root: the output root on this machine if it differs from the controller's; it also has the data sets sent.
    """
    settle_streams()
    task = read_task(folder)
    os.environ["HCR_OUTPUT_DIR"] = str(root or task.root)
    journal = Journal(Path(root or task.root), uri=task.uri, experiment=task.experiment, parent=task.parent)
    journal.take_key(task.key)
    journal.header["root"] = task.root
    if root is not None:  # the controller has the run's folder; its lock there shows whether the run is alive
        journal.header |= {"host": None, "boot": None}
    try:
        with stopping.recording():
            cfg = read_config(folder)
            if root is not None and task.dataset_digest is not None:
                _use_sent_dataset(cfg, root / DATASETS / task.dataset_digest)
            _train(cfg, task, journal, report)
    except KeyboardInterrupt:
        return stopping.INTERRUPTED
    except Exception as error:  # any error fails this trial only
        if stopping.is_requested():
            return stopping.INTERRUPTED
        (folder / ERROR).write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
        if last_event(journal.folder).get("event") != "end":  # the run could not record it itself
            why = one_line(error) if isinstance(error, HcrError) else f"{type(error).__name__}: {one_line(error)}"
            append_event(folder, FAILED, **{WHY: why})
        return 1
    return 0


def _use_sent_dataset(cfg: RunConfig, folder: Path) -> None:
    """Use the data set in `folder`, if the controller sent it."""
    from hcr.data.loading import hold_dataset
    from hcr.data.stored import read_dataset

    if folder.is_dir():
        hold_dataset(cfg.dataset, read_dataset(folder))


def _train(cfg: RunConfig, task: Task, journal: Journal, report: Report) -> None:
    from hcr.importing import import_keras

    import_keras()
    from hcr.runner import run
    from hcr.training import TrainingState

    def on_epoch(state: TrainingState) -> None:
        continues = report(state.epoch, state.history[-1][cfg.monitor])
        if not continues and state.epoch < cfg.training.epochs:
            raise Pruned(f"after epoch {state.epoch} of {cfg.training.epochs}")

    with journal:
        try:
            run(
                cfg,
                journal,
                name=task.name,
                overrides=task.overrides,
                tags=task.tags,
                dataset_digest=task.dataset_digest,
                on_epoch=on_epoch,
                draw=False,
            )
        except Pruned as stop:
            journal.tags({"hcr.pruned": str(stop)})
            journal.end("KILLED")
