"""The delivery of a sweep's runs: its thread, where there is nothing to deliver. With runs: tests/test_sweep.py."""

import time
from pathlib import Path

from hcr import stopping
from hcr.config.tracking import sqlite_uri
from hcr.sweep.delivery import Delivery


def test_the_thread_has_ended_with_the_block_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with Delivery(sqlite_uri(tmp_path / "mlflow.db"), timeout_s=5.0) as delivery:
        while not delivery._ready:
            time.sleep(0.01)
    assert not delivery._thread.is_alive()
    assert not stopping._state.leaves_threads
