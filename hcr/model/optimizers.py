"""Optimizers, and the learning rate over the steps of a run."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import keras
from keras.optimizers.schedules import CosineDecay, ExponentialDecay, LearningRateSchedule

from hcr.config.optimizer import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    ExponentialConfig,
    LionConfig,
    MuonConfig,
    OneCycleConfig,
    OptimizerConfig,
    RmspropConfig,
    ScheduleConfig,
    SgdConfig,
)
from hcr.model.muon import Muon

Rate: TypeAlias = float | LearningRateSchedule

# Weights that no decay should pull to zero: biases, and the scale and shift of batch norm.
NOT_DECAYED = ["bias", "gamma", "beta"]


def build_optimizer(cfg: OptimizerConfig, schedule: ScheduleConfig, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer that `cfg` names, its learning rate following `schedule` over `total_steps` steps."""
    learning_rate = SCHEDULE_BUILDERS[type(schedule)](schedule, cfg.learning_rate, total_steps)
    builder = BUILDERS.get(type(cfg)) or type(cfg).build  # type: ignore[attr-defined]  # an installed package's
    return builder(cfg, learning_rate)


def build_adam(cfg: AdamConfig, learning_rate: Rate) -> keras.optimizers.Optimizer:
    """Adam as Keras has it."""
    return keras.optimizers.Adam(learning_rate, beta_1=cfg.beta_1, beta_2=cfg.beta_2, epsilon=cfg.epsilon)


def build_sgd(cfg: SgdConfig, learning_rate: Rate) -> keras.optimizers.Optimizer:
    """SGD with momentum, Nesterov's where asked for."""
    return keras.optimizers.SGD(learning_rate, momentum=cfg.momentum, nesterov=cfg.nesterov)


def build_adamw(cfg: AdamWConfig, learning_rate: Rate) -> keras.optimizers.Optimizer:
    """AdamW as Keras has it; only kernels decay."""
    optimizer = keras.optimizers.AdamW(
        learning_rate, weight_decay=cfg.weight_decay, beta_1=cfg.beta_1, beta_2=cfg.beta_2, epsilon=cfg.epsilon
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def build_rmsprop(cfg: RmspropConfig, learning_rate: Rate) -> keras.optimizers.Optimizer:
    """RMSprop as Keras has it."""
    return keras.optimizers.RMSprop(learning_rate, rho=cfg.rho, momentum=cfg.momentum, epsilon=cfg.epsilon)


def build_lion(cfg: LionConfig, learning_rate: Rate) -> keras.optimizers.Optimizer:
    """Lion as Keras has it; only kernels decay."""
    optimizer = keras.optimizers.Lion(
        learning_rate, beta_1=cfg.beta_1, beta_2=cfg.beta_2, weight_decay=cfg.weight_decay
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def build_muon(cfg: MuonConfig, learning_rate: Rate) -> keras.optimizers.Optimizer:
    """Our Muon: Keras' own leaves every convolution kernel to AdamW."""
    return Muon(
        learning_rate,
        momentum=cfg.momentum,
        newton_schulz_steps=cfg.newton_schulz_steps,
        dense_kernels=cfg.dense_kernels,
        adam_ratio=cfg.adam_learning_rate / cfg.learning_rate,
        adam_beta_1=cfg.adam_beta_1,
        adam_beta_2=cfg.adam_beta_2,
        adam_epsilon=cfg.adam_epsilon,
    )


def constant(_: ScheduleConfig, learning_rate: float, total_steps: int) -> float:
    """The same rate at every step."""
    return learning_rate


def cosine(cfg: CosineConfig, learning_rate: float, total_steps: int) -> LearningRateSchedule:
    """Linear warm-up from 0, then half a cosine.

    Source:
        Loshchilov & Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", eq. 5, without restarts.
    """
    warmup_steps = round(cfg.warmup_fraction * total_steps)
    return CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else learning_rate,
        decay_steps=max(1, total_steps - warmup_steps),
        alpha=cfg.final_fraction,
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def exponential(cfg: ExponentialConfig, learning_rate: float, total_steps: int) -> LearningRateSchedule:
    """The same factor at every step, `final_fraction` after the last."""
    return ExponentialDecay(learning_rate, decay_steps=total_steps, decay_rate=cfg.final_fraction)


def one_cycle(cfg: OneCycleConfig, learning_rate: float, total_steps: int) -> LearningRateSchedule:
    """Linear up, linear down.

    Source:
        Smith & Topin 2018, "Super-Convergence", section 3; the momentum stays as it is.
    """
    return OneCycle(learning_rate, total_steps, cfg.warmup_fraction, cfg.start_fraction, cfg.final_fraction)


class OneCycle(LearningRateSchedule):
    """A triangle: from `start` of the peak up over `warmup` of all steps, and down to `final` of it at the last."""

    def __init__(self, peak: float, total_steps: int, warmup: float, start: float, final: float) -> None:
        self.peak, self.total_steps = peak, total_steps
        self.warmup, self.start, self.final = warmup, start, final

    def __call__(self, step: Any) -> Any:
        done = keras.ops.cast(step, "float32") / self.total_steps
        up = self.start + (1 - self.start) * done / self.warmup
        down = 1 - (1 - self.final) * (done - self.warmup) / (1 - self.warmup)
        return self.peak * keras.ops.where(done < self.warmup, up, keras.ops.maximum(down, self.final))


BUILDERS: Mapping[type[OptimizerConfig], Callable[[Any, Any], keras.optimizers.Optimizer]] = MappingProxyType(
    {
        AdamConfig: build_adam,
        AdamWConfig: build_adamw,
        LionConfig: build_lion,
        MuonConfig: build_muon,
        RmspropConfig: build_rmsprop,
        SgdConfig: build_sgd,
    }
)
SCHEDULE_BUILDERS: Mapping[type[ScheduleConfig], Callable[[Any, float, int], Rate]] = MappingProxyType(
    {
        ScheduleConfig: constant,
        CosineConfig: cosine,
        ExponentialConfig: exponential,
        OneCycleConfig: one_cycle,
    }
)
