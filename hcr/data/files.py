"""Finds a data set's file: at its path, in the usual folders, or downloaded into the user's cache."""

import os
import stat
import struct
from pathlib import Path

import platformdirs

from hcr.config.errors import DataError
from hcr.data.download import download
from hcr.data.formats.arrays import Arrays

# Other file types by their first bytes, and how to convert them to a MATLAB v5 file or a NumPy archive.
MATLAB_AGAIN = "save it in MATLAB with save('x.mat', 'data', 'label', '-v7')"
MARKS = {
    b"MATLAB 7.3": f"a MATLAB v7.3 file, which is HDF5; {MATLAB_AGAIN}",
    b"\x89HDF": "an HDF5 file; save its arrays with np.savez('x.npz', x=..., y=...)",
    b"\x93NUMPY": "one array (.npy); save images and labels together with np.savez('x.npz', x=..., y=...)",
    b"\x1f\x8b": "a gzip file; unpack it first (gunzip)",
    b"BZh": "a bzip2 file; unpack it first (bunzip2)",
    b"\xfd7zXZ": "an xz file; unpack it first (unxz)",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"\x89PNG": "one PNG picture; expected all images in one file",
    b"\xff\xd8\xff": "one JPEG picture; expected all images in one file",
    b"GIF8": "one GIF picture; expected all images in one file",
    b"\x80\x02": "a Python pickle, which could run code and is not read",
    b"\x80\x03": "a Python pickle, which could run code and is not read",
    b"\x80\x04": "a Python pickle, which could run code and is not read",
    b"\x80\x05": "a Python pickle, which could run code and is not read",
    b"PAR1": "a Parquet file; save its images with np.savez('x.npz', x=..., y=...)",
    b"\x00\x00\x08\x01": "labels in MNIST's IDX format; save images and labels with np.savez('x.npz', x=..., y=...)",
    b"\x00\x00\x08\x03": "images in MNIST's IDX format; save images and labels with np.savez('x.npz', x=..., y=...)",
}


def find_file(cfg: Arrays) -> Path:
    """`dataset.path` if given, else the first of `dataset.files` under HCR_DATA_DIR, then in the user's cache.

    If none of these exists, `dataset.url` is downloaded into the cache.

    Raises:
        DataError: the file is missing and cannot be downloaded; the message says where to put which file.
    """
    found = local_file(cfg)
    if found is not None:
        return found
    if cfg.path is not None:
        path = _at_home(cfg.path)
        raise DataError(f"dataset.path: expected a file, got {str(path)!r}, {_instead(path)}")
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


def local_file(cfg: Arrays) -> Path | None:
    """The file of `cfg` if it is on this machine already; else None."""
    if cfg.path is not None:
        path = _at_home(cfg.path)
        return path if _is_file(path) else None
    return next((folder / name for folder in _folders() for name in cfg.files if _is_file(folder / name)), None)


def what_it_is(start: bytes) -> str | None:
    """The type of a file that hcr cannot read, by its first bytes, and how to convert it; None if unknown.

    Args:
        start: the first 128 bytes, or all of a shorter file.
    """
    if not start:
        return "an empty file"
    for mark, what in MARKS.items():
        if start.startswith(mark):
            return what
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
    if is_text and not start.startswith(b"MATLAB 5"):  # else a v5 file cut short in its header
        return "a text file; save its numbers with np.savez('x.npz', x=..., y=...)"
    return None


def _is_file(path: Path) -> bool:
    """True if `path` is a regular file; reading another kind, such as a FIFO, might never end."""
    try:
        return path.is_file()
    except OSError:  # no permission for a parent folder, or the name is too long
        return False


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
