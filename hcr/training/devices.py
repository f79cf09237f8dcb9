"""The device that TensorFlow trains on, which must be chosen before its first op.

A process uses one GPU at most, the first one that it sees; CUDA_VISIBLE_DEVICES says which that is. TensorFlow takes
more of its memory only as it needs more (`hcr.environment`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from hcr.config.errors import ConfigError
from hcr.config.training import TrainingConfig
from hcr.gpus import NEEDS_CUDA, gpu_models, shown, visible_gpus

BFLOAT16_FROM = (8, 0)  # compute capability; the kernels of older GPUs lack it or emulate it


def use_device(device: str) -> None:
    """Use the first GPU, or with "cpu" none; without a GPU, the CPU.

    Raises:
        ConfigError: TensorFlow already runs on another device in this process.
    """
    choose_devices([] if device == "cpu" else tf.config.list_physical_devices("GPU")[:1], "GPU")


def choose_devices(devices: Sequence[Any], kind: str) -> None:
    """Hide all devices of a kind from TensorFlow except `devices`.

    Args:
        devices: of `tf.config.list_physical_devices(kind)`.

    Raises:
        ConfigError: TensorFlow already runs with others in this process.
    """
    try:
        tf.config.set_visible_devices(list(devices), kind)
    except RuntimeError as error:
        now, wanted = ("cpu", "gpu") if devices else ("gpu", "cpu")
        raise ConfigError(
            f"training.device: expected {now}, with which this process started TensorFlow, got {wanted};"
            " a run on another device needs its own process"
        ) from error


def require_device(training: TrainingConfig, gpus: Sequence[Mapping[str, Any]] | None = None) -> None:
    """Refuse to train on a GPU that TensorFlow cannot use, or not with that precision.

    Args:
        gpus: TensorFlow's details of each GPU, with "device_name" and "compute_capability"; None: asked here.

    Raises:
        ConfigError: see above.
    """
    if training.device != "gpu":
        return
    found = seen_gpus() if gpus is None else gpus
    if not found:
        there = f", though {shown(gpu_models())} is here" if visible_gpus() else ""
        raise ConfigError(
            f"training.device: TensorFlow has no GPU{there}; {NEEDS_CUDA}, or train on the CPU with training.device=cpu"
        )
    capability = found[0].get("compute_capability", BFLOAT16_FROM)
    if training.precision == "bfloat16" and tuple(capability) < BFLOAT16_FROM:
        raise ConfigError(
            f"training.precision: expected float32 on {_name(found[0])}, which has compute capability"
            f" {_dotted(capability)}; bfloat16 needs {_dotted(BFLOAT16_FROM)}"
        )


def seen_gpus() -> list[dict[str, Any]]:
    """TensorFlow's details of each GPU that it can use, in its order; starts nothing on them."""
    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu) for gpu in gpus]


def gpu_in_use() -> str | None:
    """The model of the GPU that this process trains on; None: it trains on the CPU."""
    gpus = tf.config.get_visible_devices("GPU")
    return _name(tf.config.experimental.get_device_details(gpus[0])) if gpus else None


def _name(details: Mapping[str, Any]) -> str:
    return str(details.get("device_name", "a GPU"))


def _dotted(capability: Sequence[int]) -> str:
    return ".".join(map(str, capability))
