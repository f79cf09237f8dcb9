"""Where a data set's file lies: at its path, in the usual places, or downloaded into the user's cache."""

import os
from pathlib import Path

import platformdirs

from hcr.config.data import ArraysConfig
from hcr.config.errors import DataError
from hcr.data.download import download


def find_file(cfg: ArraysConfig) -> Path:
    """`dataset.path` if given, else the first of `dataset.files` under HCR_DATA_DIR, then in the user's cache.

    A file that is in none of them is downloaded into the cache, where `dataset.url` says from where.

    Raises:
        DataError: it is nowhere and cannot be had; the message says where to put which file.
    """
    found = local_file(cfg)
    if found is not None:
        return found
    if cfg.path is not None:
        raise DataError(f"dataset.path: expected a file, and {str(_at_home(cfg.path))!r} is none")
    folders = _folders()
    cache = folders[-1]
    names, places = " or ".join(cfg.files), " or ".join(str(folder) for folder in folders)
    remedy = f"put {names} into {places}, or name it with dataset.path=FILE (dataset=digits needs no file)"
    if cfg.url is None or cfg.sha256 is None:
        raise DataError(f"dataset={cfg.name}: {names} not found; {remedy}")
    called = cfg.url.rpartition("/")[2]
    file = cache / (called if called in cfg.files else cfg.files[-1])
    try:
        download(cfg.url, file, cfg.sha256)
    except DataError as error:
        raise DataError(f"dataset={cfg.name}: {error}; {remedy}") from error
    return file


def local_file(cfg: ArraysConfig) -> Path | None:
    """The file of `cfg` where it is on this machine already."""
    if cfg.path is not None:
        path = _at_home(cfg.path)
        return path if path.is_file() else None
    return next((folder / name for folder in _folders() for name in cfg.files if (folder / name).is_file()), None)


def _at_home(path: str) -> Path:
    """`path` with `~` as the user's home; a home that there is none of stays as it is written."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # pathlib's own raises for an unknown user


def _folders() -> list[Path]:
    """Where files are looked for; the user's cache comes last."""
    cache = platformdirs.user_cache_path("hcr")
    return [Path(os.environ["HCR_DATA_DIR"]), cache] if os.environ.get("HCR_DATA_DIR") else [cache]
