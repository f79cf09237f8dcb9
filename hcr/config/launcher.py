"""The typed configs of launchers: where the trials of a sweep run, and how many at a time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from hcr.config.duration import seconds
from hcr.config.schema import require

ADDRESS = re.compile(r"auto|[\w.\-]+:\d{1,5}")


@dataclass(frozen=True, kw_only=True)
class LauncherConfig:
    """Where the trials of a sweep run; `workers` is how many at a time, None as many as there is room for.

    Attributes:
        is_here: whether trials run on this machine, which then says how many there is room for.
    """

    is_here: ClassVar[bool] = False

    name: str
    workers: int | None

    @property
    def cpus(self) -> int | None:
        """CPUs of each trial; None: as many as it has threads."""
        return None

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 1, "launcher.workers", "1 or more, or null", self.workers)


@dataclass(frozen=True, kw_only=True)
class LocalConfig(LauncherConfig):
    """Processes of this machine."""

    is_here: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class RayConfig(LauncherConfig):
    """A Ray cluster.

    Attributes:
        address: of a cluster that is up, or auto, the one of this machine; None starts one here.
        cpus_per_trial: CPUs that Ray keeps for each trial; None: as many as a trial has threads.
        gpus_per_trial: GPUs, or shares of one.
        transfer_every: epochs from one transfer of a run's checkpoint to the controller to the next.
    """

    address: str | None
    cpus_per_trial: int | None
    gpus_per_trial: float
    transfer_every: int

    @property
    def cpus(self) -> int | None:
        """CPUs of each trial; None: as many as it has threads."""
        return self.cpus_per_trial

    def __post_init__(self) -> None:
        super().__post_init__()
        is_good = self.address is None or ADDRESS.fullmatch(self.address) is not None
        require(
            is_good,
            "launcher.address",
            "auto, HOST:PORT of a cluster that this machine is a node of, or null",
            self.address,
        )
        _check_shares(self.cpus_per_trial, self.gpus_per_trial)
        require(self.transfer_every >= 1, "launcher.transfer_every", "1 or more epochs", self.transfer_every)


@dataclass(frozen=True, kw_only=True)
class SlurmConfig(LauncherConfig):
    """The queue of a Slurm cluster, on the disk that its nodes share.

    Attributes:
        partition: of the cluster; None: its default.
        time: that a job may take, such as 2h.
        mem_gb: memory of a job; None: the cluster's default.
        cpus_per_trial: CPUs of a job; None: as many as a trial has threads.
        gpus_per_trial: GPUs of a job.
        setup: lines of shell that a job runs first, such as `module load cuda`.
    """

    partition: str | None
    time: str
    mem_gb: float | None
    cpus_per_trial: int | None
    gpus_per_trial: int
    setup: tuple[str, ...]

    @property
    def cpus(self) -> int | None:
        """CPUs of each trial; None: as many as it has threads."""
        return self.cpus_per_trial

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.partition is None or bool(self.partition.strip()), "launcher.partition", "a name or null", "")
        seconds(self.time, "launcher.time")
        require(self.mem_gb is None or self.mem_gb > 0, "launcher.mem_gb", "a number over 0, or null", self.mem_gb)
        _check_shares(self.cpus_per_trial, self.gpus_per_trial)

    @property
    def time_s(self) -> float:
        """`time` in seconds."""
        found = seconds(self.time, "launcher.time")
        assert found is not None
        return found


LAUNCHERS: Mapping[str, type[LauncherConfig]] = MappingProxyType(
    {"local": LocalConfig, "ray": RayConfig, "slurm": SlurmConfig}
)


def _check_shares(cpus: int | None, gpus: float) -> None:
    require(cpus is None or cpus >= 1, "launcher.cpus_per_trial", "1 or more, or null", cpus)
    require(gpus >= 0, "launcher.gpus_per_trial", "0 or more", gpus)
