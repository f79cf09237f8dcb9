"""The checkpoint folder inside a run's folder. It is deleted when the run finishes; see `training.checkpoint`."""

from pathlib import Path

CHECKPOINT = "checkpoint"
KEPT = 2


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first."""
    return sorted((path for path in folder.glob("*") if path.name.isdecimal()), reverse=True)
