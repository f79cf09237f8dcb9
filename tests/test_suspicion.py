"""A silent run of another host is suspected, not ended, until it speaks again; one of this machine's is not."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hcr.commands import sync
from hcr.tracking.events import JOURNAL
from hcr.tracking.journal import Journal, now_ms
from hcr.tracking.lock import lock_run
from hcr.tracking.replay import Replay
from hcr.tracking.status import end_dead_runs
from hcr.tracking.store import open_store
from hcr.tracking.suspicion import SILENT_MS, suspect_silent_runs


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    root = tmp_path / "output"
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    return root


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return open_store(f"sqlite:///{root / 'mlflow.db'}")


def running(root: Path, *, host: str, boot: str, silent_ms: int = 0) -> Path:
    """A delivered run that has not ended, as `host` would have left it."""
    journal = Journal(root, uri=f"sqlite:///{root / 'mlflow.db'}", experiment="tests")
    journal.begin(name="a run", tags={})
    journal.metrics({"val/loss": 0.5}, step=1)
    journal.release()
    path = journal.folder / JOURNAL
    events = [json.loads(line) for line in path.read_text().splitlines()]
    events[0] |= {"host": host, "boot": boot}
    events[0]["tags"]["hcr.host"] = host
    for event in events:
        event["time_ms"] -= silent_ms
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    Replay(journal.folder).upload()
    return journal.folder


def tags(client: MlflowClient, key: str) -> dict[str, str]:
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id], f"tags.`hcr.key` = '{key}'")
    return {"status": run.info.status, **run.data.tags}


def test_a_silent_run_of_another_host_is_suspected_until_it_speaks(root: Path, client: MlflowClient) -> None:
    silent = running(root, host="far", boot="other", silent_ms=SILENT_MS + 60_000)
    running(root, host="far", boot="other")
    (line,) = suspect_silent_runs(client)
    assert line.startswith(f"suspected: run {silent.name} on far, last seen ")
    found = tags(client, silent.name)
    assert found["status"] == "RUNNING"
    assert found["hcr.suspected"].startswith("last seen ")
    with (silent / JOURNAL).open("a") as file:
        file.write(json.dumps({"event": "end", "time_ms": now_ms(), "status": "FINISHED"}) + "\n")
    Replay(silent).upload()
    found = tags(client, silent.name)
    assert found["status"] == "FINISHED"
    assert "hcr.suspected" not in found


def test_only_runs_whose_lock_can_be_seen_here_are_ended(root: Path) -> None:
    here = Journal(root, uri="sqlite:///x", experiment="tests")
    own_boot = here.header["boot"]
    far = running(root, host="far", boot="other")
    container = running(root, host="far", boot=own_boot)
    rebooted = running(root, host=here.header["host"], boot="before")
    alive = running(root, host=here.header["host"], boot=own_boot)
    with lock_run(alive):
        assert set(end_dead_runs(root)) == {container, rebooted}
    assert set(end_dead_runs(root)) == {alive}
    assert "end" not in (far / JOURNAL).read_text()


def test_sync_leaves_another_host_s_run_alone_unless_told_otherwise(
    root: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    far = running(root, host="far", boot="other")
    sync.main([])
    assert f"skipped: run {far.name} belongs to another host" in capsys.readouterr().out
    assert tags(client, far.name)["status"] == "RUNNING"
    sync.main(["--take-over"])
    assert tags(client, far.name)["status"] == "FAILED"
