"""Model and optimizer of a run, as its config decides them."""

import keras

from hcr.gate import RunConfig
from hcr.model.building import build_model, build_optimizer
from hcr.training.loop import steps_per_epoch


def build(cfg: RunConfig, num_train: int) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    """Model and optimizer, for `num_train` training images."""
    # What an earlier run of this process left behind, its precision among it, goes first.
    keras.utils.clear_session()
    # Computed in bfloat16, kept in float32.
    keras.config.set_dtype_policy("mixed_bfloat16" if cfg.training.precision == "bfloat16" else "float32")
    model = build_model(cfg.model, cfg.dataset.image_shape, cfg.dataset.num_classes, cfg.seed)
    total_steps = steps_per_epoch(num_train, cfg.training) * cfg.training.epochs
    return model, build_optimizer(cfg.optimizer, cfg.schedule, total_steps)
