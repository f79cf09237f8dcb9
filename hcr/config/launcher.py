"""The typed configs of launchers: where the trials of a sweep run, and how many in parallel."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import Field

from hcr.config.duration import Duration, seconds
from hcr.config.settings import Count, Listing, Positive, Settings
from hcr.config.words import Expected

Cpus = Annotated[Count | None, Field(description="CPUs per trial; null: one per thread of the trial")]


class LauncherConfig(Settings):
    """Base of the launchers: where the trials of a sweep run.

    Attributes:
        is_here: True if trials run on this machine, whose cores and memory then limit the workers.
    """

    group: ClassVar[str] = "launcher"
    is_here: ClassVar[bool] = False

    name: Annotated[str, Field(description="name of the choice in this group")]
    workers: Annotated[Count | None, Field(description="trials in parallel; null: as many as fit")]

    @property
    def cpus(self) -> int | None:
        """CPUs per trial; None: one per thread of the trial."""
        return None

    @property
    def gpus(self) -> float:
        """GPUs per trial that a cluster is asked for."""
        return 0.0


class LocalConfig(LauncherConfig):
    """Processes on this machine."""

    is_here: ClassVar[bool] = True


class RayConfig(LauncherConfig):
    """A Ray cluster."""

    address: Annotated[
        str | None,
        Expected("auto, HOST:PORT of a cluster that includes this machine, or null"),
        Field(
            pattern=r"^(auto|[\w.\-]+:\d{1,5})$",
            description="auto (this machine's cluster) or HOST:PORT; null: start a cluster here for the sweep",
        ),
    ]
    cpus_per_trial: Cpus
    gpus_per_trial: Annotated[
        float, Field(ge=0, description="GPUs per trial, which trains on one at most; may be a fraction")
    ]
    transfer_every: Annotated[Count, Field(description="epochs between two transfers of a run's checkpoint")]

    @property
    def cpus(self) -> int | None:
        """CPUs per trial; None: one per thread of the trial."""
        return self.cpus_per_trial

    @property
    def gpus(self) -> float:
        """GPUs per trial."""
        return self.gpus_per_trial


class SlurmConfig(LauncherConfig):
    """The queue of a Slurm cluster whose nodes share a disk."""

    partition: Annotated[
        str | None,
        Expected("a name or null"),
        Field(pattern=r"\S", description="partition of the cluster; null: its default"),
    ]
    time: Annotated[Duration, Field(description="time limit per job; a run that needs longer resumes in another job")]
    mem_gb: Annotated[Positive | None, Field(description="memory per job, in GB; null: the cluster's default")]
    cpus_per_trial: Cpus
    gpus_per_trial: Annotated[int, Field(ge=0, description="GPUs per trial, which trains on one at most")]
    setup: Annotated[
        Listing[str], Field(description="shell commands that a job runs first, such as 'module load cuda'")
    ]

    @property
    def cpus(self) -> int | None:
        """CPUs per trial; None: one per thread of the trial."""
        return self.cpus_per_trial

    @property
    def gpus(self) -> float:
        """GPUs per trial."""
        return self.gpus_per_trial

    @property
    def time_s(self) -> float:
        """`time` in seconds."""
        found = seconds(self.time)
        assert found is not None
        return found


LAUNCHERS: Mapping[str, type[LauncherConfig]] = MappingProxyType(
    {"local": LocalConfig, "ray": RayConfig, "slurm": SlurmConfig}
)
