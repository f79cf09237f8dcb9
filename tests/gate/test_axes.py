"""What a sweep varies, in Hydra's grammar, and each value written so that Hydra reads it back."""

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from hcr.config import ConfigError
from hcr.gate.axes import Axis, axis_of, plain, written

PARSER = OverridesParser.create()


def axis(text: str) -> Axis:
    return axis_of(PARSER.parse_override(text))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=1,2,3", (1, 2, 3)),
        ("a=choice(x,y)", ("x", "y")),
        ("a=null,true,'1',1", (None, True, "1", 1)),
        ("a=[1,2],[3]", ([1, 2], [3])),
        ("a=range(1,4)", (1, 2, 3)),
        ("a=range(3)", (0, 1, 2)),
        ("a=range(1,10,4)", (1, 5, 9)),
        ("a=range(5,1,-2)", (3, 5)),
        ("a=range(0,0.35,0.1)", (0.0, 0.1, 0.2, 0.3)),
        ("a=sort(3,1,2)", (1, 2, 3)),
    ],
)
def test_values_are_listed(text: str, values: tuple[Any, ...]) -> None:
    found = axis(text)
    assert found.is_discrete
    assert found.values() == values
    assert [type(value) for value in found.values()] == [type(value) for value in values]
    assert all(found.contains(value) for value in values)
    assert not found.contains("elsewhere")


def test_a_shuffled_list_has_the_same_values() -> None:
    assert sorted(axis("a=shuffle(1,2,3)").values()) == [1, 2, 3]
    assert sorted(axis("a=shuffle(range(1,4))").values()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "kind", "low", "high", "log"),
    [
        ("a=interval(0.001,0.1)", "float", 0.001, 0.1, False),
        ("a=tag(log,interval(0.001,0.1))", "float", 0.001, 0.1, True),
        ("a=int(interval(1,8))", "int", 1, 8, False),
        ("a=tag(int,interval(1,8))", "int", 1, 8, False),
        ("a=tag(log,int(interval(1,8)))", "int", 1, 8, True),
    ],
)
def test_intervals_are_spaces_to_search(text: str, kind: str, low: float, high: float, log: bool) -> None:
    found = axis(text)
    assert (found.kind, found.low, found.high, found.log, found.is_discrete) == (kind, low, high, log, False)
    assert found.contains(low) and found.contains(high) and not found.contains(high * 2)
    with pytest.raises(ConfigError, match="a: expected a list such as 1,2,3"):
        found.values()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a=interval(2,1)", "a: expected interval(LOW,HIGH) with LOW below HIGH"),
        ("a=tag(log,interval(0,1))", "a: expected numbers over 0"),
        ("a=tag(int,interval(0.5,2))", "a: expected whole numbers"),
        ("a=range(3,1)", "a: expected values to try, got the empty range"),
        ("a=1,1", "a: 1 is given twice"),
        ("a=tag(log,range(1,5))", "a: expected interval(...) for tag(log, ...)"),
    ],
)
def test_what_means_nothing_is_refused_by_its_key(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        axis(text)
    assert str(error.value).startswith(told)


def test_an_axis_comes_back_from_json() -> None:
    for text in ("a=1,2", "a=[1],[2]", "a=tag(log,interval(0.1,1))", "a=range(1,9,2)"):
        assert Axis.from_json(axis(text).to_json()) == axis(text)


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=12)
LEAF = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9, allow_nan=False) | TEXT
VALUE = LEAF | st.lists(LEAF, max_size=3)


@given(value=VALUE)
def test_a_value_is_written_as_hydra_reads_it(value: Any) -> None:
    found = plain(PARSER.parse_override(f"key={written(value)}").value())
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("word", "ends"),
    [
        ("model.depth=3,1,2", (3, 1, 2)),
        ("training.batch_size=range(1,3001)", (1, 3000)),
        ("model.depth=range(1,8,3)", (1, 7)),
        ("optimizer.learning_rate=interval(0.1,0.2)", (0.1, 0.2)),
    ],
)
def test_a_search_is_checked_at_every_choice_and_at_the_first_and_the_last_number(
    word: str, ends: tuple[Any, ...]
) -> None:
    assert axis(word).ends == ends
