"""What a store knows decides what counts as finished: deleted runs do not, lost ones are delivered again."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from hcr.config.errors import ConfigError
from hcr.gate.compose import compose
from hcr.resuming import AlreadyFinished, refuse_finished, resume
from hcr.sweep.ledger import NUMBER_TAG, deleted_runs
from hcr.tracking.journal import Journal
from hcr.tracking.known import FEW, Known, ask, lost_runs, run_ids_of
from hcr.tracking.lock import lock_run
from hcr.tracking.replay import Replay
from hcr.tracking.status import finished_runs, read_position
from hcr.tracking.store import open_store

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    root = tmp_path / "output"
    root.mkdir()
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    return root


@pytest.fixture
def uri(root: Path) -> str:
    return f"sqlite:///{root / 'mlflow.db'}"


def record(root: Path, uri: str, *, is_over: bool = True, parent: str | None = None, mark: str = "f") -> Path:
    """The folder of a delivered run of fingerprint `mark`, finished or interrupted."""
    journal = Journal(root, uri=uri, experiment="tests", parent=parent)
    journal.begin(name="a run", tags={"hcr.fingerprint": mark, NUMBER_TAG: "1"}, scratch="checkpoint")
    journal.artifact("a.txt").write_text("a")
    journal.artifact_written("a.txt")
    journal.end("FINISHED" if is_over else "KILLED")
    journal.release()
    if uri.startswith("sqlite:"):
        Replay(journal.folder).upload()
    return journal.folder


def new_journal(root: Path, uri: str) -> Journal:
    return Journal(root, uri=uri, experiment="tests")


def delete(folder: Path, uri: str) -> None:
    open_store(uri).delete_run(read_position(folder)["run_id"])


def test_a_finished_run_that_was_deleted_in_mlflow_is_trained_again_with_a_note(
    root: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record(root, uri)
    with pytest.raises(AlreadyFinished, match=folder.name):
        refuse_finished(new_journal(root, uri), "f", 5)
    delete(folder, uri)
    refuse_finished(new_journal(root, uri), "f", 5)
    told = f"note: run {folder.name} finished with this config and was deleted in MLflow; it is trained again\n"
    assert capsys.readouterr().out == told


def test_a_finished_run_that_the_store_lost_is_delivered_again_and_not_trained(root: Path, uri: str) -> None:
    folder = record(root, uri)
    lose_all(root)
    assert lost_runs(root, uri) == [folder]
    with pytest.raises(AlreadyFinished):
        refuse_finished(new_journal(root, uri), "f", 5)
    assert lost_runs(root, uri) == []
    assert open_store(uri).get_run(read_position(folder)["run_id"]).info.status == "FINISHED"


def lose_all(root: Path) -> None:
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        for table in ("tags", "runs"):
            database.execute(f"DELETE FROM {table}")


def test_only_the_run_that_has_finished_and_its_parent_are_delivered_again(
    root: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other, parent = record(root, uri, mark="other"), record(root, uri, mark="parent")
    folder = record(root, uri, parent=parent.name)
    lose_all(root)
    with lock_run(folder), pytest.raises(AlreadyFinished):  # another process delivers it
        refuse_finished(new_journal(root, uri), "f", 5)
    told = f"note: MLflow had lost run {folder.name}; it could not be uploaded again; `hcr sync` says why\n"
    assert capsys.readouterr().out == told
    with pytest.raises(AlreadyFinished):
        refuse_finished(new_journal(root, uri), "f", 5)
    assert capsys.readouterr().out == f"note: MLflow had lost run {folder.name}; it was uploaded again\n"
    assert lost_runs(root, uri) == [other]
    tags = open_store(uri).get_run(read_position(folder)["run_id"]).data.tags
    assert tags["mlflow.parentRunId"] == read_position(parent)["run_id"]


def test_a_store_that_is_away_does_not_keep_a_finished_run_from_being_named(root: Path) -> None:
    record(root, NOWHERE)
    assert ask(NOWHERE, 0.2, {}) is None
    with pytest.raises(AlreadyFinished, match="could not be asked whether it is still there"):
        refuse_finished(new_journal(root, NOWHERE), "f", 0.2)


def test_an_interrupted_run_that_was_deleted_in_mlflow_is_not_resumed(root: Path, uri: str) -> None:
    folder = record(root, uri, is_over=False)
    delete(folder, uri)
    assert resume(new_journal(root, uri), compose(), "f") is None
    with pytest.raises(ConfigError, match=f"resume: run {folder.name} was deleted in MLflow"):
        resume(new_journal(root, uri), compose([f"resume={folder.name}"]), "f")


def test_a_run_that_mlflow_gc_removed_is_not_said_to_be_restorable(root: Path, uri: str) -> None:
    folder = record(root, uri, is_over=False)
    lose_all(root)
    shutil.rmtree(root / "artifacts" / read_position(folder)["run_id"])
    with pytest.raises(
        ConfigError, match=f"resume: run {folder.name} was deleted in MLflow; expected one that is there$"
    ):
        resume(new_journal(root, uri), compose([f"resume={folder.name}"]), "f")


def test_interrupted_runs_ask_each_store_once_and_those_of_a_sweep_ask_none(
    root: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = record(root, uri, mark="parent")
    alone = [record(root, uri, is_over=False) for _ in range(3)]
    nested = record(root, uri, is_over=False, parent=parent.name)
    for folder in (*alone, nested):
        delete(folder, uri)
    asked: list[str] = []

    def asking(uri: str, timeout_s: float, run_ids: Mapping[str, str | None]) -> Known | None:
        asked.append(uri)
        return ask(uri, timeout_s, run_ids)

    monkeypatch.setattr("hcr.resuming.ask", asking)
    assert resume(new_journal(root, uri), compose(), "f") is None
    assert asked == [uri]
    of_sweep = Journal(root, uri=uri, experiment="tests", parent=parent.name)
    assert resume(of_sweep, compose(), "f") is None  # the sweep gave it a key of its own
    of_sweep.take_key(nested.name)
    assert resume(of_sweep, compose(), "f") is not None, "the sweep alone says which of its runs go on"
    assert asked == [uri]
    of_sweep.end("KILLED")
    of_sweep.release()


def test_a_sweep_reuses_no_run_that_was_deleted_in_mlflow(root: Path, uri: str) -> None:
    parent = record(root, uri, mark="parent")
    kept, *deleted = [record(root, uri, parent=parent.name) for _ in range(3)]
    for folder in deleted:
        delete(folder, uri)
    gone = deleted_runs(uri)
    assert gone == {folder.name for folder in deleted}
    assert finished_runs(root, uri=uri, experiment="tests", without=gone) == {"f": kept, "parent": parent}


@pytest.mark.slow
@pytest.mark.parametrize("num_others", [1, FEW])
def test_a_server_is_asked_about_some_runs_and_knows_the_deleted_ones(
    root: Path, postgresql: str, num_others: int
) -> None:
    kept, deleted, twin = (record(root, postgresql, mark=mark) for mark in "abc")
    others = [record(root, postgresql, mark=f"d{i}") for i in range(num_others)]
    for folder in (kept, deleted, twin, *others):
        Replay(folder).upload()
    delete(deleted, postgresql)
    client = open_store(postgresql)
    experiment = client.get_experiment_by_name("tests").experiment_id
    # One that was created twice by a request that seemed to fail: the second is deleted, the first is the run.
    client.delete_run(client.create_run(experiment, tags={"hcr.key": twin.name}).info.run_id)
    known = ask(postgresql, 5, run_ids_of(root))
    assert known is not None
    assert known.deleted == {deleted.name}
    assert known.active == {folder.name for folder in (kept, twin, *others)}
    assert deleted_runs(postgresql) == {deleted.name}
    few = ask(postgresql, 5, {"0" * 12: None, twin.name: None})
    assert few == Known(frozenset({twin.name}))


def test_an_sqlite_store_is_asked_without_mlflow(root: Path, uri: str) -> None:
    record(root, uri)
    code = f"""
import sys
from hcr.tracking.known import ask
print(len(ask({uri!r}, 5, {{}}).active), "mlflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 False\n"
