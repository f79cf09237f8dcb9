"""The default name of a run."""

import pytest

from hcr.gate.compose import compose
from hcr.naming import LONGEST, default_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "digits cnn seed=0"),
        (["model.depth=1", "optimizer.learning_rate=0.01", "seed=1"], "digits cnn depth=1 lr=0.01 seed=1"),
        (["model=mlp", "optimizer=sgd", "training=smoke"], "digits mlp sgd smoke seed=0"),
        (["split=kfold", "split.fold=2"], "digits cnn kfold fold=2 seed=0"),
        (["notes=hello", "tags={a: 1}", "tracking.uri=sqlite:////a", "training.threads=2"], "digits cnn seed=0"),
        (["model.dropout=0.1", "training.epochs=2", "model.dropout=0.2"], "digits cnn dropout=0.2 epochs=2 seed=0"),
    ],
)
def test_a_name_says_what_the_command_changed(overrides: list[str], name: str) -> None:
    assert default_name(compose(overrides), overrides) == name


def test_a_long_name_is_cut_before_its_seed() -> None:
    overrides = ["seed=3", f"model.filters=[{','.join(['16'] * 2)}]", f"dataset.class_names=[{'y' * 300}]"]
    named = default_name(compose(overrides[:2]), overrides)
    assert len(named) <= LONGEST
    assert named.startswith("digits cnn filters=[16,16]")
    assert named.endswith("… seed=3")
