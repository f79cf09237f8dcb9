"""The lock of a run, held by the process that writes or uploads its journal: a run with a held lock is alive.

It is an flock, which ends with its process. Other hosts do not see it, so a run's first event names its host.
"""

import fcntl
import socket
import time
from pathlib import Path
from typing import IO

from hcr.tracking.events import Event, last_event

LOCK = "lock"
UPLOADED_WITHIN_S = 15.0  # a little more than the default of tracking.timeout_s


def lock_run(folder: Path) -> IO[bytes]:
    """Take the run's lock; it is held until the returned file is closed or the process ends.

    Raises:
        BlockingIOError: another process holds it: the run is alive.
    """
    file = (folder / LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def lock_ended_run(folder: Path) -> IO[bytes]:
    """Take the lock of an ended run; if another process is uploading the run, wait for it, at most 15 s.

    Raises:
        BlockingIOError: the run is alive, or its upload takes longer.
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
    """The host name of this machine."""
    return socket.gethostname()


def this_boot() -> str | None:
    """The boot id of this machine, which its containers share; None if it is not Linux."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def is_of_this_host(header: Event) -> bool:
    """True if this host sees the lock of the run that began with `header`; containers of one machine share locks."""
    return header.get("host") in (None, this_host()) or (
        header.get("boot") is not None and header["boot"] == this_boot()
    )
