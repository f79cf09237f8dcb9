"""Adaptive search: the same points for the same seed, killed in between or not, and the pruner that was asked for."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from hcr.config import ConfigError
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import output_root
from hcr.gate.compose import Composer
from hcr.gate.points import Space
from hcr.sweep.identity import Fingerprints
from hcr.sweep.ledger import Ledger, Run
from hcr.sweep.plan import Plan, make_plan
from hcr.sweep.search import Search, rungs
from hcr.tracking.events import read_events
from hcr.tracking.journal import Journal

N = 8
COMMAND = [
    "optimizer.learning_rate=tag(log,interval(0.0001,0.1))",
    "model.depth=range(1,4)",
    "model.filters=8,16",
    "training.epochs=9",
    "monitor=val/accuracy",
    "sweep.sampler=tpe",
    f"sweep.n_trials={N}",
]
BASE: dict[str, Any] = {"optimizer.learning_rate": 0.003, "model.depth": 2, "model.filters": 16}


@lru_cache
def plan(*more: str, seed: int = 3) -> tuple[Plan, SweepConfig]:
    """A search whose base config is BASE, and its bounds."""
    checked = Composer().check([*COMMAND, f"seed={seed}", *more], multirun=True)
    assert isinstance(checked.space, Space)
    made = make_plan(
        [],
        checked.space,
        command=[],
        name="tests",
        uri="sqlite:////nowhere.db",
        base=checked.configs[0],
        workers=1,
        threads=1,
    )
    return replace(made, base=made.base | BASE, parents=("a1",)), checked.space.sweep


class Opened:
    """A search of a plan as one controller has it; its runs are told by journals, as those of real trials."""

    def __init__(self, folder: Path, *more: str, seed: int = 3, **changes: Any) -> None:
        made, sweep = plan(*more, seed=seed)
        base = changes.pop("base", BASE)
        self.plan = replace(made, base=base)
        sweep = sweep.replace(**changes)
        folder.mkdir(exist_ok=True)
        retry = changes.get("retry_failed", False)
        self.ledger = Ledger(self.plan, folder, Fingerprints(), deleted=(), retry_failed=retry)
        self.source = Search(self.plan, sweep, self.ledger)
        self.folder = folder

    def next(self) -> Run:
        """The next run that is to be made: a point that cannot be is passed over."""
        while (run := self.source.next()) is not None and not run.is_left:
            self.source.ended(run)
        assert run is not None
        return run

    def begin(self, run: Run) -> Journal:
        """The journal of a run that a trial has begun."""
        self.ledger.write_trial(run, waits=self.source.prunes)
        assert run.key is not None
        journal = Journal(output_root(), uri=self.plan.uri, experiment=self.plan.experiment, parent="a1")
        tags = {"hcr.sweep_run": str(run.planned.number + 1), "hcr.fingerprint": str(self.folder / run.key)}
        journal.begin(name="x", tags=tags, key=run.key)
        return journal

    def finish(self, run: Run, journal: Journal, value: float) -> None:
        """The trial ends, and the controller hears of it."""
        journal.metrics({"best/val_accuracy": value, "best/val_loss": 1.0, "model/params": 7.0}, step=9)
        journal.end("FINISHED")
        self.told(run, journal)

    def told(self, run: Run, journal: Journal) -> None:
        journal.release()
        self.ledger.look(run)
        self.source.ended(run)

    def make(self, run: Run, value: float) -> None:
        self.finish(run, self.begin(run), value)

    def epoch(self, run: Run, journal: Journal, epoch: int, value: float) -> bool:
        journal.metrics({"train/loss": 1.0, "val/accuracy": value}, step=epoch)
        return self.source.goes_on(run, epoch, value)


def score(values: dict[str, Any]) -> float:
    return float(-((values["optimizer.learning_rate"] - 0.01) ** 2) + 0.1 * values["model.depth"])


def sequence(folder: Path, *, cut: int | None = None, **changes: Any) -> list[dict[str, Any]]:
    """The points that a search tries; with `cut` it is opened anew after so many."""
    search, found = Opened(folder, **changes), []
    while (run := search.source.next()) is not None:
        found.append(run.planned.values)
        if run.is_left:
            search.make(run, score(run.planned.values))
        else:
            search.source.ended(run)
        if len(found) == cut:
            search = Opened(folder, **changes)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_the_same_seed_tries_the_same_points_interrupted_or_not(sampler: str, tmp_path: Path) -> None:
    whole = sequence(tmp_path / "a", sampler=sampler, n_trials=14)
    assert len(whole) == 14
    assert whole[0] == BASE
    assert len({repr(values) for values in whole}) > N // 2
    for cut in (3, 12):  # before the sampler has begun to learn, and after
        assert sequence(tmp_path / f"b{cut}", sampler=sampler, n_trials=14, cut=cut) == whole
    assert sequence(tmp_path / "c", sampler=sampler, seed=4)[1:] != whole[1:N]


def test_a_real_number_has_six_digits_within_its_bounds_and_the_base_config_all_of_its_own(tmp_path: Path) -> None:
    base = {**BASE, "optimizer.learning_rate": 0.00123456789}
    first, *others = [values["optimizer.learning_rate"] for values in sequence(tmp_path, base=base, n_trials=30)]
    assert first == 0.00123456789
    assert others == [float(f"{value:.6g}") for value in others]
    assert all(0.0001 <= value <= 0.1 for value in others)


def test_n_trials_is_the_total(tmp_path: Path) -> None:
    assert len(sequence(tmp_path)) == N
    assert sequence(tmp_path) == []
    assert len(sequence(tmp_path, n_trials=N + 2)) == 2
    assert sorted(Opened(tmp_path).ledger.runs) == list(range(N + 2))


def test_a_base_config_outside_of_what_is_searched_is_said(tmp_path: Path) -> None:
    search = Opened(tmp_path, base={**BASE, "model.depth": 9})
    assert search.source.note == "the base config is not tried: model.depth=9 is outside the search space"
    first = search.source.next()
    assert first is not None and first.planned.values != BASE


def test_a_point_that_was_asked_for_before_a_kill_is_the_first_one_made(tmp_path: Path) -> None:
    first = Opened(tmp_path)
    run = first.next()
    again = Opened(tmp_path)
    (known,) = again.ledger.all
    assert (known.state, known.planned.values) == ("interrupted", run.planned.values)
    assert again.source.num_to_ask() == N - 1
    again.make(known, 0.5)
    following = again.next()
    first.make(run, 0.5)
    unkilled = first.next()
    assert following.planned.values == unkilled.planned.values


def test_an_asking_that_was_cut_short_was_never_made(tmp_path: Path) -> None:
    search = Opened(tmp_path)
    run = search.next()
    search.make(run, 0.5)
    second = search.next()
    journal = search.ledger.trial(second.planned) / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    again = Opened(tmp_path)
    assert len(again.ledger.runs) == 1
    anew = again.next()
    assert anew.planned.values == second.planned.values
    assert [event["event"] for event, _ in read_events(journal.parent)] == ["asked"]


def test_what_failed_and_what_was_pruned_is_known_and_not_asked_for_again(tmp_path: Path) -> None:
    search = Opened(tmp_path, pruner="median")
    failed, pruned = search.next(), search.next()
    search.ledger.fail(failed, "its process was killed by signal 9")
    search.source.ended(failed)
    journal = search.begin(pruned)
    assert search.epoch(pruned, journal, 1, 0.5)
    journal.tags({"hcr.pruned": "after epoch 1 of 9"})
    journal.end("KILLED")
    search.told(pruned, journal)
    again = Opened(tmp_path, pruner="median")
    told = [(run.state, run.why) for run in again.ledger.all]
    assert told == [("failed", "its process was killed by signal 9"), ("pruned", "after epoch 1")]
    assert again.next().planned.number == 2
    retried = Opened(tmp_path, pruner="median", retry_failed=True).ledger.all
    assert [run.state for run in retried] == ["interrupted", "pruned", "interrupted"]


# Six trials with these values after epochs 1 to 3, then one that is fifth best of seven.
BEFORE, LATE = [0.90, 0.91, 0.92, 0.93, 0.50, 0.51], 0.6


@pytest.mark.parametrize(
    "is_killed",
    [pytest.param(False, id="in one go"), pytest.param(True, id="killed before each trial", marks=pytest.mark.slow)],
)
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
    changes: dict[str, Any], is_pruned: bool, is_killed: bool, tmp_path: Path
) -> None:
    changes = {"n_trials": 50} | changes  # some points cannot be
    search = Opened(tmp_path, **changes)
    for value in BEFORE:
        run = search.next()
        journal = search.begin(run)
        for epoch in (1, 2, 3):
            search.epoch(run, journal, epoch, value)
        search.finish(run, journal, value)
        if is_killed:
            search = Opened(tmp_path, **changes)
    answers = []
    for _ in range(4):  # hyperband puts them into several brackets, some of which are patient
        last = search.next()
        journal = search.begin(last)
        answers += [search.epoch(last, journal, epoch, LATE) for epoch in (1, 2, 3, 3) if search.source.prunes]
    assert (not all(answers)) is is_pruned


def test_what_is_worse_depends_on_the_direction(tmp_path: Path) -> None:
    search = Opened(tmp_path, "monitor=val/loss", pruner="median", pruner_startup=2, n_trials=50)
    for value in (0.1, 0.2, 0.3):
        run = search.next()
        journal = search.begin(run)
        search.source.goes_on(run, 1, value)
        journal.metrics({"best/val_accuracy": 0.5, "best/val_loss": value, "model/params": 7.0}, step=9)
        journal.end("FINISHED")
        search.told(run, journal)
    for value, goes_on in ((0.05, True), (0.9, False)):
        run = search.next()
        assert search.source.goes_on(run, 1, value) is goes_on


def test_the_rungs_are_where_runs_can_be_given_up() -> None:
    _, sweep = plan()
    assert rungs(sweep, 9) == []
    assert rungs(sweep.replace(pruner="median", pruner_warmup=2), 6) == [2, 3, 4, 5]
    assert rungs(sweep.replace(pruner="asha"), 30) == [1, 3, 9, 27]


def test_importances_are_shares(tmp_path: Path) -> None:
    assert Opened(tmp_path).source.importances() is None
    sequence(tmp_path, sampler="random", n_trials=30)
    found = Opened(tmp_path).source.importances()
    assert found is not None
    assert set(found) == set(BASE)
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=lambda name: found[name]) == "model.depth"


def test_a_sampler_that_is_not_installed_is_told_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ConfigError, match=r"sweep.sampler: gp needs PyTorch.*hcr\[gp\]"):
        Opened(tmp_path, sampler="gp")
