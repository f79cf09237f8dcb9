"""Which columns of a table are labels, groups and pixels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hcr.config.errors import DataError
from hcr.config.spelling import did_you_mean
from hcr.config.text import printable

LABELS = ("label", "class", "target", "y", "letter")  # usual names of the column of labels
INDEX = ("", "Unnamed: 0")  # how pandas writes and reads the name of a table's index
MOST_COLUMNS = 200_000  # more than 256 x 256 pixels of 3 channels
NAMES_SHOWN = 8

_NUMBERED = re.compile(r"(?:(?:pixels?|pix|px|p|x|v|col|column)?[ _.-]?)(\d+)", re.IGNORECASE)
_PLACED = re.compile(r"(?:(?:pixels?|pix|px|p|x)?[ _.-]?)(\d+)[x_](\d+)", re.IGNORECASE)
_PIXEL = re.compile(r"(?:pixels?|pix|px)[ _.-]?\d+(?:[x_]\d+)?|\d+x\d+", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Layout:
    """The columns of a table, by position.

    Attributes:
        count: number of columns.
        names: of all columns; without a header None.
        labels: the one column of labels; or the first and the last, if their values must tell.
        group: the column of groups, if any.
        pixels: the columns of pixels in image order; with two candidates for labels, without both.
        notes: what was decided, one line each.
    """

    count: int
    names: tuple[str, ...] | None
    labels: tuple[int, ...]
    group: int | None
    pixels: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def name(self, column: int) -> str:
        """A column in a message: its name, or its number from 1."""
        return str(column + 1) if self.names is None else shown(self.names[column])


def is_number(text: str) -> bool:
    """True if `text` is a decimal number, such as -1.5e3."""
    return _NUMBER.fullmatch(text) is not None


def shown(text: str) -> str:
    """Text of a file for a message: one line, at most 40 characters."""
    plain = printable(text)
    return plain if len(plain) <= 40 else plain[:40] + "…"


def is_header(cells: Sequence[str]) -> bool:
    """True if the first row names the columns; False if it is an image.

    It does if two cells or more are text, as an image has at most a label that is not a number; if it counts columns
    (0,1,2,...); or if it has names that pandas made of repeated ones (0,0.1,0.2,...), as it does when a table without
    a header is read and saved again.
    """
    texts = [cell for cell in cells if cell.strip() and not is_number(cell)]
    if len(texts) >= 2:
        return True
    return _counts([cell for cell in cells if is_number(cell)]) or was_made_unique(cells)


def _counts(cells: Sequence[str]) -> bool:
    if len(cells) < 4 or not all(cell.strip().isdecimal() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def was_made_unique(cells: Sequence[str]) -> bool:
    """True if pandas made the names: it writes the second and third column named 0 as 0.1 and 0.2."""
    seen: dict[str, int] = {}
    repeated = 0
    for cell in cells:
        base, dot, number = cell.rpartition(".")
        if dot and base in seen and number == str(seen[base]):
            seen[base] += 1
            repeated += 1
        elif cell in seen:
            return False
        else:
            seen[cell] = 1
    return repeated >= 2 or (repeated == 1 and sum(cell.isdecimal() for cell in cells) == len(cells) - 1)


def layout(names: Sequence[str] | None, count: int, label: str | None, group: str | None, source: str) -> Layout:
    """The columns of a table.

    Args:
        names: of the columns; None: there is no header.
        count: number of columns.
        label: `first`, `last` or a name; None: recognised. That is the column with a name in LABELS, else the only one
            whose name is not a pixel's, else the first or the last, for `Layout.labels` has both.
        group: name of the column of groups; None: none.

    Raises:
        DataError: no such column, or no column left for labels or pixels.
    """
    if count > MOST_COLUMNS:
        raise DataError(f"{source}: expected at most {MOST_COLUMNS:,} columns, got {count:,}")
    notes = []
    grouping = None if group is None else _named(names, group, "dataset.group", source)
    free = [column for column in range(count) if column != grouping]
    index = names is not None and count > 2 and names[0].strip() in INDEX and 0 in free
    labels = _labels(names, [column for column in free if not (index and column == 0)], label, source)
    if index and 0 not in labels:
        free.remove(0)
        notes.append("the first column has no name and is taken for row numbers, which are not read")
    pixels = [column for column in free if column not in labels]
    if not pixels and len(labels) != 2:
        raise DataError(f"{source}: expected a column of labels and columns of pixels, got only labels")
    ordered = pixels if names is None else in_image_order(names, pixels)
    if ordered != pixels:
        notes.append("columns of pixels were not in the order of their numbers, and were put in order")
    return Layout(count, None if names is None else tuple(names), labels, grouping, tuple(ordered), tuple(notes))


def _labels(names: Sequence[str] | None, free: Sequence[int], label: str | None, source: str) -> tuple[int, ...]:
    if not free:
        raise DataError(f"{source}: expected a column of labels, got only groups")
    if label is not None and names is not None and label in names:
        return (_named(names, label, "dataset.label", source),)
    if label in ("first", "last"):
        return (free[0] if label == "first" else free[-1],)
    if label is not None:
        return (_named(names, label, "dataset.label", source),)
    if names is not None:
        for usual in LABELS:
            for column in free:
                if names[column].strip().lower() == usual:
                    return (column,)
        others = [column for column in free if _PIXEL.fullmatch(names[column].strip()) is None]
        if len(others) == 1:
            return (others[0],)
        if not others:
            raise DataError(
                f"{source}: expected a column of labels, got only pixels ({_listed(names)}); use a file with labels, or"
                " set dataset.label=first, last or a column's name"
            )
    if len(free) < 2:
        raise DataError(f"{source}: expected a column of labels and columns of pixels, got 1 column")
    return (free[0], free[-1])


def _named(names: Sequence[str] | None, name: str, key: str, source: str) -> int:
    if names is None:
        hint = "; set dataset.label=first or last" if key == "dataset.label" else ""
        raise DataError(f"{key}: expected {source} to have a column {name!r}, but its first line has no names{hint}")
    found = [column for column, known in enumerate(names) if known == name] or [
        column for column, known in enumerate(names) if known.strip().lower() == name.strip().lower()
    ]
    if len(found) > 1:
        raise DataError(f"{source}: expected one column {name!r} ({key}), got {len(found)}")
    if not found:
        raise DataError(f"{source}: no column {name!r} ({key}){did_you_mean(name, names)} (it has {_listed(names)})")
    return found[0]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(shown(name) or "''" for name in names[:NAMES_SHOWN]) + more


def in_image_order(names: Sequence[str], columns: Sequence[int]) -> list[int]:
    """`columns` by the numbers in their names (pixel0, pixel1, ... or 1x1, 1x2, ...), if all have one that differs."""
    keys = []
    for column in columns:
        name = names[column].strip()
        found = _PLACED.fullmatch(name) or _NUMBERED.fullmatch(name)
        if found is None or len(found[0]) > 40:
            return list(columns)
        keys.append(tuple(int(number) for number in found.groups()))
    if len(set(keys)) != len(keys) or len({len(key) for key in keys}) > 1:
        return list(columns)
    return [column for _, column in sorted(zip(keys, columns, strict=True))]
