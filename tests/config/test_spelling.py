"""A misspelled name is answered with what was meant, or with nothing."""

import pytest

from hcr.config.spelling import ALIASES, ELSEWHERE, key_meant, nearest, simplified
from hcr.gate.compose import Composer


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("MNIST", ["digits", "letters", "mnist"], "mnist"),
        ("Adam", ["adam", "adamw"], "adam"),
        ("batch-size", ["batch_size", "epochs"], "batch_size"),
        ("ReLU", ["elu", "gelu", "relu"], "relu"),
        ("leakyrelu", ["relu", "leaky_relu"], "leaky_relu"),
        ("minst", ["digits", "letters", "mnist"], "mnist"),
        ("emnist", ["digits", "emnist_letters", "mnist"], "emnist_letters"),  # mnist is more alike
        ("mni", ["emnist_letters", "mnist"], "mnist"),
        ("", ["a"], None),
        ("fit", ["completion", "data", "sync", "train", "ui"], None),
        ("depth", ["dropout", "filters", "blocks"], None),
    ],
)
def test_the_nearest_name_is_found_whatever_its_case_and_none_where_none_is_near(
    name: str, known: list[str], meant: str | None
) -> None:
    assert nearest(name, known) == meant


KEYS = [
    "seed", "model", "model.depth", "model.dropout", "model.filters", "optimizer", "optimizer.learning_rate",
    "optimizer.name", "training", "training.epochs", "training.batch_size", "training.patience", "schedule",
    "schedule.warmup_fraction", "training.label_smoothing", "tracking.run_name", "model.name",
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optimizer.lr", "optimizer.learning_rate"),
        ("lr", "optimizer.learning_rate"),
        ("model.lr", "optimizer.learning_rate"),
        ("bs", "training.batch_size"),
        ("epoch", "training.epochs"),
        ("epochs", "training.epochs"),
        ("warmup", "schedule.warmup_fraction"),
        ("learning_rate_schedule", "schedule"),
        ("early_stopping", "training.patience"),
        ("training.early_stopping", "training.patience"),
        ("dropout_rate", "model.dropout"),
        ("n_layers", "model.depth"),
        ("Model.Depth", "model.depth"),
        ("model/depth", "model.depth"),
        ("modle.depth", "model.depth"),
        ("model.cnn.depth", "model.depth"),
        ("cnn.depth", "model.depth"),
        ("training.seed", "seed"),
        ("MODEL", "model"),
        ("model.dept", "model.depth"),
        ("optimizer.path", None),
        ("model.blocks", None),
        ("colour", None),
        ("optimizer.weight_decay", None),
    ],
)
def test_a_key_is_found_by_its_other_names_and_by_where_it_belongs(key: str, meant: str | None) -> None:
    assert key_meant(key, KEYS) == meant


def test_every_other_name_means_keys_that_there_are_and_hides_none() -> None:
    composer = Composer()
    lines = (
        ["dataset=mnist", "optimizer=adamw", "augmentation=affine"],
        ["model=resnet", "optimizer=muon"],
        ["model=mlp", "optimizer=rmsprop"],
    )
    known = {key for line in lines for key in composer.loader.keys_of(composer.compose(line)).all()} | {"experiment"}
    assert {key for keys in ALIASES.values() for key in keys} - known == set()
    assert {name for name in (*ALIASES, *ELSEWHERE) if simplified(name) != name} == set()
    assert set(ALIASES) & set(ELSEWHERE) == set()
    top = {simplified(key) for key in known if "." not in key}
    assert (set(ALIASES) | set(ELSEWHERE)) & top == set()
