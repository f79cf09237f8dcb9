"""What is known of the runs of a sweep before it starts: finished, interrupted or not there, by the journals."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hcr.tracking.events import Event, first_event, last_event, read_events
from hcr.tracking.known import ask, deleted_keys
from hcr.tracking.status import finished_runs, run_folders

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
        own_deleted: those of the sweep itself among them.
    """

    finished: dict[str, Path]
    own: Mapping[str, tuple[Path, Event]]
    deleted: frozenset[str] = frozenset()
    own_deleted: frozenset[str] = frozenset()


def known_runs(
    root: Path, *, uri: str, experiment: str, parent: str | None, timeout_s: float, is_shared: bool = False
) -> KnownRuns:
    """Look through the journals under `root`.

    Args:
        parent: the key of the sweep's own run, if it has one. Where it was deleted, the sweep gets another, and no
            run is the sweep's own yet.
        is_shared: whether other machines make runs of the sweep, of which only the store knows.
        timeout_s: how long the store may take to say which runs were deleted.
    """
    folders = run_folders(root)
    deleted = deleted_keys(root, uri, ask(uri, timeout_s)) if folders or is_shared else frozenset()
    own, own_deleted = {}, set()
    for folder in folders if parent is not None and parent not in deleted else ():
        header = first_event(folder)
        if header.get("parent") != parent or NUMBER_TAG not in header.get("tags", {}):
            continue
        if folder.name in deleted:
            own_deleted.add(folder.name)
        else:
            own[header["tags"][NUMBER_TAG]] = (folder, last_event(folder))
    finished = finished_runs(root, uri=uri, experiment=experiment, without=deleted)
    return KnownRuns(finished, own, deleted, frozenset(own_deleted))


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
