"""Runs get another store, or are given up, all of them or none, and never one that may be alive."""

import itertools
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hcr.config.errors import TrackingError
from hcr.tracking.aim import aim_at, forget
from hcr.tracking.events import first_event, last_event
from hcr.tracking.journal import Journal
from hcr.tracking.place import read_choice, store_of, write_choice
from hcr.tracking.status import POSITION

NOWHERE, ELSEWHERE = "http://127.0.0.1:9", "http://127.0.0.1:19"


def write_run(root: Path, *, parent: str | None = None, host: str | None = None, is_over: bool = True) -> Path:
    journal = Journal(root, uri=NOWHERE, experiment="tests", parent=parent)
    if host is not None:
        journal.header |= {"host": host, "boot": "another"}
    journal.begin(name="a run", tags={})
    if is_over:
        journal.end("FINISHED")
    journal.release()
    return journal.folder


def stores(*folders: Path) -> list[str]:
    return [store_of(folder, first_event(folder)) for folder in folders]


@pytest.fixture
def sweep(tmp_path: Path) -> list[Path]:
    """A sweep's own run and three of its runs; none is delivered as a whole."""
    parent = write_run(tmp_path)
    folders = [parent, *(write_run(tmp_path, parent=parent.name) for _ in range(3))]
    for folder in folders:
        (folder / POSITION).write_text(json.dumps({"offset": 1, "run_id": "r", "ended": False}))
    return folders


def test_a_run_of_another_host_may_be_alive_and_is_neither_moved_nor_ended(tmp_path: Path) -> None:
    far = write_run(tmp_path, host="far", is_over=False)
    told = f"run {far.name} belongs to another host.*--take-over"
    with pytest.raises(TrackingError, match=told):
        aim_at(tmp_path, ELSEWHERE, [far])
    with pytest.raises(TrackingError, match=told):
        forget(tmp_path, [far])
    assert (read_choice(far), last_event(far)["event"]) == ({}, "run")
    assert aim_at(tmp_path, ELSEWHERE, [far], take_over=True) == [far]
    assert forget(tmp_path, [far], take_over=True) == [far]


def test_a_run_that_was_given_up_gets_no_store_back_unless_it_is_named(tmp_path: Path, sweep: list[Path]) -> None:
    parent, given_up, *others = sweep
    forget(tmp_path, [given_up])
    assert aim_at(tmp_path, ELSEWHERE, [parent]) == sorted([parent, *others])
    assert read_choice(given_up) == {"forgotten": True}
    assert aim_at(tmp_path, ELSEWHERE, [given_up]) == [given_up]
    assert stores(given_up) == [ELSEWHERE]


def test_a_run_whose_sweep_was_given_up_has_nothing_to_be_nested_under(tmp_path: Path, sweep: list[Path]) -> None:
    parent, child, *_ = sweep
    forget(tmp_path, [parent])
    with pytest.raises(TrackingError, match=f"nested under {parent.name}, whose upload was given up"):
        aim_at(tmp_path, ELSEWHERE, [child])
    assert aim_at(tmp_path, ELSEWHERE, [child, parent]) == sorted([child, parent])


@contextmanager
def at_most_open(more: int) -> Iterator[None]:
    """The process may open so many more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    free = (number for number in itertools.count() if number not in used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, more, None)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_sweep_may_have_more_runs_than_a_process_may_open_files(tmp_path: Path) -> None:
    parent = write_run(tmp_path)
    folders = [parent, *(write_run(tmp_path, parent=parent.name) for _ in range(40))]
    with at_most_open(20):
        assert aim_at(tmp_path, ELSEWHERE, [parent]) == sorted(folders)
        assert forget(tmp_path, [parent]) == sorted(folders)


@pytest.mark.parametrize("what", ["--to", "--forget"])
def test_where_one_run_cannot_be_written_none_is_changed(tmp_path: Path, sweep: list[Path], what: str) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for folder in sweep for path in folder.iterdir() if path.is_file()}

    (sweep[0] / "store.json.new").mkdir()  # in the way of what is written last
    before = files()
    with pytest.raises(TrackingError, match=f"^{what}: {sweep[0]}: expected a folder that can be written"):
        aim_at(tmp_path, ELSEWHERE, [sweep[0]]) if what == "--to" else forget(tmp_path, [sweep[0]])
    assert files() == before


@pytest.mark.parametrize("written", range(4))
def test_what_a_kill_in_the_middle_left_is_moved_by_the_same_command(
    tmp_path: Path, sweep: list[Path], written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = min(sweep[1:])  # that the names come in some order is no help
    choices: list[Path] = []

    def dying(folder: Path, **choice: object) -> None:
        if len(choices) == written:
            os._exit(9)
        choices.append(folder)
        write_choice(folder, **choice)

    process = os.fork()
    if process == 0:
        monkeypatch.setattr("hcr.tracking.aim.write_choice", dying)
        aim_at(tmp_path, ELSEWHERE, [asked])
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    assert stores(*sweep).count(ELSEWHERE) == written
    aim_at(tmp_path, ELSEWHERE, [asked])
    assert stores(*sweep) == [ELSEWHERE] * 4
    assert not any((folder / POSITION).exists() for folder in sweep)
