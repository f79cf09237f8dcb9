"""The story of a sweep where it is interrupted: its own run, and which time it begins."""

from dataclasses import replace
from pathlib import Path

import pytest
from test_plan import plan

from hcr.config.compose import compose
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import output_root, sqlite_uri
from hcr.sweep.agreement import agree
from hcr.sweep.command import _id_of
from hcr.sweep.plan import write_plan
from hcr.sweep.running import _begin, sweep_folder
from hcr.sweep.work import PARENT_ELSEWHERE, parent_key
from hcr.tracking.events import JOURNAL, last_event
from hcr.tracking.journal import Journal


def new_journal() -> Journal:
    return Journal(output_root(), uri="sqlite:////nowhere.db", experiment="tests")


@pytest.mark.parametrize("torn", [None, b"", b'{"event": "run", "key'], ids=["nothing", "empty", "cut short"])
def test_a_sweep_that_was_killed_as_its_own_run_began_has_it_the_next_time(torn: bytes | None, tmp_path: Path) -> None:
    made = plan()
    write_plan(tmp_path, made)
    agreed: list[str] = []

    def killed(own: str) -> str:
        agreed.append(own)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _begin(new_journal(), made, tmp_path, killed)
    if torn is not None:
        folder = output_root() / "runs" / agreed[0]
        folder.mkdir(parents=True)
        (folder / JOURNAL).write_bytes(torn)
    for status in ("FINISHED", "FINISHED"):  # begun, and gone on with
        with new_journal() as journal:
            assert _begin(journal, made, tmp_path, lambda own: agreed[0]) == agreed[0]
            assert (journal.key, journal.is_open) == (agreed[0], True)
        assert last_event(output_root() / "runs" / agreed[0])["status"] == status
    assert [path.name for path in (output_root() / "runs").iterdir()] == agreed


def test_the_sweep_s_own_run_may_be_another_machine_s(tmp_path: Path) -> None:
    write_plan(tmp_path, plan())
    with new_journal() as journal:
        assert _begin(journal, plan(), tmp_path, lambda own: "a1") == "a1"
        assert not journal.is_open
    assert not (output_root() / "runs").exists()


def test_a_sweep_whose_own_run_was_deleted_in_mlflow_begins_another_that_all_machines_know(tmp_path: Path) -> None:
    made = plan()
    write_plan(tmp_path, made)
    with new_journal() as journal:
        old = _begin(journal, made, tmp_path, lambda own: own)
    with new_journal() as journal:
        new = _begin(journal, made, tmp_path, lambda own: own, deleted={old})
        assert (journal.key, journal.is_open, journal.key == old) == (new, True, False)
    (tmp_path / PARENT_ELSEWHERE).write_text(old)
    assert parent_key(tmp_path) == old
    with new_journal() as journal:
        assert _begin(journal, made, tmp_path, lambda own: own, deleted={old}) == new
    assert parent_key(tmp_path) == new


def test_beginning_anew_is_known_to_every_machine(tmp_path: Path) -> None:
    made = plan()
    shared = SweepConfig(**(made.sweep | {"storage": sqlite_uri(tmp_path / "shared.db")}))
    auto, never = compose([]), compose(["resume=never"])
    assert _id_of(made, shared, auto) == _id_of(made, shared, never) == made.id
    assert not (tmp_path / "shared.db").exists()
    agree(made, shared)
    assert (_id_of(made, shared, auto), _id_of(made, shared, never)) == (made.id, f"{made.id}-2")
    agree(replace(made, id=f"{made.id}-2"), shared)
    assert (_id_of(made, shared, auto), _id_of(made, shared, never)) == (f"{made.id}-2", f"{made.id}-3")
    alone = replace(shared, storage=None)
    assert _id_of(made, alone, auto) == made.id
    sweep_folder(made).mkdir(parents=True)
    assert (_id_of(made, alone, auto), _id_of(made, alone, never)) == (made.id, f"{made.id}-2")
