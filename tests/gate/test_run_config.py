"""The one gate: a config passes it whole, or is refused by the name of the key."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hcr.config.errors import ConfigError
from hcr.gate.compose import Composer, compose
from hcr.gate.run_config import INSTANTIATE_KEYS, RunConfig, flatten, parse_config, to_dict, to_yaml

# Without a dollar: interpolations have a test of their own. "???" is OmegaConf's word for a missing value.
PRINTABLE = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"], exclude_characters="$"), max_size=30
).filter(lambda text: text != "???")


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """The default config as plain values; a test takes a copy by `changed`."""
    return to_dict(Composer().check([]).configs[0])


def changed(plain: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """A copy of `plain` with the dotted `key` set, whether it was there or not."""
    values = OmegaConf.create(plain)
    OmegaConf.update(values, key, value, force_add=True)
    copy = OmegaConf.to_container(values, resolve=False)
    assert isinstance(copy, dict)
    return {str(name): item for name, item in copy.items()}


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_config(raw)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["dataset=mnist"],
        ["experiment=keras_example"],
        ["optimizer=sgd", "model.filters=[8,16]", "training.patience=null", "model.dense_units=[]"],
        ["notes='a: b, #c'", "tags={team: ocr, paper: true, n: 3, x: 0.5, d: '1e3', y: 'yes'}"],
        ["seed=4294967295", "optimizer.learning_rate=1e-30", "training.min_delta=1"],
    ],
    ids=" ".join,
)
def test_a_config_survives_the_way_to_yaml_and_back(overrides: list[str]) -> None:
    cfg = compose(overrides)
    again = parse_config(OmegaConf.create(to_yaml(cfg)))
    assert again == cfg
    assert to_yaml(again) == to_yaml(cfg)


@settings(max_examples=60, deadline=None)
@given(
    notes=PRINTABLE,
    tags=st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), PRINTABLE | st.booleans() | st.integers()),
)
def test_any_notes_and_tags_come_back_from_yaml_as_they_were(
    plain: dict[str, Any], notes: str, tags: dict[str, Any]
) -> None:
    cfg = parse_config({**plain, "notes": notes, "tags": tags})
    assert parse_config(OmegaConf.create(to_yaml(cfg))) == cfg


def test_a_note_with_an_escaped_dollar_brace_comes_back_as_it_was() -> None:
    cfg = compose([r"notes='costs \${5}'"])
    assert cfg.notes == "costs ${5}"
    assert parse_config(OmegaConf.create(to_yaml(cfg))) == cfg


@pytest.mark.parametrize("key", INSTANTIATE_KEYS)
@pytest.mark.parametrize(
    ("place", "holds"),
    [
        ("", None),
        ("model", None),
        ("tags", None),
        ("dataset", None),
        ("model.extra.deeper", None),
        ("model.dense_units", lambda key: [{key: "os.system"}]),
        ("notes", lambda key: [[{"a": [{key: "os.system"}]}]]),
    ],
)
def test_nothing_to_instantiate_passes_at_any_depth(
    plain: dict[str, Any], key: str, place: str, holds: Callable[[str], list[Any]] | None
) -> None:
    if holds is None:
        raw = changed(plain, f"{place}.{key}".lstrip("."), "os.system")
    else:
        raw = changed(plain, place, holds(key))
    message = refusal(raw)
    assert message.startswith(place)
    assert f"{key}: not allowed" in message


def test_what_an_interpolation_brings_in_is_checked_too(plain: dict[str, Any]) -> None:
    raw = changed(plain, "tags", {"a": "${oc.create:{_target_:os.system}}"})
    assert "_target_: not allowed" in refusal(raw)


def test_an_interpolation_is_resolved_before_it_is_checked(plain: dict[str, Any]) -> None:
    assert parse_config(changed(plain, "training.patience", "${model.depth}")).training.patience == 2
    assert refusal(changed(plain, "training.patience", "${notes.x}")).startswith("training.patience: ")
    assert refusal(changed(plain, "training.epochs", "${monitor}")) == (
        "training.epochs: expected an integer of 1 or more, got 'val/loss'"
    )


@pytest.mark.parametrize(
    ("key", "value", "fragments"),
    [
        ("colour", 1, ["colour: unknown key"]),
        ("seeds", 1, ["seeds: unknown key; did you mean 'seed'?"]),
        ("model.dropuot", 0.1, ["model.dropuot: unknown key; did you mean 'model.dropout'?"]),
        ("model.name", "cn", ["model.name: no 'cn' here; did you mean 'cnn'?"]),
        ("dataset.format", "array", ["dataset.format: no 'array' here; did you mean 'arrays'?"]),
        ("model", 3, ["model: expected a group of settings, got 3"]),
        ("seed", "???", ["seed: "]),
        ("seed", 2**32, ["seed: expected an integer from 0 to 4294967295", "4294967296"]),
        ("model.depth", 4, ["model.depth: block 4", "8x8", "at most 3"]),
        ("model.kernel_size", [3, 3, 3], ["model.kernel_size: expected 2 values", "[3, 3, 3]"]),
        ("model.kernel_size", [3, 0], ["model.kernel_size[1]: expected an integer from 1 to 64, got 0"]),
        ("model.padding", ["same", "vallid"], ["model.padding[1]: no 'vallid' here; did you mean 'valid'?"]),
        ("model.pooling", "maxx", ["model.pooling: no 'maxx' here; did you mean 'max'?"]),
        ("model.pooling", 2, ["model.pooling: expected one of max, average, none, or a list of them", "got 2"]),
        ("model.convolutions", 0, ["model.convolutions: expected an integer from 1 to 64, or a list of them, got 0"]),
        ("model.strides", 5, ["model.depth: block 2 shrinks a 8x8 image", "at most 1"]),
        ("training.keep", "last", ["training.patience: expected null with training.keep=last, got 10"]),
        ("model.crop", 9, ["model.crop: expected at most the 8 pixels", "got 9"]),
        ("model.crop", 3, ["model.depth: block 2 shrinks a 3x3 image", "at most 1 (or model.pooling=none)"]),
        ("model.crop", 1, ["model.crop: block 1 shrinks a 1x1 image", "a larger one (or model.pooling=none)"]),
        (
            "model.kernel_size",
            10000,
            ["model.kernel_size: expected an integer from 1 to 64, or a list of them, got 10000"],
        ),
        ("model.filters", [8, 16, 32], ["model.filters: expected 2 values", "[8, 16, 32]"]),
        ("monitor", "test/accuracy", ["monitor: expected a validation metric", "'test/accuracy'"]),
        ("monitor", "test/loss", ["monitor: expected a validation metric", "'test/loss'"]),
        ("monitor", "val/los", ["monitor: no 'val/los' here; did you mean 'val/loss'?"]),
        ("dataset.image_shape", [8, 8], ["dataset.image_shape: expected [height, width, channels]"]),
        ("dataset.image_shape", [8, 0, 1], ["dataset.image_shape: ", "[8, 0, 1]"]),
        ("dataset.num_classes", 11, ["dataset.class_names: expected 11 names, one per class, got 10"]),
        ("dataset.num_classes", 1, ["dataset.num_classes: expected an integer of 2 or more, or null, got 1"]),
        ("split.validation", 0.9, ["split.validation + split.test: expected less than 1, got 1.1"]),
        ("split.test", 1.0, ["split.test: expected a number in (0, 1), got 1.0"]),
        ("tracking.uri", "./mlruns", ["tracking.uri: ", "'./mlruns'"]),
        ("tracking.timeout_s", 0, ["tracking.timeout_s: ", "over 0"]),
        ("tags", {"hcr.key": "x"}, ["tags: ", "'hcr.key'", "reserved"]),
        ("tags", {"mlflow.runName": "x"}, ["tags: ", "'mlflow.runName'", "reserved"]),
        ("tags", {"a": [1]}, ["tags.a: expected text", "[1]"]),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_key(
    plain: dict[str, Any], key: str, value: object, fragments: list[str]
) -> None:
    # Tags name themselves with dots, which `changed` would read as groups.
    raw = {**plain, key: value} if key == "tags" else changed(plain, key, value)
    message = refusal(raw)
    assert [fragment for fragment in fragments if fragment not in message] == []


@pytest.mark.parametrize("key", ["seed", "model", "model.name", "model.depth", "dataset.format", "tracking.uri"])
def test_a_missing_key_is_named(plain: dict[str, Any], key: str) -> None:
    raw = OmegaConf.create(plain)
    parent, _, name = key.rpartition(".")
    del (OmegaConf.select(raw, parent) if parent else raw)[name]
    assert refusal(OmegaConf.to_container(raw)).startswith(f"{key}: missing")


def test_the_split_of_the_data_set_needs_a_data_set_that_has_one(plain: dict[str, Any]) -> None:
    message = refusal({**plain, "split": {"name": "official", "validation": 0.1}})
    assert re.match(r"split\.name: .*'digits' has none; use split=stratified$", message)
    mnist = to_dict(compose(["dataset=mnist"]))
    assert parse_config(mnist).split.name == "official"
    mnist["dataset"] |= {"train_images": None, "has_official_test": False}
    assert refusal(mnist).startswith("split.name: ")


def test_the_split_of_whole_groups_needs_a_data_set_that_has_groups(plain: dict[str, Any]) -> None:
    message = refusal({**plain, "split": {"name": "grouped", "validation": 0.1, "test": 0.2, "test_seed": 0}})
    told = r"split\.name: .*\(dataset\.has_groups\); 'digits' has none; name them \(dataset\.group\), or use split="
    assert re.match(f"{told}stratified$", message)
    assert compose(["dataset=letters"]).split.name == "grouped"


def test_a_depth_is_as_deep_as_the_image_allows_and_no_deeper() -> None:
    assert compose(["model.depth=3"]).dataset.image_shape == (8, 8, 1)
    assert compose(["dataset=mnist", "model.depth=4"]).dataset.image_shape == (28, 28, 1)
    with pytest.raises(ConfigError, match=r"^model\.depth: block 5 shrinks a 28x28 image"):
        compose(["dataset=mnist", "model.depth=5"])
    # Without pooling nothing shrinks.
    assert compose(["model.depth=5", "model.pooling=none"]).dataset.image_shape == (8, 8, 1)


def test_a_keras_convnet_is_refused_on_images_that_it_shrinks_to_nothing() -> None:
    with pytest.raises(ConfigError, match=r"^model\.name: keras_convnet .*8x8.*10x10"):
        compose(["model=keras_convnet"])


def test_threads_left_open_become_the_number_that_the_run_used(plain: dict[str, Any]) -> None:
    cfg = parse_config(changed(plain, "training.threads", None))
    assert cfg.training.num_threads >= 1
    assert to_dict(cfg)["training"]["threads"] == cfg.training.num_threads


def test_flatten_gives_dotted_keys_and_keeps_lists_whole() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": [1, 2]}, "e": {}}) == {"a.b.c": 1, "a.d": [1, 2], "e": {}}


def test_a_kept_config_is_read_back_through_the_gate(tmp_path: Path) -> None:
    cfg = compose(["seed=3", "model.depth=1"])
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(cfg))
    assert parse_config(OmegaConf.load(file)) == cfg
    file.write_text(to_yaml(cfg).replace("depth: 1", "depth: 9"))
    with pytest.raises(ConfigError, match=r"^model\.depth: "):
        parse_config(OmegaConf.load(file))


def test_a_parsed_config_cannot_be_changed() -> None:
    cfg = compose([])
    assert isinstance(cfg, RunConfig)
    with pytest.raises(ValueError, match="frozen"):
        cfg.seed = 1  # type: ignore[misc]
