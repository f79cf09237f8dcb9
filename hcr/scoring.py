"""Scores a finished run on test later, if it has no test score yet; the look at test is counted."""

from dataclasses import asdict
from pathlib import Path

from hcr.config import TrackingError
from hcr.data.splitting import load_splits
from hcr.evaluation.metrics import evaluate
from hcr.looks import count_look
from hcr.record import dataset_facts, measured, test_metrics, write_predictions
from hcr.recorded import read_run
from hcr.tracking.ended import upload_added
from hcr.tracking.events import ARTIFACTS
from hcr.tracking.journal import add_events, metrics_event
from hcr.tracking.status import test_accuracy
from hcr.training import configure_threads, predict_probabilities

PREDICTIONS = "predictions/test.npz"


def score_later(folder: Path) -> None:
    """Score the finished run in `folder` on test if it was not scored yet, as after a sweep; print and upload that.

    Raises:
        TrackingError, DataError: as `score_test`; or the upload failed.
    """
    if test_accuracy(folder) is not None:
        return
    accuracy = score_test(folder)
    print(f"test accuracy {accuracy:.4f}, scored now with the weights that run {folder.name} kept", flush=True)
    upload_added(folder)


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
    run = read_run(folder)
    configure_threads(run.cfg.training)
    splits = load_splits(run.cfg.dataset, run.cfg.split, run.cfg.seed)
    model = run.load_model()
    with run.lock():
        if run.tags.get("hcr.dataset_digest") != splits.dataset_digest:
            raise TrackingError(f"run {folder.name}: the data changed since it was trained")
        count_look(run)
        probabilities = predict_probabilities(model, splits.test.images)
        found = evaluate(probabilities, splits.test.labels, splits.class_names)
        path = folder / ARTIFACTS / PREDICTIONS
        write_predictions(path.with_suffix(".partial.npz"), probabilities, splits.test)
        path.with_suffix(".partial.npz").replace(path)
        data = {"event": "datasets", "datasets": [asdict(dataset_facts(run.cfg, splits, "test"))]}
        scores = test_metrics(found)
        of_model = measured(scores, run.cfg, splits)
        metrics = metrics_event(scores, step=run.cfg.training.epochs, of_model=of_model)
        add_events(folder, [{"event": "artifact", "path": PREDICTIONS}, data, metrics])
    return found.accuracy
