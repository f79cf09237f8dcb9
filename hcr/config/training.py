"""The typed config of the training loop."""

import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from hcr.config.errors import ConfigError
from hcr.config.settings import Count, Fraction, Settings

MOST_IMAGES = 1_000_000  # in a step
MOST_THREADS = 1024  # each is a thread of TensorFlow's, with a stack of its own


class TrainingConfig(Settings):
    """How long and how training goes."""

    group: ClassVar[str] = "training"

    epochs: Annotated[Count, Field(description="passes over the training images, at most")]
    batch_size: Annotated[int, Field(ge=1, le=MOST_IMAGES, description="images per step")]
    steps_per_epoch: Annotated[
        Count | None, Field(description="steps in an epoch, of images drawn anew for each; null: every image once")
    ]
    label_smoothing: Annotated[Fraction, Field(description="share of each one-hot label spread over all classes")]
    patience: Annotated[
        Count | None, Field(description="stop after so many epochs in which `monitor` did not improve; null: never")
    ]
    min_delta: Annotated[float, Field(ge=0, description="a smaller improvement of `monitor` counts as none")]
    keep: Annotated[
        Literal["best", "last"],
        Field(description="best: the weights of the best epoch by `monitor`; last: of the last (patience: null)"),
    ]
    class_weights: Annotated[
        Literal["none", "balanced"],
        Field(description="none; or balanced: every class has the same total weight in the loss"),
    ]
    average_decay: Annotated[
        Annotated[float, Field(gt=0, lt=1)] | None,
        Field(description="decay per step of the average of weights that is validated and kept; null: no average"),
    ]
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Field(description="float32; or bfloat16: faster where the CPU has it, float32 with a warning elsewhere"),
    ]
    threads: Annotated[
        Annotated[int, Field(ge=1, le=MOST_THREADS)] | None,
        Field(description="threads of TensorFlow; null: one per core; changes float sums, so it is part of the config"),
    ]

    @field_validator("threads")
    @classmethod
    def _own_cores(cls, threads: int | None) -> int:
        return available_cores() if threads is None else threads

    @model_validator(mode="after")
    def _keeps_what_it_trains(self) -> "TrainingConfig":
        if self.keep == "last" and self.patience is not None:
            raise ConfigError(f"training.patience: expected null where training.keep=last, got {self.patience}")
        return self

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
