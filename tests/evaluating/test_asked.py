"""What an evaluation takes from its run, and what its overrides change."""

from pathlib import Path

import pytest

from hcr.config import ConfigError
from hcr.evaluating.asked import read_asked
from hcr.gate.compose import compose
from hcr.recorded import RecordedRun


def run_of(*overrides: str) -> RecordedRun:
    """A run that only a store has."""
    return RecordedRun(
        key="a1b2c3d4e5f6",
        name="a run",
        folder=None,
        artifacts=Path("nowhere"),
        cfg=compose(overrides),
        tags={},
        metrics={},
        history=[],
    )


def test_without_overrides_everything_is_the_run_s() -> None:
    run = run_of("dataset=mnist", "seed=7", "model=mlp", "notes=trained late", "tags={team: ocr}")
    asked = read_asked(run, [])
    assert (asked.cfg.dataset, asked.cfg.split, asked.cfg.model) == (run.cfg.dataset, run.cfg.split, run.cfg.model)
    assert asked.cfg.seed == 7
    assert (asked.cfg.notes, asked.cfg.tags) == (None, None)  # they are about the training
    assert not asked.changes_data


def test_another_data_set_is_prepared_to_the_size_and_the_colour_of_the_model() -> None:
    asked = read_asked(run_of("dataset=mnist"), ["dataset=usps"])
    assert asked.cfg.dataset.name == "usps"
    assert asked.cfg.dataset.input_shape == (28, 28, 1)
    assert asked.changes_data
    assert not asked.names_split
    of_folder = ("dataset=folder", "dataset.path=x", "dataset.image_shape=[8,8,3]", "dataset.class_names=[a,b]")
    colour = run_of(*of_folder)
    assert read_asked(colour, ["dataset=usps"]).cfg.dataset.input_shape == (8, 8, 3)


def test_images_that_fit_are_left_as_they_are() -> None:
    asked = read_asked(run_of("dataset=mnist"), ["dataset=kmnist"])
    assert (asked.cfg.dataset.image_size, asked.cfg.dataset.color) == (None, None)
    assert asked.notes == ()


def test_the_fit_is_the_model_s_unless_an_override_asks_for_another_and_both_are_said() -> None:
    run = run_of("dataset=mnist", "dataset.fit=center_of_mass", "dataset.image_size=[20,20]")
    asked = read_asked(run, ["dataset=usps"])
    assert (asked.cfg.dataset.fit, asked.cfg.dataset.image_size) == ("center_of_mass", (20, 20))
    assert asked.notes == (
        "images are prepared with fit=center_of_mass, as for training; dataset.fit=pad does it as usps has it",
    )
    kept = read_asked(run, ["dataset=usps", "dataset.fit=stretch"])
    assert kept.cfg.dataset.fit == "stretch"
    assert kept.notes == (
        "images are prepared with fit=stretch; those that the model was trained on with fit=center_of_mass",
    )
    for override in ("dataset.image_size=[28,28]", "dataset.color=rgb"):
        with pytest.raises(ConfigError, match=r"which the model of run a1b2c3d4e5f6 takes, got"):
            read_asked(run, ["dataset=usps", override])


def test_a_split_of_another_data_set_may_be_named_and_is_drawn_as_the_run_s_seed_says() -> None:
    asked = read_asked(run_of("seed=3"), ["dataset=usps", "split=stratified", "split.test=0.3"])
    assert asked.names_split
    assert (asked.cfg.split.name, asked.cfg.seed) == ("stratified", 3)
    assert read_asked(run_of(), ["dataset=usps"]).cfg.split.name == "auto"  # fits any data set


def test_the_name_of_a_file_changes_the_run_s_own_data_set() -> None:
    asked = read_asked(run_of("dataset=mnist"), ["dataset.path=new.mat", "notes=later", "tags={by: me}"])
    assert (asked.cfg.dataset.name, getattr(asked.cfg.dataset, "path", None)) == ("mnist", "new.mat")
    assert (asked.cfg.notes, asked.cfg.tags) == ("later", {"by": "me"})
    assert asked.changes_data


@pytest.mark.parametrize(
    "word", ["model.depth=3", "model=mlp", "+training.epochs=3", "seed=1", "from=b", "hydra.verbose=1"]
)
def test_what_would_change_the_model_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="not part of an evaluation"):
        read_asked(run_of(), [word])
