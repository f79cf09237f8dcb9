"""Checkpoints: the training state after an epoch, written so that a kill at any moment leaves a valid one.

A file has a line with the format, the SHA-256 of the rest, and a NumPy archive without Python objects. It is written
under a temporary name, synced and renamed. The previous checkpoint is kept, in case the last one is damaged.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.checkpoints import CHECKPOINT as CHECKPOINT
from hcr.checkpoints import KEPT
from hcr.checkpoints import checkpoints as checkpoints
from hcr.config.errors import one_line
from hcr.training.loop import TrainingState

FORMAT = b"hcr checkpoint 2\n"
DIGEST_BYTES = 32
ARRAYS = ("best_weights", "variables", "optimizer_variables", "average")
VALUES = ("epoch", "history", "ended_ms", "best_epoch", "best_value")


class DamagedCheckpoint(Exception):
    """The file is not a valid checkpoint."""


def save_checkpoint(folder: Path, state: TrainingState, fingerprint: str) -> None:
    """Write `state` into `folder`, and remove all but the last two checkpoints.

    Args:
        fingerprint: the fingerprint of the run.

    Raises:
        OSError: the disk is full, or `folder` cannot be written; earlier checkpoints stay valid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {name: getattr(state, name) for name in VALUES} | {"fingerprint": fingerprint}
    arrays: dict[str, NDArray[Any]] = {"values": np.frombuffer(json.dumps(values).encode(), np.uint8)}
    arrays["best_probabilities"] = state.best_probabilities
    for name in ARRAYS:
        arrays |= {f"{name}/{i:05d}": array for i, array in enumerate(getattr(state, name))}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # NumPy's stubs confuse the arrays with its flag
    path = folder / f"{state.epoch:06d}"
    new = path.with_suffix(".new")
    try:
        with new.open("wb") as file:
            file.write(FORMAT + hashlib.sha256(buffer.getbuffer()).digest())
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    _sync_folder(folder)
    for old in checkpoints(folder)[KEPT:]:
        old.unlink()


def load_checkpoint(folder: Path, on_damaged: Callable[[Path, str], None]) -> tuple[TrainingState, str] | None:
    """Load the last valid state in `folder`, and the fingerprint of its run; None if there is none.

    Args:
        on_damaged: called with each file that is skipped, and the reason.
    """
    for path in checkpoints(folder):
        try:
            return read_checkpoint(path)
        except (DamagedCheckpoint, OSError) as error:
            on_damaged(path, one_line(error))
    return None


def read_checkpoint(path: Path) -> tuple[TrainingState, str]:
    """Read the state in the file at `path`, and the fingerprint of its run. Nothing is unpickled.

    Raises:
        DamagedCheckpoint: the file is truncated, changed, or not a checkpoint.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    digest, rest = data[len(FORMAT) : len(FORMAT) + DIGEST_BYTES], data[len(FORMAT) + DIGEST_BYTES :]
    if not data.startswith(FORMAT):
        raise DamagedCheckpoint("it does not begin with a checkpoint's header")
    if hashlib.sha256(rest).digest() != digest:
        raise DamagedCheckpoint("it is truncated or changed: its checksum differs")
    try:
        with np.load(io.BytesIO(rest), allow_pickle=False) as archive:
            values: dict[str, Any] = json.loads(archive["values"].tobytes())
            state = {name: values[name] for name in VALUES}
            state |= {name: [archive[key] for key in _keys(archive.files, name)] for name in ARRAYS}
            state["best_probabilities"] = archive["best_probabilities"]
        return TrainingState(**state), str(values["fingerprint"])
    except Exception as error:  # a forged file with a valid checksum can fail in any way
        raise DamagedCheckpoint(f"it has no training state ({one_line(error)})") from error


def _keys(names: list[str], kind: str) -> Iterator[str]:
    return (name for name in sorted(names) if name.startswith(f"{kind}/"))


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that the new file name is on disk too."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
