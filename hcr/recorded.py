"""A finished run, read back from what it recorded: config, scores, predictions, model and images."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from hcr.config import DataError, TrackingError
from hcr.config.errors import one_line
from hcr.config.tracking import output_root
from hcr.data.splitting import Splits, load_splits
from hcr.gate import RunConfig, parse_config
from hcr.gate.run_config import image_and_classes
from hcr.tracking.events import ARTIFACTS, MODEL_RUN, WITH_MODEL, kind_of, read_events
from hcr.tracking.fetching import fetch_run
from hcr.tracking.finding import look_up
from hcr.tracking.lock import lock_ended_run
from hcr.tracking.stored import StoredRun

if TYPE_CHECKING:
    import keras

CONFIG, MODEL = "config/config.yaml", "model/data/model.keras"


@dataclass(frozen=True)
class Predictions:
    """A run's predictions of one part of its data.

    Attributes:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).
        index: (N,), positions in the data set in canonical order.
        groups: (N,), or None if the data has none.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    groups: NDArray[np.int64] | None


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a run, whatever has become of it and of the code that reads its config.

    Attributes:
        key, name, folder, artifacts, tags, metrics, history: as of `RecordedRun`.
        status: FINISHED, FAILED, KILLED or REMOVED; None: it has not ended.
    """

    key: str
    name: str
    folder: Path | None
    artifacts: Path
    status: str | None
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A finished run.

    Attributes:
        key: identifies it.
        name: its name in MLflow.
        folder: the folder of its journal; None if only a store has the run.
        artifacts: the folder that holds its artifacts.
        cfg: its config.
        tags: its tags.
        metrics: the last value of each metric.
        history: the metrics of each epoch.
    """

    key: str
    name: str
    folder: Path | None
    artifacts: Path
    cfg: RunConfig
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, float]]

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names, in label order."""
        names = self.cfg.dataset.kept_classes
        assert names is not None, "a recorded config has them"
        return names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that the model takes."""
        return image_and_classes(self.cfg)[0]

    @property
    def scored_part(self) -> str:
        """The part whose scores the run shows: "test" if it was scored, else "val"."""
        return "test" if (self.artifacts / "predictions/test.npz").is_file() else "val"

    def predictions(self, part: str) -> Predictions:
        """The predictions of `part`, "val" or "test".

        Raises:
            TrackingError: the run has none, or they cannot be read.
        """
        path = self.artifacts / f"predictions/{part}.npz"
        try:
            with np.load(path) as arrays:
                found = dict(arrays)
            return Predictions(found["probabilities"], found["labels"], found["index"], found.get("groups"))
        except Exception as error:  # missing or damaged: NumPy and zip raise many types
            raise TrackingError(f"{path}: expected the run's predictions ({one_line(error)})") from error

    def load_model(self) -> "keras.Model":
        """The model with its best weights: uint8 images (N, H, W, C) to probabilities (N, K).

        Raises:
            TrackingError: it is missing or damaged.
        """
        import keras

        path = self.artifacts / MODEL
        try:
            return keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises many types for a bad file
            raise TrackingError(f"{path}: expected a model ({one_line(error)})") from error

    def load_splits(self) -> Splits:
        """The images that the run was trained and scored on.

        Raises:
            DataError: they cannot be read here, or the data changed since.
        """
        splits = load_splits(self.cfg.dataset, self.cfg.split, self.cfg.seed)
        if splits.split_digest != self.tags.get("hcr.split_digest"):
            raise DataError(f"{splits.source}: the data changed since run {self.key} was trained")
        return splits

    @contextmanager
    def lock(self) -> Iterator[Path]:
        """Hold the run's lock while events are added to its journal; yields its folder.

        Raises:
            TrackingError: another process holds it, or only a store has the run.
        """
        if self.folder is None:
            raise TrackingError(f"run {self.key}: expected a run of this machine, got one that only the store has")
        try:
            lock = lock_ended_run(self.folder)
        except BlockingIOError:
            raise TrackingError(f"run {self.key}: another process holds it; expected a run that has ended") from None
        with lock:
            yield self.folder


def recorded_run(name: str) -> RecordedRun:
    """The finished run called `name`, as `hcr.tracking.finding.look_up` takes it.

    The artifacts of a run that only the store has are downloaded into the user's cache.

    Raises:
        TrackingError: no run or several match, it has not finished, or its artifacts cannot be read.
    """
    found = look_up(output_root(), name)
    return read_run(found) if isinstance(found, Path) else read_stored_run(found)


def read_run(folder: Path) -> RecordedRun:
    """The finished run whose journal is in `folder`.

    Raises:
        TrackingError: it has not finished, or its artifacts cannot be read.
    """
    return _finished(read_record(folder))


def read_stored_run(stored: StoredRun) -> RecordedRun:
    """The finished run that only a store has.

    Raises:
        TrackingError: it has not finished, or cannot be read from there.
    """
    return _finished(read_stored_record(stored))


def read_record(folder: Path) -> Record:
    """The record of the run whose journal is in `folder`.

    Raises:
        TrackingError: the journal is empty or damaged.
    """
    events = [event for event, _ in read_events(folder)]
    if not events:
        raise TrackingError(f"run {folder.name}: expected a journal with at least one event, got none")
    tags = dict(events[0]["tags"])
    epochs: dict[int, dict[str, float]] = {}
    metrics: dict[str, float] = {}
    for event in events:
        if event["event"] == "tags":
            tags |= event["values"]
        if event["event"] == "metrics":
            metrics |= event["values"]
            if "train/loss" in event["values"]:
                epochs[event["step"]] = event["values"]
    return Record(
        key=folder.name,
        name=str(events[0]["name"]),
        folder=folder,
        artifacts=folder / ARTIFACTS,
        status=events[-1].get("status"),
        tags=tags,
        metrics=metrics,
        history=[epochs[step] for step in sorted(epochs)],
    )


def read_stored_record(stored: StoredRun) -> Record:
    """The record, in its store, of a run that only the store has.

    Raises:
        TrackingError: it cannot be read from there.
    """
    run = fetch_run(stored)
    return Record(
        key=stored.key,
        name=run.name,
        folder=None,
        artifacts=run.artifacts,
        status=run.status,
        tags=run.tags,
        metrics=run.metrics,
        history=run.history,
    )


def _finished(record: Record) -> RecordedRun:
    _require_trained(record.key, record.status, record.tags)
    return RecordedRun(
        key=record.key,
        name=record.name,
        folder=record.folder,
        artifacts=record.artifacts,
        cfg=_read_config(record.artifacts),
        tags=record.tags,
        metrics=record.metrics,
        history=record.history,
    )


def _require_trained(key: str, status: str | None, tags: Mapping[str, str]) -> None:
    if status != "FINISHED":
        raise TrackingError(f"run {key}: expected a run that has finished")
    kind = kind_of(tags)
    if kind == "sweep":
        raise TrackingError(f"run {key}: expected one trained run, got a sweep; name one of its runs")
    if kind == "evaluate":
        raise TrackingError(f"run {key}: expected a trained run, got an evaluation of run {tags.get(MODEL_RUN)}")
    if kind not in WITH_MODEL:
        raise TrackingError(f"run {key}: expected a trained run, got one of `hcr {kind}`")


def _read_config(artifacts: Path) -> RunConfig:
    path = artifacts / CONFIG
    try:
        raw = OmegaConf.load(path)
        assert isinstance(raw, DictConfig)
        return parse_config(raw)
    except Exception as error:  # missing or damaged: OmegaConf and YAML raise many types
        raise TrackingError(f"{path}: expected the run's config ({one_line(error)})") from error
