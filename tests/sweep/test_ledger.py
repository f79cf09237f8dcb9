"""Where the runs of a sweep stand, by their journals and those of their trials."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from plans import plan as made_plan

from hcr.config.tracking import output_root
from hcr.sweep.identity import Fingerprints
from hcr.sweep.ledger import Ledger, Run, number_tag
from hcr.sweep.plan import Plan
from hcr.tracking.events import last_event, read_events
from hcr.tracking.journal import Journal

METRICS = {"train/loss": 0.5, "val/loss": 0.25, "best/val_loss": 0.25, "best/val_accuracy": 0.9, "model/params": 7.0}
DIED = "its process died"


@pytest.fixture
def plan() -> Plan:
    return replace(made_plan(), parents=("a1",))


@pytest.fixture
def opened(plan: Plan, tmp_path: Path) -> Callable[..., Ledger]:
    """A ledger as a controller opens it; `stand` has been asked for every run."""

    def open_ledger(made: Plan = plan, deleted: tuple[str, ...] = (), *, retry_failed: bool = False) -> Ledger:
        ledger = Ledger(made, tmp_path, Fingerprints(), deleted=deleted, retry_failed=retry_failed)
        for planned in made.runs:
            ledger.add(planned)
        return ledger

    return open_ledger


def begin(plan: Plan, ledger: Ledger, run: Run) -> Journal:
    """The journal of a run that its trial has begun."""
    ledger.write_trial(run, waits=False)
    journal = Journal(output_root(), uri=plan.uri, experiment=plan.experiment, parent=plan.parents[-1])
    mark = Fingerprints().of(run.planned.cfg)
    tags = {"hcr.sweep_run": number_tag(run.planned), "hcr.fingerprint": mark}
    journal.begin(name="x", tags=tags, key=run.key)
    return journal


def end(journal: Journal, status: str, tags: dict[str, str] | None = None) -> None:
    if tags:
        journal.tags(tags)
    if status != "FAILED":
        journal.metrics(METRICS, step=3)
    journal.end(status)  # type: ignore[arg-type]
    journal.release()


def states(ledger: Ledger) -> list[str]:
    return [run.state for run in ledger.all]


def test_every_end_of_a_run_is_known_by_its_journal(plan: Plan, opened: Callable[..., Ledger]) -> None:
    ledger = opened()
    assert states(ledger) == ["new"] * 4
    finished, pruned, failed, killed = ledger.all
    end(begin(plan, ledger, finished), "FINISHED")
    end(begin(plan, ledger, pruned), "KILLED", {"hcr.pruned": "after epoch 3 of 9"})
    end(begin(plan, ledger, failed), "FAILED", {"hcr.error": "ValueError: why"})
    begin(plan, ledger, killed).release()  # by SIGKILL
    for run in ledger.all:
        ledger.look(run)
    assert [(run.state, run.why) for run in ledger.all] == [
        ("finished", ""),
        ("pruned", "after epoch 3"),
        ("failed", "ValueError: why"),
        ("interrupted", ""),
    ]
    again = opened()
    assert states(again) == ["reused", "pruned", "failed", "interrupted"]
    assert [run.key for run in again.all] == [run.key for run in ledger.all]
    outcome = again.all[0].outcome
    assert outcome is not None and (outcome.key, outcome.value, outcome.num_params) == (finished.key, 0.25, 7)
    assert len({run.key for run in again.all}) == 4


def test_a_process_that_died_is_told_in_its_trial_s_journal(plan: Plan, opened: Callable[..., Ledger]) -> None:
    ledger = opened()
    never_began, died = ledger.all[:2]
    ledger.write_trial(never_began, waits=False)
    begin(plan, ledger, died).release()
    for run in (never_began, died):
        ledger.look(run)
        assert run.is_left
        ledger.fail(run, DIED)
    assert [(run.state, run.why) for run in ledger.all[:2]] == [("failed", DIED)] * 2
    assert died.folder is not None and last_event(died.folder)["status"] == "FAILED"
    assert [(run.state, run.why) for run in opened().all[:2]] == [("failed", DIED)] * 2


def test_a_failed_run_stays_so_unless_it_is_to_be_made_again(plan: Plan, opened: Callable[..., Ledger]) -> None:
    ledger = opened()
    told, untold = ledger.all[:2]
    end(begin(plan, ledger, told), "FAILED", {"hcr.error": "ValueError: why"})
    ledger.write_trial(untold, waits=False)
    ledger.fail(untold, DIED)
    assert states(opened())[:2] == ["failed", "failed"]
    again = opened(retry_failed=True)
    assert states(again)[:2] == ["interrupted", "new"]
    assert again.all[0].key == told.key  # it goes on where it was
    assert states(opened())[:2] == ["failed", "failed"]  # a retry that does not begin changes nothing
    for run in again.all[:2]:
        again.write_trial(run, waits=False)
    assert states(opened())[:2] == ["interrupted", "new"]
    journal = Journal(output_root(), uri=plan.uri, experiment=plan.experiment, parent="a1")
    assert told.folder is not None
    journal.resume(told.folder)
    end(journal, "FAILED", {"hcr.error": "ValueError: again"})
    assert [(run.state, run.why) for run in opened().all[:1]] == [("failed", "ValueError: again")]


def test_a_run_that_was_deleted_is_made_again_and_counted(plan: Plan, opened: Callable[..., Ledger]) -> None:
    ledger = opened()
    first, second = ledger.all[:2]
    end(begin(plan, ledger, first), "FINISHED")
    begin(plan, ledger, second).release()
    assert first.key is not None and second.key is not None
    again = opened(deleted=(first.key, second.key))
    assert states(again)[:2] == ["new", "new"]
    assert [run.key for run in again.all[:2]] == [None, None]
    assert again.num_made_again() == 2


def test_under_another_parent_what_has_ended_counts_and_what_has_not_begins_anew(
    plan: Plan, opened: Callable[..., Ledger]
) -> None:
    ledger = opened()
    finished, pruned, killed = ledger.all[:3]
    end(begin(plan, ledger, finished), "FINISHED")
    end(begin(plan, ledger, pruned), "KILLED", {"hcr.pruned": "after epoch 3 of 9"})
    begin(plan, ledger, killed).release()
    again = opened(replace(plan, parents=("a1", "b2")))
    assert states(again)[:3] == ["reused", "pruned", "new"]


def test_a_run_of_other_code_is_not_gone_on_with(plan: Plan, opened: Callable[..., Ledger]) -> None:
    ledger = opened()
    ledger.write_trial(ledger.all[0], waits=False)
    journal = Journal(output_root(), uri=plan.uri, experiment=plan.experiment, parent="a1")
    tags = {"hcr.sweep_run": "1", "hcr.fingerprint": "of other code"}
    journal.begin(name="x", tags=tags, key=ledger.all[0].key)
    journal.release()
    assert states(opened())[0] == "new"


def test_a_finished_run_of_the_same_numbers_is_used_whoever_made_it(plan: Plan, opened: Callable[..., Ledger]) -> None:
    journal = Journal(output_root(), uri=plan.uri, experiment=plan.experiment)
    journal.begin(name="alone", tags={"hcr.fingerprint": Fingerprints().of(plan.runs[2].cfg)})
    end(journal, "FINISHED")
    ledger = opened()
    assert states(ledger) == ["new", "new", "reused", "new"]
    assert ledger.all[2].key == journal.key


def test_asking_where_runs_stand_changes_nothing(plan: Plan, opened: Callable[..., Ledger], tmp_path: Path) -> None:
    ledger = opened()
    end(begin(plan, ledger, ledger.all[0]), "FAILED", {"hcr.error": "why"})
    ledger.fail(ledger.all[1], DIED) if ledger.write_trial(ledger.all[1], waits=False) else None
    before = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    opened(), opened()
    assert {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_a_search_asked_for_is_known_with_what_it_noted(plan: Plan, opened: Callable[..., Ledger]) -> None:
    ledger = opened()
    ledger.ask(0, {"x": 1}, {"a": 1})
    ledger.note(ledger.all[0], {"a": 2, "b": 3})
    ledger.ask(1, {"x": 2}, {})
    assert ledger.asked() == [({"x": 1}, {"a": 2, "b": 3}), ({"x": 2}, {})]
    kinds = [event["event"] for event, _ in read_events(ledger.trial(plan.runs[0]))]
    assert kinds == ["asked", "noted"]
