"""Architectures, optimizers and schedules, augmentation."""

from hcr.model.architectures import build_model
from hcr.model.augmentation import build_augmentation
from hcr.model.fast_layers import with_keras_layers
from hcr.model.optimizers import build_optimizer

__all__ = ["build_augmentation", "build_model", "build_optimizer", "with_keras_layers"]
