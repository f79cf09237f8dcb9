"""The points of a sweep: as many as asked for, each once, frozen."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from hcr.config import ConfigError
from hcr.gate.compose import Checked, Composer
from hcr.gate.points import Space
from hcr.gate.run_config import to_dict
from hcr.model.architectures.cnn import Cnn


def check(*overrides: str, config_dir: Path | None = None) -> Checked:
    return Composer(config_dir).check(list(overrides), multirun=True)


def labels(*overrides: str) -> list[str]:
    return [" ".join(run.overrides) for run in check(*overrides).runs]


def test_a_grid_is_every_point_with_every_seed_which_comes_last() -> None:
    assert labels("seed=0,1", "model.depth=1,2") == [
        "model.depth=1 seed=0",
        "model.depth=1 seed=1",
        "model.depth=2 seed=0",
        "model.depth=2 seed=1",
    ]
    runs = check("seed=0,1", "model.depth=1,2").runs
    assert [run.point for run in runs] == [(("model.depth", "1"),)] * 2 + [(("model.depth", "2"),)] * 2
    assert [(run.cfg.seed, to_dict(run.cfg)["model"]["depth"]) for run in runs] == [(0, 1), (1, 1), (0, 2), (1, 2)]


def test_a_search_is_refused_for_a_value_that_goes_with_no_other() -> None:
    # Three blocks and strides of 2 are too much for 28x28 images, and three blocks are the base config.
    blocks = ("dataset=mnist", "dataset.path=not-read.mat", "model=cnn", "model.depth=3", "sweep.sampler=random")
    found = check(*blocks, "model.depth=1,2,3", "model.strides=1,2", "sweep.n_trials=4").configs
    assert {(cfg.model.depth, cfg.model.strides) for cfg in found if isinstance(cfg.model, Cnn)} >= {(3, 1), (1, 2)}
    # The base config itself is no point of this search.
    found = check(*blocks, "model.strides=2", "model.depth=1,2", "sweep.n_trials=2").configs
    assert {cfg.model.depth for cfg in found if isinstance(cfg.model, Cnn)} == {1, 2}
    with pytest.raises(ConfigError, match=r"model.depth: block 3 .* \(in the combination .*model.depth=3"):
        check(*blocks, "model.depth=1,3", "model.strides=2,3", "sweep.n_trials=4")
    # Whatever their order, and however many other axes there are.
    many = ["model.dropout=interval(0.1,0.2)"]
    many += [f"optimizer.{key}=interval(0.1,0.2)" for key in ("learning_rate", "beta_1", "beta_2", "epsilon")]
    many += ["training.label_smoothing=interval(0,0.1)", "training.batch_size=range(16,48)", "sweep.n_trials=4"]
    found = check("sweep.sampler=random", "training.patience=5,null", "training.keep=best,last", *many).configs
    assert {(cfg.training.keep, cfg.training.patience) for cfg in found} >= {("last", None), ("best", 5)}


def test_around_is_the_base_and_each_axis_by_itself() -> None:
    found = labels("model.depth=1,2,3", "optimizer.learning_rate=0.001,0.01", "sweep.design=around", "seed=0,1")
    assert found == [
        "seed=0",
        "seed=1",
        "model.depth=1 seed=0",
        "model.depth=1 seed=1",
        "model.depth=2 seed=0",  # the base again; `hcr.sweep.identity` makes them one
        "model.depth=2 seed=1",
        "model.depth=3 seed=0",
        "model.depth=3 seed=1",
        "optimizer.learning_rate=0.001 seed=0",
        "optimizer.learning_rate=0.001 seed=1",
        "optimizer.learning_rate=0.01 seed=0",
        "optimizer.learning_rate=0.01 seed=1",
    ]


def test_around_composes_each_choice_of_a_group() -> None:
    runs = check("model=cnn,mlp", "optimizer=adam,sgd", "sweep.design=around").runs
    assert [(run.cfg.model.name, run.cfg.optimizer.name) for run in runs] == [
        ("cnn", "adam"),
        ("cnn", "adam"),
        ("mlp", "adam"),
        ("cnn", "adam"),
        ("cnn", "sgd"),
    ]


def test_folds_and_seeds_make_replicates_of_a_point_and_come_last() -> None:
    given = ("split.fold=0,1", "seed=0,1", "split=kfold", "model.depth=1,2")
    assert labels(*given) == [
        f"model.depth={depth} split.fold={fold} seed={seed}"
        for depth, seed, fold in itertools.product((1, 2), (0, 1), (0, 1))
    ]
    runs = check(*given).runs
    assert [run.point for run in runs] == [(("model.depth", "1"),)] * 4 + [(("model.depth", "2"),)] * 4
    assert [(run.cfg.seed, to_dict(run.cfg)["split"]["fold"]) for run in runs[:4]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert labels("split.fold=range(0,3)", "split=kfold") == ["split.fold=0", "split.fold=1", "split.fold=2"]
    around = labels("model.depth=1,2", "split=kfold", "split.fold=0,1", "sweep.design=around")
    assert around == [f"{depth}split.fold={k}" for depth in ("", "model.depth=1 ", "model.depth=2 ") for k in (0, 1)]


def test_a_sample_is_of_points_and_the_same_for_the_same_seed() -> None:
    some = labels("model.depth=1,2,3", "model.filters=8,16,32", "sweep.sample=4", "seed=5,6")
    points = [label.rpartition(" ")[0] for label in some]
    assert len(points) == 8
    assert len(set(points)) == 4
    assert some == labels("model.depth=1,2,3", "model.filters=8,16,32", "sweep.sample=4", "seed=5,6")
    with pytest.raises(ConfigError, match=r"sweep.sample: expected at most 2, the points of the grid; got 3"):
        check("model.depth=1,2", "sweep.sample=3")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["split=kfold", "split.fold=0,1", "sweep.sampler=tpe", "sweep.n_trials=3"],
            "split.fold: a search tries each point on one fold",
        ),
        (["split=kfold", "split.fold=0,5"], "split.fold: expected 0 to 4, as split.folds is 5, got 5 (in the comb"),
        (["seed=1,2", "sweep.sampler=tpe", "sweep.n_trials=3"], "seed: a search tries each point with one seed"),
        (["model.depth=1,9", "sweep.sampler=tpe", "sweep.n_trials=3"], "model.depth: block 4"),
        (["model.depth=int(interval(1,9))", "sweep.sampler=tpe", "sweep.n_trials=3"], "model.depth: block 4"),
        (["seed=range(0,200000)"], "seed: expected at most 100,000 values"),
        (["model.depth=1,2", "launcher.workers=1,2"], "launcher.workers: expected one value"),
        (["model=cnn,mlp", "model.depth=1,2"], "model.depth: unknown key"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        check(*overrides)
    assert str(error.value).startswith(told)


def test_a_space_is_frozen(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    (folder / "model").mkdir(parents=True)
    mine = folder / "model" / "mine.yaml"
    mine.write_text("defaults:\n  - cnn\n  - _self_\nfilters: 4\n")
    space = check("model=mine,mlp", "optimizer.learning_rate=0.1,0.2", config_dir=folder).space
    assert space is not None
    kept = space.to_json()
    mine.write_text("defaults:\n  - cnn\n  - _self_\nfilters: 99\n")
    for there in (space, Space.from_json(kept)):
        run = there.run({"model": "mine", "optimizer.learning_rate": 0.2, "seed": 7})
        values: dict[str, Any] = to_dict(run.cfg)
        assert (values["model"]["filters"], values["optimizer"]["learning_rate"], values["seed"]) == (4, 0.2, 7)
        assert run.overrides == ("model=mine", "optimizer.learning_rate=0.2", "seed=7")


def test_interpolations_follow_the_point(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "tied.yaml").write_text("defaults:\n  - cnn\n  - _self_\nfilters: ${training.batch_size}\n")
    runs = check("model=tied", "training.batch_size=16,32", config_dir=folder).runs
    assert [to_dict(run.cfg)["model"]["filters"] for run in runs] == [16, 32]


def test_threads_that_are_chosen_are_known_from_those_that_are_not() -> None:
    for overrides, is_own in (
        (["seed=0,1"], False),
        (["seed=0,1", "training.threads=1"], True),
        (["training.threads=1,2"], True),
    ):
        space = check(*overrides).space
        assert space is not None
        assert space.has_own_threads is is_own


def test_the_base_of_a_search_is_what_the_base_config_chooses_whatever_is_listed_first() -> None:
    search = ("sweep.sampler=random", "sweep.n_trials=2")
    checked = check("model=mlp,cnn", "training=default,small", *search)
    assert checked.space is not None
    assert checked.space.base_values() == {"model": "cnn", "training": "small"}
    assert checked.configs[0].model.name == "cnn"
    assert Space.from_json(json.loads(json.dumps(checked.space.to_json()))).base_values() == checked.space.base_values()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("model.depth=range(1,4,0)",), "model.depth: expected a step other than 0"),
        (("model.depth=1,2", "sweep.pruner=median"), "sweep.pruner: expected none with sampler=grid"),
    ],
    ids=str,
)
def test_what_a_grid_would_ignore_is_refused(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        check(*words)
    assert str(error.value).startswith(told)


def test_a_sweep_is_frozen_on_the_device_that_its_launcher_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def devices(checked: Checked) -> list[tuple[str, int | None]]:
        return [(run.cfg.training.device, run.cfg.training.shards) for run in checked.runs]

    assert devices(check("seed=0,1")) == [("cpu", None)] * 2  # there is no GPU here
    assert devices(check("seed=0,1", "launcher=slurm", "launcher.gpus_per_trial=1")) == [("gpu", 1)] * 2
    monkeypatch.setattr("hcr.gate.resolve.usable_gpus", lambda: ("0", "1"))
    assert devices(check("seed=0,1", "launcher=slurm")) == [("cpu", None)] * 2
    assert devices(check("training.device=auto,cpu")) == [("gpu", 1), ("cpu", None)]
    assert devices(check("training=default,smoke")) == [("gpu", 1)] * 2
    frozen = check("seed=0,1").space
    assert frozen is not None
    monkeypatch.setattr("hcr.gate.resolve.usable_gpus", lambda: ())  # when it resumes, the GPUs may be another's
    training = Space.from_json(json.loads(json.dumps(frozen.to_json()))).run({"seed": 5}).cfg.training
    assert (training.device, training.shards) == ("gpu", 1)
