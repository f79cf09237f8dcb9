"""The CSV files of a data set: one, one with its test images beside it, or a folder of sides."""

import os
from pathlib import Path

from hcr.config.errors import DataError
from hcr.config.text import printable
from hcr.data.formats.csv import Csv
from hcr.data.raw import Raw, Side
from hcr.data.readers.csvfile import column_count, read_sides
from hcr.data.readers.side_names import files_by_side, side_of, with_side
from hcr.data.sniffing import TABLES

SUFFIXES = (*TABLES, ".txt", ".data")


def read_all(cfg: Csv, path: Path) -> Raw:
    """Read the file or folder `path` as `cfg` says.

    Raises:
        DataError: a file is missing or damaged, or is no table of numbers.
    """
    files, notes = _files(cfg, path)
    test = files.get("test")
    is_beside = test is not None and cfg.test_path is None and not path.is_dir()
    # Competitions keep the labels of their test images.
    if test is not None and is_beside and column_count(test) == column_count(path) - 1:
        del files["test"]
        notes = (f"{printable(test.name)} beside {printable(path.name)} has no labels, and is not read",)
    parts, said = read_sides(files, label=cfg.label, group=cfg.group_column)
    return Raw(parts=parts, notes=(*notes, *said))


def sources(cfg: Csv, path: Path) -> list[Path]:
    """Every file that is read."""
    return list(_files(cfg, path)[0].values())


def _files(cfg: Csv, path: Path) -> tuple[dict[Side, Path], tuple[str, ...]]:
    """The file of each side, the training images' first, and notes."""
    notes: list[str] = []
    files: dict[Side, Path] = {"train": path}
    if path.is_dir():
        found, others = files_by_side(path, SUFFIXES)
        for side, paths in found.items():
            if len(paths) > 1:
                names = ", ".join(printable(each.name) for each in paths)
                raise DataError(
                    f"{printable(str(path))}: expected one file of {side} images, got {names}; set dataset.path to one"
                    " file"
                )
            files[side] = paths[0]
        if others:
            notes.append(f"not read, as no word of the name is train, val or test: {', '.join(others[:8])}")
    if cfg.test_path is not None:
        files["test"] = _test_file(cfg.test_path)
    elif not path.is_dir() and cfg.has_official_test is not False and side_of(path.name) == "train":
        sibling = path.with_name(with_side(path.name, "test"))
        if _is_file(sibling):
            files["test"] = sibling
            notes.append(f"test images are those of {printable(sibling.name)}, beside {printable(path.name)}")
    return files, tuple(notes)


def _test_file(name: str) -> Path:
    path = Path(os.path.expanduser(name))  # noqa: PTH111  # Path.expanduser raises for an unknown user
    if not _is_file(path):
        raise DataError(f"dataset.test_path: expected a file, got {str(path)!r}, which does not exist or is none")
    return path


def _is_file(path: Path) -> bool:
    """True for a regular file; another kind, such as a FIFO, might never end."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
