"""A recognizer answers as the run did that it was made from."""

from pathlib import Path

import numpy as np
import pytest

from hcr.recognition import Recognizer
from hcr.recorded import read_run


def test_probabilities_are_those_that_the_run_recorded(quick_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcr.training.configure_threads", lambda threads: None)  # this process has started TensorFlow
    (folder,) = (quick_run / "output/runs").iterdir()
    run = read_run(folder)
    recognizer = Recognizer(run)
    assert recognizer.image_shape == (8, 8, 1) and recognizer.class_names == tuple("0123456789")
    images = np.asarray(run.load_splits().val.images)
    prepared = np.stack([recognizer.prepare(image) for image in images])
    assert (prepared == images).all()
    found = recognizer.probabilities(prepared)
    assert np.abs(found - run.predictions("val").probabilities).max() < 1e-5
