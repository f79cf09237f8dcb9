"""Which files of a folder hold training, validation and test images, by their names."""

import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from hcr.config.errors import DataError
from hcr.config.text import printable
from hcr.data.raw import Side

MOST_FILES = 100_000
WORDS: dict[str, Side] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_WORD = re.compile(rf"(?<![a-z])({'|'.join(sorted(WORDS, key=len, reverse=True))})(?![a-z])", re.IGNORECASE)


def side_of(name: str) -> Side | None:
    """The side that a file's name has as a word, such as mnist_train.csv; None if it has none, or several."""
    sides = {WORDS[word.lower()] for word in _WORD.findall(name)}
    return sides.pop() if len(sides) == 1 else None


def with_side(name: str, side: Side) -> str:
    """`name` with another side's word: zip.train.gz becomes zip.test.gz."""
    return _WORD.sub(lambda found: side.upper() if found[0].isupper() else side, name)


def files_by_side(folder: Path, suffixes: Sequence[str]) -> tuple[dict[Side, list[Path]], list[str]]:
    """The files of a folder with one of `suffixes` by side, sorted by name, and the names of those without a side.

    A single file without a side is the training images.

    Raises:
        DataError: there is none, or several of which no name has a side; or no training images.
    """
    source = printable(str(folder))
    found = [path for path in _listed(folder, source) if path.name.lower().endswith(tuple(suffixes))]
    if not found:
        raise DataError(f"{source}: expected files {' or '.join('*' + suffix for suffix in suffixes)}, got none")
    if len(found) == 1:
        return {side_of(found[0].name) or "train": found}, []
    sides: dict[Side, list[Path]] = {}
    others = []
    for path in found:
        side = side_of(path.name)
        if side is None:
            others.append(printable(path.name))
        else:
            sides.setdefault(side, []).append(path)
    if "train" not in sides:
        raise DataError(
            f"{source}: expected a file with the word train in its name, and optionally val and test, got"
            f" {', '.join(printable(path.name) for path in found[:8])}; or set dataset.path to one file"
        )
    return {side: sides[side] for side in ("train", "val", "test") if side in sides}, others


def _listed(folder: Path, source: str) -> list[Path]:
    """The regular files of a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_FILES + 1)]
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror})") from error
    if len(names) > MOST_FILES:
        raise DataError(f"{source}: expected at most {MOST_FILES:,} files in a folder, got more")
    paths = [folder / name for name in sorted(names) if not name.startswith(".")]
    return [path for path in paths if _is_file(path)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a loop of symbolic links
        return False
