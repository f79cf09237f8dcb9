"""Workers, which run the trials of a sweep: their protocol and their events.

A trial is a folder (see `hcr.sweep.trial`). Workers call `run_trial` on it in a separate process, on any machine; the
result is the run's folder, `<output root>/runs/<key>` on the controller's disk.
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

LOST = -9  # the exit code of a trial whose process, worker or node was lost: it is retried


@dataclass(frozen=True)
class Began:
    """The process of the trial in `folder` has started."""

    folder: Path


@dataclass(frozen=True)
class Epoch:
    """The trial in `folder` has trained an epoch.

    Attributes:
        epoch: from 1.
        value: the monitored metric after it.
    """

    folder: Path
    epoch: int
    value: float


@dataclass(frozen=True)
class Ended:
    """The process of the trial in `folder` has ended, and all its files are on the controller's disk.

    Attributes:
        code: as in `subprocess`, negative for a signal; `stopping.INTERRUPTED` if it was stopped.
    """

    folder: Path
    code: int


Event = Began | Epoch | Ended


class WorkersLost(HcrError):
    """No trial can run any more: the sweep stops, and the same command resumes it."""


class Workers(Protocol):
    """A backend that runs trials, on this machine or on a cluster.

    Attributes:
        slots: trials at a time; may change with the size of a cluster.
    """

    slots: int

    def start(self, folder: Path) -> None:
        """Start or resume the trial in `folder`; returns at once."""

    def events(self, timeout_s: float) -> list[Event]:
        """The events since the last call; waits at most `timeout_s` seconds for the first one.

        Raises:
            WorkersLost: no trial can run any more.
        """

    def answer(self, folder: Path, *, go_on: bool) -> None:
        """Answer a trial that waits after its epoch: train on, or end as pruned."""

    def stop(self, folder: Path, *, at_once: bool = False) -> None:
        """Stop a trial, which then writes its journal; with `at_once`, kill it."""

    def close(self) -> None:
        """Kill running trials and release all resources."""


def workers_of(
    launcher: LauncherConfig, here: "Local", folder: Path, configs: Sequence[RunConfig], threads: int
) -> Workers:
    """The workers of a launcher.

    Args:
        here: processes of this machine, for `launcher=local`.
        folder: the sweep's.
        configs: sample configs of the runs.
        threads: of each trial.

    Raises:
        ConfigError: the cluster cannot be reached, or has no room for a trial.
    """
    if launcher.is_here:
        return here
    module = import_module(f"{__name__}.{launcher.name}")
    return cast(Workers, module.connect(launcher, folder, configs, threads))
