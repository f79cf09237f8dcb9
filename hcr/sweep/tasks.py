"""Functions that a sweep calls in separate processes: build models, time them, score and draw runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcr.config.errors import ConfigError, one_line
from hcr.gate.run_config import parse_resolved

CALIBRATION_STEPS = 32


def build_models(configs: Sequence[dict[str, Any]], num_train: int) -> tuple[list[int], str]:
    """Build the model and the optimizer of each config, up to the first that fails.

    Returns:
        The number of parameters of each model built, and why the next one failed (empty if none did).
    """
    from hcr.training.build import build
    from hcr.training.devices import use_device

    use_device("cpu")  # where the GPU is, trials train
    counts: list[int] = []
    for values in configs:
        try:
            model, _ = build(parse_resolved(values), num_train)
        except Exception as error:  # Keras raises many kinds
            return counts, one_line(error)
        counts.append(int(model.count_params()))
    return counts, ""


def why_not_trained(configs: Sequence[dict[str, Any]]) -> str:
    """Why TensorFlow cannot train `configs` on the device that they name; empty if it can."""
    from hcr.training import require_device

    try:
        for values in configs:
            require_device(parse_resolved(values).training)
    except ConfigError as error:
        return str(error)
    return ""


def time_epochs(configs: Sequence[dict[str, Any]]) -> list[float]:
    """Seconds per epoch of each config, estimated from CALIBRATION_STEPS steps and one validation."""
    from hcr.data.splitting import load_splits
    from hcr.training import configure_threads, fit, require_device
    from hcr.training.build import build
    from hcr.training.loop import steps_per_epoch

    found = []
    for values in configs:
        cfg = parse_resolved(values)
        require_device(cfg.training)
        configure_threads(cfg.training)
        splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
        model, optimizer = build(cfg, len(splits.train))
        some = cfg.training.replace(epochs=2, patience=None, steps_per_epoch=CALIBRATION_STEPS)
        state = fit(
            model, optimizer, splits.train, splits.val, some, cfg.augmentation, monitor=cfg.monitor, seed=cfg.seed
        )
        warm = state.history[1]  # the first epoch includes tracing
        images = min(len(splits.train), CALIBRATION_STEPS * cfg.training.batch_size)
        validation_s = max(0.0, warm["time/epoch_s"] - images / warm["time/images_per_s"])
        steps = steps_per_epoch(len(splits.train), cfg.training)
        step_s = images / warm["time/images_per_s"] / steps_per_epoch(len(splits.train), some)
        found.append(steps * step_s + validation_s)
    return found


def score_run(folder: Path) -> float:
    """Score a finished run on its sealed test images; returns its test accuracy."""
    from hcr.scoring import score_test

    return score_test(folder)


def draw_runs(folders: Sequence[Path]) -> None:
    """Draw the pictures of finished runs."""
    from hcr.drawing import draw_finished
    from hcr.training.devices import use_device

    use_device("cpu")  # several processes draw at once
    for folder in folders:
        draw_finished(folder)
