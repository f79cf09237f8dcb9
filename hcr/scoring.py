"""Scores a finished run on test later, if it has no test score yet; the look at test is counted."""

from pathlib import Path

from hcr.config import TrackingError
from hcr.data.splitting import load_splits
from hcr.evaluation.metrics import evaluate
from hcr.looks import count_look
from hcr.recorded import read_run
from hcr.recording import test_metrics, write_predictions
from hcr.tracking.events import ARTIFACTS
from hcr.tracking.journal import add_events
from hcr.tracking.status import test_accuracy
from hcr.training import configure_threads, predict_probabilities

PREDICTIONS = "predictions/test.npz"


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
    configure_threads(run.cfg.training.num_threads)
    splits = load_splits(run.cfg.dataset, run.cfg.split, run.cfg.seed)
    model = run.load_model()
    with run.lock():
        if run.tags.get("hcr.dataset_digest") != splits.dataset_digest:
            raise TrackingError(f"run {folder.name}: the data changed since it was trained")
        count_look(run)
        probabilities = predict_probabilities(model, splits.test.images)
        found = evaluate(probabilities, splits.test.labels, splits.class_names)
        write_predictions(folder / ARTIFACTS / PREDICTIONS, probabilities, splits.test)
        scores = {"event": "metrics", "step": run.cfg.training.epochs, "values": test_metrics(found)}
        add_events(folder, [{"event": "artifact", "path": PREDICTIONS}, scores])
    return found.accuracy
