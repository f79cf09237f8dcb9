"""The parquet files of a data set: one, or a folder of shards by side."""

import re
from pathlib import Path

import numpy as np

from hcr.config.errors import DataError
from hcr.config.text import printable
from hcr.data.formats.parquet import Parquet
from hcr.data.memory import check_fits, most_bytes
from hcr.data.raw import Raw, RawPart, Side
from hcr.data.readers.parquetfile import read_parquet
from hcr.data.readers.side_names import files_by_side

SUFFIXES = (".parquet",)
_SHARD = re.compile(r"(?P<stem>.*?)-(?P<number>\d{1,9})-of-(?P<count>\d{1,9})(?P<rest>.*)", re.DOTALL)


def read_all(cfg: Parquet, path: Path) -> Raw:
    """Read the file or folder `path` as `cfg` says.

    Raises:
        DataError: a file is missing or damaged, or the files do not agree.
    """
    parts: list[RawPart] = []
    label, class_names, held_bytes = cfg.label, None, 0
    files, notes = _files(path)
    for side, file in files:
        table = read_parquet(file, image=cfg.image, label=label, group=cfg.group_column, side=side)
        if parts and table.class_names != class_names:
            raise DataError(
                f"{printable(str(file))}: expected the class names of {printable(files[0][1].name)}, got others"
            )
        label, class_names = table.label, table.class_names
        held_bytes += _bytes_of(table.part)
        check_fits(held_bytes, most_bytes(), printable(str(path)))
        parts.append(table.part)
        notes += table.notes
    return Raw(parts=tuple(parts), class_names=class_names, notes=tuple(dict.fromkeys(notes)))


def _bytes_of(part: RawPart) -> int:
    if isinstance(part.images, np.ndarray):
        return part.images.nbytes
    return sum(len(picture.content) for picture in part.images if isinstance(picture.content, bytes))


def sources(path: Path) -> list[Path]:
    """Every file that is read."""
    return [file for _, file in _files(path)[0]]


def _files(path: Path) -> tuple[list[tuple[Side, Path]], list[str]]:
    """The files to read with their sides, the training images' first, and notes."""
    if not path.is_dir():
        found = _SHARD.fullmatch(path.name)
        is_one = found is not None and int(found["count"]) > 1
        said = (
            f"{printable(path.name)} is one of {int(found['count'])} shards; set dataset.path to its folder to read all"
            if found
            else ""
        )
        return [("train", path)], [said] if is_one else []
    folder = _folder_of_shards(path)
    sides, others = files_by_side(folder, SUFFIXES)
    files = [(side, file) for side, shards in sides.items() for file in shards]
    _check_complete(folder, [file.name for _, file in files])
    notes = [f"not read, as no word of the name is train, val or test: {', '.join(others[:8])}"] if others else []
    return files, notes


def _folder_of_shards(path: Path) -> Path:
    """`path`, or the one folder in it that has parquet files, such as data/."""
    if any(path.glob("*.parquet")):
        return path
    inside = sorted({file.parent for file in path.glob("*/*.parquet")})
    if len(inside) > 1:
        names = ", ".join(printable(folder.name) for folder in inside[:8])
        raise DataError(
            f"{printable(str(path))}: expected one folder of parquet files, got {names}; set dataset.path to one"
        )
    return inside[0] if inside else path


def _check_complete(folder: Path, names: list[str]) -> None:
    """Refuse a folder in which a shard of 00000-of-00002 is missing."""
    present = set(names)
    for name in names:
        found = _SHARD.fullmatch(name)
        if found is None:
            continue
        width, count = len(found["number"]), int(found["count"])
        for number in range(count):  # ends at the first that is missing
            other = f"{found['stem']}-{number:0{width}d}-of-{found['count']}{found['rest']}"
            if other not in present:
                raise DataError(f"{printable(str(folder))}: expected {count} shards, but {printable(other)} is missing")
