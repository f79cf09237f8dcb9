"""Annotations in words."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from hcr.config.settings import Count, Listing
from hcr.config.words import Expected, accepts, mismatch, words


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (int, "an integer"),
        (float, "a number"),
        (bool, "true or false"),
        (str, "text"),
        (int | None, "an integer or null"),
        (Count, "an integer of 1 or more"),
        (Count | None, "an integer of 1 or more, or null"),
        (Annotated[int, Field(ge=1, le=64)], "an integer from 1 to 64"),
        (Annotated[float, Field(gt=0)], "a number over 0"),
        (Annotated[float, Field(ge=0)], "a number of 0 or more"),
        (Annotated[float, Field(gt=0, lt=1)], "a number in (0, 1)"),
        (Annotated[float, Field(ge=0, le=180)], "a number in [0, 180]"),
        (Listing[int], "a list, each an integer"),
        (Count | Listing[Count], "an integer of 1 or more, or a list of them"),
        (Literal["a", "b"], "one of a, b"),
        (dict[str, int] | None, "a group of settings or null"),
        (Annotated[str, Expected("a name")], "a name"),
    ],
)
def test_an_annotation_says_what_it_takes(hint: Any, told: str) -> None:
    assert words(hint) == told


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, 2.0, "k: expected an integer, got 2.0"),
        (int, True, "k: expected an integer, got True"),
        (int, "2", "k: expected an integer, got '2'"),
        (float, float("-inf"), "k: expected a finite number, got -inf"),
        (bool, 1, "k: expected true or false, got 1"),
        (bool, "yes", "k: expected true or false, got 'yes'"),
        (str, None, "k: expected text, got None; for the text null, write 'null'"),
        (Listing[int], 3, "k: expected a list, each an integer, got 3"),
        (Listing[int], [1, 2, "x"], "k[2]: expected an integer, got 'x'"),
        (dict[str, int], {"a": "x"}, "k.a: expected an integer, got 'x'"),
        (dict[str, int], {False: 1}, "k: expected text as a name, got False; put it in quotes in YAML"),
        (dict[str, int] | None, [1], "k: expected a group of settings or null, got [1]"),
    ],
)
def test_a_value_that_it_does_not_take_is_named_where_it_stands(hint: Any, value: object, message: str) -> None:
    assert not accepts(hint, value)
    assert str(mismatch(hint, value, "k")) == message


@pytest.mark.parametrize(
    ("hint", "value"),
    [(int | None, None), (Listing[str], []), (int | Listing[int], [4, 8]), (str | bool | int | float, True)],
)
def test_it_takes_what_it_says(hint: Any, value: object) -> None:
    assert accepts(hint, value)
