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
class AdamWConfig(AdamConfig):
    """Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"; kernels decay, biases and norms do not."""

    weight_decay: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.weight_decay >= 0, "optimizer.weight_decay", "0 or more", self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class RmspropConfig(OptimizerConfig):
    """Tieleman & Hinton 2012, "RMSProp", lecture 6.5 of Neural Networks for Machine Learning."""

    rho: float
    momentum: float
    epsilon: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.rho < 1, "optimizer.rho", "a number in [0, 1)", self.rho)
        require(0 <= self.momentum < 1, "optimizer.momentum", "a number in [0, 1)", self.momentum)
        require(self.epsilon > 0, "optimizer.epsilon", "a number over 0", self.epsilon)


@dataclass(frozen=True, kw_only=True)
class LionConfig(OptimizerConfig):
    """Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms"."""

    beta_1: float
    beta_2: float
    weight_decay: float

    def __post_init__(self) -> None:
        super().__post_init__()
        # Keras' Lion wants both strictly over 0.
        require(0 < self.beta_1 < 1, "optimizer.beta_1", "a number in (0, 1)", self.beta_1)
        require(0 < self.beta_2 < 1, "optimizer.beta_2", "a number in (0, 1)", self.beta_2)
        require(self.weight_decay >= 0, "optimizer.weight_decay", "0 or more", self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class MuonConfig(OptimizerConfig):
    """Jordan et al. 2024, "Muon": orthogonalised momentum for kernels, Adam for everything else."""

    momentum: float
    newton_schulz_steps: int
    dense_kernels: bool
    adam_learning_rate: float
    adam_beta_1: float
    adam_beta_2: float
    adam_epsilon: float

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = self.newton_schulz_steps
        require(0 <= self.momentum < 1, "optimizer.momentum", "a number in [0, 1)", self.momentum)
        require(1 <= steps <= 20, "optimizer.newton_schulz_steps", "1 to 20", steps)
        require(self.adam_learning_rate > 0, "optimizer.adam_learning_rate", "over 0", self.adam_learning_rate)
        require(0 <= self.adam_beta_1 < 1, "optimizer.adam_beta_1", "a number in [0, 1)", self.adam_beta_1)
        require(0 <= self.adam_beta_2 < 1, "optimizer.adam_beta_2", "a number in [0, 1)", self.adam_beta_2)
        require(self.adam_epsilon > 0, "optimizer.adam_epsilon", "a number over 0", self.adam_epsilon)


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


@dataclass(frozen=True, kw_only=True)
class OneCycleConfig(ScheduleConfig):
    """Linear warm-up from `start_fraction` of the peak over `warmup_fraction` of all steps, then linear down."""

    warmup_fraction: float
    start_fraction: float
    final_fraction: float

    def __post_init__(self) -> None:
        require(0 < self.warmup_fraction < 1, "schedule.warmup_fraction", "a fraction in (0, 1)", self.warmup_fraction)
        require(0 <= self.start_fraction <= 1, "schedule.start_fraction", "a fraction in [0, 1]", self.start_fraction)
        require(0 <= self.final_fraction <= 1, "schedule.final_fraction", "a fraction in [0, 1]", self.final_fraction)


@dataclass(frozen=True, kw_only=True)
class ExponentialConfig(ScheduleConfig):
    """Falls by the same factor at every step, to `final_fraction` of the peak at the last."""

    final_fraction: float

    def __post_init__(self) -> None:
        require(0 < self.final_fraction <= 1, "schedule.final_fraction", "a fraction in (0, 1]", self.final_fraction)


OPTIMIZERS: Mapping[str, type[OptimizerConfig]] = MappingProxyType(
    {
        "adam": AdamConfig,
        "adamw": AdamWConfig,
        "lion": LionConfig,
        "muon": MuonConfig,
        "rmsprop": RmspropConfig,
        "sgd": SgdConfig,
    }
)
SCHEDULES: Mapping[str, type[ScheduleConfig]] = MappingProxyType(
    {
        "constant": ScheduleConfig,
        "cosine": CosineConfig,
        "exponential": ExponentialConfig,
        "onecycle": OneCycleConfig,
    }
)
