"""The cache of prepared data sets, memory-mapped and shared by all processes of a machine.

    <user's cache>/hcr/prepared/<place>/    place: digest of path and settings
        lock                                held (flock) while a process prepares
        <stamp>/                            stamp: digest of the sources' names, sizes and times, and of the code; a
                                            link to that of another place if the settings are those with nulls filled
            images.npy labels.npy ... dataset.json

A data set whose sources changed gets a new stamp, and the old one is removed; processes that have it mapped keep it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

import platformdirs

from hcr.config.errors import DataError
from hcr.config.parts import sources_of
from hcr.config.text import printable
from hcr.data.dataset import Dataset, assemble
from hcr.data.files import find_file
from hcr.data.formats import FileFormat
from hcr.data.stored import read_dataset, write_arrays
from hcr.data.tree import list_files

LIBRARIES = ("numpy", "pillow", "pyarrow")  # their versions may change what is read
NOT_OF_THE_IMAGES = ("name", "classes", "min_per_class", "has_groups")  # settings applied later
UNUSED_S = 30 * 24 * 3600  # a data set that was not opened for so long is removed
PARTIAL = ".partial"

_opened: list[tuple[str, str, Dataset]] = []  # place, stamp, and the data set that was opened last


def load_cached(cfg: FileFormat) -> Dataset:
    """The data set of `cfg` from the cache; it is read and prepared if it is not there, or its sources changed.

    Raises:
        DataError: a file is missing or damaged, or does not match `cfg`.
    """
    path = find_file(cfg)
    place, stamp = _place_of(cfg, path), _stamp_of(cfg, path)
    for known in _opened:
        if known[:2] == (place, stamp):
            return known[2]
    dataset = _load(cfg, path, cache_folder() / place, stamp)
    _opened[:] = [(place, stamp, dataset)]
    return dataset


def remember_filled(cfg: FileFormat, filled: FileFormat) -> None:
    """Make `filled`, which is `cfg` with its nulls filled from the data, find what was prepared for `cfg`."""
    path = find_file(cfg)
    place, other = _place_of(cfg, path), _place_of(filled, path)
    stamp, other_stamp = _stamp_of(cfg, path), _stamp_of(filled, path)
    if place == other:
        return
    # Only what was prepared of these sources: of changed ones, the filled config may refuse what the open one takes.
    link = cache_folder() / other / other_stamp
    with contextlib.suppress(OSError):  # without a cache, or another process was faster: it is prepared again
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("..") / place / stamp)
    _opened.extend((other, other_stamp, dataset) for *at, dataset in list(_opened) if at == [place, stamp])


def cache_folder() -> Path:
    """The folder of all prepared data sets."""
    return platformdirs.user_cache_path("hcr") / "prepared"


def _load(cfg: FileFormat, path: Path, place: Path, stamp: str) -> Dataset:
    found = _open(place / stamp)
    if found is not None:
        return found
    try:
        with _locked(place):
            found = _open(place / stamp)  # another process may have prepared it meanwhile
            return found if found is not None else _prepare(cfg, path, place, stamp)
    except OSError as error:
        why = error.strerror or type(error).__name__
        print(
            f"hcr: note: {place.parent} cannot be written ({why}), so images are prepared again each time;"
            " XDG_CACHE_HOME names another folder",
            file=sys.stderr,
        )
    return assemble(cfg.read(path), cfg, str(path))


def _prepare(cfg: FileFormat, path: Path, place: Path, stamp: str) -> Dataset:
    for old in place.iterdir():  # left by a kill, or of sources that changed
        if old.is_symlink():
            old.unlink()
        elif old.is_dir():
            shutil.rmtree(old)
    work = place / f"{stamp}{PARTIAL}"
    work.mkdir()
    try:
        dataset = assemble(cfg.read(path), cfg, str(path), work)
        write_arrays(work, dataset)
        for leftover in ("prepared.npy", "sources.npy"):
            (work / leftover).unlink(missing_ok=True)
        work.rename(place / stamp)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _remove_unused(place.parent)
    return read_dataset(place / stamp)


def _open(folder: Path) -> Dataset | None:
    """The data set in `folder`, or None if there is none."""
    try:
        dataset = read_dataset(folder)
    except (OSError, EOFError, ValueError, KeyError, TypeError):  # absent or damaged: it is prepared again
        return None
    with contextlib.suppress(OSError):  # a cache that another user filled
        os.utime(folder.parent)  # it is in use
        os.utime(folder.resolve().parent)  # if it is a link
    return dataset


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_unused(root: Path) -> None:
    """Remove data sets that were not opened for UNUSED_S."""
    before = time.time() - UNUSED_S
    for place in root.iterdir():
        with contextlib.suppress(OSError):
            if place.stat().st_mtime < before:
                shutil.rmtree(place)


def _place_of(cfg: FileFormat, path: Path) -> str:
    settings = {k: v for k, v in cfg.model_dump(mode="json").items() if k not in NOT_OF_THE_IMAGES}
    return _digest([str(path.resolve()), type(cfg).__qualname__, settings])


def _stamp_of(cfg: FileFormat, path: Path) -> str:
    # The time of a file's last change cannot be set by a copy that keeps its other times.
    stamps: list[tuple[str, int, int, int]] = []
    for source in cfg.sources(path):
        try:
            if source.is_dir():
                stamps += list_files(source)
            else:
                info = source.stat()
                stamps.append((str(source), info.st_size, info.st_mtime_ns, info.st_ctime_ns))
        except OSError as error:
            raise DataError(f"{printable(str(source))}: cannot be read ({error.strerror})") from error
    theirs = [file.stat() for files in sources_of([type(cfg)]).values() for file in files]
    stamps += [("", info.st_size, info.st_mtime_ns, 0) for info in theirs]
    text = "\n".join(f"{size} {time_ns} {change_ns} {name!r}" for name, size, time_ns, change_ns in stamps)
    return _digest([hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(), _code()])


@cache
def _code() -> str:
    """A digest of the code that reads and prepares."""
    sha = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        sha.update(file.read_bytes())
    return _digest([sha.hexdigest(), *map(version, LIBRARIES)])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()[:24]
