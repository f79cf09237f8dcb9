"""The folder of checkpoints in a run's own, there until the run has finished; see `training.checkpoint`."""

from pathlib import Path

CHECKPOINT = "checkpoint"
KEPT = 2


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, the last one first."""
    return sorted((path for path in folder.glob("*") if path.name.isdecimal()), reverse=True)
