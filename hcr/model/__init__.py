"""Architectures, optimizers and schedules."""

from hcr.model.architectures import build_model
from hcr.model.optimizers import build_optimizer

__all__ = ["build_model", "build_optimizer"]
