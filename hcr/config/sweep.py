"""The typed config of a sweep: which runs it is of, and within what bounds they are made."""

from dataclasses import dataclass
from typing import Literal

from hcr.config.duration import seconds
from hcr.config.errors import ConfigError
from hcr.config.schema import require


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """How the points of a sweep are chosen, and how its runs are made.

    `sampler` grid takes every combination of the values that are listed; the others choose `n_trials` points, one
    after another, from the spaces that are given. `pruner` gives up runs of a search that fall behind: not in a run's
    first `pruner_warmup` epochs, nor, where it is median or percentile, before `pruner_startup` runs have finished.
    `pruner_percentile` is the share of runs, in percent, that go on where `pruner` is percentile.
    """

    sampler: Literal["grid", "tpe", "random", "cmaes", "gp"]
    n_trials: int | None
    pruner: Literal["none", "median", "percentile", "asha", "hyperband"]
    pruner_startup: int
    pruner_warmup: int
    pruner_percentile: float
    design: Literal["full", "around"]
    sample: int | None
    max_time: str | None
    trial_timeout: str | None
    retry_failed: bool
    allow_code_change: bool
    allow_incomplete: bool
    confirm: int | None

    def __post_init__(self) -> None:
        for name in ("n_trials", "sample"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"sweep.{name}", "1 or more, or null", value)
        require(self.confirm is None or self.confirm >= 2, "sweep.confirm", "2 or more seeds, or null", self.confirm)
        require(self.pruner_startup >= 1, "sweep.pruner_startup", "1 or more runs", self.pruner_startup)
        require(self.pruner_warmup >= 0, "sweep.pruner_warmup", "0 or more epochs", self.pruner_warmup)
        percentile = self.pruner_percentile
        require(0 < percentile < 100, "sweep.pruner_percentile", "a number in (0, 100)", percentile)
        for name in ("max_time", "trial_timeout"):
            seconds(getattr(self, name), f"sweep.{name}")
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

    @property
    def is_search(self) -> bool:
        """Whether points are chosen one after another, by what is known of those before."""
        return self.sampler != "grid"

    @property
    def max_time_s(self) -> float | None:
        """`max_time` in seconds."""
        return seconds(self.max_time, "sweep.max_time")

    @property
    def trial_timeout_s(self) -> float | None:
        """`trial_timeout` in seconds."""
        return seconds(self.trial_timeout, "sweep.trial_timeout")
