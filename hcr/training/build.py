"""Builds the model and the optimizer of a run from its config."""

import keras

from hcr.config.errors import ConfigError
from hcr.gate.run_config import RunConfig, image_and_classes
from hcr.model.building import build_model, build_optimizer
from hcr.training.loop import steps_per_epoch


def build(cfg: RunConfig, num_train: int) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    """Build the model and the optimizer for `num_train` training images.

    Raises:
        ConfigError: the model would not learn from batches of one image.
    """
    # Clear the global state of an earlier run of this process, such as its precision.
    keras.utils.clear_session(free_memory=False)  # a collection takes half a second and comes by itself
    # mixed_bfloat16 computes in bfloat16 and keeps variables in float32.
    keras.config.set_dtype_policy("mixed_bfloat16" if cfg.training.precision == "bfloat16" else "float32")
    model = build_model(cfg.model, *image_and_classes(cfg), cfg.seed)
    if cfg.training.batch_size == 1:
        _refuse_norm_of_single_values(model)
    total_steps = steps_per_epoch(num_train, cfg.training) * cfg.training.epochs
    return model, build_optimizer(cfg.optimizer, cfg.schedule, total_steps)


def _refuse_norm_of_single_values(model: keras.Model) -> None:
    """Refuse batch normalization of one value per channel: its output does not depend on the image."""
    for layer in model.layers:
        is_trained = isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        if is_trained and all(size == 1 for size in layer.input.shape[1:-1]):
            raise ConfigError(
                f"training.batch_size: expected 2 or more, got 1; the batch normalization {layer.name} has one value"
                " per channel and image, and its output would be constant"
            )
