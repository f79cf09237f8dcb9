"""The typed config of a sweep: which runs it is of, and within what bounds they are made."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from hcr.config.duration import Duration, seconds
from hcr.config.errors import ConfigError
from hcr.config.settings import Count, Settings


class SweepConfig(Settings):
    """How the points of a sweep are chosen, and how its runs are made."""

    group: ClassVar[str] = "sweep"

    sampler: Annotated[
        Literal["grid", "tpe", "random", "cmaes", "gp"],
        Field(description="grid: every combination; tpe, random, cmaes, gp: n_trials points, chosen one after another"),
    ]
    n_trials: Annotated[
        Count | None, Field(description="points that a search tries in all, those of an interrupted one included")
    ]
    pruner: Annotated[
        Literal["none", "median", "percentile", "asha", "hyperband"],
        Field(description="stops runs of a search that fall behind"),
    ]
    pruner_startup: Annotated[Count, Field(description="median, percentile: runs that finish before any is pruned")]
    pruner_warmup: Annotated[int, Field(ge=0, description="epochs that every run may train")]
    pruner_percentile: Annotated[
        float, Field(gt=0, lt=100, description="percentile: the best so many percent of runs go on")
    ]
    design: Annotated[
        Literal["full", "around"],
        Field(description="full: the product of all axes; around: the base config, and each axis by itself"),
    ]
    sample: Annotated[Count | None, Field(description="a number: so many points of the grid, drawn by the seed")]
    max_time: Annotated[
        Duration | None, Field(description="start no run after so long, such as 30m or 2h; the same command resumes")
    ]
    trial_timeout: Annotated[Duration | None, Field(description="end a run that takes longer, such as 10m")]
    retry_failed: Annotated[bool, Field(description="true: runs that failed are tried again")]
    allow_code_change: Annotated[
        bool, Field(description="true: resume although hcr's code has changed, and mark the results as mixed")
    ]
    allow_incomplete: Annotated[
        bool, Field(description="true: compare although runs are missing, and say so in each line")
    ]
    confirm: Annotated[
        Annotated[int, Field(ge=2)] | None,
        Field(description="a number: train the two best points on so many fresh seeds, and quote only those"),
    ]

    @model_validator(mode="after")
    def _fits_its_sampler(self) -> "SweepConfig":
        if self.is_search and self.n_trials is None:
            raise ConfigError(f"sweep.n_trials: expected how many points to try with sampler={self.sampler}, got null")
        if not self.is_search and self.n_trials is not None:
            raise ConfigError(
                f"sweep.n_trials: a grid has as many runs as it has points; expected null, got {self.n_trials};"
                " sweep.sample takes some of them, sweep.sampler=tpe searches"
            )
        if self.is_search and self.design != "full":
            raise ConfigError(f"sweep.design: expected full with sampler={self.sampler}, got {self.design}")
        if self.is_search and self.sample is not None:
            raise ConfigError(f"sweep.sample: expected null with sampler={self.sampler}, got {self.sample}")
        if not self.is_search and self.pruner != "none":
            raise ConfigError(
                f"sweep.pruner: a grid makes each of its runs whole; expected none, got {self.pruner};"
                " sweep.sampler=tpe or random searches, and prunes"
            )
        if self.design == "around" and self.sample is not None:
            raise ConfigError(f"sweep.sample: expected null with design=around, got {self.sample}")
        return self

    @property
    def is_search(self) -> bool:
        """Whether points are chosen one after another, by what is known of those before."""
        return self.sampler != "grid"

    @property
    def max_time_s(self) -> float | None:
        """`max_time` in seconds."""
        return seconds(self.max_time)

    @property
    def trial_timeout_s(self) -> float | None:
        """`trial_timeout` in seconds."""
        return seconds(self.trial_timeout)
