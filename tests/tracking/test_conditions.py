"""Conditions on runs, as `--where` takes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcr.config.errors import ConfigError
from hcr.tracking.conditions import Condition, parse_conditions, refuse_unknown


def test_conditions_are_joined_by_and() -> None:
    assert parse_conditions("val/accuracy > 0.99 and model.depth = 3 AND name='a b'") == (
        Condition("val/accuracy", ">", "0.99"),
        Condition("model.depth", "=", "3"),
        Condition("name", "=", "a b"),
    )
    assert parse_conditions("model.filters==[16, 32]") == (Condition("model.filters", "=", "[16, 32]"),)


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ("augmentation.rotation = 10", "10.0", True),
        ("optimizer.learning_rate < 1e-2", "0.003", True),
        ("model.depth > 10", "9", False),  # as numbers, not as text
        ("model.filters = [16,32]", "[16, 32]", True),
        ("optimizer.name != adam", "sgd", True),
        ("optimizer.name = adam", None, False),
        ("optimizer.name != adam", None, False),
        ("optimizer.nesterov = true", "true", True),
    ],
)
def test_values_are_compared_as_what_they_are(condition: str, value: object, holds: bool) -> None:
    (parsed,) = parse_conditions(condition)
    assert parsed.holds(value) == holds


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected KEY OPERATOR VALUE at ''"),
        ("model.depth", "expected KEY OPERATOR VALUE at 'model.depth'"),
        ("model.depth = 3 or seed = 1", "expected `and` before 'or seed = 1'"),
        ("model.depth = 3 and", "expected KEY OPERATOR VALUE at ''"),
        ("val/accuracy > high", "val/accuracy: expected a number, got 'high'"),
        ("optimizer.name < adam", "expected = or != before the text 'adam', got <"),
        ("seed => 3", "expected KEY OPERATOR VALUE"),
    ],
)
def test_what_is_written_otherwise_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_conditions(text)
    assert told in str(error.value)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        assert parse_conditions(text)
    except ConfigError as error:
        assert str(error).startswith("--where: ")


def test_a_key_that_no_run_has_is_refused_with_the_nearest() -> None:
    known = ["model.depth", "model.dropout", "best/val_loss"]
    with pytest.raises(ConfigError, match=r"--where: no run has 'depth'; did you mean 'model.depth'\?"):
        refuse_unknown("depth", known, option="--where")
    with pytest.raises(ConfigError, match=r"--sort: no run has 'best/val_los'; did you mean 'best/val_loss'\?"):
        refuse_unknown("best/val_los", known, option="--sort")
    refuse_unknown("status", known, option="--where")
