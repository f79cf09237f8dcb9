"""Every YAML file that ships: composed, parsed, built, and explained line by line."""

from pathlib import Path

import pytest
from samples import WRITERS, write_sample

from hcr.data.formats import FileFormat
from hcr.data.splitting import load_splits
from hcr.gate.compose import Composer
from hcr.gate.resolve import fill_from_data
from hcr.gate.run_config import RunConfig, image_and_classes

CONF = Path(__file__).parents[1] / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
SWEEPS = [file.stem for file in FILES if file.parent == CONF / "sweep" and file.stem != "default"]
CHOICES = [file.relative_to(CONF) for file in FILES if file.parent != CONF and file.stem not in SWEEPS]

# A choice that only works beside another one.
WITH = {
    "split/official.yaml": ["dataset=mnist"],
    "split/grouped.yaml": ["dataset=letters"],
    "model/cnn_deep.yaml": ["dataset=mnist"],
    "model/keras_convnet.yaml": ["dataset=mnist"],
    "model/lenet5.yaml": ["dataset=mnist"],
    # A format's own choice has neither a path nor usual names.
    **{f"dataset/{name}.yaml": ["dataset.path=FILE"] for name in WRITERS},
}


def overrides_of(choice: Path) -> list[str]:
    return [*WITH.get(choice.as_posix(), []), f"{choice.parent}={choice.stem}"]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_file_passes_the_gate(choice: Path) -> None:
    (cfg,) = Composer().check(overrides_of(choice)).configs
    assert isinstance(cfg, RunConfig)


DATASETS = [choice for choice in CHOICES if choice.parent.as_posix() == "dataset"]


@pytest.mark.parametrize("choice", DATASETS, ids=str)
def test_every_data_set_is_read_from_a_file_of_its_kind_and_then_declares_what_it_has(
    choice: Path, tmp_path: Path
) -> None:
    (asked,) = Composer().check(overrides_of(choice)).configs
    cfg = asked
    if isinstance(asked.dataset, FileFormat):
        path = write_sample(asked.dataset, tmp_path)
        cfg = asked.replace(dataset=asked.dataset.replace(path=str(path)))
    cfg = fill_from_data(cfg)
    assert cfg.split.name in ("official", "grouped", "stratified")
    shape, num_classes = image_and_classes(cfg)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    for part in (splits.train, splits.val, splits.test):
        assert part.images.shape == (len(part), *shape)
        assert set(part.labels) == set(range(num_classes))
    assert splits.class_names == cfg.dataset.kept_classes
    declared = {**vars(cfg.dataset), **{key: value for key, value in vars(asked.dataset).items() if value is not None}}
    assert {**declared, "path": None} == {**vars(cfg.dataset), "path": None}  # only what was null is filled
    assert (splits.test.groups is not None) is cfg.dataset.has_groups


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


# A run of each choice of every group that training knows, several in one run: its i-th takes the i-th of each.
MIXED = ("model", "optimizer", "schedule", "augmentation", "training", "split")
ALONE = ["dataset=digits", *(choice for choice in map(str, CHOICES) if choice.startswith("experiment/"))]


def mixed_runs() -> list[list[str]]:
    """Overrides of runs that have every choice of the groups among them; MNIST and letters take turns."""
    names = {group: sorted(file.stem for file in (CONF / group).glob("*.yaml")) for group in MIXED}
    runs = []
    for i in range(max(map(len, names.values()))):
        chosen = {group: of[i % len(of)] for group, of in names.items()}
        dataset = "letters" if chosen["split"] == "grouped" else "mnist"
        runs.append([f"dataset={dataset}", *(f"{group}={name}" for group, name in chosen.items())])
    return runs


def test_the_runs_that_are_trained_have_every_choice() -> None:
    trained = {word for run in mixed_runs() for word in run}
    for choice in CHOICES:
        if choice.parent.as_posix() in MIXED:
            assert f"{choice.parent}={choice.stem}" in trained


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [*mixed_runs(), *([word.removesuffix(".yaml").replace("/", "=")] for word in ALONE)],
    ids=lambda overrides: " ".join(overrides),
)
def test_every_choice_trains_an_epoch_and_learns_something(
    overrides: list[str], mnist_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hcr.training import fit
    from hcr.training.build import build

    monkeypatch.setenv("HCR_DATA_DIR", str(mnist_dir))
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
