"""The lock of a run: held by the process that writes its journal, or uploads it; so it tells which runs are alive.

It is an flock, which ends with its process. Other hosts do not see it: a run's first event says which host it is of.
"""

import fcntl
import socket
import time
from pathlib import Path
from typing import IO

from hcr.tracking.events import Event, last_event

LOCK = "lock"
UPLOADED_WITHIN_S = 15.0  # a little more than a run waits for its upload by default


def lock_run(folder: Path) -> IO[bytes]:
    """Take the run's lock, until the file that is returned is closed or the process ends.

    Raises:
        BlockingIOError: another process has it: the run is alive.
    """
    file = (folder / LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def lock_ended_run(folder: Path) -> IO[bytes]:
    """The run's lock; one that is held only while an ended run is uploaded is waited for.

    Raises:
        BlockingIOError: the run is alive, or its upload takes longer than it should.
    """
    deadline = time.monotonic() + UPLOADED_WITHIN_S
    while True:
        try:
            return lock_run(folder)
        except BlockingIOError:
            if last_event(folder).get("event") != "end" or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def this_host() -> str:
    """The name of this machine, by which locks are told from those of others."""
    return socket.gethostname()


def this_boot() -> str | None:
    """The id of this machine's boot, which its containers share; None where it has none, as it is not Linux."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def is_of_this_host(header: Event) -> bool:
    """Whether the lock of the run that began with `header` can be seen here: containers of one machine share it."""
    return header.get("host") in (None, this_host()) or (
        header.get("boot") is not None and header["boot"] == this_boot()
    )
