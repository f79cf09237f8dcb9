"""Every YAML file that ships: composed, parsed, built, and explained line by line."""

from pathlib import Path

import pytest

from hcr.gate.compose import Composer
from hcr.gate.run_config import RunConfig

CONF = Path(__file__).parents[1] / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
SWEEPS = [file.stem for file in FILES if file.parent == CONF / "sweep" and file.stem != "default"]
CHOICES = [file.relative_to(CONF) for file in FILES if file.parent != CONF and file.stem not in SWEEPS]

# A choice that only works beside another one.
WITH = {
    "split/official.yaml": ["dataset=mnist"],
    "split/grouped.yaml": ["dataset=letters"],
    "model/keras_convnet.yaml": ["dataset=mnist"],
    "model/lenet5.yaml": ["dataset=mnist"],
}


def overrides_of(choice: Path) -> list[str]:
    return [*WITH.get(choice.as_posix(), []), f"{choice.parent}={choice.stem}"]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_file_passes_the_gate(choice: Path) -> None:
    (cfg,) = Composer().check(overrides_of(choice)).configs
    assert isinstance(cfg, RunConfig)


@pytest.mark.parametrize("name", SWEEPS)
def test_every_named_sweep_needs_no_flag_and_has_points(name: str) -> None:
    checked = Composer().check([f"sweep={name}"])
    assert checked.multirun
    assert len(checked.runs) > 1


@pytest.mark.slow
@pytest.mark.parametrize("group", ["model", "optimizer"])
def test_every_file_builds_a_model_and_an_optimizer(group: str) -> None:
    from hcr.training.build import build

    for choice in (choice for choice in CHOICES if choice.parent.as_posix() == group):
        (cfg,) = Composer().check(overrides_of(choice)).configs
        model, optimizer = build(cfg, num_train=1000)
        assert model.input_shape == (None, *cfg.dataset.image_shape)
        assert model.output_shape == (None, cfg.dataset.num_classes)
        assert 0 <= float(optimizer.learning_rate.numpy()) <= cfg.optimizer.learning_rate * 1.0001


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(CONF).as_posix())
def test_every_value_has_a_comment_of_its_own(file: Path) -> None:
    lines = file.read_text().splitlines()
    if file.parent.name == "experiment" or file.stem in SWEEPS:  # only what differs, headed by what it is
        assert lines[0] == "# @package _global_"
        assert lines[2].startswith(f"# hcr train {file.parent.name}={file.stem}")
        return
    bare = []
    in_block = False
    for line in lines:
        if line.startswith("    template: |"):
            in_block = True
        elif in_block and line.strip() and not line.startswith("      "):
            in_block = False
        key, _, value = line.partition(":")
        has_value = bool(value.strip()) and not key.strip().startswith(("#", "-"))
        if has_value and not in_block and "  # " not in line:
            bare.append(line)
    assert bare == []


def test_the_choices_listed_in_comments_are_the_choices_there_are() -> None:
    for line in (CONF / "config.yaml").read_text().splitlines():
        if line.startswith("  - ") and "  # " in line and "null" not in line:
            group = line.split("-", 1)[1].split(":")[0].strip()
            listed = {name.strip() for name in line.split("# ")[1].split(";")[0].split(",")}
            assert listed == {file.stem for file in (CONF / group).glob("*.yaml")}, group


# The default choice of each group is that of every other one: they are all one run.
DEFAULTS = {"augmentation/none", "dataset/digits", "model/cnn", "optimizer/adam", "schedule/cosine", "split/stratified"}
DEFAULTS |= {"sweep/default", "tracking/mlflow", "training/small"}
TRAINED = [choice for choice in CHOICES if choice.with_suffix("").as_posix() not in DEFAULTS - {"model/cnn"}]


@pytest.mark.slow
def test_the_defaults_are_one_run() -> None:
    assert {(CONF / f"{choice}.yaml").is_file() for choice in DEFAULTS} == {True}
    alike = {repr(Composer().check([choice.replace("/", "=")]).configs) for choice in DEFAULTS}
    assert len(alike) == 1


@pytest.mark.slow
@pytest.mark.parametrize("choice", TRAINED, ids=str)
def test_every_file_trains_an_epoch_and_learns_something(
    choice: Path, mnist_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hcr.data.splitting import load_splits
    from hcr.training import fit
    from hcr.training.build import build

    monkeypatch.setenv("HCR_DATA_DIR", str(mnist_dir))
    overrides = overrides_of(choice)
    (asked,) = Composer().check(overrides).configs
    small = ["dataset.limit=600" if asked.dataset.name == "digits" else "dataset.limit=1500"]
    (cfg,) = Composer().check([*overrides, *small, "training.epochs=1", "training.batch_size=16"]).configs
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    model, optimizer = build(cfg, len(splits.train))
    losses: list[float] = []
    state = fit(
        model,
        optimizer,
        splits.train,
        splits.val,
        cfg.training,
        cfg.augmentation,
        monitor=cfg.monitor,
        seed=cfg.seed,
        on_steps=lambda now: losses.append(now.loss),
    )
    assert state.epoch == 1
    assert losses[-1] < losses[0]
