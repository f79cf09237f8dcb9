"""Test, looked at after a run has ended: what is found, and that each look is counted."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import UNDRAWN, UNSCORED, Hcr

from hcr import scoring
from hcr.config import HcrError
from hcr.recorded import read_run
from hcr.tracking.events import last_event, read_events
from hcr.tracking.lock import lock_run

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(unscored_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of its folder."""
    monkeypatch.setattr(scoring, "configure_threads", lambda threads: None)  # this process has started TensorFlow
    shutil.copytree(unscored_run, tmp_path / "output")
    (found,) = (tmp_path / "output" / "runs").iterdir()
    return found


def values_of(folder: Path, kind: str, key: str) -> list[Any]:
    return [e["values"][key] for e, _ in read_events(folder) if e["event"] == kind and key in e["values"]]


def test_a_run_that_is_scored_later_has_the_figures_of_one_that_was_scored_at_once(
    folder: Path, hcr: Hcr, tmp_path: Path
) -> None:
    assert values_of(folder, "metrics", "test/accuracy") == []
    accuracy = scoring.score_test(folder)
    assert values_of(folder, "metrics", "test/accuracy") == [accuracy]
    assert values_of(folder, "tags", "hcr.test_looks")[-1] == "1"
    assert last_event(folder)["status"] == "FINISHED"
    assert (folder / "artifacts/predictions/test.npz").is_file()
    num_events = len(list(read_events(folder)))
    assert scoring.score_test(folder) == accuracy  # known: nothing is looked at
    assert len(list(read_events(folder))) == num_events

    assert hcr("train", *UNSCORED, "new_run=true", code=UNDRAWN).returncode == 0
    (other,) = set((tmp_path / "output" / "runs").iterdir()) - {folder}
    assert values_of(other, "metrics", "test/accuracy") == [accuracy]
    (loss,) = values_of(other, "metrics", "test/loss")
    assert values_of(folder, "metrics", "test/loss") == [pytest.approx(loss, rel=1e-5)]  # at other threads


def test_a_look_that_is_cut_short_is_counted_and_leaves_the_run_finished(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "predict_probabilities", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            scoring.score_test(folder)
    assert values_of(folder, "tags", "hcr.test_looks")[-1] == "1"
    assert values_of(folder, "metrics", "test/accuracy") == []
    assert last_event(folder)["status"] == "FINISHED"
    scoring.score_test(folder)
    assert values_of(folder, "tags", "hcr.test_looks")[-1] == "2"


def test_a_run_that_another_process_holds_or_whose_data_changed_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hcr.tracking.lock.UPLOADED_WITHIN_S", 0.2)
    with lock_run(folder), pytest.raises(HcrError, match="another process holds it"):
        scoring.score_test(folder)
    changed = replace(read_run(folder), tags={"hcr.dataset_digest": "another"})
    with monkeypatch.context() as patched, pytest.raises(HcrError, match="the data changed since it was trained"):
        patched.setattr(scoring, "read_run", lambda folder: changed)
        scoring.score_test(folder)
    assert values_of(folder, "tags", "hcr.test_looks") == []
    (folder / "artifacts/config/config.yaml").unlink()
    with pytest.raises(HcrError, match=r"config\.yaml: expected the run's config"):
        scoring.score_test(folder)
