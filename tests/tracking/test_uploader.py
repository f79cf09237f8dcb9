"""A sweep's runs are carried to MLflow while they are trained. With many of them: tests/test_sweep.py."""

import shutil
import time
from pathlib import Path

import pytest

from hcr import stopping
from hcr.config.tracking import sqlite_uri
from hcr.tracking.journal import Journal
from hcr.tracking.replay import Replay
from hcr.tracking.status import read_position
from hcr.tracking.store import open_store
from hcr.tracking.uploader import Uploader


def test_a_run_that_is_deleted_while_it_is_trained_is_said_once_and_holds_up_no_end(
    tmp_path: Path, empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"
    with Journal(tmp_path, uri=uri, experiment="tests") as journal:
        journal.begin(name="a run", tags={})
        Replay(journal.folder).deliver()
        open_store(uri).delete_run(read_position(journal.folder)["run_id"])
        journal.metrics({"val/loss": 0.5}, step=1)
        with Uploader(uri, 600) as delivery:
            said = ""
            while not said:
                delivery.follow(journal.folder)  # as the controller does, ten times a second
                said = capsys.readouterr().err
                time.sleep(0.05)
            delivery.follow(journal.folder)
            assert delivery.num_left == 0
            journal.end("FINISHED")
            journal.release()
            delivery.finish(journal.folder)
            assert delivery.num_left == 0
    assert said.startswith(f"hcr: run {journal.key} was deleted in MLflow; ")
    assert capsys.readouterr().err == ""


def test_the_thread_has_ended_with_the_block_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with Uploader(sqlite_uri(tmp_path / "mlflow.db"), timeout_s=5.0) as delivery:
        while not delivery._ready:
            time.sleep(0.01)
    assert not delivery._thread.is_alive()
    assert not stopping._state.leaves_threads
