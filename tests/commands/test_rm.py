"""`hcr rm`: runs removed here and in a real SQLite store, and not uploaded again."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from hcr.commands import register, rm, sync
from hcr.config.errors import TrackingError
from hcr.tracking.events import is_removed
from hcr.tracking.journal import Journal
from hcr.tracking.known import ask, deleted_keys
from hcr.tracking.removal import plan_removal, remove
from hcr.tracking.replay import Replay
from hcr.tracking.status import finished_runs
from hcr.tracking.store import open_store


@pytest.fixture
def folder(quick_run: Path, tmp_path: Path) -> Path:
    """The folder of a finished run, in an output root of the test's own."""
    shutil.copytree(quick_run / "output", tmp_path / "output")
    (folder,) = (tmp_path / "output" / "runs").iterdir()
    return folder


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder.parents[1] / 'mlflow.db'}"


def stages(client: MlflowClient) -> list[str]:
    return [run.info.lifecycle_stage for run in client.search_runs(["1"], "", ViewType.ALL)]


def test_without_yes_it_only_shows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rm.main([folder.name]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{folder.name}  FINISHED")
    assert f"would be removed; hcr rm {folder.name} --yes removes them" in printed
    assert (folder / "artifacts" / "model").is_dir()
    assert stages(open_store(uri_of(folder))) == ["active"]


def test_a_removed_run_is_gone_here_and_there_and_stays_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, uri = folder.parents[1], uri_of(folder)
    assert rm.main([folder.name, "--yes"]) == 0
    client = open_store(uri)
    assert stages(client) == ["deleted"]
    assert client.search_logged_models(["1"]) == []
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == []
    assert finished_runs(root, uri=uri, experiment="hcr") == {}
    assert folder.name in deleted_keys(root, uri, ask(uri, 5.0, {}))
    with pytest.raises(TrackingError, match="was removed before"):
        rm.main([folder.name, "--yes"])
    for path in root.glob("mlflow.db*"):  # the store is lost, and nothing brings the run back
        path.unlink()
    capsys.readouterr()
    assert sync.main([]) == 0
    assert capsys.readouterr().out == "0 uploaded, 0 still running, 0 not uploaded\n"
    assert not (root / "mlflow.db").exists() or stages(open_store(uri)) == []


def test_a_removal_without_the_store_is_completed_by_sync(folder: Path) -> None:
    root = folder.parents[1]
    (root / "mlflow.db").rename(root / "away.db")
    (root / "mlflow.db").mkdir()  # cannot be opened
    with pytest.raises(TrackingError, match="cannot say whether a registered model needs it"):
        rm.main([folder.name, "--yes"])
    assert not is_removed(folder)
    remove(*plan_removal(root, [folder]))  # as when the store goes away in between
    assert is_removed(folder)
    (root / "mlflow.db").rmdir()
    (root / "away.db").rename(root / "mlflow.db")
    client = open_store(uri_of(folder))
    assert stages(client) == ["active"]
    assert sync.main(["--check"]) == 1
    assert sync.main([]) == 0
    assert stages(client) == ["deleted"]
    assert sync.main(["--check"]) == 0


def test_a_sweep_is_removed_with_its_runs(tmp_path: Path) -> None:
    root = tmp_path / "output"
    uri = f"sqlite:///{root / 'mlflow.db'}"
    parent = Journal(root, uri=uri, experiment="hcr")
    parent.begin(name="sweep", tags={"hcr.sweep_id": "a"})
    parent.end("FINISHED")
    Replay(parent.folder).upload()
    parent.release()
    for name in ("a", "b"):
        child = Journal(root, uri=uri, experiment="hcr", parent=parent.key)
        child.begin(name=name, tags={"hcr.sweep": parent.key})
        child.end("FINISHED")
        Replay(child.folder).upload()
        child.release()
    assert rm.main([parent.key, "--yes"]) == 0
    assert stages(open_store(uri)) == ["deleted"] * 3


def test_a_live_run_and_a_registered_one_are_refused(folder: Path, tmp_path: Path) -> None:
    register.main([folder.name, "digits"])
    with pytest.raises(TrackingError, match="is version 1 of the registered model 'digits'; delete that version"):
        rm.main([folder.name, "--yes"])
    alive = Journal(tmp_path / "output", uri=uri_of(folder), experiment="hcr")
    alive.begin(name="alive", tags={})
    with pytest.raises(TrackingError, match="is alive; stop it first"):
        rm.main([folder.name, alive.key, "--yes"])
    assert not is_removed(folder)
    alive.end("KILLED")
    alive.release()
