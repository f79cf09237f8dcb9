"""An interrupted run is gone on with: the same run, the same numbers, or a clear word why not."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Hcr, Process

from hcr.config import ConfigError, TrackingError
from hcr.config.tracking import output_root
from hcr.gate import RunConfig
from hcr.gate.compose import compose
from hcr.resuming import AlreadyFinished
from hcr.runner import RunResult, run
from hcr.tracking.events import JOURNAL, read_events
from hcr.tracking.finding import find_run
from hcr.tracking.journal import Journal
from hcr.tracking.lock import lock_run
from hcr.tracking.session import recorded
from hcr.tracking.store import open_store
from hcr.training import TrainingState

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
CFG = compose(["training.epochs=4", "model.filters=4", "model.dense_units=[]", "tracking.timeout_s=60"])


class Killed(KeyboardInterrupt):
    """What a signal raises."""


@pytest.fixture(autouse=True)
def _store(empty_store: Path) -> None:
    output_root().mkdir()
    shutil.copy(empty_store, output_root() / "mlflow.db")


@pytest.fixture(autouse=True)
def _threads_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are set once in a process, and other tests here have started TensorFlow."""
    monkeypatch.setattr("hcr.runner.configure_threads", lambda threads: None)


def train(cfg: RunConfig = CFG, *, stop_after: int | None = None) -> tuple[Journal, RunResult]:
    def stop(state: TrainingState) -> None:
        if state.epoch == stop_after:
            raise Killed

    with recorded(cfg.tracking) as journal:
        result = run(cfg, journal, on_epoch=stop, draw=False)
    return journal, result


@pytest.mark.slow
def test_a_finished_run_is_found_however_little_room_the_disk_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise TrackingError("no room")

    cfg = CFG.replace(training=CFG.training.replace(epochs=1))
    train(cfg)
    monkeypatch.setattr("hcr.runner.check_room", refuse)
    with pytest.raises(AlreadyFinished), recorded(cfg.tracking) as journal:
        run(cfg, journal, skip_finished=True)
    with pytest.raises(TrackingError, match="no room"):
        train(cfg.replace(seed=1))


def interrupted(cfg: RunConfig = CFG, *, after: int = 2) -> Path:
    """The folder of a run that was stopped so."""
    with pytest.raises(Killed):
        train(cfg, stop_after=after)
    return find_run(output_root(), "latest")


def statuses() -> dict[str, str]:
    client = open_store(f"sqlite:///{output_root() / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
    return {run.data.tags["hcr.key"]: run.info.status for run in runs}


def numbers(result: RunResult) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in result.state.history]


@pytest.mark.slow
def test_the_same_config_goes_on_with_the_run_and_ends_where_it_would_have_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = interrupted()
    assert statuses() == {folder.name: "KILLED"}
    journal, result = train()
    assert journal.folder == folder
    assert statuses() == {folder.name: "FINISHED"}
    assert not (folder / "checkpoint").exists()
    client = open_store(journal.uri)
    (made,) = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
    assert "hcr.error" not in made.data.tags
    for name in ("val/loss", "time/epoch_s"):
        assert [m.step for m in client.get_metric_history(made.info.run_id, name)] == [1, 2, 3, 4]
    assert len(client.get_metric_history(made.info.run_id, "best/val_loss")) == 1
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "control"))
    _, control = train()
    assert numbers(result) == numbers(control)
    ours, theirs = result.state.best_weights, control.state.best_weights
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 3, 9], ids=lambda lines: f"{lines} lines")
def test_a_run_killed_before_its_first_epoch_ends_is_the_same_run_still(lines: int) -> None:
    folder = interrupted(after=1)
    for path in (folder / "checkpoint").iterdir():
        path.unlink()
    kept = (folder / JOURNAL).read_bytes().splitlines(keepends=True)[:lines]
    (folder / JOURNAL).write_bytes(b"".join(kept))
    (folder / "delivered.json").unlink()
    journal, result = train()
    assert journal.folder == folder
    assert statuses() == {folder.name: "FINISHED"}
    assert [row["val/loss"] > 0 for row in result.state.history] == [True] * 4
    client = open_store(journal.uri)
    (made,) = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
    assert made.data.params["training.epochs"] == "4"
    assert "code" in {entry.path for entry in client.list_artifacts(made.info.run_id)}


@pytest.mark.slow
def test_a_run_killed_while_it_wrote_its_model_writes_it_whole() -> None:
    folder = interrupted()
    (folder / "artifacts" / "model" / "data").mkdir(parents=True)
    journal, _ = train()
    assert journal.folder == folder
    assert statuses() == {folder.name: "FINISHED"}
    assert (folder / "artifacts" / "model" / "MLmodel").is_file()


@pytest.mark.slow
def test_params_that_were_told_stay_as_they_are_so_that_the_store_takes_the_run() -> None:
    folder = interrupted(after=1)
    for path in (folder / "checkpoint").iterdir():
        path.unlink()
    journal, _ = train(CFG.replace(notes="again", resume=folder.name))
    assert journal.folder == folder
    assert statuses() == {folder.name: "FINISHED"}
    told = [e["values"] for e, _ in read_events(folder) if e["event"] == "params"]
    assert [values["resume"] for values in told] == ["auto"]


@pytest.mark.slow
def test_a_run_of_another_host_is_not_taken_over() -> None:
    folder = interrupted(after=1)
    lines = (folder / JOURNAL).read_text().splitlines(keepends=True)
    first = json.loads(lines[0]) | {"host": "far", "boot": "other"}
    (folder / JOURNAL).write_text(json.dumps(first) + "\n" + "".join(lines[1:]))
    journal, _ = train()
    assert journal.folder != folder


@pytest.mark.slow
def test_an_epoch_that_only_the_checkpoint_knows_is_journalled_with_its_own_time() -> None:
    folder = interrupted()
    # A kill between checkpoint and journal: the last epoch's line is not there, nor the end.
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"end"' not in line and b"hcr.error" not in line]
    assert b'"step": 2' in kept[-1]
    (folder / JOURNAL).write_bytes(b"".join(kept[:-1]) + kept[-1][:30])
    (folder / "delivered.json").unlink()
    _, result = train()
    events = [event for event, _ in read_events(folder)]
    told = [event for event in events if event["event"] == "metrics" and "val/loss" in event["values"]]
    assert [event["step"] for event in told] == [1, 2, 3, 4]
    assert told[1]["time_ms"] == result.state.ended_ms[1]
    assert told[1]["time_ms"] < next(event["time_ms"] for event in events if event["event"] == "resume")


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"resume": "never"}, {"seed": 1}], ids=str)
def test_never_and_another_config_start_anew(change: dict[str, Any]) -> None:
    folder = interrupted(after=1)
    journal, _ = train(CFG.replace(**change))
    assert journal.folder != folder
    assert statuses() == {folder.name: "KILLED", journal.key: "FINISHED"}


@pytest.mark.slow
def test_a_run_that_is_alive_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcr.tracking.lock.UPLOADED_WITHIN_S", 0.2)
    folder = interrupted(after=1)
    with lock_run(folder):
        journal, _ = train()
    assert journal.folder != folder


@pytest.fixture
def stopped() -> Iterator[Path]:
    yield interrupted(after=1)


@pytest.mark.slow
def test_a_named_run_that_cannot_be_gone_on_with_is_refused(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcr.tracking.lock.UPLOADED_WITHIN_S", 0.2)
    named = CFG.replace(resume=stopped.name)
    with pytest.raises(ConfigError, match=f"^resume: run {stopped.name} has another config, data or code"):
        train(named.replace(seed=1))
    with lock_run(stopped), pytest.raises(ConfigError, match=f"^resume: run {stopped.name} is running"):
        train(named)
    journal, _ = train(named)
    assert journal.folder == stopped
    with pytest.raises(ConfigError, match=r"^resume: expected an interrupted run with a valid checkpoint"):
        train(named)


@pytest.mark.slow
def test_damaged_checkpoints_are_told_and_passed_over(stopped: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in (stopped / "checkpoint").iterdir():
        path.write_bytes(path.read_bytes()[:-10])
    journal, _ = train()
    assert journal.folder != stopped
    assert "checkpoint/000001 is skipped (it is truncated or changed" in capfd.readouterr().err


@pytest.mark.slow
def test_a_dead_run_is_ended_in_the_store_by_the_next_one() -> None:
    folder = interrupted(after=1)
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (folder / JOURNAL).write_bytes(b"".join(line for line in lines if b'"end"' not in line))
    (folder / "delivered.json").unlink()  # as after a SIGKILL in the first epoch
    journal, _ = train(CFG.replace(seed=1))
    assert statuses() == {folder.name: "FAILED", journal.key: "FINISHED"}


@pytest.mark.slow
def test_resume_by_name_takes_the_run_s_own_config_and_refuses_any_other(undrawn: Hcr) -> None:
    folder = interrupted(after=1)
    refused = undrawn("train", "resume=latest", "seed=3")
    assert (refused.returncode, refused.stderr) == (
        1,
        "hcr: resume: a run resumes with its own config; expected no other override, got seed=3\n",
    )
    nowhere = undrawn("train", "resume=no-such-run")
    assert nowhere.returncode == 1
    assert nowhere.stderr.startswith("hcr: no run 'no-such-run' under ")
    done = undrawn("train", f"resume={folder.name[:5]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"resuming run {folder.name} after epoch 1 of 4\n")
    assert statuses() == {folder.name: "FINISHED"}


EVERYTHING = "training.epochs=8 training.patience=null training.precision=bfloat16 training.average_decay=0.9"
EVERYTHING += " augmentation=affine schedule=onecycle model.filters=8"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    ["--kills 1 training.epochs=6 model.filters=8", f"--kills 3 --seed 1 --after 0 --within 1.5 {EVERYTHING}"],
    ids=["plain", "everything"],
)
def test_a_run_killed_at_random_moments_has_the_weights_and_metrics_of_one_left_alone(
    options: str, popen: type[Process], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("kill", EXPERIMENTS / "resume" / "kill.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr("subprocess.Popen", popen)
    monkeypatch.setattr("sys.argv", ["kill.py", *options.split()])
    script.main()
    assert "the same to the bit" in capsys.readouterr().out
