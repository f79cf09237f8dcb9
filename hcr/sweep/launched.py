"""Trials on somebody else's engine: joblib, Slurm, Ray, or whatever else Hydra has a launcher for."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hcr import stopping
from hcr.config.axes import written
from hcr.config.errors import HcrError, one_line
from hcr.environment import settle_environment
from hcr.sweep.pool import INTERRUPTED, Ended
from hcr.sweep.trial import RUN, read_result, run_task

TRIAL = "hcr_trial"  # the key that tells a launched job which trial it is


def run_launched(cfg: DictConfig) -> None:
    """What a launcher's worker calls: the trial in the folder that the job was given, by its frozen config."""
    settle_environment()
    run_task(Path(cfg[TRIAL]))


def _code(folder: Path) -> int:
    """The exit code that a trial's process would have had; Hydra does not say by what a worker was killed."""
    if read_result(folder) is not None:
        return 0
    return 1 if (folder / RUN).exists() else INTERRUPTED  # before it had begun


class LaunchedPool:
    """Hands trials to a launcher, a batch at a time; stands where `Pool` does.

    A launcher of Hydra's returns when all of its jobs have ended, so nothing is heard of one before the others.

    Args:
        launch: Hydra's `Launcher.launch`.
    """

    def __init__(self, launch: Callable[..., Any]) -> None:
        self._launch = launch
        self._queued: list[Path] = []
        self._stopped: list[Path] = []
        self._number = 0

    def start(self, folder: Path) -> None:
        """Put the trial in `folder` into the next batch."""
        self._queued.append(folder)

    def read(self, folder: Path) -> None:
        """Each worker reads for itself."""

    def is_running(self, folder: Path) -> bool:
        """Nobody here knows when a job begins."""
        return False

    def poll(self, timeout_s: float) -> list[Ended]:
        """Launch what is queued, and wait for all of it.

        Raises:
            HcrError: none of it has begun.
        """
        stopped, self._stopped = self._stopped, []
        if stopped:
            return [Ended(folder, INTERRUPTED) for folder in stopped]
        folders, self._queued = self._queued, []
        if not folders:
            return []
        overrides = [[f"+{TRIAL}={written(str(folder))}"] for folder in folders]
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # jobs have it from here
        try:
            with stopping.interruptible():
                self._launch(overrides, initial_job_idx=self._number)
        except Exception as error:  # such as submitit's for a job that was killed: the others have their results
            told = f"the launcher says: {type(error).__name__}: {one_line(error)}"
            if not any((folder / RUN).exists() or read_result(folder) is not None for folder in folders):
                raise HcrError(told) from error
            print(f"hcr: {told}", file=sys.stderr, flush=True)
        self._number += len(folders)
        return [Ended(folder, _code(folder)) for folder in folders]

    def signal(self, folder: Path, number: int) -> None:
        """What is queued is not launched any more; of what has been, the launcher has limits of its own."""
        if folder in self._queued:
            self._queued.remove(folder)
        self._stopped.append(folder)

    def close(self) -> None:
        """Nothing is left running."""
