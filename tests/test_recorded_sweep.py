"""A sweep, read back from journals: which of its runs have finished, and in which order."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hcr.config import TrackingError
from hcr.config.tracking import output_root, sqlite_uri
from hcr.recorded_sweep import NUMBER_TAG, REUSED_BY, SWEEP_ID, point_number, recorded_sweep
from hcr.tracking.journal import Journal, add_events

Write = Callable[..., Path]


@pytest.fixture
def write() -> Write:
    """Write a run's journal: its key, its parent and tags, its metrics, and how it ended (None: it is running)."""

    def make(
        key: str, status: Any = "FINISHED", *, parent: str | None = None, name: str = "a run", **values: Any
    ) -> Path:
        root = output_root()
        journal = Journal(root, uri=sqlite_uri(root / "mlflow.db"), experiment="hcr", parent=parent)
        number = {} if parent is None else {NUMBER_TAG: str(values.pop("number", 1))}
        journal.begin(name=name, tags=number | values.pop("tags", {}), key=key)
        if params := values.pop("params", None):
            journal.params(params)
        if planned := values.pop("planned", None):
            journal.artifact("plan.json").write_text(json.dumps(planned))
        if values:
            journal.metrics({f"best/val_{metric}": value for metric, value in values.items()}, step=1)
        if status == "PRUNED":
            journal.tags({"hcr.pruned": "after epoch 1"})
        if status is not None:
            journal.end("KILLED" if status == "PRUNED" else status)
        journal.release()
        return journal.folder

    return make


@pytest.fixture
def sweep(write: Write) -> Callable[..., Path]:
    def make(status: str = "FINISHED", monitor: str = "val/loss", num: int = 4) -> Path:
        planned = {"runs": [{}] * num, "sweep": {}}
        tags = {SWEEP_ID: "d1"}
        return write("c0ffee", status, name="depths", tags=tags, params={"monitor": monitor}, planned=planned)

    return make


def keys(name: str = "c0ffee") -> list[str]:
    return [run.folder.name for run in recorded_sweep(name).runs]


def test_finished_runs_come_best_first_and_others_are_counted(sweep: Any, write: Write) -> None:
    sweep("FAILED", num=5)
    write("a1", parent="c0ffee", loss=0.3, accuracy=0.9)
    write("a2", parent="c0ffee", loss=0.1, accuracy=0.8)
    write("a3", "PRUNED", parent="c0ffee", loss=0.01)
    write("a4", "FAILED", parent="c0ffee")
    write("b1", loss=0.0, accuracy=1.0)  # of another command
    other = write("b2", loss=0.2, accuracy=0.7)
    add_events(other, [{"event": "tags", "values": {f"{REUSED_BY}.c0ffee": "5"}}])
    found = recorded_sweep("c0ffee")
    assert keys() == ["a2", "b2", "a1"]
    assert [run.value for run in found.runs] == [0.1, 0.2, 0.3]
    assert found.standing == "3 of 5 runs have finished, 1 pruned, 1 failed"
    assert found.is_complete  # none is left: the failed one is not trained again
    assert (found.name, found.monitor, found.experiment) == ("depths", "val/loss", "hcr")


def test_a_higher_accuracy_is_better_and_equal_ones_keep_one_order(sweep: Any, write: Write) -> None:
    sweep(monitor="val/accuracy")
    for key, accuracy in (("a3", 0.9), ("a1", 0.8), ("a2", 0.9)):
        write(key, parent="c0ffee", loss=0.3, accuracy=accuracy)
    assert keys("depths") == ["a2", "a3", "a1"]


def test_runs_that_confirm_a_point_may_be_chosen_but_are_none_of_the_planned_ones(sweep: Any, write: Write) -> None:
    sweep("KILLED", num=2)
    write("a1", parent="c0ffee", loss=0.3)
    write("a2", parent="c0ffee", loss=0.2, number="confirm 1 seed 8")
    found = recorded_sweep("latest")
    assert keys() == ["a2", "a1"]
    assert found.standing == "1 of 2 runs have finished"
    assert not found.is_complete


def test_a_run_that_is_alive_or_was_interrupted_is_left(sweep: Any, write: Write) -> None:
    sweep("FAILED", num=3)
    write("a1", parent="c0ffee", loss=0.3)
    write("a2", None, parent="c0ffee")
    write("a3", "KILLED", parent="c0ffee")
    assert recorded_sweep("c0f").standing == "1 of 3 runs have finished"
    assert not recorded_sweep("c0f").is_complete


def test_what_is_no_sweep_is_refused(sweep: Any, write: Write) -> None:
    with pytest.raises(TrackingError, match=r"no sweep under .*; `hcr train -m` makes one"):
        recorded_sweep("latest")
    folder = sweep()
    write("a1", parent="c0ffee", loss=0.3)
    with pytest.raises(TrackingError, match="run a1: expected a sweep, got a single run; it belongs to sweep c0ffee"):
        recorded_sweep("a1")
    write("e1", "KILLED", tags={SWEEP_ID: "d2"})
    with pytest.raises(TrackingError, match="sweep e1: expected one whose runs have begun"):
        recorded_sweep("e1")
    with pytest.raises(TrackingError, match="no run 'x' under"):
        recorded_sweep("x")
    (folder / "artifacts/plan.json").write_text("{")
    with pytest.raises(TrackingError, match=r"plan\.json: expected the plan of a sweep"):
        recorded_sweep("c0ffee")


BOARD = "rank,point,n\n1,a=10,2\n2,a=1,2\n3,the base config,2\n"
RUNS = """number,point,overrides,seed,fold,state,run,value,epochs,train_s,why
1,1,seed=0,0,,finished,k1,0.3,1,1,
2,2,a=1 seed=0,0,,failed,,,,,no reason
3,2,a=1 seed=1,1,,finished,k2,0.2,1,1,
4,3,a=10 split.fold=0 seed=1,1,0,finished,k3,0.1,1,1,
"""


def test_a_rank_of_the_leaderboard_is_a_point_of_the_plan(sweep: Callable[..., Path]) -> None:
    folder = sweep()
    with pytest.raises(TrackingError, match="it has no leaderboard"):
        point_number(folder, 1)
    for name, text in (("leaderboard.csv", BOARD), ("runs.csv", RUNS)):
        (folder / "artifacts" / name).write_text(text)
    assert [point_number(folder, rank) for rank in (1, 2, 3)] == [3, 2, 1]
    for rank in (0, 4):
        with pytest.raises(TrackingError, match=f"c0ffee/{rank}: expected the rank of a point .* from 1 to 3"):
            point_number(folder, rank)
    (folder / "artifacts" / "runs.csv").write_text("number\n1\n")
    with pytest.raises(TrackingError, match="it has no runs"):
        point_number(folder, 1)
