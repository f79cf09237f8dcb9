"""A finished run's model, with the preparation that its images need."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcr.data.pixels import Images
from hcr.recognition.preparer import NoInkError, preparer_of

if TYPE_CHECKING:
    from hcr.recorded import RecordedRun

__all__ = ["NoInkError", "Recognizer"]


class Recognizer:
    """Classifies images with the model of a finished run.

    Args:
        run: the run.
        made_as: replaces `dataset.made_as` of the run's config; None: as the config says.

    Attributes:
        run: the run.
        class_names: K names, in label order.
        image_shape: height, width and channels that the model takes.
        preparer: prepares images; it can be sent to another process.

    Raises:
        TrackingError: the model is missing or damaged.
    """

    def __init__(self, run: "RecordedRun", made_as: str | None = None) -> None:
        from hcr.training import configure_threads  # TensorFlow; processes that only prepare images need none

        configure_threads(run.cfg.training)
        self.run, self.class_names, self.image_shape = run, run.class_names, run.image_shape
        self.preparer = preparer_of(run.cfg.dataset, run.tags.get("hcr.data_notes", ""), made_as)
        self._model = run.load_model()

    def prepare(self, image: Images) -> Images:
        """One source image (H, W, C) of any size, C 1 or 3, uint8, as the model takes it: (h, w, c).

        Raises:
            NoInkError: the image is blank.
        """
        return self.preparer.prepare(image)

    def probabilities(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities (N, K) of prepared images (N, h, w, c); their rows sum to 1."""
        from hcr.training import predict_probabilities

        return predict_probabilities(self._model, images)
