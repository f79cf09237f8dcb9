"""EMNIST's mappings: the label of each class, with the codes of its characters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.readers.pairing import listed

LONGEST_MAPPING = 1 << 16  # bytes of a mapping file; EMNIST's longest has 62 lines
MOST_CODES = 0x110000
LONGEST_NUMBER = 7  # digits of MOST_CODES

Codes = Mapping[int, int]  # the code of the first character of each label, in order of the labels


def read_mapping(path: Path) -> Codes:
    """The mapping in a text file: on each line a label, a code, and for merged letters a second code.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_MAPPING + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    rows = [line.split() for line in content[:LONGEST_MAPPING].splitlines() if line.strip()]
    if len(content) > LONGEST_MAPPING or not all(_is_number(word) for row in rows for word in row):
        raise DataError(f"{path}: expected lines of a label and one or two character codes, such as `1 65 97`")
    return codes_of([[int(word) for word in row] for row in rows], str(path))


def _is_number(word: bytes) -> bool:
    return word.isdigit() and len(word) <= LONGEST_NUMBER


def codes_of(rows: Sequence[Sequence[int]], source: str) -> Codes:
    """The mapping of `rows`, each a label, a code, and for merged letters the code of the lower-case letter.

    EMNIST's files give a merged letter's upper case first (letters), or alone (balanced, bymerge); the first is used.

    Raises:
        DataError: another number of columns, a code without a character, or a label or a character twice.
    """
    for row in rows:
        if len(row) not in (2, 3) or not 0 <= row[0] < MOST_CODES or not is_character(row[1]):
            raise DataError(
                f"{source}: expected a label and one or two character codes in each row of the mapping,"
                f" got {listed(map(str, row), 'nothing')}"
            )
    codes = {row[0]: row[1] for row in rows}
    if len(codes) != len(rows) or len(set(codes.values())) != len(rows) or len(rows) < 2:
        raise DataError(f"{source}: expected 2 or more labels and characters that differ in the mapping")
    return dict(sorted(codes.items()))


def is_character(code: int) -> bool:
    """True if `code` is of a printable character."""
    return 0x20 < code < MOST_CODES and chr(code).isprintable()


def class_names_of(codes: Codes) -> tuple[str, ...]:
    """The characters of a mapping, in order of the labels."""
    return tuple(map(chr, codes.values()))


def indices_of(labels: NDArray[Any], codes: Codes, source: str) -> NDArray[np.int64]:
    """The class of each label, in [0, len(codes)).

    Args:
        labels: (N,) numbers.

    Raises:
        DataError: a label is not in the mapping.
    """
    known = np.array(list(codes), dtype=np.float64)
    if labels.dtype.kind not in "uif":
        raise DataError(f"{source}: expected labels that are numbers of the mapping, got {labels.dtype}")
    found = np.searchsorted(known, labels).clip(max=len(known) - 1)
    is_known = known[found] == labels
    if not is_known.all():
        strangers = np.unique(labels[~is_known])
        raise DataError(
            f"{source}: expected labels that are in the mapping, {min(codes)} to {max(codes)},"
            f" got {listed((f'{value:g}' for value in strangers.tolist()), '')}"
        )
    return found.astype(np.int64)
