"""RUN looked up: in the journals of this machine first, then in the store, which is a real SQLite file."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hcr.config.errors import TrackingError
from hcr.tracking.events import JOURNAL
from hcr.tracking.finding import find_run, look_up
from hcr.tracking.journal import Journal
from hcr.tracking.replay import Replay
from hcr.tracking.status import read_position
from hcr.tracking.store import open_store
from hcr.tracking.stored import StoredRun

DATA, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    root = tmp_path / "output"
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    return root


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return open_store(f"sqlite:///{root / 'mlflow.db'}")


class Shelf:
    """Writes runs, each later than those before, and uploads them."""

    def __init__(self, root: Path) -> None:
        self.root, self._seconds = root, 0

    def run(
        self,
        loss: float | None = None,
        *,
        name: str = "a run",
        kind: str | None = "train",
        data: str = DATA,
        monitor: str = "val/loss",
        accuracy: float = 0.5,
        fails: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> Path:
        journal = Journal(self.root, uri=f"sqlite:///{self.root / 'mlflow.db'}", experiment="tests")
        own = {"hcr.dataset_digest": data, **({"hcr.kind": kind} if kind else {}), **(tags or {})}
        journal.begin(name=name, tags=own)
        journal.params({"monitor": monitor})
        if loss is not None:
            journal.metrics({"best/val_loss": loss, "best/val_accuracy": accuracy}, step=1)
        journal.end("FAILED" if fails else "FINISHED")
        journal.release()
        Replay(journal.folder).upload()
        self._seconds += 1
        when = 1_700_000_000 + self._seconds
        os.utime(journal.folder / JOURNAL, (when, when))
        return journal.folder


@pytest.fixture
def shelf(root: Path) -> Shelf:
    return Shelf(root)


def run_id(folder: Path) -> str:
    return str(read_position(folder)["run_id"])


def without_journals(root: Path) -> None:
    """Leave the store alone, as on another machine."""
    shutil.move(root / "runs", root.parent / "gone")


def found(root: Path, name: str) -> str:
    """The key of the run that is found, in the journals and in the store alike."""
    run = look_up(root, name)
    return run.key if isinstance(run, StoredRun) else run.name


@pytest.mark.parametrize("place", ["here", "in the store"])
def test_a_run_is_found_by_key_prefix_run_id_or_name(root: Path, shelf: Shelf, place: str) -> None:
    first, second = shelf.run(name="first try's"), shelf.run(name="second")
    ids = {folder: run_id(folder) for folder in (first, second)}
    if place == "in the store":
        without_journals(root)
    for folder, name in ((first, "first try's"), (second, "second")):
        for word in (folder.name, folder.name[:9], ids[folder], name):
            assert found(root, word) == folder.name


def test_the_id_of_a_sweep_means_its_newest_parent_run(root: Path, shelf: Shelf) -> None:
    shelf.run(kind="sweep", tags={"hcr.sweep_id": "329c25800e97"})
    newest = shelf.run(kind="sweep", tags={"hcr.sweep_id": "329c25800e97"})
    shelf.run(kind="sweep", tags={"hcr.sweep_id": "another"})
    assert found(root, "329c25800e97") == newest.name


@pytest.mark.parametrize("place", ["here", "in the store"])
def test_several_runs_of_a_name_are_told_by_their_keys(root: Path, shelf: Shelf, place: str) -> None:
    keys = sorted([shelf.run().name, shelf.run().name])
    if place == "in the store":
        without_journals(root)
    with pytest.raises(TrackingError, match=f"'a run' matches 2 runs \\({', '.join(keys)}\\); expected the key of one"):
        look_up(root, "a run")


@pytest.mark.parametrize("place", ["here", "in the store"])
def test_latest_means_a_training_run_or_an_ensemble(root: Path, shelf: Shelf, place: str) -> None:
    old = shelf.run(kind=None)
    shelf.run(kind=None, tags={"hcr.sweep_id": "x"})  # a sweep of an earlier version
    for kind in ("sweep", "evaluate", "compare"):
        shelf.run(kind=kind)
    if place == "in the store":
        without_journals(root)
        assert found(root, "latest") == old.name
        return
    assert found(root, "latest") == old.name
    newest = shelf.run(kind="ensemble")
    assert found(root, "latest") == newest.name


@pytest.mark.parametrize("place", ["here", "in the store"])
def test_best_ranks_by_the_monitored_metric_among_runs_on_the_data_of_the_latest(
    root: Path, shelf: Shelf, place: str
) -> None:
    shelf.run(0.01, data=OTHER)
    shelf.run(0.02, fails=True)
    shelf.run(0.03, kind="evaluate")
    best = shelf.run(0.1, accuracy=0.6)
    shelf.run(0.2, accuracy=0.9)
    shelf.run(float("nan"))
    if place == "in the store":
        without_journals(root)
    assert found(root, "best") == best.name


@pytest.mark.parametrize("place", ["here", "in the store"])
def test_best_takes_the_highest_accuracy_if_that_is_monitored(root: Path, shelf: Shelf, place: str) -> None:
    shelf.run(0.1, accuracy=0.6)
    best = shelf.run(0.2, accuracy=0.9)
    shelf.run(0.3, accuracy=0.7, monitor="val/accuracy")
    if place == "in the store":
        without_journals(root)
    assert found(root, "best") == best.name


def test_best_without_a_finished_run_on_that_data_is_told(root: Path, shelf: Shelf) -> None:
    shelf.run(0.1, data=OTHER)
    latest = shelf.run(0.1, fails=True)
    with pytest.raises(
        TrackingError, match=f"best: expected a finished run on the data of the latest run, {latest.name}"
    ):
        look_up(root, "best")


def test_a_model_names_the_run_that_made_it(root: Path, shelf: Shelf, client: MlflowClient) -> None:
    first, second = shelf.run(), shelf.run()
    client.create_registered_model("digits")
    for folder in (first, second):
        client.create_model_version(
            "digits", f"{client.get_run(run_id(folder)).info.artifact_uri}/model", run_id(folder)
        )
    client.set_registered_model_alias("digits", "champion", "1")
    assert look_up(root, "models:/digits@champion") == first
    assert look_up(root, "models:/digits/2") == second
    without_journals(root)
    assert look_up(root, "models:/digits@champion") == StoredRun(
        f"sqlite:///{root / 'mlflow.db'}", first_id(client, first.name), first.name
    )


def first_id(client: MlflowClient, key: str) -> str:
    experiment = client.get_experiment_by_name("tests").experiment_id
    return str(client.search_runs([experiment], f"tags.`hcr.key` = '{key}'")[0].info.run_id)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("models:/digits@champion", "there is no such model in the store"),
        ("models:/digits/3", "there is no such model in the store"),
        ("models:/m-0123", "there is no such model in the store"),
        ("models:/digits", "expected models:/NAME@ALIAS, models:/NAME/VERSION or models:/MODEL_ID"),
        ("models:/", "expected models:/NAME@ALIAS"),
        ("models:/foreign/1", "expected a model of a run of hcr, got one that was made otherwise"),
    ],
)
def test_a_model_that_is_no_run_is_one_line(root: Path, client: MlflowClient, name: str, why: str) -> None:
    experiment = client.create_experiment("other", artifact_location=str(root / "artifacts"))
    run = client.create_run(experiment)
    client.create_registered_model("foreign")
    client.create_model_version("foreign", f"{run.info.artifact_uri}/model", run.info.run_id)
    with pytest.raises(TrackingError, match=f"^{name}: {why}"):
        look_up(root, name)


@pytest.mark.parametrize("name", ["nobody", "a' OR 'x' = 'x", "both ' and \"", "%", "f" * 32, "0", ""])
def test_a_name_that_no_run_has_is_one_line_that_says_what_is_expected(root: Path, shelf: Shelf, name: str) -> None:
    shelf.run()
    without_journals(root)
    with pytest.raises(TrackingError) as told:
        look_up(root, name)
    assert str(told.value).startswith(f"no run {name!r} under {root / 'runs'} or in the store at sqlite:///")
    assert "models:/NAME@ALIAS" in str(told.value)


@pytest.mark.parametrize("place", ["journals", "store"])
def test_a_mistyped_name_is_answered_with_the_nearest(
    root: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(root, uri=f"sqlite:///{root / 'mlflow.db'}", experiment="hcr")
    journal.begin(name="digits cnn seed=0", tags={"hcr.kind": "train"})
    journal.end("FINISHED")
    Replay(journal.folder).upload()
    journal.release()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", journal.uri)
    where = root if place == "journals" else tmp_path / "elsewhere"
    with pytest.raises(TrackingError, match=r"; did you mean 'digits cnn seed=0'\?$"):
        look_up(where, "digits cn seed=0")
    with pytest.raises(TrackingError, match=r"; did you mean 'latest'\?$"):
        look_up(where, "lates")


@pytest.mark.parametrize("name", ["latest", "best"])
@pytest.mark.parametrize("has_store", [False, True])
def test_before_the_first_run_latest_and_best_say_what_records_one(root: Path, name: str, has_store: bool) -> None:
    if not has_store:
        (root / "mlflow.db").unlink()
    with pytest.raises(TrackingError, match=rf"^no run '{name}' under .*; `hcr train` records one$"):
        look_up(root, name)


def test_a_store_that_does_not_answer_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"and the store at http://127\.0\.0\.1:9 cannot be asked"):
        look_up(root, "nobody")


def test_journals_come_before_the_store(root: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shelf.run()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for word in (folder.name, "latest", "a run"):
        assert look_up(root, word) == folder


def test_a_verb_that_needs_the_run_s_folder_says_that_only_the_store_has_it(root: Path, shelf: Shelf) -> None:
    key = shelf.run().name
    without_journals(root)
    with pytest.raises(
        TrackingError, match=f"^run {key} is only in the store at sqlite:.*; expected a run whose folder"
    ):
        find_run(root, key)
