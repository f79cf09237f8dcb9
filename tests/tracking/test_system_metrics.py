"""System metrics: sampled beside training, in the journal by epoch, in MLflow once, and shown only where asked."""

import json
import time
from pathlib import Path

import psutil
import pytest
from conftest import Hcr

import hcr as hcr_package
from hcr.commands import runs
from hcr.gate.compose import compose
from hcr.gate.fingerprint import deciding_config
from hcr.tracking.comparison import missing_inside, read_contents
from hcr.tracking.events import read_events
from hcr.tracking.journal import Journal
from hcr.tracking.replay import Replay
from hcr.tracking.status import read_position
from hcr.tracking.store import open_store
from hcr.tracking.system_metrics import SystemMetrics

NAMES = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/process_cpu_utilization_percentage",
    "system/process_memory_usage_megabytes",
}


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    root = tmp_path / "output"  # where HCR_OUTPUT_DIR points
    root.mkdir()
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    return root


def begun(root: Path) -> Journal:
    journal = Journal(root, uri=f"sqlite:///{root / 'mlflow.db'}", experiment="hcr")
    journal.begin(name="a run", tags={"hcr.kind": "train"})
    return journal


def samples_of(journal: Journal) -> list[tuple[int, list[list[object]]]]:
    """The step and the samples of each event."""
    return [(event["step"], event["samples"]) for event, _ in read_events(journal.folder) if event["event"] == "system"]


def epoch(journal: Journal, system: SystemMetrics, number: int) -> None:
    """An epoch that lasts until a sample was taken."""
    while not system._samples:
        time.sleep(0.01)
    journal.metrics({"train/loss": 1.0, "val/loss": 1.0, "val/accuracy": 0.5}, step=number)
    system.record()


def test_the_samples_of_an_epoch_are_one_event_and_a_resumed_run_counts_on(root: Path) -> None:
    journal = begun(root)
    with SystemMetrics(journal, is_on=True, every_s=0.02) as system:
        for number in (1, 2):
            epoch(journal, system, number)
    journal.end("KILLED")
    journal.release()
    before = samples_of(journal)
    assert len(before) in (2, 3), "of each epoch, and what came after the last"
    taken = [values for _, samples in before for _, values in samples]
    assert all(set(values) == NAMES for values in taken)  # type: ignore[call-overload]
    again = Journal(root, uri=journal.uri, experiment="hcr")
    again.resume(journal.folder)
    with SystemMetrics(again, is_on=True, every_s=0.02) as system:
        epoch(again, system, 3)
    again.end("FINISHED")
    again.release()
    steps = [step for step, _ in samples_of(again)]
    sizes = [len(samples) for _, samples in samples_of(again)]
    assert steps == [sum(sizes[:i]) for i in range(len(sizes))]
    times = [moment for _, samples in samples_of(again) for moment, _ in samples]
    assert times == sorted(times)  # type: ignore[type-var]


def test_each_value_arrives_once_however_often_it_is_uploaded(root: Path) -> None:
    journal = begun(root)
    sample = dict.fromkeys(NAMES, 10.0)
    journal.system([(1_000 + i, sample) for i in range(1_200)])  # more than one request takes
    journal.end("FINISHED")
    for _ in range(2):
        replay = Replay(journal.folder)
        replay.restart()
        replay.upload()
    journal.release()
    client = open_store(journal.uri)
    run = client.get_run(read_position(journal.folder)["run_id"])
    for name in NAMES:
        history = client.get_metric_history(run.info.run_id, name)
        assert [(row.step, row.timestamp, row.value) for row in sorted(history, key=lambda row: row.step)] == [
            (i, 1_000 + i, 10.0) for i in range(1_200)
        ]
    contents = read_contents(journal.folder)
    assert missing_inside(contents, run, client) == []
    contents.metrics["system/cpu_utilization_percentage"].add((1_200, 9_999, 1.0))
    assert "system/cpu_utilization_percentage" in missing_inside(contents, run, client)[0]


def test_a_run_shorter_than_a_pause_has_a_sample(root: Path) -> None:
    journal = begun(root)
    with SystemMetrics(journal, is_on=True, every_s=600):
        pass
    ((step, samples),) = samples_of(journal)
    assert (step, len(samples)) == (0, 1)
    journal.end("FINISHED")
    journal.release()


def test_without_the_setting_nothing_is_sampled_or_written(root: Path) -> None:
    journal = begun(root)
    with SystemMetrics(journal, is_on=False, every_s=0.001) as system:
        time.sleep(0.05)
        system.record()
    assert samples_of(journal) == []
    assert system.cpu_s == 0
    journal.end("FINISHED")
    journal.release()


def test_a_machine_that_does_not_tell_is_a_note_and_training_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise psutil.AccessDenied(msg="no /proc")

    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    journal = begun(root)
    with SystemMetrics(journal, is_on=True, every_s=0.001):
        pass
    assert capsys.readouterr().out.startswith("note: no more system metrics (AccessDenied: ")
    assert samples_of(journal) == []
    journal.end("FINISHED")
    journal.release()


def test_they_decide_no_numbers() -> None:
    on = compose(["tracking.system_metrics=true"])
    assert on.tracking.system_metrics
    assert deciding_config(on) == deciding_config(compose())
    assert not compose().tracking.system_metrics


def test_tables_and_frames_show_them_only_where_asked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = begun(root)
    for number in (1, 2):
        values = {"train/loss": 1.0, "val/loss": 1.0, "val/accuracy": 0.5}
        journal.metrics(values, step=number, time_ms=1_000 * number)
    sampled = [(500, 10.0), (900, 20.0), (1_500, 60.0), (2_500, 90.0)]  # the last one after training
    journal.system([(moment, {"system/cpu_utilization_percentage": value}) for moment, value in sampled])
    journal.end("FINISHED")
    Replay(journal.folder).upload()
    journal.release()
    assert runs.main(["--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert set(row["metrics"]) == {"train/loss", "val/loss", "val/accuracy"}
    assert runs.main(["--where", "system/cpu_utilization_percentage > 80", "--csv"]) == 0
    assert "90.0" in capsys.readouterr().out
    assert not [name for name in hcr_package.load_runs().columns if name.startswith("system/")]
    assert hcr_package.load_runs(system_metrics=True)["system/cpu_utilization_percentage"].tolist() == [90.0]
    assert not [name for name in hcr_package.load_runs(history=True).columns if name.startswith("system/")]
    epochs = hcr_package.load_runs(history=True, system_metrics=True)
    assert epochs["system/cpu_utilization_percentage"].tolist() == [15.0, 60.0]


@pytest.mark.slow
def test_runs_of_a_sweep_have_them_in_mlflow(hcr: Hcr, tmp_path: Path) -> None:
    small = ("training=smoke", "model.filters=4", "model.dense_units=[]", "tracking.system_metrics=true")
    done = hcr("train", "-m", "seed=0,1", *small)
    assert done.returncode == 0, done.stderr
    client = open_store(f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("hcr").experiment_id
    trained = client.search_runs([experiment], "tags.`hcr.kind` = 'train'")
    assert len(trained) == 2
    for run in trained:
        assert run.data.metrics.keys() >= NAMES
        assert run.data.metrics["system/process_memory_usage_megabytes"] > 100
    assert hcr("sync", "--check").returncode == 0
