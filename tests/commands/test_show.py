"""`hcr show`, on a finished run and on others, in a real SQLite store."""

import shutil
from pathlib import Path

import pytest

from hcr.commands import note, show
from hcr.config.errors import ConfigError, TrackingError
from hcr.tracking.journal import Journal
from hcr.tracking.replay import Replay
from hcr.tracking.store import open_store


@pytest.fixture
def folder(quick_run: Path, tmp_path: Path) -> Path:
    """The folder of a finished run, in an output root of the test's own."""
    shutil.copytree(quick_run / "output", tmp_path / "output")
    (folder,) = (tmp_path / "output" / "runs").iterdir()
    return folder


def test_a_finished_run_is_one_screen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main(["latest"]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) <= 24
    facts = {line[:12].strip(): line[12:] for line in printed.splitlines() if line[:12].strip()}
    assert printed.startswith(f"{folder.name}  digits cnn epochs=2 filters=8 seed=0")
    assert facts["status"].startswith("FINISHED; started ")
    assert facts["command"].startswith("hcr train training.epochs=2 model.filters=8")
    assert "test/accuracy" in facts["scores"]
    assert facts["test"] == "looked at 1 time"
    assert "▁" in facts["curves"]
    assert "test images wrong" in " ".join(printed.split())
    assert facts["next"] == f"hcr plots {folder.name} # its pictures"


def test_an_interrupted_run_says_why_and_how_to_resume_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "output"
    journal = Journal(root, uri=f"sqlite:///{root / 'mlflow.db'}", experiment="hcr")
    journal.begin(name="a [b]run", tags={})
    journal.tags({"hcr.error": "epoch 1, step 3: the loss became nan"})
    journal.end("FAILED")
    Replay(journal.folder).upload()
    journal.release()
    assert show.main([journal.key]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{journal.key}  a [b]run")
    assert "FAILED (epoch 1, step 3: the loss became nan)" in printed
    assert f"hcr train resume={journal.key}" in printed


def test_a_note_stands_above_the_card(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert note.main(["latest", "the", "*best* so far"]) == 0
    assert capsys.readouterr().out == f"noted on run {folder.name}: the *best* so far\n"
    client = open_store(f"sqlite:///{folder.parents[1] / 'mlflow.db'}")
    (run,) = client.search_runs(["1"])
    first, _, rest = run.data.tags["mlflow.note.content"].partition("\n\n---\n\n")
    assert first == "the *best* so far"
    assert rest.startswith("### **Test accuracy")
    assert run.info.status == "FINISHED"
    note.main([folder.name, "seen again"])
    (run,) = client.search_runs(["1"])
    assert run.data.tags["mlflow.note.content"].startswith("seen again\n\n---\n\nthe *best* so far\n\n---\n\n### ")


def test_a_note_on_a_live_run_or_without_text_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TEXT: expected 1 to 2,000 characters"):
        note.main(["latest", " "])
    journal = Journal(tmp_path / "output", uri=f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}", experiment="hcr")
    journal.begin(name="alive", tags={})
    with pytest.raises(TrackingError, match=r"expected a run that has ended; notes='...' notes one when it starts"):
        note.main([journal.key, "early"])
    journal.end("KILLED")
    journal.release()
