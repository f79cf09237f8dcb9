"""Finds a data set's file or folder: at its path, in the usual folders, or downloaded into the user's cache."""

import os
import stat
import struct
from pathlib import Path

import platformdirs

from hcr.config.errors import DataError
from hcr.data.download import download
from hcr.data.formats import FileFormat

START_BYTES = 128  # what `what_it_is` needs of a file

# File types by their first bytes, and the format that reads them, or how to convert them.
MATLAB_AGAIN = "save it in MATLAB with save('x.mat', 'data', 'label', '-v7')"
PICTURES = "use dataset=folder, with dataset.path the folder of all pictures"
IDX_TYPES = (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E)  # of numbers, in the third byte of an IDX file
MARKS = {
    b"MATLAB 7.3": f"a MATLAB v7.3 file, which is HDF5; {MATLAB_AGAIN}",
    b"MATLAB 5": "a MATLAB v5 file; use dataset=mat",
    b"\x89HDF": "an HDF5 file; save its arrays with np.savez('x.npz', x=..., y=...) and use dataset=npz",
    b"PK\x03\x04": "a zip archive; if it is a NumPy archive (.npz) use dataset=npz, else unpack it first (unzip)",
    b"\x93NUMPY": "one array (.npy); use dataset=npz, with images and labels beside each other (x.npy, y.npy)",
    b"\x1f\x8b": "a gzip file; use dataset=idx or dataset=csv if it holds IDX or CSV, else unpack it first (gunzip)",
    b"BZh": "a bzip2 file; unpack it first (bunzip2)",
    b"\xfd7zXZ": "an xz file; unpack it first (unxz)",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"\x89PNG": f"one PNG picture; {PICTURES}",
    b"\xff\xd8\xff": f"one JPEG picture; {PICTURES}",
    b"GIF8": f"one GIF picture; {PICTURES}",
    b"\x80\x02": "a Python pickle, which could run code and is not read",
    b"\x80\x03": "a Python pickle, which could run code and is not read",
    b"\x80\x04": "a Python pickle, which could run code and is not read",
    b"\x80\x05": "a Python pickle, which could run code and is not read",
    b"PAR1": "a Parquet file; use dataset=parquet",
}


def find_file(cfg: FileFormat) -> Path:
    """`dataset.path` if given, else the first of `dataset.files` under HCR_DATA_DIR, then in the user's cache.

    A folder is taken where the format takes folders. If none of these exists, `dataset.url` is downloaded into the
    cache.

    Raises:
        DataError: the file is missing and cannot be downloaded; the message says where to put which file.
    """
    found = local_file(cfg)
    if found is not None:
        return found
    if cfg.path is not None:
        path = _at_home(cfg.path)
        what = "a file or folder" if cfg.takes_folders else "a file"
        raise DataError(f"dataset.path: expected {what}, got {str(path)!r}, {_instead(path)}")
    folders = _folders()
    cache = folders[-1]
    names, places = " or ".join(cfg.files), " or ".join(str(folder) for folder in folders)
    remedy = f"put {names} into {places}, or set dataset.path=FILE (dataset=digits needs no file)"
    if cfg.url is None or cfg.sha256 is None:
        raise DataError(f"dataset={cfg.name}: {names} not found; {remedy}")
    called = cfg.url.rpartition("/")[2]
    file = cache / (called if called in cfg.files else cfg.files[-1])
    try:
        download(cfg.url, file, cfg.sha256)
    except DataError as error:
        raise DataError(f"dataset={cfg.name}: {error}; {remedy}") from error
    return file


def local_file(cfg: FileFormat) -> Path | None:
    """The file or folder of `cfg` if it is on this machine already; else None."""
    if cfg.path is not None:
        places = [_at_home(cfg.path)]
    else:
        places = [folder / name for folder in _folders() for name in cfg.files]
    return next((path for path in places if is_file(path) or (cfg.takes_folders and is_folder(path))), None)


def start_of(path: Path) -> bytes:
    """The first START_BYTES of a file, or all of a shorter one.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def what_it_is(start: bytes) -> str | None:
    """The type of a file by its first bytes, and the format that reads it or how to convert it; None if unknown.

    Args:
        start: the first START_BYTES, or all of a shorter file.
    """
    if not start:
        return "an empty file"
    for mark, what in MARKS.items():
        if start.startswith(mark):
            return what
    if len(start) >= 4 and start[:2] == b"\0\0" and start[2] in IDX_TYPES and 1 <= start[3] <= 4:
        return f"{'labels' if start[3] == 1 else 'images'} in IDX format; use dataset=idx"
    if start.lstrip()[:5].lower() in (b"<html", b"<!doc"):
        return "a web page; download the file itself"
    if len(start) >= 20:
        for order in "<>":
            kind, rows, columns, imaginary, name_bytes = struct.unpack_from(f"{order}5i", start)
            if (0 <= kind < 5000 and kind // 100 % 10 == 0 and kind // 10 % 10 <= 5 and kind % 10 <= 2) and (
                min(rows, columns) > 0 and imaginary in (0, 1) and 1 < name_bytes <= 64
            ):
                return f"a MATLAB v4 file; {MATLAB_AGAIN}"
    is_text = len(start) > 16 and all(byte >= 32 or byte in b"\t\r\n" for byte in start)
    if is_text:
        return "a text file; if it is a table, use dataset=csv"
    return None


def is_file(path: Path) -> bool:
    """True if `path` is a regular file; reading another kind, such as a FIFO, might never end."""
    try:
        return path.is_file()
    except OSError:  # no permission for a parent folder, or the name is too long
        return False


def is_folder(path: Path) -> bool:
    """True if `path` is a folder."""
    try:
        return path.is_dir()
    except OSError:  # as above
        return False


def files_in(folder: Path) -> list[Path]:
    """The regular files in `folder`, sorted by name.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if is_file(path))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error


def _instead(path: Path) -> str:
    """A clause that says what `path` is instead of a regular file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            return f"a symbolic link to {str(path.readlink())!r}, which does not exist"
        return "which does not exist" + ("" if path.is_absolute() else f" (in {str(Path.cwd())!r})")
    except (OSError, ValueError) as error:
        return f"which cannot be accessed ({getattr(error, 'strerror', None) or error})"
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def _at_home(path: str) -> Path:
    """`path` with `~` expanded; the `~name` of an unknown user is kept."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises for an unknown user


def _folders() -> list[Path]:
    """The folders to search for files; the user's cache comes last."""
    cache = platformdirs.user_cache_path("hcr")
    return [Path(os.environ["HCR_DATA_DIR"]), cache] if os.environ.get("HCR_DATA_DIR") else [cache]
