"""The typed config of the training loop."""

import os
from dataclasses import dataclass

from hcr.config.schema import require


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long and how training goes.

    `patience` None never stops early. `threads` None becomes the number of cores this process may use: the
    number of threads changes float sums, so the number itself is part of the config.
    """

    epochs: int
    batch_size: int
    label_smoothing: float
    patience: int | None
    min_delta: float
    threads: int | None

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "training.epochs", "1 or more", self.epochs)
        require(self.batch_size >= 1, "training.batch_size", "1 or more", self.batch_size)
        require(0 <= self.label_smoothing < 1, "training.label_smoothing", "a fraction in [0, 1)", self.label_smoothing)
        require(self.patience is None or self.patience >= 1, "training.patience", "1 or more, or null", self.patience)
        require(self.min_delta >= 0, "training.min_delta", "0 or more", self.min_delta)
        if self.threads is None:
            object.__setattr__(self, "threads", available_cores())
        require(self.num_threads >= 1, "training.threads", "1 or more, or null", self.threads)

    @property
    def num_threads(self) -> int:
        """`threads`, once None has been replaced by a number."""
        assert self.threads is not None
        return self.threads


def available_cores() -> int:
    """Cores this process may run on: taskset and cpusets count, other machines' cores do not."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
