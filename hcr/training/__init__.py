"""The training loop, its checkpoints and its progress display."""

from hcr.training.calibrating import calibrated
from hcr.training.devices import gpu_in_use, require_device
from hcr.training.loop import EpochMetrics, TrainingState, fit
from hcr.training.predict import predict_probabilities
from hcr.training.scores import Scores, score
from hcr.training.threads import configure_threads

__all__ = [
    "EpochMetrics",
    "Scores",
    "TrainingState",
    "calibrated",
    "configure_threads",
    "fit",
    "gpu_in_use",
    "predict_probabilities",
    "require_device",
    "score",
]
