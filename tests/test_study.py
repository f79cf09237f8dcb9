"""A sweep in a database that machines share: each run is some machine's, and only one's."""

import multiprocessing
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from test_plan import GRID, plan

from hcr.config import ConfigError, TrackingError
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import sqlite_uri
from hcr.sweep import study as study_module
from hcr.sweep.agreement import agree, agreement, is_mixed
from hcr.sweep.plan import Plan
from hcr.sweep.study import Claims

LABELS = [f"seed={seed}" for seed in range(100)]


def opened(folder: Path) -> Claims:
    return Claims(sqlite_uri(folder / "shared.db"), "s", higher_is_better=True)


def filed(folder: Path) -> Claims:
    claims = opened(folder)
    claims.file(LABELS, "one")
    return claims


def claim_all(storage: str, folder: Path, host: str, barrier: Any) -> None:
    claims = Claims(storage, "s", higher_is_better=True)
    barrier.wait()
    claims.file(LABELS, host)
    mine = []
    for number in range(len(LABELS)):
        barrier.wait()  # at the same moment, each of them
        if claims.claim(number, host):
            mine.append(number)
    (folder / f"{host}.txt").write_text(" ".join(map(str, mine)))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_machines_that_begin_at_once_write_the_runs_down_once_and_claim_each_of_them_once(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    storage = sqlite_uri(tmp_path / "shared.db")
    if database == "postgresql":
        storage = request.getfixturevalue("postgresql")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    machines = [
        context.Process(target=claim_all, args=(storage, tmp_path, host, barrier)) for host in ("one", "two", "three")
    ]
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join(120)
    claimed = {path.stem: [int(word) for word in path.read_text().split()] for path in tmp_path.glob("*.txt")}
    assert set(claimed) == {"one", "two", "three"}
    assert sorted(number for numbers in claimed.values() for number in numbers) == list(range(len(LABELS)))
    assert {trial.number: trial.host for trial in Claims(storage, "s", higher_is_better=True).trials()} == {
        number: host for host, numbers in claimed.items() for number in numbers
    }


def test_a_machine_that_was_killed_as_it_wrote_the_runs_down_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "FILED_WITHIN_S", 0.5)
    opened(tmp_path).file(LABELS[:3], "one")
    with pytest.raises(TrackingError, match="one began to write down the sweep's runs and has stopped"):
        opened(tmp_path).file(LABELS, "two")
    opened(tmp_path).file(LABELS, "one")
    opened(tmp_path).file(LABELS, "two")
    assert all(filed(tmp_path).claim(number, "two") for number in range(0, len(LABELS), 10))


def test_a_run_that_is_claimed_or_has_ended_is_nobody_s_to_claim(tmp_path: Path) -> None:
    claims = filed(tmp_path)
    assert claims.trials() == []
    assert claims.claim(4, "one")
    assert not claims.claim(4, "one")
    assert not filed(tmp_path).claim(4, "two")
    claims.finish(4, 0.5, {"num_params": 7})
    assert not filed(tmp_path).claim(4, "two")
    (trial,) = opened(tmp_path).trials()
    assert (trial.number, trial.state, trial.value, trial.host) == (4, "finished", 0.5, "one")


def test_a_run_whose_machine_was_killed_before_it_left_its_name_is_whose_asks_first(tmp_path: Path) -> None:
    claims = filed(tmp_path)
    claims.claim(0, "one")
    claims._storage.set_trial_state_values(
        claims._study.get_trials(deepcopy=False)[1]._trial_id, optuna.trial.TrialState.RUNNING
    )
    opened(tmp_path).adopt("two")
    opened(tmp_path).adopt("three")
    assert [trial.host for trial in opened(tmp_path).trials()] == ["one", "two"]


def test_a_connection_that_the_server_dropped_is_taken_up_again(postgresql: str) -> None:
    claims = Claims(postgresql, "s", higher_is_better=True)
    claims.file(LABELS[:3], "one")
    drop = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename = 'hcr'"
    subprocess.run(["psql", "-q", postgresql.replace("+psycopg", ""), "-c", drop], check=True, capture_output=True)
    assert claims.claim(1, "one")
    assert [trial.number for trial in claims.trials()] == [1]


def shared(folder: Path) -> SweepConfig:
    return SweepConfig(**(plan().sweep | {"storage": sqlite_uri(folder / "shared.db")}))


def test_machines_agree_on_what_the_first_one_has(tmp_path: Path) -> None:
    first, sweep = plan(), shared(tmp_path)
    assert agreement(first, sweep) is None
    agree(first, sweep)
    other: Plan = replace(first, code=first.code | {"keras": "0"})
    begun = agreement(other, sweep)
    assert begun is not None
    assert (begun.threads, begun.code) == (first.threads, first.code)
    assert agreement(first, replace(sweep, storage=None)) is None
    assert not is_mixed(first, sweep)
    agree(replace(other, is_mixed=True), sweep)
    assert is_mixed(first, sweep)
    assert not is_mixed(first, replace(sweep, storage=None))


def test_a_machine_that_has_the_runs_in_another_order_or_other_threads_is_refused(tmp_path: Path) -> None:
    sweep = shared(tmp_path)
    agree(plan(), sweep)
    turned = plan("model.depth=2,1", "seed=0,1")
    assert turned.id == plan(*GRID).id
    with pytest.raises(ConfigError, match="with its values in another order; expected the same command"):
        agreement(turned, sweep)
    with pytest.raises(ConfigError, match="it began with other code than now: keras changed since"):
        agree(replace(plan(), code=plan().code | {"keras": "0"}), sweep)
    with pytest.raises(ConfigError, match=r"with training\.threads=1 where this one has 2"):
        agree(plan(threads=2), sweep)
