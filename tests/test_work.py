"""What is known of a sweep's runs, by their folders and by what other machines say."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from test_plan import plan

from hcr.config.sweep import SweepConfig
from hcr.config.tracking import output_root, sqlite_uri
from hcr.sweep import source as source_module
from hcr.sweep import work as work_module
from hcr.sweep.controller import Controller
from hcr.sweep.identity import Fingerprints
from hcr.sweep.outcomes import KnownRuns, Outcome
from hcr.sweep.plan import Plan
from hcr.sweep.runs import Run, known_state, trial_folder, write_trial
from hcr.sweep.screen import SweepScreen
from hcr.sweep.study import Claims
from hcr.sweep.trial import write_result
from hcr.sweep.work import Work
from hcr.tracking.uploader import Uploader

NOTHING = KnownRuns(finished={}, own={})


def state_of(made: Plan, folder: Path, number: int = 0, **options: bool) -> Run:
    return known_state(made.runs[number], folder, made, NOTHING, Fingerprints(), **({"retry_failed": False} | options))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ended(made: Plan, folder: Path, result: dict[str, Any], number: int = 0) -> Path:
    """The folder of a run that has ended."""
    trial = trial_folder(folder, made.runs[number])
    write_trial(trial, made.runs[number], made, "parent")
    write_result(trial, result)
    return trial


def test_a_run_that_failed_stays_so_unless_it_is_to_be_tried_again_and_asking_changes_nothing(tmp_path: Path) -> None:
    made = plan()
    ended(made, tmp_path, {"status": "failed", "error": "ValueError: why"})
    before = files(tmp_path)
    assert (state_of(made, tmp_path).state, state_of(made, tmp_path).why) == ("failed", "ValueError: why")
    assert state_of(made, tmp_path, retry_failed=True).state == "new"
    assert state_of(made, tmp_path, 1).state == "new"
    assert files(tmp_path) == before


def test_what_came_of_another_run_that_had_the_same_number_is_not_this_one_s(tmp_path: Path) -> None:
    made = plan()
    trial = ended(made, tmp_path, {"status": "pruned", "epoch": 3})
    assert (state_of(made, tmp_path).state, state_of(made, tmp_path).why) == ("pruned", "after epoch 3")
    task = json.loads((trial / "task.json").read_text())
    task["planned"]["config"]["model"]["depth"] = 3
    (trial / "task.json").write_text(json.dumps(task))
    assert state_of(made, tmp_path).state == "new"
    (trial / "task.json").write_text("{")
    assert state_of(made, tmp_path).state == "new"


@pytest.fixture
def shared(tmp_path: Path) -> tuple[Work, Claims]:
    """A sweep of four runs that this machine shares with another, which has claimed the last one."""
    made = plan()
    storage = sqlite_uri(tmp_path / "shared.db")
    sweep = SweepConfig(**(made.sweep | {"storage": storage}))
    claims = Claims(storage, made.id, higher_is_better=False)
    claims.file([run.label for run in made.runs], "other")
    assert claims.claim(3, "other")

    def no_pool() -> Any:
        raise AssertionError("nothing is run")

    screen = SweepScreen(total=None, monitor=made.monitor, higher_is_better=False)
    controller = Controller(
        made, tmp_path, sweep=sweep, make_pool=no_pool, delivery=Uploader(made.uri, 1.0), screen=screen
    )
    return Work(made, tmp_path, sweep, controller, Fingerprints()), claims


def test_machines_agree_on_another_parent_where_theirs_was_deleted_in_mlflow(shared: tuple[Work, Claims]) -> None:
    work, _ = shared
    work.take_stock()
    assert [work.shared_key(own) for own in ("a1", "b2")] == ["a1", "a1"]
    work._known = replace(work._known, deleted=frozenset({"a1"}))
    assert [work.shared_key(own) for own in ("b2", "c3")] == ["b2", "b2"]


OUTCOME = Outcome(key="abc", value=0.25, val_accuracy=0.9, val_loss=0.25, epochs=1, train_s=0.1, num_params=7)


def test_runs_of_another_machine_are_known_and_waited_for(
    shared: tuple[Work, Claims], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work, claims = shared
    work.take_stock()
    assert [run.state for run in work.runs] == ["new", "new", "new", "elsewhere"]
    assert work.counts() == "0 reused, 0 resumed, 4 to run"
    work.hear_of_others(wait=False)
    assert work.runs[3].state == "elsewhere"
    monkeypatch.setattr(work_module.time, "sleep", lambda seconds: claims.finish(3, 0.25, asdict(OUTCOME)))
    work.hear_of_others(wait=True)
    assert (work.runs[3].state, work.runs[3].outcome) == ("finished", OUTCOME)
    assert capsys.readouterr().out == "waiting for 1 run of other machines\n"


def test_a_machine_is_waited_for_as_long_as_it_shows_signs_of_life(
    shared: tuple[Work, Claims], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work, claims = shared
    work.take_stock()
    clock, beats = [0.0], []

    def later(seconds: float) -> None:
        clock[0] += work_module.SILENT_S / 2
        if len(beats) < 6:
            claims.beat("other")
            beats.append(clock[0])

    monkeypatch.setattr(work_module.time, "sleep", later)
    monkeypatch.setattr(work_module.time, "monotonic", lambda: clock[0])
    work.hear_of_others(wait=True)
    assert len(beats) == 6
    assert clock[0] == beats[-1] + 1.5 * work_module.SILENT_S  # more than half of it twice
    assert work.runs[3].state == "elsewhere"
    told = "1 run of other, silent by now: the command issued there goes on with them, and sweep.take_over=true"
    assert told in capsys.readouterr().out


def test_what_this_machine_knows_is_told_once_the_sweep_is_accepted(
    shared: tuple[Work, Claims], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, claims = shared
    work.take_stock()
    made = [replace(run, state="reused", outcome=OUTCOME) for run in work.runs[2:]]  # the last is claimed by another
    work._controller.runs |= {run.planned.number: run for run in made}
    assert [trial.number for trial in claims.trials()] == [3]
    work.begin()
    assert [(trial.number, trial.state) for trial in claims.trials()] == [(2, "finished"), (3, "running")]
    assert [run.state for run in work.runs] == ["new", "new", "reused", "elsewhere"]
    assert isinstance(work.source.next(), Run)
    assert [trial.number for trial in claims.trials()] == [0, 2, 3]


def test_runs_of_a_machine_that_is_gone_are_taken_over_where_that_is_asked_for(
    shared: tuple[Work, Claims], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, claims = shared
    monkeypatch.setattr(source_module.time, "sleep", lambda seconds: claims.beat("other"))
    work._sweep = replace(work._sweep, take_over=True)
    work.take_stock()
    work.begin()
    assert [run.state for run in work.runs] == ["new", "new", "new", "elsewhere"]  # it is alive
    work.close()
    monkeypatch.setattr(source_module.time, "sleep", lambda seconds: None)
    work.take_stock()
    work.begin()
    assert [run.state for run in work.runs] == ["new", "new", "new", "interrupted"]
    assert [trial.host for trial in claims.trials()] == [(output_root() / "machine.txt").read_text()]
    work.close()
