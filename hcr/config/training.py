"""The typed config of the training loop."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hcr.config.errors import ConfigError
from hcr.config.schema import require

MOST_IMAGES = 1_000_000  # in a step
MOST_THREADS = 1024  # each is a thread of TensorFlow's, with a stack of its own


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long and how training goes.

    `steps_per_epoch` None takes every training image once an epoch; a number is at most so many steps, of images drawn
    anew for each epoch. `patience` None never stops early. `keep` is the epoch whose weights the run ends with.
    `threads` None becomes the number of cores this process may use: the number of threads changes float sums, so the
    number itself is part of the config.
    """

    epochs: int
    batch_size: int
    steps_per_epoch: int | None
    label_smoothing: float
    patience: int | None
    min_delta: float
    keep: Literal["best", "last"]
    class_weights: Literal["none", "balanced"]
    average_decay: float | None
    precision: Literal["float32", "bfloat16"]
    threads: int | None

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "training.epochs", "1 or more", self.epochs)
        require(1 <= self.batch_size <= MOST_IMAGES, "training.batch_size", f"1 to {MOST_IMAGES}", self.batch_size)
        steps = self.steps_per_epoch
        require(steps is None or steps >= 1, "training.steps_per_epoch", "1 or more, or null", steps)
        require(0 <= self.label_smoothing < 1, "training.label_smoothing", "a fraction in [0, 1)", self.label_smoothing)
        require(self.patience is None or self.patience >= 1, "training.patience", "1 or more, or null", self.patience)
        if self.keep == "last" and self.patience is not None:
            raise ConfigError(f"training.patience: expected null where training.keep=last, got {self.patience}")
        require(self.min_delta >= 0, "training.min_delta", "0 or more", self.min_delta)
        decay = self.average_decay
        require(decay is None or 0 < decay < 1, "training.average_decay", "a number in (0, 1), or null", decay)
        if self.threads is None:
            object.__setattr__(self, "threads", available_cores())
        require(
            1 <= self.num_threads <= MOST_THREADS, "training.threads", f"1 to {MOST_THREADS}, or null", self.threads
        )

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


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 by itself (AVX512-BF16 or AMX); elsewhere it is far slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux: nothing says so
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
