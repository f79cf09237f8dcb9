"""The files of a folder, with sizes and times."""

import os
from pathlib import Path
from typing import NamedTuple

from hcr.config.errors import DataError
from hcr.config.text import printable

MOST_DEEP = 16  # folders below each other
HIDDEN = (".", "__MACOSX", "Thumbs.db", "desktop.ini")  # beginnings of names that systems add, not people


class File(NamedTuple):
    """A file of a folder.

    Attributes:
        name: its path relative to the folder, with slashes.
        size_bytes: of the file; of a link, of what it names.
        time_ns, change_ns: when its content was written, and when anything of it, its name too, was changed.
    """

    name: str
    size_bytes: int
    time_ns: int
    change_ns: int


def list_files(folder: Path) -> list[File]:
    """Every file below `folder`, sorted by name; links are followed, and names that systems add are left out.

    Raises:
        DataError: a folder cannot be read, or links form a loop.
    """
    found: list[File] = []
    _list(folder, "", found, [])
    return sorted(found)


def _list(folder: Path, prefix: str, found: list[File], above: list[tuple[int, int]]) -> None:
    try:
        here = folder.stat()
        place = (here.st_dev, here.st_ino)
        if place in above or len(above) > MOST_DEEP:
            raise DataError(f"{printable(str(folder))}: expected no loop of symbolic links, nor {MOST_DEEP} levels")
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(HIDDEN):
                    continue
                if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110  # as scandir does
                    raise DataError(f"{printable(entry.path)}: a symbolic link to nothing, or to itself; remove it")
                if entry.is_dir():
                    _list(Path(entry.path), f"{prefix}{name}/", found, [*above, place])
                elif entry.is_file():
                    info = entry.stat()
                    found.append(File(prefix + name, info.st_size, info.st_mtime_ns, info.st_ctime_ns))
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise DataError(f"{printable(str(error.filename or folder))}: cannot be read ({why})") from error
