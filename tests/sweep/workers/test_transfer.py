"""A run's folder that travels while it grows."""

import os
from pathlib import Path

import pytest

from hcr.checkpoints import CHECKPOINT
from hcr.sweep.workers.transfer import Copy, Original
from hcr.tracking.events import read_events
from hcr.tracking.journal import Journal
from hcr.tracking.lock import lock_run


class Made:
    """A run that is made on a node, and its copy on the controller's disk."""

    def __init__(self, tmp_path: Path, *, every: int = 1) -> None:
        self.journal = Journal(tmp_path / "node", uri="sqlite:///mlflow.db", experiment="x", parent="b00000000000")
        self.there, self.here = self.journal.folder, tmp_path / "controller" / "runs" / self.journal.key
        self.copy = Copy(self.here)
        self.original = Original(self.there, self.copy.content(), every=every)

    def begin(self) -> None:
        self.journal.begin(name="trial", tags={}, scratch=CHECKPOINT)
        self.artifact("config/config.yaml", "seed: 0")

    def artifact(self, name: str, text: str) -> None:
        self.journal.artifact(name).write_text(text)
        self.journal.artifact_written(name)

    def epoch(self, epoch: int) -> None:
        folder = self.there / CHECKPOINT
        (folder / f"{epoch:06}").write_bytes(b"weights %d" % epoch)
        (folder / f"{epoch - 2:06}").unlink(missing_ok=True)
        self.journal.metrics({"val/loss": 1 / epoch}, step=epoch)

    def travel(self, *, is_over: bool = False) -> set[str]:
        """What travels, by name."""
        changes = self.original.changes(is_over=is_over)
        if changes is None:
            return set()
        self.copy.apply(changes)
        return {*changes.files, *(["journal.jsonl"] if changes.journal else [])}


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_only_what_changed_travels_and_the_copy_ends_as_the_original(made: Made) -> None:
    assert made.travel() == set()
    made.begin()
    assert made.travel() == {"artifacts/config/config.yaml", "journal.jsonl"}
    assert made.travel() == set()
    for epoch in (1, 2, 3):
        made.epoch(epoch)
        assert made.travel() == {f"checkpoint/{epoch:06}", "journal.jsonl"}
        assert content(made.here) == content(made.there)
    made.artifact("reports/report.txt", "good")
    made.journal.end("FINISHED")
    assert made.travel(is_over=True) == {"artifacts/reports/report.txt", "journal.jsonl"}
    assert content(made.here) == content(made.there)
    assert not (made.here / CHECKPOINT).exists()


def test_checkpoints_that_are_spared_leave_the_last_one_of_a_stopped_run(tmp_path: Path) -> None:
    made = Made(tmp_path, every=2)
    made.begin()
    names = []
    for epoch in (1, 2, 3):
        made.epoch(epoch)
        names += [name for name in made.travel() if name.startswith(CHECKPOINT)]
    assert names == ["checkpoint/000002"]
    made.journal.end("KILLED")
    assert made.travel(is_over=True) == {"checkpoint/000003", "journal.jsonl"}


def test_a_line_that_is_not_finished_does_not_travel_yet(made: Made) -> None:
    made.begin()
    made.travel()
    line = b'{"event": "tags", "time_ms": 1, "values": {}}\n'
    with (made.there / "journal.jsonl").open("ab", buffering=0) as file:
        file.write(line[:20])
        assert made.travel() == set()
        file.write(line[20:])
    assert made.travel() == {"journal.jsonl"}
    assert content(made.here) == content(made.there)


@pytest.mark.parametrize("fails", ["rename", "append"])
def test_a_copy_that_is_cut_off_names_nothing_that_is_absent(
    made: Made, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    made.begin()
    made.travel()
    made.epoch(1)
    before = (made.here / "journal.jsonl").read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(*{"rename": (Path, "replace"), "append": (os, "fsync")}[fails], fail)
        made.travel()
    assert (made.here / "journal.jsonl").read_bytes() == before
    checkpoints = list((made.here / CHECKPOINT).iterdir())
    assert all(path.read_bytes() == b"weights 1" for path in checkpoints)
    assert made.copy.content().keys() >= {"journal.jsonl", "artifacts/config/config.yaml"}


def test_the_run_is_locked_while_it_is_made_and_goes_on_from_its_copy(made: Made, tmp_path: Path) -> None:
    made.begin()
    made.epoch(1)
    made.travel()
    with pytest.raises(BlockingIOError):
        lock_run(made.here)
    with pytest.raises(BlockingIOError):
        Copy(made.here)
    made.copy.release()
    with (made.here / "journal.jsonl").open("ab") as file:
        file.write(b'{"event": "ta')  # of a controller that was killed
    copy = Copy(made.here)
    other = tmp_path / "other" / "runs" / made.journal.key
    original = Original(other, copy.content(), every=1)
    assert content(other) == content(made.there)
    journal = Journal(tmp_path / "other", uri="sqlite:///mlflow.db", experiment="x", parent="b00000000000")
    journal.resume(other)
    changes = original.changes(is_over=False)
    assert changes is not None and not changes.files
    copy.apply(changes)
    assert [event["event"] for event, _ in read_events(made.here)][-2:] == ["metrics", "resume"]
