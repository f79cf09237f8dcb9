"""What tests write is not forced onto the disk: no test cuts the power, and the disk would be waited for at each event.

`tracking/test_journal.py` and `training/test_checkpoint.py` test that hcr forces it.
"""

import contextlib
import os
import sqlite3
from typing import Any

from sqlalchemy import Engine, event


def leave_unsynced() -> None:
    """Have this process, and those that are forked from it, leave it to the system when data reaches the disk."""
    os.fsync = _leave_file_unsynced
    event.listen(Engine, "connect", _leave_database_unsynced)


def _leave_file_unsynced(file: Any) -> None:
    os.fstat(file if isinstance(file, int) else file.fileno())  # which refuses what is no open file, as `fsync` does


def _leave_database_unsynced(connection: Any, _: object) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    (timeout_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")  # the next line reads the file, which may be locked or damaged
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA synchronous = OFF")
    connection.execute(f"PRAGMA busy_timeout = {timeout_ms}")
