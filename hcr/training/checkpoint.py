"""Checkpoints: where training stands after an epoch, on disk in a way that a kill at any moment leaves a good one.

A file is a line that names the format, the SHA-256 of the rest, and a NumPy archive without Python objects. It is
written beside its name, synced and renamed; the one before stays, should this one be damaged.
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
    """A file that is no checkpoint, or not any more."""


def save_checkpoint(folder: Path, state: TrainingState, fingerprint: str) -> None:
    """Write `state` into `folder`, and remove all but the last two.

    Args:
        fingerprint: of the run that it belongs to.

    Raises:
        OSError: the disk is full, or `folder` cannot be written; what was there before is still good.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {name: getattr(state, name) for name in VALUES} | {"fingerprint": fingerprint}
    arrays: dict[str, NDArray[Any]] = {"values": np.frombuffer(json.dumps(values).encode(), np.uint8)}
    arrays["best_probabilities"] = state.best_probabilities
    for name in ARRAYS:
        arrays |= {f"{name}/{i:05d}": array for i, array in enumerate(getattr(state, name))}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # NumPy's stubs take the arrays for its one flag
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
    """The last good state in `folder`, and the fingerprint of its run; None where there is none.

    Args:
        on_damaged: told of each file that is passed over, and why.
    """
    for path in checkpoints(folder):
        try:
            return read_checkpoint(path)
        except (DamagedCheckpoint, OSError) as error:
            on_damaged(path, one_line(error))
    return None


def read_checkpoint(path: Path) -> tuple[TrainingState, str]:
    """The state in the file at `path`, and the fingerprint of its run.

    Raises:
        DamagedCheckpoint: it is cut short, changed, or something else; nothing in it is run.
    """
    data = path.read_bytes()
    digest, rest = data[len(FORMAT) : len(FORMAT) + DIGEST_BYTES], data[len(FORMAT) + DIGEST_BYTES :]
    if not data.startswith(FORMAT):
        raise DamagedCheckpoint("it does not begin as a checkpoint does")
    if hashlib.sha256(rest).digest() != digest:
        raise DamagedCheckpoint("it is cut short or changed: its checksum differs")
    try:
        with np.load(io.BytesIO(rest), allow_pickle=False) as archive:
            values: dict[str, Any] = json.loads(archive["values"].tobytes())
            state = {name: values[name] for name in VALUES}
            state |= {name: [archive[key] for key in _keys(archive.files, name)] for name in ARRAYS}
            state["best_probabilities"] = archive["best_probabilities"]
        return TrainingState(**state), str(values["fingerprint"])
    except Exception as error:  # with a right checksum: somebody's own making, which can fail in any way
        raise DamagedCheckpoint(f"it does not hold a training state ({one_line(error)})") from error


def _keys(names: list[str], kind: str) -> Iterator[str]:
    return (name for name in sorted(names) if name.startswith(f"{kind}/"))


def _sync_folder(folder: Path) -> None:
    """The new name is on disk too, not only what it names."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
