"""What a key means, is told from the same words everywhere."""

import pytest

from hcr.config.errors import ConfigError
from hcr.config.settings import fields_of, is_group
from hcr.gate.compose import Composer
from hcr.gate.descriptions import commented, key_help
from hcr.gate.run_config import CHOICES, RunConfig, config_hints


def told(*words: str, overrides: tuple[str, ...] = ()) -> str:
    composer = Composer()
    return key_help(list(words), composer.loader.keys_of(composer.compose(list(overrides))))


def test_a_key_is_explained_with_its_value_its_meaning_and_its_range() -> None:
    assert told("model.depth").splitlines() == [
        "model.depth=2",
        "  blocks; pooling halves the image, so 28x28 allows at most 4",
        "  expects an integer from 1 to 64",
    ]


def test_a_key_at_the_top_and_one_of_a_chosen_part_are_explained() -> None:
    text = told("seed", "optimizer.momentum", overrides=("optimizer=sgd",))
    assert text.startswith("seed=0\n")
    assert "optimizer.momentum=0.9\n  decay of the velocity\n  expects a number in [0, 1)" in text


def test_a_group_is_explained_key_by_key() -> None:
    text = told("model", overrides=("model=lenet5",))
    assert "model=NAME: cnn, cnn_deep, keras_convnet, lenet5, mlp, resnet" in text
    assert "model.activation=tanh" in text
    assert "depth" not in text


def test_a_key_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model\.deph: unknown key; did you mean 'model\.depth'\?$"):
        told("model.deph")


def test_every_setting_has_a_description() -> None:
    kinds = [hint for name, hint in config_hints().items() if is_group(hint) and name not in CHOICES]
    kinds += [kind for _, table in CHOICES.values() for kind in getattr(table, "own", table).values()]
    missing = [
        f"{kind.__name__}.{name}"
        for kind in (*kinds, RunConfig)
        for name, field in fields_of(kind).items()
        if not field.description and not is_group(field.annotation)
    ]
    assert missing == []


def test_comments_replace_those_of_known_keys_alone() -> None:
    text = "# head\ndepth: 2  # old\nother: 1  # stays\n\nnested:\n  depth: 3  # stays\n"
    assert commented(text, {"depth": "blocks"}).splitlines() == [
        "# head",
        "depth: 2                         # blocks",
        "other: 1  # stays",
        "",
        "nested:",
        "  depth: 3  # stays",
    ]
