"""Where the trials of a sweep run: what its story asks of any such place, and the events that it hears.

A trial is a folder (see `hcr.sweep.trial`). A place turns it into a run's folder, `<output root>/runs/<key>` on the
controller's disk, by way of `run_trial` in a process of its own wherever that is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from hcr.config.errors import HcrError
from hcr.config.launcher import LauncherConfig
from hcr.gate import RunConfig

if TYPE_CHECKING:
    from hcr.sweep.workers.local import Local

LOST = -9  # the exit code of a trial whose process, worker or node was lost: it is tried once more


@dataclass(frozen=True)
class Began:
    """The process of the trial in `folder` is there."""

    folder: Path


@dataclass(frozen=True)
class Epoch:
    """The trial in `folder` has trained an epoch, counted from 1, after which the monitored metric is `value`."""

    folder: Path
    epoch: int
    value: float


@dataclass(frozen=True)
class Ended:
    """The process of the trial in `folder` is gone, and all that it wrote is on the controller's disk.

    `code` is as of `subprocess`: negative for a signal, `stopping.INTERRUPTED` where it was told to stop.
    """

    folder: Path
    code: int


Event = Began | Epoch | Ended


class WorkersLost(HcrError):
    """The place is gone for good, and no trial can run: the sweep stops, and the same command resumes it."""


class Workers(Protocol):
    """A place where trials run.

    Attributes:
        slots: trials that it takes at a time; may change while a cluster does.
    """

    slots: int

    def start(self, folder: Path) -> None:
        """Begin the trial in `folder`, or go on with it; returns at once."""

    def events(self, timeout_s: float) -> list[Event]:
        """What has happened since the last call, after waiting at most `timeout_s` seconds for something.

        Raises:
            WorkersLost: no trial can run any more.
        """

    def answer(self, folder: Path, *, go_on: bool) -> None:
        """What a trial that waits after its epoch hears: to go on, or to end as pruned."""

    def stop(self, folder: Path, *, at_once: bool = False) -> None:
        """Have a trial stop: it writes down where it stands. With `at_once` it is killed."""

    def close(self) -> None:
        """Kill what runs, and let go of the place."""


def workers_of(
    launcher: LauncherConfig, here: "Local", folder: Path, configs: Sequence[RunConfig], threads: int
) -> Workers:
    """The place that a launcher stands for.

    Args:
        here: processes of this machine.
        folder: the sweep's.
        configs: of runs, as many as there are kinds of.
        threads: of each trial.

    Raises:
        ConfigError: it is not there, or has no room for a trial.
    """
    if launcher.is_here:
        return here
    module = import_module(f"{__name__}.{launcher.name}")
    return cast(Workers, module.connect(launcher, folder, configs, threads))
