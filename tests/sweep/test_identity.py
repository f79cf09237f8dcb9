"""Which runs of a sweep are the same run: told by their data, not by their configs alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Hcr

from hcr.config import ConfigError, DataError
from hcr.data.loading import load_dataset
from hcr.gate.compose import Checked, Composer
from hcr.sweep.identity import Fingerprints, check_data, without_duplicates
from hcr.sweep.plan import Plan, make_plan
from hcr.tracking.events import first_event
from hcr.tracking.session import recorded

YAML = """
name: {name}
format: arrays
path: {path}
image_shape: [8, 8, 1]
num_classes: 3
class_names: [p, q, r]
has_official_test: false
has_groups: false
limit: null
"""

Write = Callable[[str, int], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """`write(name, seed)` makes a data set called so, in a file of its own, whose pixels the seed decides."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "dataset").mkdir(parents=True)

    def call(name: str, seed: int) -> None:
        labels = np.repeat(np.arange(3), 40)
        images = np.random.default_rng(seed).integers(0, 60, (120, 8, 8), np.uint8)
        for k in range(3):
            images[labels == k, 2 * k : 2 * k + 3, 2:6] += 150
        np.savez(tmp_path / f"{name}.npz", x=images, y=labels)
        path = tmp_path / "conf" / "dataset" / f"{name}.yaml"
        path.write_text(YAML.format(name=name, path=tmp_path / f"{name}.npz"))

    return call


def asked(*overrides: str) -> Checked:
    return Composer().check(["training.epochs=1", *overrides], multirun=True)


def folded(*overrides: str) -> tuple[list[str], int]:
    runs, num_same = without_duplicates(
        asked(*overrides).runs, Fingerprints(), around="sweep.design=around" in overrides
    )
    return [" ".join(run.overrides) for run in runs], num_same


def planned(*overrides: str) -> Plan:
    checked, fingerprints = asked(*overrides), Fingerprints()
    assert checked.space is not None
    runs, _ = without_duplicates(checked.runs, fingerprints, around=False)
    given = {"command": (), "name": "a", "uri": "sqlite:////x.db", "workers": 1, "threads": 1}
    return make_plan(runs, checked.space, base=checked.configs[0], data=fingerprints.data, **given)


def runs(folder: Path) -> list[dict[str, Any]]:
    """What every run of a sweep under `folder` began with."""
    journals = sorted((folder / "output" / "runs").glob("*/journal.jsonl"))
    return [first for journal in journals if (first := first_event(journal.parent))["parent"] is not None]


def test_runs_that_have_the_same_numbers_are_one() -> None:
    assert folded("notes=a,b", "seed=0,1") == (["notes=a seed=0", "notes=a seed=1"], 2)


def test_every_duplicate_of_a_full_grid_is_counted_also_where_seeds_alone_vary(write: Write) -> None:
    write("a", 1)
    assert folded("notes=a,b") == (["notes=a"], 1)
    twice = [replace(run) for run in asked("dataset=a", "seed=0,1").runs for _ in range(2)]
    kept, num_same = without_duplicates(twice, Fingerprints(), around=False)
    assert (len(kept), num_same) == (2, 2)
    assert without_duplicates(twice, Fingerprints(), around=True)[1] == 0


def test_two_data_sets_of_one_shape_are_two_and_two_files_of_one_data_set_are_one(write: Write) -> None:
    write("a", 1), write("b", 2), write("c", 1)
    assert folded("dataset=a,b,c") == (["dataset=a", "dataset=b"], 1)
    paths = "dataset.path=a.npz,b.npz,c.npz"
    assert folded("dataset=a", paths) == (["dataset.path=a.npz", "dataset.path=b.npz"], 1)


def test_around_the_base_the_base_under_another_name_is_no_duplicate_and_another_one_is_counted(write: Write) -> None:
    write("a", 1), write("b", 2)
    around = "sweep.design=around"
    assert folded("dataset=a,b", around) == (["", "dataset=a", "dataset=b"], 0)
    depths = ["seed=0", "seed=1", *(f"model.depth={depth} seed={seed}" for depth in (1, 3) for seed in (0, 1))]
    assert folded("model.depth=1,2,3", "seed=0,1", around) == (depths, 0)
    around_both = folded("model.depth=1,3", "notes=a,b", around)
    assert around_both == (["", "model.depth=1", "model.depth=3"], 0)


def test_sweeps_over_files_that_lie_elsewhere_are_different_sweeps(write: Write) -> None:
    write("a", 1), write("b", 2)
    one, two = (planned("dataset=a", f"dataset.path={name}.npz", "seed=0,1") for name in ("a", "b"))
    assert one.id != two.id
    assert one.id == planned("dataset=a", "dataset.path=a.npz", "seed=0,1").id


def test_data_that_changed_since_a_sweep_started_is_named(write: Write, tmp_path: Path) -> None:
    write("a", 1), write("b", 2)
    before = planned("dataset=a,b")
    write("a", 3)
    with pytest.raises(ConfigError) as refused:
        check_data(before.data, planned("dataset=a,b"))
    assert str(refused.value).startswith(f"sweep: the data changed since this sweep started: {tmp_path / 'a.npz'};")
    write("a", 1)
    check_data(before.data, planned("dataset=a,b"))
    check_data({}, planned("dataset=a,b"))  # of a sweep that kept no digests


def test_a_plan_names_the_file_and_the_digest_of_each_data_set(write: Write, tmp_path: Path) -> None:
    write("a", 1), write("b", 2)
    made = planned("dataset=a,b")
    digests = [load_dataset(run.cfg.dataset).digest for run in made.runs]
    found = [{"source": str(tmp_path / f"{name}.npz"), "digest": d} for name, d in zip("ab", digests, strict=True)]
    assert list(made.data.values()) == found


def test_a_run_that_finds_other_data_than_its_sweep_planned_leaves_nothing(write: Write, tmp_path: Path) -> None:
    from hcr.runner import run

    write("a", 1)
    (cfg,) = Composer().check(["dataset=a"]).configs
    with pytest.raises(DataError) as refused, recorded(cfg.tracking) as journal:
        run(cfg, journal, dataset_digest="0" * 64)
    assert str(refused.value) == f"{tmp_path / 'a.npz'}: the data changed since this sweep started"
    assert not (tmp_path / "output").exists()


@pytest.mark.slow
def test_a_sweep_whose_data_changed_stops_and_begins_anew_only_when_asked(
    write: Write, undrawn: Hcr, tmp_path: Path
) -> None:
    write("a", 1)
    sweep = ("train", "-m", "dataset=a", "training.epochs=1", "seed=0,1", "launcher.workers=1")
    assert undrawn(*sweep).returncode == 0
    first = runs(tmp_path)
    write("a", 2)
    for more in ((), ("check_only=true",), ("sweep.retry_failed=true",), ("sweep.allow_code_change=true",)):
        stopped = undrawn(*sweep, *more)
        assert (stopped.returncode, stopped.stdout.count("val/loss")) == (1, 0)
        assert stopped.stderr.startswith("hcr: sweep: the data changed since this sweep started: ")
    assert runs(tmp_path) == first
    anew = undrawn(*sweep, "resume=never")
    assert anew.returncode == 0
    assert "0 reused, 0 resumed, 2 to run" in anew.stdout
    assert len({run["tags"]["hcr.dataset_digest"] for run in runs(tmp_path)}) == 2
    parents = [run["parent"] for run in runs(tmp_path)]
    assert sorted(parents.count(parent) for parent in set(parents)) == [2, 2]  # each sweep is of one data set
    write("a", 1)  # the old data is back: so are its runs, in a leaderboard of their own
    assert "2 reused" in undrawn(*sweep[:-2], "seed=0,1,2", sweep[-1]).stdout
