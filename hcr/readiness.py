"""Early checks of what the end of a run needs: packages, and free disk space.

Packages that only the end uses take seconds to import, so a thread imports them during training. It starts after the
first steps, or after HEAD_START_S seconds: Python runs one thread at a time, so it would delay them. A package that
cannot be imported ends the run within seconds, with a checkpoint, instead of after hours.
"""

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hcr import stopping
from hcr.config import HcrError, TrackingError
from hcr.importing import import_needed
from hcr.tracking.store import IMPORTING, import_mlflow, warm_up
from hcr.tracking.uploader import HEAD_START_S

if TYPE_CHECKING:  # it imports TensorFlow
    from hcr.training.loop import OnSteps, StepsDone

# Libraries first, so that the error names the broken package.
TO_SAVE = ("scipy.stats", "hcr.tracking.keras_model")  # the first is imported late, by the intervals of scores
TO_DRAW = (
    "PIL.Image",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "scipy.optimize",  # imported late, by the temperature of the reliability picture
    "hcr.evaluation.class_plots",
    "hcr.evaluation.pictures",
    "hcr.evaluation.plots",
)
ENDS_WITHIN_S = 0.2  # the thread, unless it is importing
BYTES_PER_PARAMETER = 68  # 3 checkpoints of 5 arrays each (weights, best, average, two optimizer slots), 2 models
BYTES_BESIDES = 16 << 20  # pictures, predictions and sources, twice: in the run's folder and in the store


class EndOfRun:
    """Imports the packages that the end of a run needs while the `with` block trains.

    Args:
        draws: True if the run draws pictures.
    """

    def __init__(self, *, draws: bool) -> None:
        self._names = (*TO_DRAW, *TO_SAVE) if draws else TO_SAVE
        self._may_import = threading.Event()
        self._failed = False
        self._is_needed = True  # False after training failed
        self._thread = threading.Thread(target=self._run, name="end of run", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._is_needed = False
        self._may_import.set()
        self._thread.join(ENDS_WITHIN_S)
        # Exiting during an import may crash the process.
        if not stopping.is_requested():
            self._thread.join()
        elif self._thread.is_alive():
            stopping.leave_threads()

    def checked(self, on_steps: "OnSteps | None") -> "OnSteps":
        """Wrap `on_steps`, a callback of `fit`, so that imports begin with its first call and `check` precedes each."""

        def check_first(now: "StepsDone") -> None:
            self._may_import.set()
            self.check()
            if on_steps is not None:
                on_steps(now)

        return check_first

    def check(self) -> None:
        """Raise HcrError if an import has failed so far."""
        if self._failed:
            # Retry in this thread: two threads that import modules of one import cycle can fail for that reason alone.
            _import_all(self._names)
            self._failed = False

    def require(self) -> None:
        """Wait until everything is imported.

        Raises:
            HcrError: an import failed.
        """
        self._may_import.set()
        self._thread.join()
        _import_all(self._names)

    def _run(self) -> None:
        self._may_import.wait(HEAD_START_S)
        try:
            if self._is_needed:
                _import_all(self._names)
        except HcrError:
            self._failed = True


def _import_all(names: Sequence[str]) -> None:
    with IMPORTING:
        import_needed("mlflow", import_mlflow)
        import_needed("mlflow", warm_up)
        for name in names:
            import_needed(name)


def check_room(root: Path, num_parameters: int) -> None:
    """Refuse to train if checkpoints and artifacts will not fit on the disk.

    Raises:
        TrackingError: the disk of the output root `root` has too little free space.
    """
    there = next(path for path in (root, *root.parents) if path.exists())
    needed = BYTES_PER_PARAMETER * num_parameters + BYTES_BESIDES
    free = shutil.disk_usage(there).free
    if free < needed:
        raise TrackingError(
            f"{root}: expected about {needed >> 20:,} MiB of free disk for checkpoints and artifacts,"
            f" got {free >> 20:,} MiB; HCR_OUTPUT_DIR names another place"
        )
