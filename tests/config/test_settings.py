"""Groups of settings: nothing unknown, nothing missing, nothing coerced but int to float, each refusal one line."""

import re
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, model_validator

from hcr.config.errors import ConfigError
from hcr.config.settings import Count, Fraction, Listing, Positive, Settings, check, choose
from hcr.config.spelling import did_you_mean


class Inner(Settings):
    group: ClassVar[str] = "part.inner"

    width: int


class Outer(Settings):
    group: ClassVar[str] = "part"

    rate: Fraction
    inner: Inner
    mode: Literal["fast", "slow"]
    sizes: Count | Listing[Count]
    note: str | None = None

    @model_validator(mode="after")
    def _is_not_slow_and_wide(self) -> "Outer":
        if self.mode == "slow" and self.inner.width > 9:
            raise ConfigError("part.mode: expected fast where inner is wide, got slow")
        return self


def outer(**changes: Any) -> dict[str, Any]:
    return {"rate": 0.5, "inner": {"width": 3}, "mode": "fast", "sizes": [1, 2]} | changes


def told(**changes: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        check(Outer, outer(**changes))
    return str(refused.value)


def test_a_group_is_made_with_its_nested_one_and_lists_become_tuples() -> None:
    made = check(Outer, outer())
    assert made == Outer(rate=0.5, inner=Inner(width=3), mode="fast", sizes=(1, 2), note=None)
    assert made.sizes == (1, 2)


def test_an_integer_is_taken_for_a_float_and_becomes_one() -> None:
    value = check(Outer, outer(rate=0)).rate
    assert value == 0.0
    assert type(value) is float


def test_a_key_with_a_default_may_be_absent_and_one_without_may_not() -> None:
    assert check(Outer, outer()).note is None
    values = outer()
    del values["rate"]
    with pytest.raises(ConfigError, match=r"^part\.rate: missing; expected a number in \[0, 1\)$"):
        check(Outer, values)


def test_an_unknown_key_is_named_with_the_nearest_known_one() -> None:
    assert told(nota=2) == "part.nota: unknown key; did you mean 'part.note'?"
    assert told(inner={"width": 1, "widht": 2}) == "part.inner.widht: unknown key; did you mean 'part.inner.width'?"


@pytest.mark.parametrize("raw", [3, "text", None, [1]])
def test_what_is_no_group_of_settings_is_refused(raw: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"part.inner: expected a group of settings, got {raw!r}")):
        check(Inner, raw)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 1}, "part.rate: expected a number in [0, 1), got 1"),
        ({"rate": "0.1"}, "part.rate: expected a number in [0, 1), got '0.1'"),
        ({"rate": False}, "part.rate: expected a number in [0, 1), got False"),
        ({"rate": float("nan")}, "part.rate: expected a finite number in [0, 1), got nan"),
        ({"mode": "fats"}, "part.mode: no 'fats' here; did you mean 'fast'? (one of fast, slow)"),
        ({"mode": 3}, "part.mode: expected one of fast, slow, got 3"),
        ({"sizes": 0}, "part.sizes: expected an integer of 1 or more, or a list of them, got 0"),
        ({"sizes": True}, "part.sizes: expected an integer of 1 or more, or a list of them, got True"),
        ({"sizes": [1, 0]}, "part.sizes[1]: expected an integer of 1 or more, got 0"),
        ({"sizes": [1, 1.5]}, "part.sizes[1]: expected an integer of 1 or more, got 1.5"),
        ({"note": 3}, "part.note: expected text or null, got 3"),
        ({"note": "a\0b"}, "part.note: expected text without NUL, U+0085 and lone surrogates, got 'a\\x00b'"),
        ({"inner": 3}, "part.inner: expected a group of settings, got 3"),
        ({"mode": "slow", "inner": {"width": 10}}, "part.mode: expected fast where inner is wide, got slow"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_the_words_of_its_annotation(
    change: dict[str, Any], message: str
) -> None:
    assert told(**change) == message


def test_a_group_that_is_made_already_is_kept() -> None:
    part = Inner(width=7)
    assert check(Outer, outer(inner=part)).inner is part


def test_a_changed_copy_is_checked_like_any_other() -> None:
    made = check(Outer, outer())
    assert made.replace(rate=0.25).rate == 0.25
    assert made.rate == 0.5
    with pytest.raises(ConfigError, match=r"^part\.rate: expected"):
        made.replace(rate=2)


def test_a_group_cannot_be_changed_and_is_a_key_of_a_dictionary() -> None:
    made = check(Outer, outer())
    with pytest.raises(Exception, match="frozen"):
        made.rate = 0.1  # type: ignore[misc]
    assert {made: 1}[check(Outer, outer())] == 1


def test_a_positive_number_is_over_0() -> None:
    class Step(Settings):
        size: Annotated[Positive, Field(description="of a step")]

    with pytest.raises(ConfigError, match=r"^size: expected a number over 0, got 0$"):
        Step(size=0)


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
