"""Optimizers, and the learning rate over the steps of a run."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras
from keras.optimizers.schedules import CosineDecay, LearningRateSchedule

from hcr.config.optimizer import AdamConfig, CosineConfig, OptimizerConfig, ScheduleConfig, SgdConfig


def build_optimizer(cfg: OptimizerConfig, schedule: ScheduleConfig, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer that `cfg` names, its learning rate following `schedule` over `total_steps` steps."""
    learning_rate = SCHEDULE_BUILDERS[type(schedule)](schedule, cfg.learning_rate, total_steps)
    return BUILDERS[type(cfg)](cfg, learning_rate)


def build_adam(cfg: AdamConfig, learning_rate: float | LearningRateSchedule) -> keras.optimizers.Optimizer:
    """Adam as Keras has it."""
    return keras.optimizers.Adam(learning_rate, beta_1=cfg.beta_1, beta_2=cfg.beta_2, epsilon=cfg.epsilon)


def build_sgd(cfg: SgdConfig, learning_rate: float | LearningRateSchedule) -> keras.optimizers.Optimizer:
    """SGD with momentum, Nesterov's where asked for."""
    return keras.optimizers.SGD(learning_rate, momentum=cfg.momentum, nesterov=cfg.nesterov)


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


BUILDERS: Mapping[type[OptimizerConfig], Callable[[Any, Any], keras.optimizers.Optimizer]] = MappingProxyType(
    {AdamConfig: build_adam, SgdConfig: build_sgd}
)
SCHEDULE_BUILDERS: Mapping[type[ScheduleConfig], Callable[[Any, float, int], float | LearningRateSchedule]] = (
    MappingProxyType({ScheduleConfig: constant, CosineConfig: cosine})
)
