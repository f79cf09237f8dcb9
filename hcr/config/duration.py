"""Times as people write them in a config."""

import re
from typing import Annotated

from pydantic import AfterValidator

from hcr.config.words import Expected

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def seconds(text: str | None) -> float | None:
    """The seconds that a text such as `90s`, `30m`, `2h` or `1.5d` means; None of None.

    Raises:
        ValueError: it means none, or nothing.
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
