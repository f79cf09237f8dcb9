"""An evaluation, from its checked request to its finished record."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hcr import stopping
from hcr.config import TrackingError
from hcr.evaluating.asked import Asked
from hcr.evaluating.images import EvaluatedImages
from hcr.evaluating.recording import EvaluationRecorder
from hcr.evaluation.metrics import Evaluation, evaluate
from hcr.looks import count_look, look_tag
from hcr.recorded import RecordedRun
from hcr.tracking.journal import Journal
from hcr.training import configure_threads, predict_probabilities


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation.

    Attributes:
        evaluation: the metrics.
        look: the number of this look at these images with this model; None: it could not be counted.
        notes: what else to know about the figures, one line each.
    """

    evaluation: Evaluation
    look: int | None
    notes: tuple[str, ...]


def evaluate_run(run: RecordedRun, asked: Asked, seen: EvaluatedImages, journal: Journal) -> EvaluationResult:
    """Evaluate the model of `run` on the images `seen`, and record that in `journal`.

    Args:
        journal: not begun yet. The caller enters its `with`, which sets the status.

    Raises:
        TrackingError: the model cannot be read, another process holds the run, or a folder cannot be written.
    """
    configure_threads(run.cfg.training)
    model = run.load_model()
    look = _counted(run, seen)
    recorder = EvaluationRecorder(journal, run, asked, seen, look)
    recorder.start()
    probabilities = predict_probabilities(model, seen.part.images)
    stopping.check()
    found = scores_of(probabilities, seen.part.labels, run.class_names)
    notes = (*seen.data_notes, *seen.notes, *_other_than_recorded(run, asked, probabilities))
    recorder.finish(found, probabilities, notes)
    return EvaluationResult(found, look, notes)


def scores_of(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], class_names: tuple[str, ...]
) -> Evaluation:
    """The metrics; macro F1 is the mean over the classes that have images, as no image can be found of the others."""
    found = evaluate(probabilities, labels, class_names)
    present = [score.f1 for score in found.classes if score.support]
    return found if len(present) == len(class_names) else replace(found, macro_f1=float(np.mean(present)))


def _counted(run: RecordedRun, seen: EvaluatedImages) -> int | None:
    """Count the look with the model's run; None if only a store has that run."""
    if run.folder is None:
        return None
    with run.lock():
        if seen.num_own_test and not seen.is_own:  # of a copy of its data, or of other data that share images
            count_look(run)
        return count_look(run, look_tag(None if seen.is_own else seen.set_digest))


def _other_than_recorded(run: RecordedRun, asked: Asked, probabilities: NDArray[np.float32]) -> tuple[str, ...]:
    """A note if the run recorded other predictions of its own test images, as on another kind of machine."""
    if asked.changes_data or run.scored_part != "test":
        return ()
    try:
        recorded = run.predictions("test")
    except TrackingError:
        return ("the predictions that the run recorded cannot be read, and were not compared",)
    if np.array_equal(recorded.probabilities, probabilities):
        return ()
    if recorded.probabilities.shape != probabilities.shape:
        return ("the run recorded predictions of another number of images",)
    apart = float(np.abs(recorded.probabilities - probabilities).max())
    return (f"the run recorded other probabilities, by at most {apart:.1g}; another machine or version may differ so",)
