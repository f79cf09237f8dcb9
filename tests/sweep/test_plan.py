"""The plan of a sweep: the same for the same command, whole on disk, aware of the code it was made with."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from plans import GRID, plan

from hcr.config import ConfigError
from hcr.config.replicates import Replicate
from hcr.gate.compose import Composer
from hcr.sweep.command import plan_of
from hcr.sweep.identity import Fingerprints
from hcr.sweep.plan import PLAN, Plan, changed_code, read_plan, write_plan


def test_a_plan_has_every_run_by_point_and_seed() -> None:
    made = plan()
    assert [(run.number, run.point, run.seed, run.values) for run in made.runs] == [
        (0, 0, 0, {"model.depth": 1}),
        (1, 0, 1, {"model.depth": 1}),
        (2, 1, 0, {"model.depth": 2}),
        (3, 1, 1, {"model.depth": 2}),
    ]
    assert made.axes == ("model.depth",)
    assert made.base == {"model.depth": 2}
    assert [run.label for run in made.runs][:2] == ["model.depth=1 seed=0", "model.depth=1 seed=1"]
    assert made.runs[0].point_label == "model.depth=1"


def test_a_plan_of_a_cross_validation_has_one_point_with_every_fold_and_seed() -> None:
    made = plan("split=kfold", "split.fold=0,1,2", "seed=0,1")
    assert [(run.point, run.replicate, run.num_folds) for run in made.runs] == [
        (0, Replicate(seed, fold), 5) for seed in (0, 1) for fold in (0, 1, 2)
    ]
    assert {run.point_label for run in made.runs} == {"the base config"}
    assert made.runs[1].label == "split.fold=1 seed=0"
    assert (made.axes, made.base) == ((), {})
    assert plan("split=kfold", "model.depth=1,2", "split.fold=0,1").axes == ("model.depth",)


def test_a_plan_from_before_splits_had_a_seed_reads_and_has_the_same_id(tmp_path: Path) -> None:
    made = plan()
    values = asdict(made)
    for run in values["runs"]:
        assert run["config"]["split"].pop("seed") is None
    for template in values["space"]["templates"]:
        del template["config"]["split"]["seed"]
    (tmp_path / PLAN).write_text(json.dumps(values))
    there = read_plan(tmp_path)
    assert there is not None
    assert [run.cfg for run in there.runs] == [run.cfg for run in made.runs]
    assert [(run.replicate, run.num_folds) for run in there.runs] == [(Replicate(seed), None) for seed in (0, 1, 0, 1)]
    assert plan(*GRID, "split.seed=0").id != made.id


def test_its_id_is_what_is_planned_and_not_how_fast_or_by_whom() -> None:
    made = plan()
    same = plan(command=("other",), name="b", workers=1, threads=2)
    assert same.id == made.id
    assert same.runs[0].cfg.training.threads == 2  # frozen, though no part of the id
    assert plan("seed=1,0", "model.depth=shuffle(1,2)").id == made.id
    for other in (plan("model.depth=1,3", "seed=0,1"), plan(*GRID, "training.epochs=3"), plan(uri="sqlite:////y.db")):
        assert other.id != made.id
    assert plan(*GRID, "sweep.retry_failed=true", "sweep.max_time=2h", "notes=why").id == made.id


def test_threads_that_are_chosen_are_part_of_the_id() -> None:
    one, two = (plan(*GRID, f"training.threads={n}") for n in (1, 2))
    assert one.id != two.id
    assert [run.cfg.training.threads for run in two.runs] == [2] * 4


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    made = plan()
    write_plan(tmp_path, made)
    assert read_plan(tmp_path) == made
    assert read_plan(tmp_path / "nowhere") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"runs": 3}', '{"runs": [], "id": "x"}'])
def test_a_damaged_plan_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / PLAN).write_text(text)
    with pytest.raises(ConfigError, match=r"plan.json: expected the plan of a sweep"):
        read_plan(tmp_path)


def test_code_that_changed_came_or_went_is_listed() -> None:
    made = plan()
    assert changed_code(made.code, made.code) == []
    assert "hcr/training/loop.py" in made.code and "tensorflow" in made.code
    now = {name: digest for name, digest in made.code.items() if name != "hcr/model/muon.py"}
    now |= {"keras": "0", "hcr/model/new.py": "1"}
    assert changed_code(made.code, now) == ["hcr/model/muon.py", "hcr/model/new.py", "keras"]


def test_a_sweep_on_gpus_trains_one_run_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("resolve.usable_gpus", "resolve.visible_gpus"):
        monkeypatch.setattr(f"hcr.gate.{name}", lambda: ("0", "1"))
    monkeypatch.setattr("hcr.sweep.command.visible_gpus", lambda: ("0", "1"))
    monkeypatch.setattr("hcr.sweep.resources.available_cores", lambda: 8)

    def planned(*overrides: str) -> Plan:
        checked = Composer().check(["seed=0,1,2,3", *overrides], multirun=True)
        return plan_of(checked, overrides, Fingerprints())[0]

    on_gpu, on_cpu = planned(), planned("training.device=cpu")
    assert (on_gpu.workers, on_gpu.threads) == (2, 4)
    assert on_cpu.workers == 4
    assert [(run.cfg.training.device, run.cfg.training.shards) for run in on_gpu.runs] == [("gpu", 1)] * 4
    assert on_gpu.id != on_cpu.id  # a leaderboard does not mix them
    with pytest.raises(ConfigError, match=r"^launcher\.workers: expected at most 2, a GPU for each, got 4$"):
        planned("launcher.workers=4")
    assert planned("launcher.workers=4", "training.device=cpu").workers == 4
