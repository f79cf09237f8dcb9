"""A key that nothing reads is answered with whose it is, with what was meant, or with where it is instead."""

import re

import pytest

from hcr.config.words import unpacked
from hcr.gate.compose import Composer
from hcr.gate.keys import Keys


@pytest.fixture(scope="module")
def keys() -> Keys:
    composer = Composer()
    return composer.loader.keys_of(composer.compose([]))


@pytest.fixture(scope="module")
def resnet_on_mnist() -> Keys:
    composer = Composer()
    return composer.loader.keys_of(composer.compose(["model=resnet", "dataset=mnist"]))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (
            "dataset.path",
            "unknown key of dataset=digits; dataset=csv, dataset=emnist_balanced, dataset=emnist_byclass and ",
        ),
        ("optimizer.momentum", "unknown key of optimizer=adam; optimizer=muon, optimizer=rmsprop and optimizer=sgd"),
        ("augmentation.rotation_degrees", "unknown key of augmentation=none; augmentation=affine has it"),
        ("wd", "unknown key; optimizer=adamw and optimizer=lion have 'optimizer.weight_decay'"),
        ("momentum", "unknown key; optimizer=muon, optimizer=rmsprop and optimizer=sgd have 'optimizer.momentum'"),
        ("loss", "unknown key; the loss is cross-entropy"),
        ("gpus", "unknown key; a run trains on one GPU (training.device)"),
        ("accelerator", "unknown key; did you mean 'training.device'?"),
        ("num_workers", "unknown key; images are in memory"),
        ("optimizer.lr", "unknown key; did you mean 'optimizer.learning_rate'?"),
    ],
)
def test_an_unknown_key_is_told_what_helps(keys: Keys, key: str, says: str) -> None:
    assert keys.unknown(key).startswith(f"{key}: {says}")


@pytest.mark.parametrize("key", ["figure", "model.zzz", "hydra.zzz", "x.y.z"])
def test_nothing_is_offered_where_nothing_is_near(keys: Keys, key: str) -> None:
    assert keys.unknown(key) == f"{key}: unknown key"


def test_of_many_choices_that_have_a_key_some_are_named_and_the_others_counted(keys: Keys) -> None:
    assert re.search(r"^dataset\.path: [^,]+(, [^,]+){2} and \d+ more have it$", keys.unknown("dataset.path"))


def test_what_another_choice_has_is_told_from_what_this_one_has(resnet_on_mnist: Keys) -> None:
    assert resnet_on_mnist.unknown("model.depth") == "model.depth: unknown key of model=resnet; model=cnn has it"
    assert resnet_on_mnist.unknown("model.n_layers").endswith("did you mean 'model.blocks'?")
    assert resnet_on_mnist.unknown("path").endswith("did you mean 'dataset.path'?")


@pytest.mark.parametrize(
    ("key", "hint"),
    [("seed", int), ("training.epochs", int), ("model.batch_norm", bool), ("notes", str | None), ("model.x", None)],
)
def test_a_key_has_the_type_of_its_field(keys: Keys, key: str, hint: object) -> None:
    found = keys.hint(key)
    assert (None if found is None else unpacked(found)[0]) == hint
