"""An output root may be moved, copied, or called anything: its database, artifacts and journals stay together."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from hcr.commands import sync
from hcr.config.tracking import sqlite_path, sqlite_uri
from hcr.tracking.events import JOURNAL, first_event
from hcr.tracking.journal import Journal
from hcr.tracking.place import reading, store_of
from hcr.tracking.replay import Replay
from hcr.tracking.status import earlier_uris, finished_runs
from hcr.tracking.store import open_store


def own_uri(root: Path) -> str:
    return sqlite_uri(root / "mlflow.db")


def made(root: Path, empty_store: Path) -> Path:
    root.mkdir(parents=True)
    shutil.copy(empty_store, root / "mlflow.db")
    return root


def record(root: Path, uri: str | None = None, mark: str = "f") -> Path:
    """The folder of a finished, delivered run with artifacts and a logged model."""
    with Journal(root, uri=uri or own_uri(root), experiment="tests") as journal:
        journal.begin(name="a run", tags={"hcr.fingerprint": mark, "hcr.sweep_id": "s"})
        journal.artifact("a.txt").write_text(mark)
        journal.artifact_written("a.txt")
    journal.release()
    Replay(journal.folder).upload()
    return journal.folder


def run_of(folder: Path, uri: str) -> tuple[MlflowClient, Run]:
    client = open_store(uri)
    return client, client.get_run(json.loads((folder / "delivered.json").read_text())["run_id"])


def artifact(folder: Path, uri: str) -> str:
    client, run = run_of(folder, uri)
    return Path(client.download_artifacts(run.info.run_id, "a.txt")).read_text()


def without_root(folder: Path) -> None:
    """A journal of an earlier version, which did not say under which output root it was written."""
    journal = (folder / JOURNAL).read_text()
    (folder / JOURNAL).write_text(journal.replace('"root": ', '"r00t": ', 1))  # as long as before


@pytest.mark.parametrize("says_root", [True, False])
def test_a_moved_root_keeps_its_runs_and_artifacts_and_the_old_path_stays_gone(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, says_root: bool
) -> None:
    old, new = made(tmp_path / "old", empty_store), tmp_path / "deep" / "new"
    before = record(old)
    client, run = run_of(before, own_uri(old))
    model = client.create_logged_model(run.info.experiment_id, "model", source_run_id=run.info.run_id)
    client.create_registered_model("best")
    client.create_model_version("best", model.artifact_location, run.info.run_id)
    if not says_root:
        without_root(before)
    new.parent.mkdir()
    old.rename(new)
    moved = new / "runs" / before.name
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(new))
    assert sync.main(["--check"]) == 0
    later = record(new, mark="g")
    assert [artifact(folder, own_uri(new)) for folder in (moved, later)] == ["f", "g"]
    assert finished_runs(new, uri=own_uri(new), experiment="tests") == {"f": moved, "g": later}
    assert earlier_uris(new, own_uri(new)) == [own_uri(old)]
    client = open_store(own_uri(new))
    (version,) = client.search_model_versions("name = 'best'")
    places = [client.get_logged_model(model.model_id).artifact_location, version.source]
    places += [str(client.get_experiment_by_name("tests").artifact_location)]
    assert [place for place in places if not place.startswith(str(new / "artifacts"))] == []
    assert not old.exists()


def test_a_copy_of_a_root_is_a_store_of_its_own_and_the_old_one_stays_as_it_was(
    tmp_path: Path, empty_store: Path
) -> None:
    old, copy = made(tmp_path / "old", empty_store), tmp_path / "copy"
    before = record(old)
    shutil.copytree(old, copy)
    bytes_before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    record(copy, mark="g")
    copied = copy / "runs" / before.name
    assert store_of(copied, first_event(copied)) == own_uri(copy)
    (copy / "artifacts").joinpath(run_of(copied, own_uri(copy))[1].info.run_id, "artifacts/a.txt").write_text("mine")
    assert artifact(copied, own_uri(copy)) == "mine"
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == bytes_before


def test_artifacts_that_did_not_come_along_stay_where_they_are(tmp_path: Path, empty_store: Path) -> None:
    old = made(tmp_path / "old", empty_store)
    folder = record(old)
    backup = tmp_path / "backup" / "mlflow.db"
    backup.parent.mkdir()
    shutil.copy(old / "mlflow.db", backup)  # the database alone
    assert artifact(folder, sqlite_uri(backup)) == "f"


def test_a_place_that_somebody_chose_for_artifacts_is_kept(tmp_path: Path, empty_store: Path) -> None:
    root, chosen = made(tmp_path / "root", empty_store), tmp_path / "disk" / "artifacts"
    open_store(own_uri(root)).create_experiment("tests", artifact_location=str(chosen))
    folder = record(root)
    root.rename(tmp_path / "new")
    record(tmp_path / "new", mark="g")
    moved = tmp_path / "new" / "runs" / folder.name
    assert artifact(moved, own_uri(tmp_path / "new")) == "f"
    assert len(list(chosen.iterdir())) == 2


def test_a_store_outside_the_root_stays_the_runs_store_when_the_root_moves(tmp_path: Path, empty_store: Path) -> None:
    shared = own_uri(made(tmp_path / "shared", empty_store))
    folder = record(tmp_path / "root", shared)
    without_root(folder)
    (tmp_path / "root").rename(tmp_path / "new")
    moved = tmp_path / "new" / "runs" / folder.name
    assert store_of(moved, first_event(moved)) == shared


def test_a_root_seen_through_a_link_keeps_its_places(tmp_path: Path, empty_store: Path) -> None:
    root = made(tmp_path / "root", empty_store)
    folder = record(root)
    (tmp_path / "link").symlink_to(root)
    linked = tmp_path / "link" / "runs" / folder.name
    assert artifact(linked, own_uri(tmp_path / "link")) == "f"
    _, run = run_of(folder, own_uri(root))
    assert run.info.artifact_uri.startswith(str(root))


@pytest.mark.parametrize("name", ["50%", "a%20b", "what?", "c#", "d é 'q' \"r\"", "x%3Fy?"])
def test_a_root_of_any_name_has_all_in_it_and_nothing_beside_it(tmp_path: Path, empty_store: Path, name: str) -> None:
    place = tmp_path / "place"
    root = made(place / name, empty_store)
    folder = record(root)
    assert [path.name for path in place.iterdir()] == [name]
    _, run = run_of(folder, own_uri(root))
    assert (root / "artifacts" / run.info.run_id / "artifacts" / "a.txt").read_text() == "f"
    assert artifact(folder, own_uri(root)) == "f"
    assert sqlite_path(own_uri(root)) == root / "mlflow.db"
    root.rename(place / f"{name} moved")
    moved = place / f"{name} moved" / "runs" / folder.name
    record(place / f"{name} moved", mark="g")
    assert artifact(moved, own_uri(place / f"{name} moved")) == "f"
    assert [path.name for path in place.iterdir()] == [f"{name} moved"]


def test_a_database_whose_writer_was_killed_in_mid_transaction_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (a)")
        database.executemany("INSERT INTO t VALUES (?)", [(f"{i:0500}",) for i in range(3000)])
        database.commit()
    killed = f"""
import os, signal, sqlite3
database = sqlite3.connect({str(path)!r})
database.execute("PRAGMA cache_size=5")
database.execute("UPDATE t SET a = 'x' || a")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", killed], check=False)
    assert path.with_name("mlflow.db-journal").stat().st_size > 0
    for _ in range(2):
        with reading(path, 5) as found:
            assert found.execute("SELECT count(*) FROM t WHERE a LIKE 'x%'").fetchone() == (0,)
