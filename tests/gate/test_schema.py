"""JSON Schemas: every YAML file that ships passes a validator, and what is wrong in one is found by it."""

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from hcr.config.errors import ConfigError
from hcr.gate.compose import compose
from hcr.gate.run_config import to_dict
from hcr.gate.schema import FILE, MODELINE, config_groups, schema_of, write
from hcr.verbs import VERBS

CONF = Path(str(files("hcr.conf")))
YAML = sorted(CONF.rglob("*.yaml"), key=str)


def schema_named_by(file: Path) -> dict[str, Any]:
    """The schema that an editor reads for a file."""
    (line,) = (line for line in file.read_text().splitlines()[:2] if line.startswith(MODELINE))
    found: dict[str, Any] = json.loads((file.parent / line.removeprefix(MODELINE)).read_text())
    return found


def problems(file: Path, values: object) -> list[str]:
    found = Draft7Validator(schema_named_by(file)).iter_errors(values)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in found]


@pytest.mark.parametrize("file", YAML, ids=lambda file: file.relative_to(CONF).as_posix())
def test_every_file_that_ships_names_a_schema_and_fits_it(file: Path) -> None:
    Draft7Validator.check_schema(schema_named_by(file))
    assert problems(file, yaml.safe_load(file.read_text())) == []


def test_schemas_and_comments_are_what_the_command_makes(tmp_path: Path) -> None:
    again = tmp_path / "conf"
    shutil.copytree(CONF, again, ignore=shutil.ignore_patterns("__pycache__"))
    write(again)
    for file in [*YAML, *CONF.rglob(FILE)]:
        assert file.read_text() == (again / file.relative_to(CONF)).read_text(), "python -m hcr.gate.schema conf"


@pytest.mark.parametrize(
    ("file", "changes", "told"),
    [
        ("model/cnn.yaml", {"dropuot": 0.1}, "'dropuot' was unexpected"),
        ("model/cnn.yaml", {"depth": 0}, "depth: 0 is not valid"),
        ("model/cnn.yaml", {"depth": "two"}, "depth: 'two' is not valid"),
        ("model/cnn.yaml", {"padding": "vallid"}, "padding: 'vallid' is not valid"),
        ("model/cnn.yaml", {"kernel_size": [3, 0]}, "kernel_size: [3, 0] is not valid"),
        ("model/lenet5.yaml", {"depth": 2}, "'depth' was unexpected"),
        ("dataset/mnist.yaml", {"sha256": "short"}, "sha256: 'short' is not valid"),
        ("training/small.yaml", {"epochs": 1.5}, "epochs: 1.5 is not valid"),
        ("experiment/speedrun.yaml", {"model": {"name": "cnn", "depht": 1}}, "'depht' was unexpected"),
        ("config.yaml", {"sede": 1}, "'sede' was unexpected"),
        ("config.yaml", {"monitor": "test/loss"}, "monitor: 'test/loss' is not one of"),
    ],
)
def test_what_is_wrong_in_a_file_is_found(file: str, changes: dict[str, Any], told: str) -> None:
    values = yaml.safe_load((CONF / file).read_text()) | changes
    assert [problem for problem in problems(CONF / file, values) if told in problem]


def test_an_interpolation_fits_everywhere() -> None:
    values = yaml.safe_load((CONF / "model/cnn.yaml").read_text())
    assert problems(CONF / "model/cnn.yaml", values | {"depth": "${seed}"}) == []


def test_a_whole_config_fits_the_schema_of_all() -> None:
    values = json.loads(json.dumps(to_dict(compose(["dataset=mnist", "optimizer=muon"]))))
    assert [error.message for error in Draft7Validator(schema_of()).iter_errors(values)] == []


def test_the_schema_of_one_part_has_its_keys_alone() -> None:
    schema = schema_of("model/lenet5")
    assert set(schema["properties"]) == {"name", "activation", "defaults"}
    assert schema["properties"]["activation"]["description"] == "activation after each layer"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("modle", "schema: no 'modle' here; did you mean 'model'?"),
        ("model/cn", "schema: model: no 'cn' here; did you mean 'cnn'?"),
        ("training/small", "schema: training has one kind of settings; write hcr schema training"),
    ],
)
def test_what_has_no_schema_is_refused(what: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        schema_of(what)
    assert str(refused.value).startswith(told)


def test_every_group_has_a_schema_and_the_tab_key_offers_it() -> None:
    assert set(VERBS["schema"].words) == set(config_groups())
    for group in config_groups():
        Draft7Validator.check_schema(schema_of(group))
        assert [*Draft7Validator(schema_of(group)).iter_errors("no group of settings")], group
