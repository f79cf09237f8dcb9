"""A finished run's model, with the preparation that its images need."""

import numpy as np
from numpy.typing import NDArray

from hcr.data.pixels import Images
from hcr.data.preparation import Preparation
from hcr.recorded import RecordedRun
from hcr.training import configure_threads, predict_probabilities


class Recognizer:
    """Classifies images with the model of a finished run.

    Args:
        run: the run.

    Attributes:
        run: the run.
        class_names: K names, in label order.
        image_shape: height, width and channels that the model takes.

    Raises:
        TrackingError: the model is missing or damaged.
    """

    def __init__(self, run: RecordedRun) -> None:
        configure_threads(run.cfg.training.num_threads)
        self.run, self.class_names, self.image_shape = run, run.class_names, run.image_shape
        self._model = run.load_model()

    def prepare(self, image: Images) -> Images:
        """One source image (H, W, C) of any size, C 1 or 3, uint8, as the model takes it: (h, w, c)."""
        if image.shape == self.image_shape:
            return image
        height, width, channels = self.image_shape
        color = "gray" if channels == 1 else "rgb"
        return Preparation(color, invert=False, size=(height, width), fit="pad").apply(image)

    def probabilities(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities (N, K) of prepared images (N, h, w, c); their rows sum to 1."""
        return predict_probabilities(self._model, images)
