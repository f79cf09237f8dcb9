"""What is known of the runs of a sweep before it starts: finished, interrupted or not there, by the journals."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hcr.tracking.journal import JOURNAL, Event, last_event, read_events
from hcr.tracking.known import ask, deleted_keys
from hcr.tracking.status import finished_runs, first_event

NUMBER_TAG = "hcr.sweep_run"  # the number of a run in its sweep, from 1


@dataclass(frozen=True)
class Outcome:
    """What a finished run came to.

    Attributes:
        key: the run's.
        value: the monitored validation metric of the epoch that was kept.
        val_accuracy, val_loss: there.
        epochs: that were trained.
        train_s: seconds of its epochs.
        num_params: of its model.
    """

    key: str
    value: float
    val_accuracy: float
    val_loss: float
    epochs: int
    train_s: float
    num_params: int


@dataclass(frozen=True)
class KnownRuns:
    """The runs under an output root that a sweep could use.

    Attributes:
        finished: folder by fingerprint, of those in the sweep's store and experiment.
        own: folder and last event by what NUMBER_TAG says, of the runs of the sweep itself.
        deleted: keys of those that were deleted in MLflow, and are in neither.
    """

    finished: dict[str, Path]
    own: Mapping[str, tuple[Path, Event]]
    deleted: frozenset[str] = frozenset()


def known_runs(root: Path, *, uri: str, experiment: str, parent: str | None, timeout_s: float) -> KnownRuns:
    """Look through the journals under `root`.

    Args:
        parent: the key of the sweep's own run, if it has one.
        timeout_s: how long the store may take to say which runs were deleted.
    """
    has_runs = next((root / "runs").glob(f"*/{JOURNAL}"), None) is not None
    deleted = deleted_keys(root, uri, ask(uri, timeout_s)) if has_runs else frozenset()
    own = {}
    for path in (root / "runs").glob(f"*/{JOURNAL}") if parent is not None else ():
        header = first_event(path.parent)
        if path.parent.name not in deleted and header.get("parent") == parent and NUMBER_TAG in header.get("tags", {}):
            own[header["tags"][NUMBER_TAG]] = (path.parent, last_event(path.parent))
    return KnownRuns(finished_runs(root, uri=uri, experiment=experiment, without=deleted), own, deleted)


def outcome_of(folder: Path, monitor: str) -> Outcome:
    """What the finished run in `folder` came to, read from its journal.

    Raises:
        KeyError, TrackingError: the journal does not say, or is damaged.
    """
    last: dict[str, float] = {}
    epochs, train_s, key = 0, 0.0, ""
    for event, _ in read_events(folder):
        if event["event"] == "run":
            key = event["key"]
        if event["event"] == "metrics":
            last |= event["values"]
            if "train/loss" in event["values"]:
                epochs = max(epochs, event["step"])
                train_s += event["values"].get("time/epoch_s", 0.0)
    return Outcome(
        key=key,
        value=last[f"best/{monitor.replace('/', '_')}"],
        val_accuracy=last["best/val_accuracy"],
        val_loss=last["best/val_loss"],
        epochs=epochs,
        train_s=train_s,
        num_params=int(last["model/params"]),
    )
