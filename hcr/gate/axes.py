"""An axis of a sweep: a key and its values, in Hydra's override grammar."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from hcr.config.errors import ConfigError, one_line
from hcr.config.secrets import shown

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MOST_VALUES = 100_000  # per axis


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A key and its values.

    Attributes:
        key: such as "model.depth", or a group such as "model".
        kind: "choice" lists its values; "int" and "float" are numbers from `low` to `high`, inclusive.
        choices: the plain values of a choice, in the given order.
        low, high: the bounds of numbers.
        step: distance between numbers; None: any float, every int.
        log: True if a search samples numbers on a log scale.
    """

    key: str
    kind: Literal["choice", "int", "float"]
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False

    @property
    def is_discrete(self) -> bool:
        """True if its values can be listed."""
        return self.kind == "choice" or self.step is not None

    def values(self) -> tuple[Any, ...]:
        """All values.

        Raises:
            ConfigError: the values cannot be listed, or are too many.
        """
        if self.kind == "choice":
            return self.choices
        if self.step is None:
            raise ConfigError(
                f"{self.key}: expected a list such as 1,2,3 or range(1,4), got an interval, which only a search can use"
            )
        assert self.low is not None and self.high is not None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        if count > MOST_VALUES:
            raise ConfigError(f"{self.key}: expected at most {MOST_VALUES:,} values, got {count:,}")
        if self.kind == "int":
            return tuple(int(self.low) + i * int(self.step) for i in range(count))
        # Rounded to twelve digits, so that 0.1 + 0.2 is 0.3.
        return tuple(float(f"{self.low + i * self.step:.12g}") for i in range(count))

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that a search is checked at: every choice, or the first and the last number."""
        if self.kind == "choice":
            return self.choices
        return (self.low, self.high) if self.step is None else (self.values()[0], self.values()[-1])

    def contains(self, value: object) -> bool:
        """True if `value` is on this axis."""
        if self.kind == "choice":
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        assert self.low is not None and self.high is not None
        if not self.low <= value <= self.high or (self.kind == "int" and value != int(value)):
            return False
        if self.step is None:
            return True
        steps = (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-6

    def override(self, value: Any) -> str:
        """The override that sets the key to `value`, in Hydra's grammar."""
        return f"{self.key}={written(value)}"

    def to_json(self) -> dict[str, Any]:
        """The axis as plain values."""
        return {**asdict(self), "choices": list(self.choices)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Axis":
        """The inverse of `to_json`."""
        return cls(**{**values, "choices": tuple(values["choices"])})


def axis_of(override: "Override") -> Axis:
    """The axis of an override with several values.

    Lists (`1,2,3`, `choice(...)`, `glob(*)`) are choices. `range(1,10,2)` are numbers in steps, without its end, as in
    Hydra. `interval(0.001,0.1)` is a range to search: `tag(log, ...)` on a log scale, `int(...)` or `tag(int, ...)` in
    whole numbers.

    Raises:
        ConfigError: there is no value, or the bounds are invalid.
    """
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep
    from hydra.errors import HydraException

    key = str(override.get_key_element())
    value = override.value()
    tags = {str(tag) for tag in getattr(value, "tags", ())}
    if isinstance(value, IntervalSweep):
        return _interval(key, value.start, value.end, is_log="log" in tags, is_int="int" in tags)
    if isinstance(value, RangeSweep) and not value.shuffle:
        return _range(key, value, is_log="log" in tags)
    try:
        choices = tuple(plain(item) for item in override.sweep_iterator())
    except HydraException as error:
        raise ConfigError(f"{key}: {one_line(error)}") from error
    return _choice(key, choices)


def written(value: Any) -> str:
    """A plain value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(_inside(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_inside(item)}" for name, item in value.items()) + "}"
    if isinstance(value, str):
        return value if _is_bare(value) else quoted(value)
    return repr(value)


def quoted(text: str, mark: str = "'") -> str:
    """`text` quoted in Hydra's grammar with `mark`, an apostrophe or a double quote."""
    # A backslash escapes the mark, and any backslashes before a mark; see Hydra's parser of quoted values.
    found = ""
    for i, char in enumerate(text):
        run = len(text) - len(text[i:].lstrip("\\")) - i
        ends = i + run == len(text) or text[i + run] == mark
        found += "\\\\" if char == "\\" and ends else f"\\{mark}" if char == mark else char
    return f"{mark}{found}{mark}"


def _inside(value: Any) -> str:
    """A value inside a list or a group, where text needs quotes more often."""
    is_word = isinstance(value, str) and value.isidentifier() and _is_bare(value)
    return quoted(value) if isinstance(value, str) and not is_word else written(value)


def _choice(key: str, choices: tuple[Any, ...]) -> Axis:
    if not choices:
        raise ConfigError(f"{key}: expected values to try, got none")
    several = [value for i, value in enumerate(choices) if repr(value) in map(repr, choices[:i])]
    if several:
        raise ConfigError(f"{key}: {shown(key, several[0])} is given twice")
    return Axis(key=key, kind="choice", choices=choices)


def _interval(key: str, low: float | None, high: float | None, *, is_log: bool, is_int: bool) -> Axis:
    if low is None or high is None or not low < high:
        raise ConfigError(f"{key}: expected interval(LOW,HIGH) with LOW below HIGH, got interval({low},{high})")
    if is_log and low <= 0:
        raise ConfigError(f"{key}: expected numbers over 0 for tag(log, ...), got interval({low},{high})")
    if is_int or (isinstance(low, int) and isinstance(high, int)):  # int(interval(...)) leaves whole bounds
        if low != int(low) or high != int(high):
            raise ConfigError(f"{key}: expected whole numbers for int, got interval({low},{high})")
        return Axis(key=key, kind="int", low=int(low), high=int(high), log=is_log)
    return Axis(key=key, kind="float", low=float(low), high=float(high), log=is_log)


def _range(key: str, value: Any, *, is_log: bool) -> Axis:
    if is_log:
        raise ConfigError(f"{key}: expected interval(...) for tag(log, ...); a range has steps")
    if value.step == 0:
        raise ConfigError(f"{key}: expected a step other than 0, got range({value.start},{value.stop},0)")
    numbers = _listed(value)
    if not numbers:
        raise ConfigError(
            f"{key}: expected values to try, got the empty range({value.start},{value.stop},{value.step})"
        )
    if len(numbers) == 1:
        return _choice(key, (numbers[0],))
    kind: Literal["int", "float"] = "int" if all(isinstance(number, int) for number in numbers) else "float"
    low, high = min(numbers), max(numbers)
    return Axis(key=key, kind=kind, low=low, high=high, step=abs(value.step))


def _listed(value: Any) -> list[Any]:
    start, stop, step = value.start, value.stop, value.step
    if stop is None:
        start, stop = 0, start
    count = max(0, math.ceil((stop - start) / step - 1e-9))
    numbers = [start + i * step for i in range(min(count, MOST_VALUES + 1))]
    return [number if isinstance(number, int) else float(f"{number:.12g}") for number in numbers]


def plain(item: Any) -> Any:
    """A value of Hydra's parser as a plain value."""
    from hydra.core.override_parser.types import Override, QuotedString

    if isinstance(item, QuotedString):
        return item.text
    if isinstance(item, list):
        return [plain(inner) for inner in item]
    if isinstance(item, dict):
        return {str(plain(name)): plain(inner) for name, inner in item.items()}
    assert not isinstance(item, Override)
    return item


def _is_bare(text: str) -> bool:
    """True if Hydra reads the unquoted `text` as exactly that text."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        found = OverridesParser.create().parse_override(f"key={text}")
    except HydraException:
        return False
    return not found.is_sweep_override() and type(found.value()) is str and found.value() == text
