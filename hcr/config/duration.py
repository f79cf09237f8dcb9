"""Durations in a config, such as `90s` or `2h`."""

import re
from typing import Annotated

from pydantic import AfterValidator

from hcr.config.words import Expected

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def seconds(text: str | None) -> float | None:
    """The seconds in a text such as `90s`, `30m`, `2h` or `1.5d`; None for None.

    Raises:
        ValueError: the text is no duration, or is zero.
    """
    if text is None:
        return None
    found = DURATION.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise ValueError(f"no time: {text!r}")
    return float(found[1]) * SECONDS[found[2]]


def _checked(text: str) -> str:
    seconds(text)
    return text


Duration = Annotated[str, AfterValidator(_checked), Expected("a time such as 90s, 30m, 2h or 1d")]
