"""The index: derived from the journals, which stay the only truth."""

import json
import os
import stat
from pathlib import Path

import pytest

from hcr.tracking import index
from hcr.tracking.events import JOURNAL
from hcr.tracking.index import INDEX, IndexedRun, indexed_runs
from hcr.tracking.journal import Journal, add_events, end_dead_run
from hcr.tracking.lock import lock_run

NUM_RUNS = 5


def record(root: Path, *, parent: str | None = None, loss: float = 0.5, is_over: bool = True) -> Path:
    journal = Journal(root, uri=f"sqlite:///{root / 'mlflow.db'}", experiment="tests", parent=parent)
    tags = {"hcr.kind": "train", "hcr.fingerprint": f"f{loss}", "hcr.dataset_digest": "d", "hcr.code": "c"}
    journal.begin(name=f"loss {loss}", tags=tags, scratch="checkpoint")
    journal.metrics({"train/loss": 2 * loss, "val/loss": loss}, step=1)
    journal.metrics({"best/val_loss": loss}, step=1)
    if is_over:
        journal.end("FINISHED")
    journal.release()
    return journal.folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(NUM_RUNS):
        record(tmp_path, loss=i / 10)
    return tmp_path


@pytest.fixture(autouse=True)
def _written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as settled, and one new row is enough for the file to be written."""
    monkeypatch.setattr(index, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(index, "MOST_STALE", 0)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the runs whose journals are read."""
    found: list[str] = []
    really = index._read_run

    def reading(folder: Path) -> IndexedRun:
        found.append(folder.name)
        return really(folder)

    monkeypatch.setattr(index, "_read_run", reading)
    return found


def in_a_new_process(root: Path) -> list[IndexedRun]:
    index._kept.clear()
    return indexed_runs(root)


def test_a_row_says_what_the_journal_says(root: Path) -> None:
    folder = record(root, parent="abc", loss=0.25)
    (folder / "delivered.json").write_text(json.dumps({"offset": 1, "run_id": "r1", "ended": True}))
    row = next(run for run in indexed_runs(root) if run.folder == folder)
    assert (row.key, row.status, row.has_ended, row.run_id) == (folder.name, "FINISHED", True, "r1")
    assert (row.header["name"], row.header["parent"], row.best) == ("loss 0.25", "abc", {"best/val_loss": 0.25})
    assert row.tags == {"hcr.kind": "train", "hcr.fingerprint": "f0.25", "hcr.dataset_digest": "d"}
    assert row.store == f"sqlite:///{root / 'mlflow.db'}"
    assert not row.is_delivered, "the journal is longer than what was uploaded"
    size = (folder / JOURNAL).stat().st_size
    (folder / "delivered.new").write_text(json.dumps({"offset": size, "run_id": "r1", "ended": True}))
    (folder / "delivered.new").replace(folder / "delivered.json")
    assert next(run for run in indexed_runs(root) if run.folder == folder).is_delivered


def test_another_process_reads_no_journal_that_is_in_the_file(root: Path, read: list[str]) -> None:
    rows = indexed_runs(root)
    assert len(read) == len(rows) == NUM_RUNS
    assert [row.key for row in rows] == sorted(row.key for row in rows)
    assert in_a_new_process(root) == rows
    assert len(read) == NUM_RUNS


def test_only_runs_that_are_new_or_changed_are_read_again(root: Path, read: list[str]) -> None:
    first, second, *_ = (run.folder for run in indexed_runs(root))
    read.clear()
    new = record(root, is_over=False)
    with lock_run(first):
        add_events(first, [{"event": "metrics", "step": 0, "values": {"best/val_loss": 7.0}}])
        add_events(first, [{"event": "tags", "values": {"hcr.reused_by.abc": "3"}}])
    rows = {run.folder: run for run in in_a_new_process(root)}
    assert set(read) == {new.name, first.name}
    assert (rows[first].best, rows[first].reused_by) == ({"best/val_loss": 7.0}, ["abc"])
    assert rows[new].status is None
    with lock_run(new):
        end_dead_run(new)
    assert {run.folder: run.status for run in in_a_new_process(root)}[new] == "FAILED"
    (second / JOURNAL).unlink()
    assert second not in {run.folder for run in in_a_new_process(root)}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"version": 0, "runs": {}}', '{"version": 1, "runs": {"KEY": [[1, 2, 3], {"status": "FAILED"}]}}'],
)
def test_a_file_that_is_damaged_old_or_wrong_is_not_believed(root: Path, content: str) -> None:
    rows = indexed_runs(root)
    (root / INDEX).write_text(content.replace("KEY", rows[0].key))
    assert in_a_new_process(root) == rows
    assert json.loads((root / INDEX).read_text())["runs"].keys() == {run.key for run in rows}, "it is written again"


def test_a_file_that_may_still_change_unnoticed_is_read_each_time(
    root: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "SETTLED_NS", 10**12)
    for _ in range(2):
        assert len(indexed_runs(root)) == NUM_RUNS
    assert len(read) == 2 * NUM_RUNS
    assert json.loads((root / INDEX).read_text())["runs"] == {}


def test_a_root_that_cannot_be_written_is_read_all_the_same(root: Path) -> None:
    (root / INDEX).mkdir()
    assert len(indexed_runs(root)) == NUM_RUNS
    assert sorted(path.name for path in root.iterdir()) == [INDEX, "runs"], "no other file is left"
    assert indexed_runs(root / "nowhere") == []


def test_the_file_is_its_owners_alone_and_few_changes_do_not_write_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed_runs(root)
    before = (root / INDEX).stat()
    assert stat.S_IMODE(before.st_mode) == 0o600, "a store's URI may hold a password"
    monkeypatch.setattr(index, "MOST_STALE", 1)
    record(root)
    assert len(in_a_new_process(root)) == NUM_RUNS + 1
    assert os.stat(root / INDEX).st_ino == before.st_ino  # noqa: PTH116
