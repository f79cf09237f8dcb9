"""Adaptive search: the same points for the same seed, killed in between or not, and the pruner that was asked for."""

import contextlib
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hcr.config import ConfigError, TrackingError
from hcr.config.axes import Axis
from hcr.config.compose import Composer
from hcr.config.points import Space
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import sqlite_uri
from hcr.sweep import search as search_module
from hcr.sweep.search import Reporter, Search, _distribution, _inside, rungs
from hcr.sweep.study import Trial

N = 8
SPACE = (
    Composer()
    .check(
        [
            "optimizer.learning_rate=tag(log,interval(0.0001,0.1))",
            "model.depth=range(1,4)",
            "model.filters=[8,16],[16,32]",
            "sweep.sampler=tpe",
            f"sweep.n_trials={N}",
        ],
        multirun=True,
    )
    .space
)
assert isinstance(SPACE, Space)
BASE: dict[str, Any] = {"optimizer.learning_rate": 0.003, "model.depth": 2, "model.filters": [16, 32]}


def sweep(**changes: Any) -> SweepConfig:
    assert SPACE is not None
    return replace(SPACE.sweep, **changes)


def opened(folder: Path, seed: int = 3, base: dict[str, Any] | None = None, **changes: Any) -> Search:
    assert SPACE is not None
    return Search(
        sqlite_uri(folder / "search.db"),
        "s",
        SPACE.axes,
        sweep(**changes),
        higher_is_better=True,
        seed=seed,
        base=base or BASE,
    )


def score(values: dict[str, Any]) -> float:
    return float(-((values["optimizer.learning_rate"] - 0.01) ** 2) + 0.1 * values["model.depth"])


def sequence(folder: Path, *, cut: int | None = None, **changes: Any) -> list[dict[str, Any]]:
    """The points that a search tries; with `cut` it is opened anew after so many."""
    folder.mkdir(exist_ok=True)
    search, found = opened(folder, **changes), []
    while (trial := search.ask("here")) is not None:
        found.append(trial.values)
        search.finish(trial.number, score(trial.values))
        if len(found) == cut:
            search = opened(folder, **changes)
    return found


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_the_same_seed_tries_the_same_points_interrupted_or_not(sampler: str, tmp_path: Path) -> None:
    whole = sequence(tmp_path / "a", sampler=sampler)
    assert len(whole) == N
    assert whole[0] == BASE
    assert len({repr(values) for values in whole}) > N // 2
    assert sequence(tmp_path / "b", sampler=sampler, cut=3) == whole
    assert sequence(tmp_path / "c", sampler=sampler, seed=4)[1:] != whole[1:]


def test_a_real_number_has_six_digits_within_its_bounds_and_the_base_config_all_of_its_own(tmp_path: Path) -> None:
    base = {**BASE, "optimizer.learning_rate": 0.00123456789}
    first, *others = [values["optimizer.learning_rate"] for values in sequence(tmp_path, base=base, n_trials=30)]
    assert first == 0.00123456789
    assert others == [float(f"{value:.6g}") for value in others]
    assert all(0.0001 <= value <= 0.1 for value in others)


def test_n_trials_is_the_total(tmp_path: Path) -> None:
    assert len(sequence(tmp_path / "a")) == N
    assert sequence(tmp_path / "a") == []
    assert len(sequence(tmp_path / "a", n_trials=N + 2)) == 2
    assert [trial.number for trial in opened(tmp_path / "a").trials()] == list(range(N + 2))


def test_a_base_config_outside_of_what_is_searched_is_said(tmp_path: Path) -> None:
    search = opened(tmp_path, base={**BASE, "model.depth": 9})
    assert search.note == "the base config is not tried: model.depth=9 lies outside of what is searched"
    first = search.ask("here")
    assert first is not None and first.values != BASE


def test_a_failed_trial_that_is_tried_again_counts_by_its_number(tmp_path: Path) -> None:
    search = opened(tmp_path)
    trial = search.ask("here")
    assert trial is not None
    search.fail(trial.number)
    assert [t.state for t in search.trials()] == ["failed"]
    search.finish(trial.number, 0.5, {"num_params": 7})
    assert opened(tmp_path).trials() == [Trial(0, BASE, "finished", 0.5, "here", {"num_params": 7})]
    with pytest.raises(ValueError, match="expected a finite value"):
        search.finish(trial.number, float("nan"))


def test_a_trial_that_was_pruned_is_told_and_not_asked_for_again(tmp_path: Path) -> None:
    search = opened(tmp_path)
    trial = search.ask("here")
    assert trial is not None
    search.prune(trial.number)
    assert [t.state for t in opened(tmp_path).trials()] == ["pruned"]
    again = search.ask("here")
    assert again is not None and again.number == 1


# Six trials with these values after epochs 1 to 3, then one that is fifth best of seven.
BEFORE, LATE = [0.90, 0.91, 0.92, 0.93, 0.50, 0.51], 0.6


@pytest.mark.parametrize(
    ("changes", "is_pruned"),
    [
        ({"pruner": "none"}, False),
        ({"pruner": "median"}, True),
        ({"pruner": "percentile", "pruner_percentile": 90.0}, False),
        ({"pruner": "percentile", "pruner_percentile": 25.0}, True),
        ({"pruner": "median", "pruner_startup": 7}, False),
        ({"pruner": "asha"}, True),
        ({"pruner": "asha", "pruner_warmup": 4}, False),
        ({"pruner": "hyperband"}, True),
        ({"pruner": "hyperband", "pruner_warmup": 4}, False),
    ],
    ids=str,
)
def test_the_pruner_that_was_asked_for_is_the_one_that_decides(
    changes: dict[str, Any], is_pruned: bool, tmp_path: Path
) -> None:
    search, storage = opened(tmp_path), sqlite_uri(tmp_path / "search.db")
    told = sweep(**changes)

    def reporter(number: int) -> Reporter:
        return Reporter(storage, "s", number, told, higher_is_better=True, max_epochs=9)

    for value in BEFORE:
        trial = search.ask("here")
        assert trial is not None
        for epoch in (1, 2, 3):
            reporter(trial.number).report(epoch, value)
        search.finish(trial.number, value)
    last = search.ask("here")
    assert last is not None
    answers = [reporter(last.number).report(epoch, LATE) for epoch in (1, 2, 3, 3)]
    assert any(answers) is is_pruned


def test_a_failed_trial_that_is_tried_again_is_made_whole(tmp_path: Path) -> None:
    search, storage = opened(tmp_path), sqlite_uri(tmp_path / "search.db")
    for value in BEFORE:
        trial = search.ask("here")
        assert trial is not None
        search.fail(trial.number) if trial.number == 1 else search.finish(trial.number, value)
    again = Reporter(storage, "s", 1, sweep(pruner="median"), higher_is_better=True, max_epochs=9)
    assert [again.report(epoch, 0.0) for epoch in (1, 2)] == [False, False]


def test_a_database_that_is_gone_is_one_line_and_costs_a_running_trial_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = opened(tmp_path)
    trial = search.ask("here")
    assert trial is not None
    reporter = Reporter(
        sqlite_uri(tmp_path / "search.db"), "s", 0, sweep(pruner="median"), higher_is_better=True, max_epochs=9
    )
    (tmp_path / "search.db").write_bytes(b"no database any more" * 1000)
    with pytest.raises(TrackingError, match=r"sweep\.storage: it cannot be reached"):
        search.ask("here")
    assert reporter.report(1, 0.5) is False
    assert capsys.readouterr().out.startswith("epoch 1 is not weighed against other runs: sweep.storage: ")


def test_what_is_worse_depends_on_the_direction(tmp_path: Path) -> None:
    assert SPACE is not None
    storage = sqlite_uri(tmp_path / "search.db")
    search = Search(storage, "s", SPACE.axes, sweep(), higher_is_better=False, seed=0, base=BASE)
    told = sweep(pruner="median", pruner_startup=2)
    for value in (0.1, 0.2, 0.3):
        trial = search.ask("here")
        assert trial is not None
        Reporter(storage, "s", trial.number, told, higher_is_better=False, max_epochs=9).report(1, value)
        search.finish(trial.number, value)
    for value, is_pruned in ((0.05, False), (0.9, True)):
        trial = search.ask("here")
        assert trial is not None
        reporter = Reporter(storage, "s", trial.number, told, higher_is_better=False, max_epochs=9)
        assert reporter.report(1, value) is is_pruned
        search.prune(trial.number)


def test_the_rungs_are_where_runs_can_be_given_up() -> None:
    assert rungs(sweep(), 9) == []
    assert rungs(sweep(pruner="median", pruner_warmup=2), 6) == [2, 3, 4, 5]
    assert rungs(sweep(pruner="asha"), 30) == [1, 3, 9, 27]


def ask_all(folder: Path, out: Path) -> None:
    search = opened(folder)
    while (trial := search.ask("here")) is not None:
        search.finish(trial.number, score(trial.values))
        with out.open("a") as file:
            file.write(f"{trial.number}\n")


def test_controllers_that_begin_at_once_never_try_a_number_twice_nor_more_than_n_trials(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=ask_all, args=(tmp_path, tmp_path / f"{i}.txt")) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    told = sorted(int(line) for file in tmp_path.glob("*.txt") for line in file.read_text().split())
    assert told == list(range(N))
    assert [trial.number for trial in opened(tmp_path).trials()] == list(range(N))


def test_what_machines_share_is_the_first_word(tmp_path: Path) -> None:
    assert opened(tmp_path).shared("parent", "abc") == "abc"
    assert opened(tmp_path).shared("parent", "def") == "abc"


def test_importances_are_shares(tmp_path: Path) -> None:
    assert opened(tmp_path).importances() is None
    sequence(tmp_path, sampler="random")
    found = opened(tmp_path).importances()
    assert found is not None
    assert set(found) == set(BASE)
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=lambda name: found[name]) == "model.depth"


def test_a_database_that_cannot_be_opened_is_one_line_without_its_password() -> None:
    assert SPACE is not None
    with pytest.raises(ConfigError) as error:
        Search(
            "postgresql://me:hunter22@127.0.0.1:9/x", "s", SPACE.axes, sweep(), higher_is_better=True, seed=0, base={}
        )
    assert str(error.value).startswith("sweep.storage: expected a database that can be opened")
    assert "hunter22" not in str(error.value)


def test_a_sampler_that_is_not_installed_is_told_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ConfigError, match=r"sweep.sampler: gp needs PyTorch.*hcr\[gp\]"):
        opened(tmp_path, sampler="gp")


def test_a_trial_whose_machine_was_killed_before_it_had_its_values_is_asked_for_again(tmp_path: Path) -> None:
    whole = sequence(tmp_path / "whole")
    (tmp_path / "cut").mkdir()
    search = opened(tmp_path / "cut")
    found: list[dict[str, Any]] = []
    while len(found) < N:
        if len(found) in (0, 3):  # killed when it had the first of three
            axis = SPACE.axes[1]
            if not found:
                search._study.enqueue_trial({key: _inside(axis_of(key), value) for key, value in BASE.items()})
            half = search._study.ask({axis.key: _distribution(axis)})
            (partial,) = [trial for trial in opened(tmp_path / "cut").trials() if trial.state == "running"]
            assert list(partial.values) == [axis.key]
            search.give_back(half.number)
        trial = search.ask("here")
        assert trial is not None
        found.append(trial.values)
        search.finish(trial.number, score(trial.values))
    assert search.ask("here") is None
    assert found[0] == BASE
    assert len(opened(tmp_path / "cut").trials()) == N
    assert found[:3] == whole[:3]


def test_a_controller_that_asks_at_the_same_moment_as_another_gets_another_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sequence(tmp_path / "whole", sampler="random")
    (tmp_path / "shared").mkdir()
    one, other = (opened(tmp_path / "shared", sampler="random") for _ in range(2))
    monkeypatch.setattr(search_module, "alone", lambda storage: contextlib.nullcontext())  # as on a server
    found = [one.ask("one")]
    ask = other._study.ask

    def late(distributions: Any) -> Any:
        monkeypatch.setattr(other._study, "ask", ask)
        found.append(one.ask("one"))  # after the other has counted
        return ask(distributions)

    monkeypatch.setattr(other._study, "ask", late)
    found.append(other.ask("other"))
    assert [trial.values for trial in found if trial is not None] == whole[:3]
    assert [trial.host for trial in opened(tmp_path / "shared").trials()] == ["one", "one", "other"]


def axis_of(key: str) -> Axis:
    assert SPACE is not None
    return next(axis for axis in SPACE.axes if axis.key == key)


def test_a_database_in_a_folder_that_cannot_be_written_is_one_line() -> None:
    assert SPACE is not None
    with pytest.raises(ConfigError, match=r"sweep\.storage: expected a folder that can be written"):
        Search("sqlite:////proc/x.db", "s", SPACE.axes, sweep(), higher_is_better=True, seed=0, base=BASE)
