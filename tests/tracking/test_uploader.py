"""Runs are uploaded while they are trained, exactly once, and nothing waits for longer than it must.

With many runs of a sweep: tests/test_sweep.py. With signals: tests/test_stopping.py.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import MAKING_TABLES, Process
from mlflow import MlflowClient
from mlflow.entities import Run

from hcr import stopping
from hcr.config.errors import HcrError
from hcr.config.tracking import TrackingConfig, sqlite_uri
from hcr.tracking.events import JOURNAL, last_event, read_events
from hcr.tracking.journal import Journal
from hcr.tracking.lock import lock_run, this_host
from hcr.tracking.replay import HANDLERS, Replay
from hcr.tracking.session import recorded
from hcr.tracking.status import is_delivered, read_position, undelivered
from hcr.tracking.store import open_store
from hcr.tracking.uploader import Uploader

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An output root."""
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


@pytest.fixture
def uri(root: Path, empty_store: Path) -> str:
    """The URI of a store without runs."""
    return f"sqlite:///{shutil.copy(empty_store, root / 'mlflow.db')}"


def new_journal(root: Path, uri: str, *, parent: str | None = None) -> Journal:
    return Journal(root, uri=uri, experiment="tests", parent=parent)


def write_run(root: Path, uri: str, *, parent: str | None = None) -> Path:
    """The folder of a finished run that is not uploaded."""
    with new_journal(root, uri, parent=parent) as journal:
        journal.begin(name="a run", tags={})
        journal.metrics({"val/loss": 0.5}, step=1)
    journal.release()
    return journal.folder


@contextmanager
def single(journal: Journal, timeout_s: float) -> Iterator[Uploader]:
    """An uploader of one run, that of this process."""
    uploader = Uploader(journal.uri, timeout_s)
    uploader.carry(journal)
    with uploader:
        yield uploader


def runs(uri: str) -> dict[str, Run]:
    """The runs in the store, by key; each is there once."""
    client = open_store(uri)
    experiment = client.get_experiment_by_name("tests")
    found = client.search_runs([experiment.experiment_id]) if experiment is not None else []
    by_key = {run.data.tags["hcr.key"]: run for run in found}
    assert len(by_key) == len(found)
    return by_key


def wait_until(is_true: Any) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_is_uploaded_while_it_is_written(root: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcr.tracking.uploader.HEAD_START_S", 0.0)
    journal = new_journal(root, uri)
    with single(journal, 60) as uploader, journal:
        journal.begin(name="a run", tags={})
        journal.metrics({"val/loss": 0.5}, step=1)
        wait_until(lambda: journal.key in runs(uri) and runs(uri)[journal.key].data.metrics)
        assert runs(uri)[journal.key].info.status == "RUNNING"
        assert uploader.why_left() is not None
    assert uploader.why_left() is None
    assert runs(uri)[journal.key].info.status == "FINISHED"


def test_the_first_steps_of_a_run_are_not_held_up_by_an_import(
    root: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    monkeypatch.setattr("hcr.tracking.uploader.import_store", imported.append)
    journal = new_journal(root, uri)
    with single(journal, 60), journal:
        time.sleep(0.1)
        assert not (root / "runs").exists()
        journal.begin(name="a run", tags={})
        time.sleep(0.5)
        assert imported == []
    assert imported == [uri]  # the end waits for no head start


def test_mlflow_is_imported_once_the_first_epoch_is_done(root: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcr.tracking.uploader.HEAD_START_S", 1e9)
    imported: list[str] = []
    monkeypatch.setattr("hcr.tracking.uploader.import_store", imported.append)
    journal = new_journal(root, uri)
    with single(journal, 60), journal:
        journal.begin(name="a run", tags={})
        journal.metrics({"model/params": 53290.0}, step=0)
        time.sleep(0.2)
        assert imported == []
        journal.metrics({"val/loss": 0.5}, step=1)
        wait_until(lambda: imported == [uri])


def test_a_run_that_never_begins_imports_nothing(root: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    monkeypatch.setattr("hcr.tracking.uploader.import_store", imported.append)
    with single(new_journal(root, uri), 60) as uploader:
        pass
    assert (imported, uploader.why_left()) == ([], None)


def test_what_earlier_runs_left_is_uploaded_behind_the_run_s_own(root: Path, uri: str, tmp_path: Path) -> None:
    left, far = write_run(root, uri), write_run(root, uri)
    header = (far / JOURNAL).read_text().replace(f'"host": "{this_host()}"', '"host": "far"', 1)
    (far / JOURNAL).write_text(header.replace('"boot": "', '"boot": "other'))
    elsewhere = write_run(root, f"sqlite:///{tmp_path / 'other.db'}")
    journal = new_journal(root, uri)
    with single(journal, 30) as uploader, journal:
        journal.begin(name="own", tags={})
    assert uploader.why_left() is None
    assert set(undelivered(root)) == {far, elsewhere}
    assert read_position(left)["ended"]


def test_a_run_whose_process_died_is_ended_in_mlflow_by_the_next_run(root: Path, uri: str) -> None:
    dead = new_journal(root, uri)
    dead.begin(name="dead", tags={})
    dead.release()
    journal = new_journal(root, uri)
    with single(journal, 30), journal:
        journal.begin(name="own", tags={})
    assert last_event(dead.folder)["died"]
    assert {key: run.info.status for key, run in runs(uri).items()} == {dead.key: "FAILED", journal.key: "FINISHED"}


def test_the_lock_of_a_run_is_held_until_its_upload_is_done(
    root: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    end = HANDLERS["end"]

    def look(replay: Replay, client: MlflowClient, event: dict[str, Any]) -> None:
        try:
            lock_run(journal.folder).close()
        except BlockingIOError:
            held.append(True)
        end(replay, client, event)

    monkeypatch.setitem(HANDLERS, "end", look)
    journal = new_journal(root, uri)
    with single(journal, 30), journal:
        journal.begin(name="a run", tags={})
    assert held == [True]
    lock_run(journal.folder).close()


def test_a_store_that_is_not_there_is_said_once_and_costs_no_event(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = new_journal(root, NOWHERE)
    with single(journal, 1) as uploader, journal:
        journal.begin(name="a run", tags={})
    assert uploader.why_left()
    assert not Replay(journal.folder).ended
    assert [event["event"] for event, _ in read_events(journal.folder)] == ["run", "end"]
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("hcr: cannot upload the run to MLflow yet (")
    assert told.endswith("; training continues")


def test_an_outage_is_said_once_for_all_runs_and_ends_within_its_time(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [write_run(root, NOWHERE) for _ in range(3)]
    with Uploader(NOWHERE, 1) as uploader:
        wait_until(lambda: uploader._ready)
        for folder in folders:
            uploader.finish(folder)
        begun = time.monotonic()
        uploader.drain()
        assert time.monotonic() - begun < 30
        assert (uploader.num_left, uploader.error is None) == (3, False)
        assert uploader.find(NOWHERE, "tests", folders[0].name) is None
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("hcr: cannot upload the runs to MLflow yet (")
    assert told.endswith("; the sweep continues")


def test_a_slow_store_is_waited_for_as_long_as_it_takes_something(
    root: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = HANDLERS["tags"]

    def slowly(replay: Replay, client: MlflowClient, event: dict[str, Any]) -> None:
        time.sleep(0.4)
        upload(replay, client, event)

    monkeypatch.setitem(HANDLERS, "tags", slowly)
    journal = new_journal(root, uri)
    with single(journal, 3.5) as uploader, journal:
        journal.begin(name="a run", tags={})
        for number in range(12):  # 5 s in all, and none of them as long as the timeout
            journal.tags({"number": str(number)})
    assert uploader.why_left() is None
    assert runs(uri)[journal.key].data.tags["number"] == "11"


def test_an_mlflow_that_cannot_be_imported_is_told_and_fails_no_run(
    root: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(uri: str) -> None:
        raise ImportError("no mlflow here")

    monkeypatch.setattr("hcr.tracking.uploader.import_store", broken)
    monkeypatch.setattr("hcr.tracking.uploader.HEAD_START_S", 0.0)
    journal = new_journal(root, uri)
    with single(journal, 2) as uploader, journal:
        journal.begin(name="a run", tags={})
        uploader._thread.join()
        with pytest.raises(BlockingIOError):  # it is alive all the same
            lock_run(journal.folder)
        journal.tags({"a": "b"})
    assert str(uploader.why_left()) == "no mlflow here"
    assert [event["event"] for event, _ in read_events(journal.folder)] == ["run", "tags", "end"]
    lock_run(journal.folder).close()
    with Uploader(uri, 2) as uploader:
        uploader._thread.join()
        with pytest.raises(HcrError, match="mlflow: expected a package that can be imported, got ImportError"):
            uploader.check()


def test_a_run_that_is_deleted_while_it_is_made_is_waited_for_no_longer(
    root: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(root))
    tracking = TrackingConfig(uri=uri, experiment_name="tests", run_name=None, timeout_s=600)
    with recorded(tracking) as journal:
        journal.begin(name="a run", tags={})
        Replay(journal.folder).upload()
        open_store(uri).delete_run(read_position(journal.folder)["run_id"])
        journal.metrics({"val/loss": 0.5}, step=1)
    told = capsys.readouterr().err
    assert f"run {journal.key} was deleted in MLflow; `mlflow runs restore --run-id " in told
    assert told.endswith(f"the run was deleted in MLflow; its journal and artifacts are in {journal.folder}\n")
    assert "`hcr sync` uploads the rest" not in told
    lock_run(journal.folder).close()


def test_a_run_of_many_that_is_deleted_while_it_is_trained_is_said_once_and_holds_up_no_end(
    root: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with new_journal(root, uri) as journal:
        journal.begin(name="a run", tags={})
        Replay(journal.folder).upload()
        open_store(uri).delete_run(read_position(journal.folder)["run_id"])
        journal.metrics({"val/loss": 0.5}, step=1)
        with Uploader(uri, 600) as uploader:
            said = ""
            while not said.endswith("\n"):
                uploader.follow(journal.folder)  # as the controller does, ten times a second
                said += capsys.readouterr().err
                time.sleep(0.05)
            uploader.follow(journal.folder)
            assert uploader.num_left == 0
            journal.end("FINISHED")
            journal.release()
            uploader.finish(journal.folder)
            assert uploader.num_left == 0
    assert said.startswith(f"hcr: run {journal.key} was deleted in MLflow; ")
    assert said.endswith("; the sweep continues\n")
    assert capsys.readouterr().err == ""


def test_the_thread_has_ended_with_the_block_and_nothing_is_left_behind(root: Path) -> None:
    with Uploader(sqlite_uri(root / "mlflow.db"), timeout_s=5.0) as uploader:
        wait_until(lambda: uploader._ready)
    assert not uploader._thread.is_alive()
    assert not stopping._state.leaves_threads


def test_a_run_is_followed_without_its_lock_and_finished_with_it(root: Path, uri: str) -> None:
    with Uploader(uri, 30) as uploader, new_journal(root, uri) as journal:
        journal.begin(name="a run", tags={})
        uploader.follow(journal.folder)
        wait_until(lambda: journal.key in runs(uri))
        journal.end("FINISHED")
        uploader.finish(journal.folder)  # the process holds the lock a moment longer
        time.sleep(0.5)
        assert uploader.num_left == 1
        journal.release()
        uploader.drain()
        assert uploader.num_left == 0
        assert uploader.find(uri, "tests", journal.key) == runs(uri)[journal.key].info.run_id
    assert runs(uri)[journal.key].info.status == "FINISHED"


def test_a_run_that_the_store_has_lost_is_uploaded_anew(root: Path, uri: str, empty_store: Path) -> None:
    folder = write_run(root, uri)
    Replay(folder).upload()
    shutil.copy(empty_store, root / "mlflow.db")
    assert is_delivered(folder)
    with Uploader(uri, 30) as uploader:
        uploader.finish(folder)
        uploader.drain()
        assert runs(uri) == {}
        uploader.finish(folder, is_lost=True)
        uploader.drain()
        assert set(runs(uri)) == {folder.name}


def test_a_sweep_s_own_run_and_its_runs_go_one_way_the_parent_first(
    root: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(root))
    tracking = TrackingConfig(uri=uri, experiment_name="tests", run_name=None, timeout_s=30)
    with Uploader(uri, 30) as uploader:
        with recorded(tracking, uploader=uploader) as parent:
            early = write_run(root, uri, parent=parent.key)
            uploader.finish(early)
            wait_until(lambda: uploader._ready)
            time.sleep(0.5)
            assert runs(uri) == {}  # its parent has not begun
            parent.begin(name="a sweep", tags={})
            uploader.drain()  # which the parent, still open, does not hold up
            assert uploader.num_left == 0
            assert runs(uri)[parent.key].info.status == "RUNNING"
            with pytest.raises(BlockingIOError):
                lock_run(parent.folder)
        assert is_delivered(parent.folder)
    found = runs(uri)
    assert found[early.name].data.tags["mlflow.parentRunId"] == found[parent.key].info.run_id
    assert found[parent.key].info.status == "FINISHED"
    lock_run(parent.folder).close()


@pytest.mark.slow
def test_eight_processes_log_to_one_fresh_store_at_once_and_no_value_is_lost(
    start_hcr: Callable[..., Process], tmp_path: Path
) -> None:
    root, uri = tmp_path / "output", f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}"
    code = f"""{MAKING_TABLES}
from pathlib import Path
from hcr.tracking.journal import Journal
from hcr.tracking.uploader import Uploader
journal = Journal(Path({str(root)!r}), uri={uri!r}, experiment="tests")
uploader = Uploader({uri!r}, timeout_s=60)
uploader.carry(journal)
with uploader, journal:
    journal.begin(name="a run", tags={{}})
    for epoch in range(1, 51):
        journal.metrics({{"val/loss": 1 / epoch, "lr": 0.1}}, step=epoch)
assert uploader.why_left() is None, uploader.why_left()
"""
    started = [start_hcr("--version", code=code) for _ in range(8)]
    assert [(process.communicate()[1], process.returncode) for process in started] == [("", 0)] * 8
    client = open_store(uri)
    assert [run.info.status for run in runs(uri).values()] == ["FINISHED"] * 8
    for run in runs(uri).values():
        history = client.get_metric_history(run.info.run_id, "val/loss")
        assert sorted((metric.step, metric.value) for metric in history) == [(e, 1 / e) for e in range(1, 51)]
