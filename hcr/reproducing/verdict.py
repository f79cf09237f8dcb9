"""Whether two runs have the same numbers: every metric of every epoch and of the end, predictions and weights."""

import hashlib
import math
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hcr.config.errors import TrackingError, one_line
from hcr.recorded import MODEL, Record

# Metrics that measure the machine, or that a sweep adds to its runs.
NOT_OF_THE_RUN = ("time/", "sweep/", "point/")
OF_TEST = "test/"
WEIGHTS = "model.weights.h5"
LARGEST = sys.float_info.max  # MLflow's databases have it for infinity


class Difference(NamedTuple):
    """A number that two runs do not share.

    Attributes:
        what: the metric or file.
        epoch: the first one in which it differs; None: it is of the end.
        recorded, here: its last values, as text.
    """

    what: str
    epoch: int | None
    recorded: str
    here: str


class Verdict(NamedTuple):
    """What was compared, and what differs; `notes` are what could not be compared."""

    num_metrics: int
    num_epochs: int
    files: Sequence[str]
    differences: Sequence[Difference]
    notes: Sequence[str]


def compare(original: Record, again: Record, *, with_test: bool) -> Verdict:
    """Compare a reproduction with the run that it reproduces.

    Args:
        with_test: True if the run scored test as it ended; later looks at test are not repeated.

    Raises:
        TrackingError: a file of a run cannot be read.
    """
    names, of_epochs = _names(original, with_test), _of_epochs(original)
    epochs = [_epochs(original, again, name) for name in names if name in of_epochs]
    ends = [_end(original, again, name) for name in names if name not in of_epochs]
    found = [each for each in (*epochs, *ends) if each is not None]
    if len(original.history) != len(again.history):
        found.insert(0, Difference("epochs", None, str(len(original.history)), str(len(again.history))))
    files, notes = [], []
    for part in ("val", "test") if with_test else ("val",):
        name = f"predictions/{part}.npz"
        if (original.artifacts / name).is_file():
            files.append(name.removesuffix(".npz"))
            found += _predictions(original.artifacts / name, again.artifacts / name, name)
    weights = [_weights(record.artifacts / MODEL) for record in (original, again)]
    if None not in weights:
        files.append("weights")
        if weights[0] != weights[1]:
            found.append(Difference("weights", None, str(weights[0])[:12], str(weights[1])[:12]))
    else:
        notes.append("a run has no model, so weights were not compared")
    only_here = sorted(_names(again, with_test) - names)
    if only_here:
        notes.append(f"only this run has {', '.join(only_here)}")
    return Verdict(len(names), len(original.history), files, found, notes)


def _names(record: Record, with_test: bool) -> set[str]:
    names = {name for name in (*record.metrics, *_of_epochs(record)) if not name.startswith(NOT_OF_THE_RUN)}
    return names if with_test else {name for name in names if not name.startswith(OF_TEST)}


def _of_epochs(record: Record) -> set[str]:
    return {name for epoch in record.history for name in epoch}


def _epochs(original: Record, again: Record, name: str) -> Difference | None:
    pairs = [(then.get(name), now.get(name)) for then, now in zip(original.history, again.history, strict=False)]
    differing = [epoch for epoch, (then, now) in enumerate(pairs, 1) if not _same(then, now)]
    if not differing:
        return None
    then, now = pairs[-1]
    return Difference(name, differing[0], _told(then), _told(now))


def _end(original: Record, again: Record, name: str) -> Difference | None:
    then, now = original.metrics.get(name), again.metrics.get(name)
    return None if _same(then, now) else Difference(name, None, _told(then), _told(now))


def _same(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    if math.isnan(then) or math.isnan(now):
        return math.isnan(then) and math.isnan(now)
    return _finite(then) == _finite(now)


def _finite(value: float) -> float:
    return max(-LARGEST, min(LARGEST, value))


def _told(value: float | None) -> str:
    return "none" if value is None else repr(value)


def _predictions(then: Path, now: Path, name: str) -> list[Difference]:
    try:
        if then.read_bytes() == now.read_bytes():
            return []
        with np.load(then) as first, np.load(now) as second:
            theirs, ours = dict(first), dict(second)
    except Exception as error:  # missing or damaged: NumPy and zip raise many types
        raise TrackingError(f"{name}: expected the predictions of both runs ({one_line(error)})") from error
    what = name.removesuffix(".npz")
    found = []
    for array in sorted(theirs.keys() | ours.keys()):
        first, second = theirs.get(array), ours.get(array)
        if first is None or second is None or first.shape != second.shape or first.dtype != second.dtype:
            found.append(Difference(f"{what}: {array}", None, _shape(first), _shape(second)))
        elif first.tobytes() != second.tobytes():
            differing = int((first != second).reshape(len(first), -1).any(axis=1).sum())
            found.append(Difference(f"{what}: {array}", None, "", f"{differing:,} of {len(first):,} rows differ"))
    return found


def _shape(array: "np.ndarray | None") -> str:
    return "none" if array is None else f"{array.dtype} {array.shape}"


def _weights(path: Path) -> str | None:
    """SHA-256 of a model's weights; None if there is no model. The file around them holds the time."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(WEIGHTS) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except FileNotFoundError:
        return None
    except (OSError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise TrackingError(f"{path}: expected a model ({one_line(error)})") from error
