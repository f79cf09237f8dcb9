"""The typed config of optimizers and of learning-rate schedules."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hcr.config.schema import require


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """What every optimizer has: a peak learning rate, which the schedule scales."""

    name: str
    learning_rate: float

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, "optimizer.learning_rate", "a number over 0", self.learning_rate)


@dataclass(frozen=True, kw_only=True)
class AdamConfig(OptimizerConfig):
    """Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization"."""

    beta_1: float
    beta_2: float
    epsilon: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.beta_1 < 1, "optimizer.beta_1", "a number in [0, 1)", self.beta_1)
        require(0 <= self.beta_2 < 1, "optimizer.beta_2", "a number in [0, 1)", self.beta_2)
        require(self.epsilon > 0, "optimizer.epsilon", "a number over 0", self.epsilon)


@dataclass(frozen=True, kw_only=True)
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent, with (Nesterov) momentum."""

    momentum: float
    nesterov: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.momentum < 1, "optimizer.momentum", "a number in [0, 1)", self.momentum)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate goes over the steps of a run; this one leaves it as it is."""

    name: str


@dataclass(frozen=True, kw_only=True)
class CosineConfig(ScheduleConfig):
    """Linear warm-up over `warmup_fraction` of all steps, then half a cosine down to `final_fraction` of the peak."""

    warmup_fraction: float
    final_fraction: float

    def __post_init__(self) -> None:
        require(0 <= self.warmup_fraction < 1, "schedule.warmup_fraction", "a fraction in [0, 1)", self.warmup_fraction)
        require(0 <= self.final_fraction <= 1, "schedule.final_fraction", "a fraction in [0, 1]", self.final_fraction)


OPTIMIZERS: Mapping[str, type[OptimizerConfig]] = MappingProxyType({"adam": AdamConfig, "sgd": SgdConfig})
SCHEDULES: Mapping[str, type[ScheduleConfig]] = MappingProxyType({"constant": ScheduleConfig, "cosine": CosineConfig})
