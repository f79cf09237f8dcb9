"""Checks that a run can write to its output folders, and provides a home folder if there is none."""

import os
import tempfile
from pathlib import Path

from hcr.config.errors import ConfigError
from hcr.config.tracking import TrackingConfig, output_key, output_root, sqlite_path, store_key, tracking_uri

PROBE_BYTES = 1 << 20


def check_places(tracking: TrackingConfig) -> None:
    """Check that runs and the default store can be written; leaves no file behind.

    Raises:
        ConfigError: the output root or the SQLite file is on a full or read-only disk, belongs to another user, or has
            a file as a parent folder.
    """
    root = output_root()
    probed: set[Path] = set()
    for name in ("runs", "sweeps", "artifacts"):
        _check_folder(output_key(), root / name, probed)
    uri = tracking_uri(tracking.uri)
    if uri.startswith("sqlite:"):
        file = sqlite_path(uri)
        key = store_key(tracking.uri)
        _check_folder(key, file.parent, probed)
        if file.exists() and not os.access(file, os.W_OK):
            raise ConfigError(f"{key}: expected a database that can be written, got {file} (Permission denied)")


def _check_folder(key: str, folder: Path, probed: set[Path]) -> None:
    """Test-write to `folder`, or its nearest existing parent, unless it is in `probed`; then add it to `probed`."""
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
        if there in probed:
            return
        probed.add(there)
        with tempfile.TemporaryFile(dir=there) as probe:  # has no name on disk
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        problem = f"{key}: expected a folder that can be written, got {folder} ({error.strerror})"
        remedy = "" if key.endswith(("uri", "URI")) else "; HCR_OUTPUT_DIR names another place"
        raise ConfigError(problem + remedy) from error


def provide_home() -> None:
    """Set HOME to a folder under the output root if there is no home: MLflow and Matplotlib cannot be imported without.

    In a container with a bare user id, HOME may be unset and the user database has no entry. A home that cannot be
    written is kept, as it may hold credentials; then only Matplotlib's cache moves under the output root.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  # Path.home raises if there is none
    own = output_root() / "home"
    if not home.is_absolute() or not home.is_dir():
        os.environ["HOME"] = str(own)
    elif not os.access(home, os.W_OK | os.X_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(own / "matplotlib"))
