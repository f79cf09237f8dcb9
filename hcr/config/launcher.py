"""The typed configs of launchers: where the trials of a sweep run, and how many at a time."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import Field

from hcr.config.duration import Duration, seconds
from hcr.config.settings import Count, Listing, Positive, Settings
from hcr.config.words import Expected

Cpus = Annotated[Count | None, Field(description="CPUs of each trial; null: as many as it has threads")]


class LauncherConfig(Settings):
    """Where the trials of a sweep run.

    Attributes:
        is_here: whether trials run on this machine, which then says how many there is room for.
    """

    group: ClassVar[str] = "launcher"
    is_here: ClassVar[bool] = False

    name: Annotated[str, Field(description="which one of the group this is")]
    workers: Annotated[Count | None, Field(description="trials at a time; null: as many as there is room for")]

    @property
    def cpus(self) -> int | None:
        """CPUs of each trial; None: as many as it has threads."""
        return None


class LocalConfig(LauncherConfig):
    """Processes of this machine."""

    is_here: ClassVar[bool] = True


class RayConfig(LauncherConfig):
    """A Ray cluster."""

    address: Annotated[
        str | None,
        Expected("auto, HOST:PORT of a cluster that this machine is a node of, or null"),
        Field(
            pattern=r"^(auto|[\w.\-]+:\d{1,5})$",
            description="auto (the cluster of this machine), HOST:PORT, or null: start one here for the sweep",
        ),
    ]
    cpus_per_trial: Cpus
    gpus_per_trial: Annotated[float, Field(ge=0, description="GPUs of each trial, or a share of one")]
    transfer_every: Annotated[
        Count, Field(description="epochs between two transfers of a run's checkpoint; more spares the network")
    ]

    @property
    def cpus(self) -> int | None:
        """CPUs of each trial; None: as many as it has threads."""
        return self.cpus_per_trial


class SlurmConfig(LauncherConfig):
    """The queue of a Slurm cluster, on the disk that its nodes share."""

    partition: Annotated[
        str | None,
        Expected("a name or null"),
        Field(pattern=r"\S", description="partition of the cluster; null: its default"),
    ]
    time: Annotated[Duration, Field(description="time limit of a job; a run that needs longer resumes in another job")]
    mem_gb: Annotated[Positive | None, Field(description="memory of a job, in GB; null: the cluster's default")]
    cpus_per_trial: Cpus
    gpus_per_trial: Annotated[int, Field(ge=0, description="GPUs of each trial")]
    setup: Annotated[
        Listing[str], Field(description="lines of shell that a job runs first, such as 'module load cuda'")
    ]

    @property
    def cpus(self) -> int | None:
        """CPUs of each trial; None: as many as it has threads."""
        return self.cpus_per_trial

    @property
    def time_s(self) -> float:
        """`time` in seconds."""
        found = seconds(self.time)
        assert found is not None
        return found


LAUNCHERS: Mapping[str, type[LauncherConfig]] = MappingProxyType(
    {"local": LocalConfig, "ray": RayConfig, "slurm": SlurmConfig}
)
