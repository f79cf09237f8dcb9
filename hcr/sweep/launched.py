"""Trials on somebody else's engine: joblib, Slurm, Ray, or whatever else Hydra has a launcher for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hcr.config.axes import written
from hcr.sweep.pool import Ended
from hcr.sweep.trial import read_result, run_task

TRIAL = "hcr_trial"  # the key that tells a launched job which trial it is


def run_launched(cfg: DictConfig) -> None:
    """What a launcher's worker calls: the trial in the folder that the job was given, by its frozen config."""
    run_task(Path(cfg[TRIAL]))


class LaunchedPool:
    """Hands trials to a launcher, a batch at a time; stands where `Pool` does.

    A launcher of Hydra's returns when all of its jobs have ended, so nothing is heard of one before the others.

    Args:
        launch: Hydra's `Launcher.launch`.
    """

    def __init__(self, launch: Callable[..., Any]) -> None:
        self._launch = launch
        self._queued: list[Path] = []
        self._number = 0

    def start(self, folder: Path) -> None:
        """Put the trial in `folder` into the next batch."""
        self._queued.append(folder)

    def read(self, folder: Path) -> None:
        """Each worker reads for itself."""

    def poll(self, timeout_s: float) -> list[Ended]:
        """Launch what is queued, and wait for all of it."""
        folders, self._queued = self._queued, []
        if not folders:
            return []
        overrides = [[f"+{TRIAL}={written(str(folder))}"] for folder in folders]
        self._launch(overrides, initial_job_idx=self._number)
        self._number += len(folders)
        # A worker that was killed has left no result; Hydra does not say by what.
        return [Ended(folder, 0 if read_result(folder) is not None else 1) for folder in folders]

    def signal(self, folder: Path, number: int) -> None:
        """There is nobody here to tell: a launcher has limits of its own."""

    def close(self) -> None:
        """Nothing is left running."""
