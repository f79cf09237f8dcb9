"""The lock of a run tells whether its process is alive."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hcr.tracking.events import read_events
from hcr.tracking.journal import Journal, append_event
from hcr.tracking.lock import is_of_this_host, lock_ended_run, lock_run, this_boot, this_host


def test_the_lock_is_held_while_the_run_lives_and_free_after(tmp_path: Path) -> None:
    with Journal(tmp_path, uri="sqlite:////nowhere.db", experiment="tests") as journal:
        journal.begin(name="a run", tags={})
        with pytest.raises(BlockingIOError):
            lock_run(journal.folder)
    journal.release()
    lock_run(journal.folder).close()


def test_events_survive_a_killed_process_and_its_lock_does_not(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from hcr.tracking.journal import Journal\n"
        f"journal = Journal(Path({str(tmp_path)!r}), uri='sqlite:////nowhere.db', experiment='tests')\n"
        "journal.begin(name='a run', tags={}); journal.metrics({'val/loss': 0.5}, step=1)\n"
        "print(journal.key, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    folder = tmp_path / "runs" / done.stdout.strip()
    assert [event["event"] for event, _ in read_events(folder)] == ["run", "metrics"]
    lock_run(folder).close()


def test_the_lock_of_an_ended_run_is_waited_for_and_that_of_a_run_that_is_alive_is_not(tmp_path: Path) -> None:
    held = lock_run(tmp_path)
    append_event(tmp_path, "run", name="a run")
    with pytest.raises(BlockingIOError):
        lock_ended_run(tmp_path)
    append_event(tmp_path, "end", status="FINISHED")
    upload = threading.Thread(target=lambda: (time.sleep(0.3), held.close()))
    upload.start()
    lock_ended_run(tmp_path).close()
    assert held.closed
    upload.join()


def test_a_run_is_of_this_host_by_its_name_or_by_its_boot() -> None:
    assert is_of_this_host({})
    assert is_of_this_host({"host": this_host(), "boot": "another"})
    assert is_of_this_host({"host": "a container", "boot": this_boot()}) == (this_boot() is not None)
    assert not is_of_this_host({"host": "far", "boot": "another"})
