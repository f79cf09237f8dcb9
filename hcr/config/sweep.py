"""The typed config of a sweep: how its points are chosen, and the limits on its runs."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from hcr.config.duration import Duration, seconds
from hcr.config.errors import ConfigError
from hcr.config.settings import Count, Settings


class SweepConfig(Settings):
    """Sampler, pruner and limits of a sweep."""

    group: ClassVar[str] = "sweep"

    sampler: Annotated[
        Literal["grid", "tpe", "random", "cmaes", "gp"],
        Field(description="grid: every combination; tpe, random, cmaes, gp: a search of n_trials points"),
    ]
    n_trials: Annotated[
        Count | None, Field(description="total points of a search, including those from before an interruption")
    ]
    pruner: Annotated[
        Literal["none", "median", "percentile", "asha", "hyperband"],
        Field(description="rule that prunes runs of a search"),
    ]
    pruner_startup: Annotated[Count, Field(description="median, percentile: runs that finish before any is pruned")]
    pruner_warmup: Annotated[int, Field(ge=0, description="epochs before a run can be pruned")]
    pruner_percentile: Annotated[
        float, Field(gt=0, lt=100, description="percentile: the best runs, in percent, that are not pruned")
    ]
    design: Annotated[
        Literal["full", "around"],
        Field(description="full: all combinations; around: the base config, then one axis varied at a time"),
    ]
    sample: Annotated[Count | None, Field(description="number of grid points to draw, by the seed; null: all")]
    max_time: Annotated[
        Duration | None, Field(description="start no run after this time, such as 30m or 2h; the same command resumes")
    ]
    trial_timeout: Annotated[Duration | None, Field(description="end a run that takes longer, such as 10m")]
    retry_failed: Annotated[bool, Field(description="true: retry failed runs")]
    allow_code_change: Annotated[
        bool, Field(description="true: resume even if hcr's code changed, and mark the results as mixed")
    ]
    allow_incomplete: Annotated[
        bool, Field(description="true: compare even if runs are missing, and say so in each line")
    ]
    confirm: Annotated[
        Annotated[int, Field(ge=2)] | None,
        Field(description="fresh seeds to train the two best points on; quote only their results"),
    ]

    @model_validator(mode="after")
    def _fits_its_sampler(self) -> "SweepConfig":
        if self.is_search and self.n_trials is None:
            raise ConfigError(f"sweep.n_trials: expected a number of points with sampler={self.sampler}, got null")
        if not self.is_search and self.n_trials is not None:
            raise ConfigError(
                f"sweep.n_trials: expected null with sampler=grid, got {self.n_trials}; a grid runs every point: set"
                f" sweep.sample={self.n_trials} to draw {self.n_trials} of them, or sweep.sampler=tpe to search"
            )
        if self.is_search and self.design != "full":
            raise ConfigError(f"sweep.design: expected full with sampler={self.sampler}, got {self.design}")
        if self.is_search and self.sample is not None:
            raise ConfigError(f"sweep.sample: expected null with sampler={self.sampler}, got {self.sample}")
        if not self.is_search and self.pruner != "none":
            raise ConfigError(
                f"sweep.pruner: expected none with sampler=grid, which prunes no run, got {self.pruner};"
                " sweep.sampler=tpe or random can prune"
            )
        if self.design == "around" and self.sample is not None:
            raise ConfigError(f"sweep.sample: expected null with design=around, got {self.sample}")
        return self

    @property
    def is_search(self) -> bool:
        """True if points are chosen one after another, from the results of earlier ones."""
        return self.sampler != "grid"

    @property
    def max_time_s(self) -> float | None:
        """`max_time` in seconds."""
        return seconds(self.max_time)

    @property
    def trial_timeout_s(self) -> float | None:
        """`trial_timeout` in seconds."""
        return seconds(self.trial_timeout)
