"""The place of an exported file: checked before anything is made, and filled only by what has been checked."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hcr.config import ConfigError
from hcr.config.text import printable
from hcr.exporting.formats import ExportFormat
from hcr.exporting.saved_model import PROGRAM


def check_target(target: Path, kind: ExportFormat, *, force: bool) -> None:
    """Refuse a place that cannot be written, or has something already.

    Args:
        target: the file, or the folder of a SavedModel.
        force: True if an earlier export may be replaced.

    Raises:
        ConfigError: one line that says why, and what to write instead.
    """
    shown = printable(str(target))
    if target.is_dir() and kind.ending:
        raise ConfigError(
            f"-o: expected a file, such as {printable(str(target / f'model{kind.ending}'))}; {shown} is a folder"
        )
    if target.suffix != kind.ending and kind.ending:
        raise ConfigError(f"-o: expected a file that ends in {kind.ending}, got {shown}")
    folder = target.parent
    if not folder.is_dir():
        raise ConfigError(f"-o: expected a file in a folder that exists; {printable(str(folder))} is none")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _not_writable(folder, "Permission denied")
    if not (target.exists() or target.is_symlink()):
        return
    if not kind.ending and not (target / PROGRAM).is_file():
        raise ConfigError(f"-o: expected a new folder; {shown} exists and is no SavedModel")
    if not force:
        raise ConfigError(f"-o: {shown} exists; --force replaces it, -o names another place")


@contextmanager
def filled(target: Path, kind: ExportFormat, *, force: bool) -> Iterator[Path]:
    """Yield a temporary path beside `target`, which is renamed to it at the end; after an error nothing is left.

    Raises:
        ConfigError: as `check_target`, also of what appeared meanwhile.
    """
    try:
        own = tempfile.TemporaryDirectory(prefix=".hcr-export-", dir=target.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise _not_writable(target.parent, error.strerror) from error
    with own as folder:
        new = Path(folder) / f"model{kind.ending}"
        yield new
        check_target(target, kind, force=force)
        if target.is_dir():  # a folder is not replaced in one step
            target.rename(Path(folder) / "replaced")
        new.rename(target)


def _not_writable(folder: Path, why: str | None) -> ConfigError:
    return ConfigError(f"-o: expected a folder that can be written, got {printable(str(folder))} ({why})")


def size_bytes(path: Path) -> int:
    """The size of a file, or of all files in a folder."""
    return path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
