"""The typed config of the training loop."""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from hcr.config.errors import ConfigError
from hcr.config.limits import cpu_limit
from hcr.config.settings import Count, Fraction, Settings

MOST_IMAGES = 1_000_000  # per step
MOST_THREADS = 1024  # each is an OS thread with its own stack


class TrainingConfig(Settings):
    """Length and method of training."""

    group: ClassVar[str] = "training"

    epochs: Annotated[Count, Field(description="passes over the training images, at most")]
    batch_size: Annotated[int, Field(ge=1, le=MOST_IMAGES, description="images per step")]
    steps_per_epoch: Annotated[
        Count | None, Field(description="steps per epoch, each with newly drawn images; null: every image once")
    ]
    label_smoothing: Annotated[Fraction, Field(description="share of each one-hot label spread over all classes")]
    patience: Annotated[
        Count | None, Field(description="stop after this many epochs without improvement of `monitor`; null: never")
    ]
    min_delta: Annotated[float, Field(ge=0, description="smallest change of `monitor` that counts as an improvement")]
    keep: Annotated[
        Literal["best", "last"],
        Field(description="weights to keep; best: best epoch by `monitor`; last: last epoch (patience: null)"),
    ]
    class_weights: Annotated[
        Literal["none", "balanced"],
        Field(description="none; or balanced: every class has the same total weight in the loss"),
    ]
    average_decay: Annotated[
        Annotated[float, Field(gt=0, lt=1)] | None,
        Field(
            description="decay per step of the weights' moving average (EMA), which is validated and kept; null: none"
        ),
    ]
    calibrate: Annotated[
        Literal["none", "temperature"],
        Field(
            description="none; or temperature: divide the trained model's logits by a number fitted on validation, so"
            " that confidence matches accuracy"
        ),
    ] = "none"
    tta: Annotated[
        Literal["none", "shift"],
        Field(
            description="test-time augmentation of the kept model; none; or shift: mean over the image and its shifts"
            " by one pixel, 5 times the prediction time"
        ),
    ] = "none"
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Field(
            description="float32; or bfloat16: faster where the CPU has it, float32 with a warning elsewhere; on a GPU,"
            " refused below compute capability 8.0"
        ),
    ]
    device: Annotated[
        Literal["auto", "cpu", "gpu"],
        Field(description="what trains the model; auto: the first GPU if there is one, else the CPU; cpu; or gpu"),
    ] = "cpu"
    threads: Annotated[
        Annotated[int, Field(ge=1, le=MOST_THREADS)] | None,
        Field(description="TensorFlow threads, which change float sums; null: one per core"),
    ]

    shards: Annotated[
        Annotated[int, Field(ge=1, le=MOST_THREADS)] | None,
        Field(
            description="parts of a batch that are computed in parallel, a thread each; null: one per thread;"
            " 1: each operation on all threads, as always on a GPU"
        ),
    ] = 1

    @field_validator("threads")
    @classmethod
    def _own_cores(cls, threads: int | None) -> int:
        return available_cores() if threads is None else threads

    @field_validator("shards")
    @classmethod
    def _one_on_a_gpu(cls, shards: int | None, others: ValidationInfo) -> int | None:
        if others.data.get("device") != "gpu":
            return shards
        if shards is not None and shards > 1:
            raise ConfigError(
                f"training.shards: expected 1 or null on a GPU, which computes a batch at once, got {shards};"
                " training.device=cpu trains on the CPU"
            )
        return 1

    @model_validator(mode="after")
    def _keeps_what_it_trains(self) -> "TrainingConfig":
        if self.shards is not None and self.shards > self.batch_size:
            raise ConfigError(
                f"training.shards: expected at most {self.batch_size}, the images of a batch (training.batch_size),"
                f" got {self.shards}"
            )
        if self.keep == "last" and self.patience is not None:
            raise ConfigError(f"training.patience: expected null with training.keep=last, got {self.patience}")
        return self

    @property
    def predictions_per_image(self) -> int:
        """How often the kept model predicts each image, by `tta`."""
        return {"none": 1, "shift": 5}[self.tta]

    @property
    def num_threads(self) -> int:
        """`threads` as a number: validation has replaced None."""
        assert self.threads is not None
        return self.threads

    @property
    def threads_per_operation(self) -> int:
        """Threads of a single operation: one, as others compute other shards meanwhile, unless shards are off."""
        return self.num_threads if self.shards == 1 else 1

    @property
    def num_shards(self) -> int:
        """`shards` as a number: one per thread if it is not set, but at most one per image."""
        return min(self.num_threads, self.batch_size) if self.shards is None else self.shards


def available_cores() -> int:
    """Number of cores that this process may use; respects taskset, cpusets, and the CPU limit of a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _granted() or cores)


@cache  # a sweep asks for each of its configs
def _granted() -> int | None:
    return cpu_limit()


def has_bfloat16() -> bool:
    """True if this CPU has bfloat16 instructions (AVX512-BF16 or AMX).

    On other CPUs bfloat16 is far slower than float32.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux: unknown
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
