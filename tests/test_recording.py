"""The record of a run: begun once, each epoch once, and a full disk is one line."""

from pathlib import Path

import numpy as np
import pytest

from hcr.config import TrackingError
from hcr.data.splitting import Subset, load_splits
from hcr.gate.compose import compose
from hcr.gate.resolve import resolve
from hcr.record import write_predictions
from hcr.recording import Recorder
from hcr.tracking.events import read_events
from hcr.tracking.journal import Journal
from hcr.training import TrainingState
from hcr.training.build import build

pytestmark = pytest.mark.slow  # imports TensorFlow
OVERRIDES = ["training=smoke", "model.filters=4", "model.dense_units=[]", "notes=why", "tags={team: ocr}"]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "output", uri="sqlite:///x", experiment="hcr", parent="b12")


@pytest.fixture
def recorder(journal: Journal) -> Recorder:
    cfg = resolve(compose(OVERRIDES), in_sweep=True)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    model, _ = build(cfg, len(splits.train))
    return Recorder(journal, cfg, splits, model, OVERRIDES)


def told(journal: Journal) -> list[tuple[str, object]]:
    """The events, without their times."""
    return [(event["event"], event.get("values", event.get("path"))) for event, _ in read_events(journal.folder)]


def test_a_run_begins_with_its_name_and_tags_and_begins_once(journal: Journal, recorder: Recorder) -> None:
    recorder.start("point 3", {"hcr.sweep_point": "3"})
    first = told(journal)
    recorder.start("another", {"hcr.sweep_point": "4"})  # resumed before its first epoch
    assert [event for event, _ in told(journal)].count("run") == 1
    assert set(map(str, told(journal))) == set(map(str, first))
    assert journal.header["name"] == "point 3"
    tags = journal.header["tags"]
    assert tags["hcr.fingerprint"] == recorder.fingerprint
    assert {name: tags[name] for name in ("team", "hcr.sweep", "hcr.sweep_point", "mlflow.note.content")} == {
        "team": "ocr",
        "hcr.sweep": "b12",
        "hcr.sweep_point": "3",
        "mlflow.note.content": "why",
    }


def test_an_epoch_is_recorded_once_with_its_own_end(journal: Journal, recorder: Recorder) -> None:
    recorder.start(None, {})
    state = TrainingState(epoch=1, history=[{"val/loss": 1.0}], ended_ms=[1000])
    recorder.epochs(state)
    state.history.append({"val/loss": 0.5})
    state.ended_ms.append(2000)
    recorder.epochs(state)
    events = [event for event, _ in read_events(journal.folder) if "val/loss" in event.get("values", {})]
    assert [(event["step"], event["values"]["val/loss"], event["time_ms"]) for event in events] == [
        (1, 1.0, 1000),
        (2, 0.5, 2000),
    ]


def test_a_disk_that_takes_no_artifact_is_one_line_that_names_the_folder(journal: Journal, recorder: Recorder) -> None:
    expected = rf"{journal.artifacts}: cannot be written \(.*No space left.*\); the run ends here"
    with pytest.raises(TrackingError, match=expected), recorder.writing():
        raise OSError(28, "No space left on device")


def test_predictions_carry_the_groups_of_their_images_if_there_are_any(tmp_path: Path) -> None:
    probabilities = np.full((3, 2), 0.5, np.float32)
    images, labels, index = np.zeros((3, 1, 1, 1), np.uint8), np.array([0, 1, 1]), np.array([4, 7, 9])
    groups = np.array([5, 2, 5])
    write_predictions(tmp_path / "a.npz", probabilities, Subset(images, labels, index, groups))
    write_predictions(tmp_path / "b.npz", probabilities, Subset(images, labels, index))
    with np.load(tmp_path / "a.npz") as arrays:
        assert {name: arrays[name].tolist() for name in arrays} == {
            "probabilities": [[0.5, 0.5]] * 3,
            "labels": [0, 1, 1],
            "index": [4, 7, 9],
            "groups": [5, 2, 5],
        }
    with np.load(tmp_path / "b.npz") as arrays:
        assert set(arrays) == {"probabilities", "labels", "index"}
