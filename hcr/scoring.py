"""Scores a finished run on test later, if it has no test score yet; the look at test is counted."""

from pathlib import Path

import keras
from omegaconf import DictConfig, OmegaConf

from hcr.config import TrackingError
from hcr.config.errors import one_line
from hcr.data.splitting import load_splits
from hcr.evaluation.metrics import evaluate
from hcr.gate import parse_config
from hcr.recording import test_metrics, write_predictions
from hcr.tracking.events import ARTIFACTS, Event, read_events
from hcr.tracking.journal import add_events
from hcr.tracking.lock import lock_ended_run
from hcr.tracking.status import test_accuracy
from hcr.training import configure_threads, predict_probabilities

MODEL, PREDICTIONS = "model/data/model.keras", "predictions/test.npz"


def score_test(folder: Path) -> float:
    """Score the finished run in `folder` on its test images, and record the scores in its journal.

    Returns:
        Test accuracy; the recorded one if test was scored before.

    Raises:
        TrackingError: the run's config or model cannot be read, its data changed, or another process holds its lock.
        DataError: its data cannot be read.
    """
    known = test_accuracy(folder)
    if known is not None:
        return known
    config = folder / ARTIFACTS / "config/config.yaml"
    try:
        raw = OmegaConf.load(config)
    except Exception as error:  # missing or damaged: OmegaConf and YAML raise many types
        raise TrackingError(f"{config}: expected the run's config ({one_line(error)})") from error
    assert isinstance(raw, DictConfig)
    cfg = parse_config(raw)
    configure_threads(cfg.training.num_threads)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    try:
        model = keras.models.load_model(folder / ARTIFACTS / MODEL, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many types for a bad file
        raise TrackingError(f"{folder / ARTIFACTS / MODEL}: expected a model ({one_line(error)})") from error
    try:
        lock = lock_ended_run(folder)
    except BlockingIOError:
        raise TrackingError(f"run {folder.name}: another process holds it; expected a run that has ended") from None
    with lock:
        first, looks = _header_and_looks(folder)
        if first["tags"].get("hcr.dataset_digest") != splits.dataset_digest:
            raise TrackingError(f"run {folder.name}: the data changed since it was trained")
        # Counted before it is taken, so that an interrupted look counts too.
        add_events(folder, [{"event": "tags", "values": {"hcr.test_looks": str(looks + 1)}}])
        probabilities = predict_probabilities(model, splits.test.images)
        found = evaluate(probabilities, splits.test.labels, splits.class_names)
        write_predictions(folder / ARTIFACTS / PREDICTIONS, probabilities, splits.test)
        scores = {"event": "metrics", "step": cfg.training.epochs, "values": test_metrics(found)}
        add_events(folder, [{"event": "artifact", "path": PREDICTIONS}, scores])
    return found.accuracy


def _header_and_looks(folder: Path) -> tuple[Event, int]:
    """The run's first event, and its number of looks at test."""
    events = [event for event, _ in read_events(folder)]
    looks = [event["values"]["hcr.test_looks"] for event in events if "hcr.test_looks" in event.get("values", {})]
    return events[0], int(looks[-1] if looks else events[0]["tags"].get("hcr.test_looks", "0"))
