"""The places on disk that a run writes to: whether they can be written, and a home folder where there is none."""

import os
import tempfile
from pathlib import Path

from hcr.config.errors import ConfigError
from hcr.config.tracking import TrackingConfig, output_key, output_root, sqlite_path, store_key, tracking_uri

PROBE_BYTES = 1 << 20


def check_places(tracking: TrackingConfig) -> None:
    """Check that runs and the default store can be written; nothing is left behind.

    Raises:
        ConfigError: the output root or the SQLite file is on a full or read-only disk, another user's, or under a file.
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
    """Write to `folder`, or to what exists of it, unless that is among `probed`, and add it to these."""
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
        if there in probed:
            return
        probed.add(there)
        with tempfile.TemporaryFile(dir=there) as probe:  # a file without a name
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        told = f"{key}: expected a folder that can be written, got {folder} ({error.strerror})"
        remedy = "" if key.endswith(("uri", "URI")) else "; HCR_OUTPUT_DIR names another place"
        raise ConfigError(told + remedy) from error


def provide_home() -> None:
    """Give a process without a home folder one, under the output root: MLflow and Matplotlib do not import without.

    In a container that runs under a number, HOME may be absent, and no user database knows the number. A home that
    cannot be written stays, as credentials may be in it; Matplotlib keeps its cache under the output root then.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  # pathlib's own raises where there is none
    own = output_root() / "home"
    if not home.is_absolute() or not home.is_dir():
        os.environ["HOME"] = str(own)
    elif not os.access(home, os.W_OK | os.X_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(own / "matplotlib"))
