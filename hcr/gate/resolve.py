"""Resolves the settings that depend on the data and on where a run is trained, before anything is recorded."""

import os
import sys
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from hcr.config.errors import ConfigError
from hcr.config.launcher import LauncherConfig
from hcr.config.training import has_bfloat16
from hcr.data.formats import DataFormat
from hcr.gate.run_config import RunConfig
from hcr.gpus import VISIBLE, usable_gpus, visible_gpus


def resolve(cfg: RunConfig, *, in_sweep: bool) -> RunConfig:
    """The config to run and record.

    By default single runs score test; runs of a sweep do not, since the best of them is chosen and test must not
    influence a choice. The device is that of `with_device`, the precision that of `with_precision`.

    Raises:
        ConfigError, DataError: as `fill_from_data`.
    """
    cfg = with_precision(with_device(fill_from_data(cfg)))
    return cfg if cfg.score_test is not None else cfg.replace(score_test=not in_sweep)


def with_precision(cfg: RunConfig) -> RunConfig:
    """The config with float32 for `training.precision=bfloat16` on a CPU without it, and a warning.

    A sweep writes it into the task of a trial, which then does not warn again. The device must be resolved.
    """
    if cfg.training.precision != "bfloat16" or cfg.training.device != "cpu" or has_bfloat16():
        return cfg
    _warn_of_float32()
    return cfg.replace(training=cfg.training.replace(precision="float32"))


@cache
def _warn_of_float32() -> None:
    """Once in a process: a sweep resolves each of its runs more than once."""
    print(
        "hcr: warning: training.precision=bfloat16 is far slower than float32 on this CPU, which lacks AVX512-BF16"
        " and AMX; training in float32",
        file=sys.stderr,
    )


def with_device(cfg: RunConfig, launcher: LauncherConfig | None = None) -> RunConfig:
    """The config with "cpu" or "gpu" for `training.device=auto`; see `device_of`.

    Raises:
        ConfigError: the device is a GPU, and `training.shards` is more than 1.
    """
    if cfg.training.device != "auto":
        return cfg
    return cfg.replace(training=cfg.training.replace(device=device_of(launcher)))


def device_of(launcher: LauncherConfig | None = None, gpus: Sequence[str] | None = None) -> str:
    """The device that `training.device=auto` means, "cpu" or "gpu".

    Here it is a GPU if the driver shows one and TensorFlow was installed with CUDA. That takes milliseconds and is the
    same for every process of a sweep; TensorFlow, which takes seconds to import, is asked before training, and a GPU
    that it cannot use is an error. On a cluster a trial has a GPU if `launcher.gpus_per_trial` asks for one.

    Args:
        launcher: of a sweep; None: a single run.
        gpus: of this machine; None: detected.
    """
    if launcher is not None and not launcher.is_here:
        return "gpu" if launcher.gpus else "cpu"
    return "gpu" if (usable_gpus() if gpus is None else gpus) else "cpu"


def check_devices(
    devices: Collection[str], launcher: LauncherConfig | None = None, gpus: Sequence[str] | None = None
) -> None:
    """Refuse a GPU where there is none, before anything heavy is imported.

    Args:
        devices: `training.device` of the runs, resolved.
        launcher, gpus: as for `device_of`.

    Raises:
        ConfigError: there is no GPU, or the cluster is asked for GPUs that no run uses, or for none.
    """
    if launcher is None or launcher.is_here:
        if "gpu" in devices and not (visible_gpus() if gpus is None else gpus):
            hidden = f" (with {VISIBLE}={os.environ[VISIBLE]!r})" if VISIBLE in os.environ else ""
            raise ConfigError(f"training.device: expected auto or cpu, as there is no GPU here{hidden}, got gpu")
    elif "gpu" in devices and not launcher.gpus:
        raise ConfigError("launcher.gpus_per_trial: expected more than 0 with training.device=gpu, got 0")
    elif launcher.gpus and "gpu" not in devices:
        raise ConfigError(f"launcher.gpus_per_trial: expected 0 with training.device=cpu, got {launcher.gpus:g}")


def fill_from_data(cfg: RunConfig, known: dict[str, DataFormat] | None = None) -> RunConfig:
    """Fill the data set's settings that are null, and choose the split of `split=auto`, by what the data has.

    Afterwards the config fixes them: other data is refused. Reads the data only if something is to be filled.

    Args:
        known: data sets that were filled before, by their settings; one that is filled now is added.

    Raises:
        ConfigError: the model or the split does not fit the data.
        DataError: the data cannot be read.
    """
    dataset = cfg.dataset
    needed = ("class_names", "num_classes", "has_official_test", "has_groups")
    is_open = dataset.input_shape is None or any(getattr(dataset, name) is None for name in needed)
    if is_open or (dataset.min_per_class > 1 and dataset.classes is None):
        known = {} if known is None else known
        asked = repr(dataset)
        if asked not in known:
            known[asked] = _filled(cfg)
        cfg = cfg.replace(dataset=known[asked])
    return cfg.replace(split=cfg.split.resolved(cfg.dataset))


def _filled(cfg: RunConfig) -> Any:
    from hcr.data.cache import remember_filled
    from hcr.data.formats import FileFormat
    from hcr.data.loading import hold_dataset, load_dataset
    from hcr.data.splitting import classes_kept

    dataset = cfg.dataset
    data = load_dataset(dataset)
    found: dict[str, Any] = {
        "image_shape": data.source_shape,
        "num_classes": len(data.class_names),
        "class_names": data.class_names,
        "has_official_test": data.is_test is not None,
        "has_groups": data.groups is not None,
    }
    changes = {name: value for name, value in found.items() if getattr(dataset, name) is None and value is not None}
    if dataset.image_size is None and (data.source_shape is None or data.source_shape[:2] != data.images.shape[1:3]):
        changes["image_size"] = data.images.shape[1:3]  # images of several sizes, or large ones
    if data.source_shape is None:
        changes["color"] = "gray" if data.images.shape[3] == 1 else "rgb"
    if dataset.min_per_class > 1 and dataset.classes is None:
        changes["classes"] = classes_kept(data, dataset)
    filled = dataset.replace(**changes)
    if isinstance(dataset, FileFormat) and isinstance(filled, FileFormat):
        remember_filled(dataset, filled)
    else:
        hold_dataset(filled, data)
    return filled
