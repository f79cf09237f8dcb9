"""Plain values onto frozen dataclasses: nothing unknown, nothing missing, nothing coerced but int to float."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from hcr.config.errors import ConfigError
from hcr.config.schema import build, choose, convert, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int


@dataclass(frozen=True, kw_only=True)
class Outer:
    rate: float
    inner: Inner
    mode: Literal["fast", "slow"]
    sizes: int | tuple[int, ...]
    note: str | None = None


def outer(**changes: Any) -> dict[str, Any]:
    return {"rate": 0.5, "inner": {"width": 3}, "mode": "fast", "sizes": [1, 2]} | changes


def test_build_makes_the_dataclass_with_its_nested_one() -> None:
    expected = Outer(rate=0.5, inner=Inner(width=3), mode="fast", sizes=(1, 2), note=None)
    assert build(Outer, outer()) == expected


def test_an_integer_is_taken_for_a_float_and_becomes_one() -> None:
    value = build(Outer, outer(rate=1)).rate
    assert value == 1.0
    assert type(value) is float


def test_a_key_with_a_default_may_be_absent_and_one_without_may_not() -> None:
    assert build(Outer, outer()).note is None
    values = outer()
    del values["rate"]
    with pytest.raises(ConfigError, match=r"^part\.rate: missing; expected a number$"):
        build(Outer, values, key="part")


def test_an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"^part\.inner\.widht: unknown key; did you mean 'part\.inner\.width'\?$"):
        build(Outer, outer(inner={"width": 1, "widht": 2}), key="part")


@pytest.mark.parametrize("raw", [3, "text", None, [1]])
def test_what_is_no_group_of_settings_is_refused(raw: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"part: expected a group of settings, got {raw!r}")):
        build(Inner, raw, key="part")


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, 2.0, "k: expected an integer, got 2.0"),
        (int, True, "k: expected an integer, got True"),
        (int, "2", "k: expected an integer, got '2'"),
        (float, "0.1", "k: expected a number, got '0.1'"),
        (float, False, "k: expected a number, got False"),
        (float, float("nan"), "k: expected a finite number, got nan"),
        (float, float("-inf"), "k: expected a finite number, got -inf"),
        (bool, 1, "k: expected true or false, got 1"),
        (bool, "yes", "k: expected true or false, got 'yes'"),
        (str, 3, "k: expected text, got 3"),
        (str, None, "k: expected text, got None; text in quotes may be 'null'"),
        (int | None, "x", "k: expected an integer or null, got 'x'"),
        (tuple[int, ...], 3, "k: expected a list, each an integer, got 3"),
        (tuple[int, ...], [1, 2, "x"], "k[2]: expected an integer, got 'x'"),
        (int | tuple[int, ...], [1, 1.5], "k[1]: expected an integer, got 1.5"),
        (dict[str, int], {"a": "x"}, "k.a: expected an integer, got 'x'"),
        (dict[str, int] | None, [1], "k: expected a group of settings or null, got [1]"),
        (Literal["fast", "slow"], "fats", "k: no 'fats' here; did you mean 'fast'? (one of fast, slow)"),
    ],
)
def test_a_value_of_another_type_is_refused_in_the_words_of_its_annotation(
    hint: Any, value: object, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        convert(hint, value, key="k")
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int | None, None, None),
        (tuple[int, ...], [], ()),
        (tuple[str, ...], ["a", "b"], ("a", "b")),
        (int | tuple[int, ...], 4, 4),
        (int | tuple[int, ...], [4, 8], (4, 8)),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (str | bool | int | float, True, True),
        (str | bool | int | float, 1, 1),
        (str | bool | int | float, 1.0, 1.0),
    ],
)
def test_a_good_value_keeps_its_type(hint: Any, value: object, expected: object) -> None:
    converted = convert(hint, value, key="k")
    assert converted == expected
    assert type(converted) is type(expected)


def test_a_part_that_is_built_already_is_kept() -> None:
    part = Inner(width=7)
    assert convert(Inner, part, key="k") is part


def test_choose_finds_a_name_and_offers_the_nearest_where_there_is_none() -> None:
    table = {"adam": 1, "sgd": 2}
    assert choose(table, "sgd", key="optimizer.name") == 2
    with pytest.raises(ConfigError) as refused:
        choose(table, "adan", key="optimizer.name")
    assert str(refused.value) == "optimizer.name: no 'adan' here; did you mean 'adam'? (one of adam, sgd)"


@pytest.mark.parametrize("name", [None, 3, ["adam"], {"adam": 1}])
def test_choose_refuses_what_is_no_name(name: object) -> None:
    with pytest.raises(ConfigError, match=r"^k: no "):
        choose({"adam": 1}, name, key="k")


def test_nothing_is_offered_that_is_not_near() -> None:
    assert did_you_mean("zzz", ["adam", "sgd"]) == ""
