"""Lists the pictures of a folder with their labels, sides and groups; decodes none."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from hcr.config.errors import DataError, one_line
from hcr.config.spelling import did_you_mean
from hcr.config.text import printable
from hcr.data.formats.folder import BY_FOLDER, Folder
from hcr.data.labels import natural
from hcr.data.raw import Picture, Raw, RawPart, Side
from hcr.data.tree import File, list_files

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".pnm")
SIDES: dict[str, Side] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
COLUMNS = {
    "file": ("file", "filename", "file_name", "image", "path", "name", "id"),
    "label": ("label", "class", "target", "y", "character"),
    "group": ("group", "writer", "author"),
    "side": ("split", "side", "subset"),
}
MOST_CSV_BYTES = 2**28


@dataclass(frozen=True)
class _Listed:
    """A picture: its path relative to the folder, its label, side and group."""

    name: str
    label: str
    side: Side = "train"
    group: str | None = None


def read_folder(folder: Path, cfg: Folder) -> Raw:
    """The pictures of `folder`; class names are those of the folders or of the CSV, in natural order.

    Raises:
        DataError: the folder has neither class folders with pictures nor pictures with a CSV, or names clash.
    """
    files = list_files(folder)
    pictures = [file for file in files if file.name.lower().endswith(ENDINGS)]
    where = printable(str(folder))
    if not pictures:
        raise DataError(
            f"{where}: expected pictures (PNG, JPEG, TIFF, BMP or WebP), got {len(files)} other files; expected one"
            " folder a class, or pictures and a CSV of file,label"
        )
    tables = [file for file in files if file.name.lower().endswith(".csv") and "/" not in file.name]
    is_flat = any("/" not in file.name for file in pictures)
    if is_flat or (tables and not _has_class_folders(pictures)):
        listed = _by_table(folder, pictures, tables, cfg)
    else:
        listed = _by_folder(folder, pictures, cfg)
    names = sorted({item.label for item in listed}, key=natural)
    number = {name: k for k, name in enumerate(names)}
    parts = []
    for side in get_args(Side):
        own = [item for item in listed if item.side == side]
        if own or (side == "train"):
            parts.append(
                RawPart(
                    images=[Picture(folder / item.name, str(folder / item.name)) for item in own],
                    labels=np.array([number[item.label] for item in own], np.int64),
                    groups=None if own and own[0].group is None else np.array([item.group for item in own], str),
                    side=side,
                    names=("pictures", "folders"),
                )
            )
    others = len(files) - len(pictures) - len(tables)
    notes = [f"{where}: {others} files that are no pictures are left out"] if others > 0 else []
    return Raw(parts=tuple(parts), class_names=tuple(names), notes=tuple(notes), skips_broken=cfg.skip_broken)


def _has_class_folders(pictures: Sequence[File]) -> bool:
    """True if the pictures lie in two or more folders."""
    return len({file.name.rpartition("/")[0] for file in pictures}) > 1


def _by_folder(folder: Path, pictures: Sequence[File], cfg: Folder) -> list[_Listed]:
    tops = {file.name.partition("/")[0] for file in pictures}
    has_sides = bool(tops) and all(top.lower() in SIDES for top in tops)
    listed = []
    for file in pictures:
        parts = file.name.split("/")
        side: Side = SIDES[parts[0].lower()] if has_sides else "train"
        inner = parts[1:] if has_sides else parts
        if len(inner) < 2:
            raise DataError(
                f"{printable(str(folder / file.name))}: expected pictures in class folders such as"
                f" {parts[0] if has_sides else 'train'}/a, got a picture beside them"
            )
        listed.append(_Listed(file.name, _class_name(folder, inner[0]), side, _group(folder, file.name, inner, cfg)))
    _check_normal(folder, {file.name.split("/")[has_sides] for file in pictures})
    return listed


def _group(folder: Path, name: str, inner: Sequence[str], cfg: Folder) -> str | None:
    if cfg.group_by is None:
        return None
    if cfg.group_by == BY_FOLDER:
        if len(inner) < 3:
            raise DataError(
                f"{printable(str(folder / name))}: expected a folder inside the class folder, such as"
                f" {printable(inner[0])}/writer1 (dataset.group=folder)"
            )
        return inner[1]
    found = re.search(cfg.group_by, inner[-1])
    if found is None or found[1] is None:
        raise DataError(
            f"{printable(str(folder / name))}: expected a name with the pattern {cfg.group_by!r} (dataset.group)"
        )
    return found[1]


def _class_name(folder: Path, name: str) -> str:
    """A folder's name as a class name: composed characters, as files from macOS have decomposed ones."""
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise DataError(f"{printable(str(folder / name))}: expected a class name of printable characters; rename it")
    return unicodedata.normalize("NFC", name)


def _check_normal(folder: Path, names: set[str]) -> None:
    """Refuse class folders whose names look the same."""
    composed = Counter(unicodedata.normalize("NFC", name) for name in names)
    same = [name for name, count in composed.items() if count > 1]
    if same:
        raise DataError(
            f"{printable(str(folder))}: expected class names that differ, got {same[0]!r} twice, written with other"
            " Unicode characters; put the pictures into one folder"
        )


def _by_table(folder: Path, pictures: Sequence[File], tables: Sequence[File], cfg: Folder) -> list[_Listed]:
    where = printable(str(folder))
    if len(tables) != 1:
        got = f"{len(tables)} CSV files" if tables else "no CSV file"
        raise DataError(
            f"{where}: expected one folder a class, or pictures with one CSV of file,label[,group], got {got} beside"
            f" {len(pictures)} pictures"
        )
    table = folder / tables[0].name
    rows = _read_table(table, tables[0].size_bytes)
    columns, first = _columns(rows, table)
    known = {file.name for file in pictures}
    listed, seen = [], set()
    for number, row in enumerate(rows[first:], first + 1):
        if not row or not any(cell.strip() for cell in row):
            continue
        if len(row) < len(rows[0]):
            raise DataError(f"{printable(str(table))}: line {number}: expected {len(rows[0])} cells, got {len(row)}")
        cells = {name: row[at].strip() for name, at in columns.items()}
        name = cells["file"].replace("\\", "/").removeprefix("./")
        if name not in known:
            near = did_you_mean(name, known) if len(known) < 10_000 else ""
            raise DataError(
                f"{printable(str(table))}: line {number}: expected a picture of this folder, got"
                f" {printable(name)!r}{near}"
            )
        if name in seen:
            raise DataError(f"{printable(str(table))}: line {number}: {printable(name)!r} is listed twice")
        seen.add(name)
        if not cells["label"]:
            raise DataError(f"{printable(str(table))}: line {number}: expected a label, got an empty cell")
        side = cells.get("side", "train").lower()
        if side not in SIDES:
            raise DataError(f"{printable(str(table))}: line {number}: expected train, val or test, got {side!r}")
        group = cells.get("group")
        if cfg.group_by is not None:
            group = _group(folder, name, ["", *name.split("/")], cfg)
        listed.append(_Listed(name, _class_name(folder, cells["label"]), SIDES[side], group))
    left = len(known) - len(seen)
    if left:
        lonely = sorted(known - seen, key=natural)[0]
        raise DataError(
            f"{printable(str(table))}: expected a line for each picture, but {left} have none, such as"
            f" {printable(lonely)!r}"
        )
    return listed


def _read_table(table: Path, size_bytes: int) -> list[list[str]]:
    import csv

    name = printable(str(table))
    if size_bytes > MOST_CSV_BYTES:
        raise DataError(f"{name}: expected a CSV of at most {MOST_CSV_BYTES:,} bytes, got {size_bytes:,}")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: expected a CSV in UTF-8 ({one_line(error)})") from error
    rows = [row for row in rows if row]
    if not rows:
        raise DataError(f"{name}: expected lines of file,label[,group], got none")
    return rows


def _columns(rows: Sequence[Sequence[str]], table: Path) -> tuple[dict[str, int], int]:
    """The position of each known column, and the number of lines before the first picture."""
    header = [cell.strip().lower() for cell in rows[0]]
    named = {
        name: header.index(found)
        for name, words in COLUMNS.items()
        if (found := next((w for w in words if w in header), None))
    }
    if {"file", "label"} <= named.keys():
        return named, 1
    if header[0].endswith(ENDINGS) and len(header) in (2, 3):
        return dict(zip(("file", "label", "group")[: len(header)], range(3), strict=False)), 0
    raise DataError(
        f"{printable(str(table))}: expected the columns file,label[,group], got {printable(','.join(rows[0]))[:200]!r}"
    )
