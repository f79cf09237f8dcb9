"""Events are read back whole, in order, and from where reading stopped."""

import os
from pathlib import Path

import pytest

from hcr.config import TrackingError
from hcr.tracking.events import JOURNAL, first_event, last_event, read_events
from hcr.tracking.journal import append_event


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose journal has two events."""
    append_event(tmp_path, "run", name="a run")
    append_event(tmp_path, "end", status="FINISHED")
    return tmp_path


def append(folder: Path, text: bytes) -> None:
    with (folder / JOURNAL).open("ab") as file:
        file.write(text)


def test_a_line_cut_short_is_not_read_until_it_is_whole(folder: Path) -> None:
    append(folder, b'{"event": "met')
    assert len(list(read_events(folder))) == 2
    assert last_event(folder)["event"] == "end"
    append(folder, b'rics"}\n')
    assert len(list(read_events(folder))) == 3
    assert last_event(folder) == {"event": "metrics"}


def test_a_damaged_line_is_refused_by_name_and_place(folder: Path) -> None:
    append(folder, b"garbage\n")
    with pytest.raises(TrackingError, match=r"journal\.jsonl: damaged before byte"):
        list(read_events(folder))


def test_reading_goes_on_from_where_it_stopped(folder: Path) -> None:
    *_, (_, offset) = read_events(folder)
    append_event(folder, "params", values={"seed": "0"})
    assert [event["event"] for event, _ in read_events(folder, offset)] == ["params"]


def test_the_last_event_of_a_long_journal_is_read_from_its_end(folder: Path) -> None:
    append(folder, b"x" * (1 << 20) + b"\n")
    append_event(folder, "end", status="KILLED")
    assert last_event(folder)["status"] == "KILLED"
    assert first_event(folder)["name"] == "a run"


def test_a_folder_without_a_readable_journal_has_neither_a_first_event_nor_a_last(tmp_path: Path) -> None:
    assert (first_event(tmp_path), last_event(tmp_path)) == ({}, {})
    append(tmp_path, b"garbage\n" + os.urandom(20) + b"\n")
    assert (first_event(tmp_path), last_event(tmp_path)) == ({}, {})
