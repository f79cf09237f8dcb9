"""Times as people write them in a config."""

import re

from hcr.config.errors import ConfigError
from hcr.config.schema import shown

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def seconds(text: str | None, key: str) -> float | None:
    """The seconds that a text such as `90s`, `30m`, `2h` or `1.5d` means.

    Raises:
        ConfigError: it means none, or nothing.
    """
    if text is None:
        return None
    found = DURATION.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise ConfigError(f"{key}: expected a time such as 90s, 30m, 2h or 1d, or null, got {shown(key, text)}")
    return float(found[1]) * SECONDS[found[2]]
