"""The model as it is exported: in float32, and always in inference mode.

Training in bfloat16 keeps the weights in float32 and rounds what is computed between them. Other runtimes have no such
mixture: ONNX Runtime and LiteRT lack bfloat16 kernels on most CPUs. So all exports compute in float32, which is more
exact, with the same weights.

`Model.export` calls the model without saying whether it is trained. Keras then takes the default of the first layer
that has one, also for the layers after it. For Keras' preprocessing layers, such as CenterCrop, that is training=True:
batch norm would use the statistics of each batch.
"""

import inspect
from typing import Any

import keras

MIXED, PLAIN = "mixed_bfloat16", "float32"


def for_inference(model: keras.Model) -> keras.Model:
    """The model with the same weights, in float32 and in inference mode; `model` itself if it is both already."""
    return _pinned(in_float32(model))


def is_float32(model: keras.Model) -> bool:
    """True if every layer computes in float32, also those of models within the model, as in an ensemble."""
    layers = (layer for layer in model.layers if not _is_input(layer))
    return all(is_float32(own) if isinstance(own, keras.Model) else own.compute_dtype == PLAIN for own in layers)


def in_float32(model: keras.Model) -> keras.Model:
    """The model with the same weights, computing in float32; `model` itself if it does already."""
    if is_float32(model):
        return model
    plain = type(model).from_config(_replaced(model.get_config()))
    plain.set_weights(model.get_weights())
    assert is_float32(plain)
    return plain


def _pinned(model: keras.Model) -> keras.Model:
    if not any(map(_trains_by_default, model.layers)):
        return model
    images = keras.Input(model.input_shape[1:], dtype="uint8", name="images")
    return keras.Model(images, model(images, training=False), name=f"{model.name}_inference")


def _trains_by_default(layer: keras.layers.Layer) -> bool:
    parameter = inspect.signature(layer.call).parameters.get("training")
    return parameter is not None and parameter.default is True


def _is_input(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.InputLayer)


def _replaced(config: Any) -> Any:
    """A layer's or model's config with the float32 policy for the mixed one, at any depth."""
    if isinstance(config, dict):
        return {key: _replaced(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(map(_replaced, config))
    return PLAIN if config == MIXED else config
