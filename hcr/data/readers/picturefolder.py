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
from hcr.data.raw import PICTURE_ENDINGS, Picture, Raw, RawPart, Side
from hcr.data.tree import HIDDEN, File, list_files

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
MOST_NAMED = 5  # folders in a note


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
    pictures = [file for file in files if file.name.lower().endswith(PICTURE_ENDINGS)]
    where = printable(str(folder))
    if not pictures:
        raise DataError(
            f"{where}: expected pictures (PNG, JPEG, TIFF, BMP or WebP), got {len(files)} other files; expected one"
            " folder a class, or pictures and a CSV of file,label"
        )
    tables = [file for file in files if file.name.lower().endswith(".csv") and "/" not in file.name]
    is_flat = any("/" not in file.name for file in pictures)
    notes = []
    if tables and (is_flat or not _has_class_folders(pictures)):
        listed = _by_table(folder, pictures, tables, cfg)
    elif is_flat and not any("/" in file.name for file in pictures):
        raise DataError(
            f"{where}: expected one folder a class, or pictures with one CSV of file,label[,group], got no CSV file"
            f" beside {len(pictures)} pictures"
        )
    else:
        listed = _by_folder(folder, pictures, cfg)
        notes = _note_on_empty(folder, pictures)
    names = sorted({item.label for item in listed}, key=natural)
    if len(names) < 2:
        raise _one_class(folder, listed, names[0])
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
    used = {file.name for file in (*pictures, *tables)}
    others = [file.name for file in files if file.name not in used]
    if others:
        is_no_picture = "1 file is no picture" if len(others) == 1 else f"{len(others)} files are no pictures"
        notes.append(f"{where}: {is_no_picture}, such as {printable(others[0])}")
    return Raw(parts=tuple(parts), class_names=tuple(names), notes=tuple(notes), skips_broken=cfg.skip_broken)


def _has_class_folders(pictures: Sequence[File]) -> bool:
    """True if the pictures lie in two or more folders."""
    return len({file.name.rpartition("/")[0] for file in pictures}) > 1


def _by_folder(folder: Path, pictures: Sequence[File], cfg: Folder) -> list[_Listed]:
    has_sides = _has_sides(folder, pictures)
    listed = []
    for file in pictures:
        parts = file.name.split("/")
        side: Side = SIDES[parts[0].lower()] if has_sides else "train"
        inner = parts[1:] if has_sides else parts
        if len(inner) < 2:
            example = f"{parts[0]}/a" if has_sides else next(f.name for f in pictures if "/" in f.name).split("/")[0]
            remedy = "" if has_sides else ", or list all pictures in a CSV of file,label[,group]"
            raise DataError(
                f"{printable(str(folder / file.name))}: expected pictures in class folders, such as"
                f" {printable(example)}, got a picture beside them; move it into one{remedy}"
            )
        name = _class_name(folder / Path(*parts[: 1 + has_sides]), inner[0])
        listed.append(_Listed(file.name, name, side, _group(folder, file.name, inner, cfg)))
    _check_normal(folder, {tuple(file.name.split("/")[: 1 + has_sides]) for file in pictures})
    return listed


def _has_sides(folder: Path, pictures: Sequence[File]) -> bool:
    """True if the folders at the top are train, val and test, and the classes are in them."""
    tops = {file.name.partition("/")[0] for file in pictures}
    others = sorted(top for top in tops if top.lower() not in SIDES)
    if others and any(file.name.split("/")[0].lower() in SIDES and file.name.count("/") > 1 for file in pictures):
        raise DataError(
            f"{printable(str(folder))}: expected only train, val and test beside each other, got also"
            f" {printable(others[0])!r}; move it elsewhere, or into one of them"
        )
    return not others


def _note_on_empty(folder: Path, pictures: Sequence[File]) -> list[str]:
    """A note on class folders without pictures, which may have been forgotten."""
    tops = {file.name.partition("/")[0] for file in pictures}
    empty = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and entry.name not in tops and not entry.name.startswith(HIDDEN)
    )
    if not empty:
        return []
    shown = ", ".join(repr(printable(name)) for name in empty[:MOST_NAMED])
    more = f" and {len(empty) - MOST_NAMED} more" if len(empty) > MOST_NAMED else ""
    what = "the folder" if len(empty) == 1 else f"{len(empty)} folders have no pictures and are left out:"
    end = " has no pictures and is left out" if len(empty) == 1 else ""
    return [f"{printable(str(folder))}: {what} {shown}{more}{end}"]


def _one_class(folder: Path, listed: Sequence[_Listed], name: str) -> DataError:
    where = printable(str(folder))
    inside = {item.name.split("/")[1] for item in listed if item.name.count("/") > 1}
    remedy = ""
    if len(inside) > 1:
        remedy = f"; if its folders are the classes, set dataset.path={where}/{printable(listed[0].name.split('/')[0])}"
    return DataError(f"{where}: expected pictures of 2 classes or more, got only {printable(name)!r}{remedy}")


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


def _class_name(place: Path | str, name: str) -> str:
    """A name as a class name: composed characters, as folders from macOS have decomposed ones.

    Args:
        place: where it is, for messages.
    """
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise DataError(
            f"{printable(str(place))}: expected a class name of printable characters, got '{printable(name)}'; rename"
            " it"
        )
    return unicodedata.normalize("NFC", name)


def _check_normal(folder: Path, paths: set[tuple[str, ...]]) -> None:
    """Refuse class folders beside each other whose names look the same."""
    composed = Counter((*path[:-1], unicodedata.normalize("NFC", path[-1])) for path in paths)
    same = [path for path, count in composed.items() if count > 1]
    if same:
        raise DataError(
            f"{printable(str(folder.joinpath(*same[0][:-1])))}: expected class names that differ, got"
            f" {printable(same[0][-1])!r} twice, written with other Unicode characters; put the pictures into one"
            " folder"
        )


def _by_table(folder: Path, pictures: Sequence[File], tables: Sequence[File], cfg: Folder) -> list[_Listed]:
    where = printable(str(folder))
    if len(tables) != 1:
        raise DataError(
            f"{where}: expected one folder a class, or pictures with one CSV of file,label[,group], got"
            f" {len(tables)} CSV files beside {len(pictures)} pictures"
        )
    table = folder / tables[0].name
    rows = _read_table(table, tables[0].size_bytes)
    columns, first = _columns(rows[0][1], table)
    known = {file.name for file in pictures}
    listed, seen = [], set()
    for number, row in rows[first:]:
        line = f"{printable(str(table))}: line {number}"
        if not any(cell.strip() for cell in row):
            continue
        if len(row) < len(rows[0][1]):
            raise DataError(f"{line}: expected {len(rows[0][1])} cells, got {len(row)}")
        cells = {name: row[at].strip() for name, at in columns.items()}
        name = cells["file"].replace("\\", "/").removeprefix("./")
        if name not in known:
            near = did_you_mean(name, known) if len(known) < 10_000 else ""
            raise DataError(f"{line}: expected a picture of this folder, got {printable(name)!r}{near}")
        if name in seen:
            raise DataError(f"{line}: expected each picture once, got {printable(name)!r} again")
        seen.add(name)
        if not cells["label"]:
            raise DataError(f"{line}: expected a label, got an empty cell")
        side = cells.get("side", "train").lower()
        if side not in SIDES:
            raise DataError(f"{line}: expected train, val or test, got {printable(side)!r}")
        group = cells.get("group")
        if group == "":
            raise DataError(f"{line}: expected a group, got an empty cell")
        if cfg.group_by is not None:
            group = _group(folder, name, ["", *name.split("/")], cfg)
        listed.append(_Listed(name, _class_name(line, cells["label"]), SIDES[side], group))
    left = len(known) - len(seen)
    if left:
        lonely = sorted(known - seen, key=natural)[0]
        raise DataError(
            f"{printable(str(table))}: expected a line for each picture, but {left} have none, such as"
            f" {printable(lonely)!r}"
        )
    return listed


def _read_table(table: Path, size_bytes: int) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its line."""
    import csv

    name = printable(str(table))
    if size_bytes > MOST_CSV_BYTES:
        raise DataError(f"{name}: expected a CSV of at most {MOST_CSV_BYTES:,} bytes, got {size_bytes:,}")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: expected a CSV in UTF-8 ({one_line(error)})") from error
    if not rows:
        raise DataError(f"{name}: expected lines of file,label[,group], got none")
    return rows


def _columns(first: Sequence[str], table: Path) -> tuple[dict[str, int], int]:
    """The position of each known column by the first row, and the number of rows before the first picture."""
    header = [cell.strip().lower() for cell in first]
    named = {
        name: header.index(found)
        for name, words in COLUMNS.items()
        if (found := next((w for w in words if w in header), None))
    }
    if {"file", "label"} <= named.keys():
        return named, 1
    if header[0].endswith(PICTURE_ENDINGS) and len(header) in (2, 3):
        return dict(zip(("file", "label", "group")[: len(header)], range(3), strict=False)), 0
    raise DataError(
        f"{printable(str(table))}: expected the columns file,label[,group], got {printable(','.join(first))[:200]!r}"
    )
