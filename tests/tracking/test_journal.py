"""The journal: on disk before anything else, whole lines only, ended by what happened."""

import contextlib
import json
import os
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hcr.config import DataError, TrackingError
from hcr.tracking.events import JOURNAL, read_events
from hcr.tracking.journal import Journal, add_events, append_event, end_dead_run
from hcr.tracking.lock import lock_run


def new_journal(root: Path) -> Journal:
    return Journal(root, uri="sqlite:////nowhere.db", experiment="tests")


def events(journal: Journal) -> list[dict[str, object]]:
    return [event for event, _ in read_events(journal.folder)]


def test_nothing_is_on_disk_before_a_run_begins(tmp_path: Path) -> None:
    with pytest.raises(DataError), new_journal(tmp_path):
        raise DataError("no file")
    assert list(tmp_path.iterdir()) == []


def test_an_event_is_forced_onto_the_disk_before_anything_else_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []  # how much of the journal has been forced onto the disk

    def sync(number: int) -> None:
        if os.path.sameopenfile(number, journal._file.fileno()):
            synced.append(os.fstat(number).st_size)

    monkeypatch.setattr(os, "fsync", sync)
    with new_journal(tmp_path) as journal:
        journal.begin(name="a run", tags={})
        path = journal.folder / JOURNAL
        for epoch in (1, 2, 3):
            journal.metrics({"val/loss": 0.5}, step=epoch)
            assert synced[-1] == path.stat().st_size
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    append_event(journal.folder, "sign")
    assert synced[-1] == path.stat().st_size


def test_what_was_written_is_read_back_in_order(tmp_path: Path) -> None:
    with new_journal(tmp_path) as journal:
        journal.begin(name="a run", tags={"x": "y"})
        journal.metrics({"val/loss": 0.5}, step=1)
        journal.params({"seed": "0"})
    kinds = [event["event"] for event in events(journal)]
    assert kinds == ["run", "metrics", "params", "end"]
    first = events(journal)[0]
    assert first["tags"] == {"x": "y", "hcr.key": journal.key, "hcr.host": socket.gethostname()}
    assert events(journal)[1]["values"] == {"val/loss": 0.5}


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (None, "FINISHED", None),
        (DataError("no file"), "FAILED", "no file"),
        (ZeroDivisionError("oops"), "FAILED", "ZeroDivisionError: oops"),
        (KeyboardInterrupt(), "KILLED", "interrupted"),
    ],
)
def test_the_last_event_says_how_the_run_ended(
    tmp_path: Path, error: BaseException | None, status: str, told: str | None
) -> None:
    journal = new_journal(tmp_path)
    try:
        with journal:
            journal.begin(name="a run", tags={})
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    assert events(journal)[-1]["status"] == status
    tags = [event["values"] for event in events(journal) if event["event"] == "tags"]
    assert tags == ([] if told is None else [{"hcr.error": told}])


def test_an_output_root_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="expected a folder that can be written"):
        new_journal(tmp_path / "file").begin(name="a run", tags={})


def test_each_event_is_one_line_of_json_whatever_is_in_it(tmp_path: Path) -> None:
    with new_journal(tmp_path) as journal:
        journal.begin(name="two\nlines", tags={"ü": "\u2028"})
    lines = (journal.folder / JOURNAL).read_bytes().split(b"\n")
    assert json.loads(lines[0])["name"] == "two\nlines"
    assert len(lines) == 3


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()], ids=["finished", "killed"])
def test_the_scratch_folder_is_there_until_the_run_has_finished(tmp_path: Path, error: BaseException | None) -> None:
    journal = new_journal(tmp_path)
    with contextlib.suppress(KeyboardInterrupt), journal:
        journal.begin(name="a run", tags={}, scratch="checkpoint")
        (journal.folder / "checkpoint" / "000001").write_bytes(b"state")
        if error is not None:
            raise error
    assert (journal.folder / "checkpoint").exists() == (error is not None)


def test_a_full_disk_ends_the_run_with_a_clear_error_and_a_journal_that_still_opens(tmp_path: Path) -> None:
    code = f"""
import resource, signal
from pathlib import Path
from hcr.config import TrackingError
from hcr.tracking.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    with Journal(Path({str(tmp_path)!r}), uri="sqlite:////nowhere.db", experiment="tests") as journal:
        journal.begin(name="a run", tags={{}})
        for epoch in range(1, 1000):
            journal.metrics({{"val/loss": 0.5}}, step=epoch)
except TrackingError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    (folder,) = (tmp_path / "runs").iterdir()
    assert done.stdout.startswith(f"{folder / JOURNAL}: cannot be written (")
    assert done.stdout.endswith("the run ends here\n")
    assert done.stderr == ""
    steps = [event["step"] for event, _ in read_events(folder) if event["event"] == "metrics"]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > 10
    with lock_run(folder):
        assert end_dead_run(folder)
    *_, (last, _) = read_events(folder)
    assert (last["event"], last["status"]) == ("end", "FAILED")


def test_a_full_disk_takes_nothing_from_a_run_that_has_ended(tmp_path: Path) -> None:
    with new_journal(tmp_path) as journal:
        journal.begin(name="a", tags={})
    journal.release()
    before = (journal.folder / JOURNAL).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 90, hard))  # room for the first event, not for the end
    try:
        with lock_run(journal.folder), pytest.raises(OSError, match=r"File too large|No space left"):
            add_events(journal.folder, [{"event": "metrics", "step": 0, "values": {"a": 1.0}}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (journal.folder / JOURNAL).read_bytes() == before
    assert not end_dead_run(journal.folder)
    with lock_run(journal.folder):
        add_events(journal.folder, [{"event": "metrics", "step": 0, "values": {"a": 1.0}}])
    assert [event["event"] for event in events(journal)] == ["run", "end", "metrics", "end"]


def test_an_event_appended_to_a_folder_is_whole_stamped_and_makes_its_journal(tmp_path: Path) -> None:
    append_event(tmp_path, "begun", number=3)
    append_event(tmp_path, "end", time_ms=12, why="two\nlines")
    first, last = [event for event, _ in read_events(tmp_path)]
    assert (first["event"], first["number"]) == ("begun", 3)
    assert first["time_ms"] > 1_600_000_000_000
    assert last == {"event": "end", "time_ms": 12, "why": "two\nlines"}
    assert stat.S_IMODE((tmp_path / JOURNAL).stat().st_mode) == 0o600


@pytest.mark.parametrize("whole", [b"", b'{"event": "begun"}\n'], ids=["first", "second"])
@pytest.mark.parametrize("cut", [b'{"event": "me', b'{"event": "' + b"x" * (1 << 20)], ids=["short", "long"])
def test_an_event_is_not_appended_to_a_line_that_a_kill_cut_short(tmp_path: Path, whole: bytes, cut: bytes) -> None:
    (tmp_path / JOURNAL).write_bytes(whole + cut)
    append_event(tmp_path, "end")
    assert [event["event"] for event, _ in read_events(tmp_path)] == ["begun"] * bool(whole) + ["end"]


def test_processes_that_append_to_one_journal_at_once_lose_no_event(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from hcr.tracking.journal import append_event\n"
    code += "for n in range(50): append_event(Path(sys.argv[1]), 'sign', of=sys.argv[2], n=n)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen([*command, name]) for name in "abc"]
    assert [process.wait() for process in started] == [0, 0, 0]
    found = [event for event, _ in read_events(tmp_path)]
    assert {name: [event["n"] for event in found if event["of"] == name] for name in "abc"} == {
        name: list(range(50)) for name in "abc"
    }


def test_a_full_disk_leaves_no_part_of_an_event(tmp_path: Path) -> None:
    append_event(tmp_path, "begun")
    before = (tmp_path / JOURNAL).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        with pytest.raises(OSError, match=r"File too large|No space left"):
            append_event(tmp_path, "end", status="FINISHED")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_half_a_line_behind_the_end_of_a_run_is_cut_away_so_that_it_counts_as_uploaded(tmp_path: Path) -> None:
    append_event(tmp_path, "end", status="FINISHED")
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + b'{"event": "met')
    assert not end_dead_run(tmp_path)
    assert (tmp_path / JOURNAL).read_bytes() == whole
