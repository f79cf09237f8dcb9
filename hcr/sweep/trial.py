"""A trial: one run of a sweep, as a folder that any worker can carry out.

task.json       what to do, beside the config (see `Task`)
config.yaml     the frozen config
journal.jsonl   what the run's own journal cannot say: what a search asked for, and a process that died (see `ledger`)
output.txt      what its process printed
error.txt       the traceback, where it failed
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
DATASETS = "datasets"  # in an output root that is not the controller's: data sets that were sent, by digest
FAILED, WHY = "failed", "why"  # an event of a trial's journal

Tell = Callable[[int, float], bool]


class Pruned(Exception):
    """The search gave this run up."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker needs to know beside the config.

    Attributes:
        key: the run's, a new one or that of the run which is resumed.
        root: the controller's output root.
        uri, experiment: the store.
        parent: the key of the sweep's own run.
        name: what MLflow shows.
        overrides: for the record.
        tags: of the run.
        dataset_digest: of the data that the sweep planned with; None: not known.
        monitor: the metric that the controller hears of.
        waits: whether the run waits after each epoch for the word to go on.
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
    """Write all that a worker needs.

    Raises:
        TrackingError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ERROR).unlink(missing_ok=True)  # of an earlier try
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


def run_trial(folder: Path, tell: Tell, *, root: Path | None = None) -> int:
    """Carry out the trial in `folder`, in this process; the exit code for it.

    Args:
        tell: called with each epoch, counted from 1, and the monitored metric after it; whether to go on. Where the
            task says that the run `waits`, it returns when the controller has answered.
        root: the output root on this machine, where it is not the controller's; data sets that were sent are there too.
    """
    settle_streams()
    task = read_task(folder)
    os.environ["HCR_OUTPUT_DIR"] = str(root or task.root)
    journal = Journal(Path(root or task.root), uri=task.uri, experiment=task.experiment, parent=task.parent)
    journal.take_key(task.key)
    journal.header["root"] = task.root
    if root is not None:  # the run's folder is the controller's, whose lock tells whether the run is alive
        journal.header |= {"host": None, "boot": None}
    try:
        with stopping.recording():
            cfg = read_config(folder)
            if root is not None and task.dataset_digest is not None:
                _hold_sent(cfg, root / DATASETS / task.dataset_digest)
            _train(cfg, task, journal, tell)
    except KeyboardInterrupt:
        return stopping.INTERRUPTED
    except Exception as error:  # whatever it is, it costs this trial alone
        if stopping.is_requested():
            return stopping.INTERRUPTED
        (folder / ERROR).write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
        if last_event(journal.folder).get("event") != "end":  # the run cannot say so itself
            told = one_line(error) if isinstance(error, HcrError) else f"{type(error).__name__}: {one_line(error)}"
            append_event(folder, FAILED, **{WHY: told})
        return 1
    return 0


def _hold_sent(cfg: RunConfig, folder: Path) -> None:
    """Learn from the data set in `folder`, where it was sent here."""
    from hcr.data.loading import hold_dataset
    from hcr.data.shipping import read_dataset

    if folder.is_dir():
        hold_dataset(cfg.dataset, read_dataset(folder))


def _train(cfg: RunConfig, task: Task, journal: Journal, tell: Tell) -> None:
    from hcr.runner import run
    from hcr.training import TrainingState

    def on_epoch(state: TrainingState) -> None:
        goes_on = tell(state.epoch, state.history[-1][cfg.monitor])
        if not goes_on and state.epoch < cfg.training.epochs:
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
