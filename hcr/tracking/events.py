"""The events of a run, read back from its journal: one JSON object a line, each with "event" and "time_ms"."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from hcr.config.errors import TrackingError, one_line

Event = dict[str, Any]
Status = Literal["FINISHED", "FAILED", "KILLED", "REMOVED"]  # the last is no status of MLflow: the run is deleted there

Kind = Literal["train", "sweep", "evaluate", "compare", "ensemble"]

JOURNAL = "journal.jsonl"
ARTIFACTS = "artifacts"
DESCRIPTION = "mlflow.note.content"  # the tag that MLflow shows as a run's description
KIND = "hcr.kind"  # the tag that says what a run is
GPU = "hcr.gpu"  # the tag that names the GPU that a run trained on; a run on the CPU has none
WITH_MODEL: tuple[Kind, ...] = ("train", "ensemble")  # `latest` and `best` mean these
UNBUNDLED = "unbundled"  # in the first event of a run that came in a bundle: the host that it was trained on
MODEL_RUN = "hcr.model_run"  # tag of an evaluation: the key of the run whose model is evaluated
SYSTEM = "system/"  # metrics whose names begin so are shown on MLflow's System metrics page, and nowhere else
LONGEST_DIGEST = 36  # characters of a data set's digest that MLflow stores
LONGEST_EVENT = 1 << 18  # bytes; no event is longer


def read_events(folder: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Yield the events of a run from byte `offset` on, each with the offset of its end.

    A last line without a newline is still being written and is not read.

    Raises:
        TrackingError: a complete line is not an event.
    """
    path = folder / JOURNAL
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                event = json.loads(line)
                if not isinstance(event, dict) or "event" not in event:
                    raise ValueError("not an event")
            except ValueError as error:
                raise TrackingError(f"{path}: damaged before byte {offset} ({one_line(error)})") from error
            yield event, offset


def kind_of(tags: Mapping[str, str]) -> str:
    """What a run with these tags is, a Kind; runs of earlier versions have no tag that says it."""
    return tags.get(KIND) or ("sweep" if "hcr.sweep_id" in tags else "train")


def best_metric(monitor: str | None) -> "tuple[str, Callable[[Iterable[float]], float]]":
    """The metric that has the best value of a run's monitored metric, and the function that chooses among values."""
    return ("best/val_accuracy", max) if monitor == "val/accuracy" else ("best/val_loss", min)


def first_event(folder: Path) -> Event:
    """The first event of the run in `folder`; empty if its journal cannot be read."""
    try:
        return next(read_events(folder))[0]
    except (OSError, StopIteration, TrackingError):
        return {}


def is_removed(folder: Path) -> bool:
    """True if the run in `folder` was removed by the user."""
    return last_event(folder).get("status") == "REMOVED"


def last_event(folder: Path) -> Event:
    """The last event of a run, read from the end of its journal; empty if there is none."""
    try:
        with (folder / JOURNAL).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_EVENT))
            lines = file.read().split(b"\n")[:-1]
        event = json.loads(lines[-1])
    except (OSError, ValueError, IndexError):
        return {}
    return event if isinstance(event, dict) else {}
