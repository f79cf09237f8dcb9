"""The worst mistakes of a finished run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hcr.demo.mistakes import MOST_MISTAKES, find_mistakes
from hcr.gate.compose import compose
from hcr.recorded import RecordedRun, read_run


@pytest.fixture
def run(quick_run: Path) -> RecordedRun:
    (folder,) = (quick_run / "output" / "runs").iterdir()
    return read_run(folder)


def test_the_mistakes_are_the_most_confident_ones_with_the_images_of_the_data_set(run: RecordedRun) -> None:
    from sklearn.datasets import load_digits

    found = find_mistakes(run)
    assert not isinstance(found, str)
    recorded = run.predictions("val")
    predicted = recorded.probabilities.argmax(axis=1)
    wrong = predicted != recorded.labels
    assert (found.num_images, found.num_wrong) == (len(wrong), wrong.sum())
    assert len(found.rows) == min(MOST_MISTAKES, wrong.sum())
    shown = [row.probability for row in found.rows]
    assert shown == sorted(recorded.probabilities.max(axis=1)[wrong].tolist(), reverse=True)[: len(shown)]
    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    for row in found.rows:
        assert row.actual != row.predicted
        same = (pixels == row.image[..., 0]).all(axis=(1, 2))
        assert row.actual in {str(label) for label in digits.target[same]}


def test_data_that_changed_is_said(run: RecordedRun) -> None:
    changed = replace(run, tags={**run.tags, "hcr.split_digest": "0" * 64})
    assert find_mistakes(changed) == f"scikit-learn's digits: the data changed since run {run.key} was trained"


def test_data_that_is_not_on_this_machine_is_said_and_not_downloaded(
    run: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hcr.data.files.download", lambda *_, **__: pytest.fail("it was downloaded"))
    elsewhere = replace(run, cfg=compose(["dataset=mnist"]))
    told = "dataset=mnist is not on this machine; `hcr data dataset=mnist` downloads it"
    assert find_mistakes(elsewhere) == told


def test_a_file_that_is_missing_is_said(run: RecordedRun, tmp_path: Path) -> None:
    elsewhere = replace(
        run, cfg=compose(["dataset=folder", f"dataset.path={tmp_path}/gone", "dataset.image_size=[8,8]"])
    )
    found = find_mistakes(elsewhere)
    assert isinstance(found, str)
    assert found.startswith("dataset.path: expected ")
