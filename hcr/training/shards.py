"""A batch cut into shards, which TensorFlow computes in parallel, with the result of the whole batch.

A large operation leaves cores idle: it waits for its slowest thread, and small operations use one thread only. So each
shard passes through the layers as an independent part of the traced step, on one thread, and TensorFlow runs the parts
side by side. Of a layer that mixes images, such as batch normalization, the shards are computed together.

If a max pooling is the only reader of a batch normalization or a convolution, the normalization, or the convolution's
bias, is computed after the pooling, where there are fewer values. Neither changes which value is the largest; see
`shard_norm` for scales below 0.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from hcr.model.fast_layers import FastDropout, FusedBatchNormalization
from hcr.model.shard_norm import can_normalize_shards, normalize_shards

# Keras' layers that compute every image by itself, whether it is trained on or not.
OF_EACH_IMAGE = (
    *(layers.Rescaling, layers.Cropping2D, layers.ZeroPadding2D, layers.UpSampling2D, layers.Resizing),
    *(layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose, layers.Dense),
    *(layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D),
    *(layers.Flatten, layers.Reshape, layers.Permute, layers.Identity, layers.LayerNormalization),
    *(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.PReLU),
    *(layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum),
)


def cut(values: Any, num_shards: int) -> list[Any]:
    """The rows of `values` in `num_shards` parts of equal size, up to one row; in order, and empty if rows are few."""
    if num_shards == 1:
        return [values]
    rows = tf.shape(values)[0]
    return [values[rows * i // num_shards : rows * (i + 1) // num_shards] for i in range(num_shards)]


def call_on_shards(model: keras.Model, shards: Sequence[Any]) -> list[Any]:
    """Call a functional model on the shards of a training batch.

    Args:
        model: of one input and one output; a graph of layers.
        shards: one or more parts of the batch, (n_i, H, W, C).

    Returns:
        The output for each shard, (n_i, K), up to rounding as `model(batch, training=True)` gives it; moving statistics
        are updated, and random numbers are drawn, once for the whole batch.
    """
    deferred = _deferred_layers(model)

    def on_shards(layer: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return _call(layer, args, kwargs, deferred)

        return call

    # Keras walks its own graph; a `_Shards` stands for a tensor.
    output = model._run_through_graph(_Shards(shards), operation_fn=on_shards)
    return list(output.parts)


class _Shards:
    """The parts of a tensor that is cut by image.

    `deferred` is a layer that is still to be computed on them, after a max pooling: a batch normalization, or a
    convolution of which only the bias is missing.
    """

    def __init__(self, parts: Sequence[Any], deferred: keras.layers.Layer | None = None) -> None:
        self.parts = parts
        self.deferred = deferred


def _call(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], deferred: set[str]) -> Any:
    # Keras' operations also get constants (`2 * x`), and a layer may get its input by name.
    several = bool(args) and isinstance(args[0], list | tuple)
    inputs = keras.tree.flatten(args[:1])
    # As a functional model does, which calls every layer in training.
    kwargs = {key: value for key, value in kwargs.items() if key != "training"}
    plain = len(args) == 1 and all(value is None for value in kwargs.values())
    plain = plain and all(isinstance(value, _Shards) for value in inputs)
    kind = type(layer)
    if plain and kind is layers.MaxPooling2D and inputs[0].deferred is not None:
        return _Shards(_pooled(inputs[0].deferred, inputs[0].parts, layer))
    if plain and kind is layers.Conv2D and layer.name in deferred:
        return _Shards([_without_bias(layer, part) for part in inputs[0].parts], deferred=layer)
    if plain and kind is FusedBatchNormalization and can_normalize_shards(layer, inputs[0].parts[0]):
        if layer.name in deferred:
            return _Shards(inputs[0].parts, deferred=layer)
        if len(inputs[0].parts) > 1:
            return _Shards(normalize_shards(layer, inputs[0].parts))
    own = [value for value in keras.tree.flatten((args, kwargs)) if isinstance(value, _Shards)]
    assert all(value.deferred is None for value in own), f"{layer.name}: reads a layer that is not computed yet"
    if plain and kind is FastDropout:
        return _Shards(layer.drop_shards(inputs[0].parts))
    if "training" in inspect.signature(layer.call).parameters:
        kwargs["training"] = True
    if plain and _is_of_each_image(layer):
        rows = zip(*(value.parts for value in inputs), strict=True)
        return _Shards([layer(list(row) if several else row[0], **kwargs) for row in rows])
    return _of_whole_batch(layer, args, kwargs)


def _of_whole_batch(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Any other layer: it gets the whole batch."""
    sizes: list[Any] = []

    def joined(value: Any) -> Any:
        if not isinstance(value, _Shards):
            return value
        sizes[:] = [tf.shape(part)[0] for part in value.parts]
        return tf.concat(value.parts, 0) if len(value.parts) > 1 else value.parts[0]

    output = layer(*keras.tree.map_structure(joined, args), **keras.tree.map_structure(joined, kwargs))

    def parted(value: Any) -> _Shards:
        return _Shards(tf.split(value, sizes, num=len(sizes)) if len(sizes) > 1 else [value])

    return keras.tree.map_structure(parted, output)


def _is_of_each_image(layer: Any) -> bool:
    if type(layer) not in OF_EACH_IMAGE or layer.activity_regularizer is not None:
        return False
    activation = getattr(layer, "activation", None)
    return activation is None or getattr(activation, "__module__", "").startswith("keras.")


def _deferred_layers(model: keras.Model) -> set[str]:
    """Names of the batch normalizations and convolutions with a bias whose only reader is a plain max pooling."""
    found = [layer for layer in model.layers if type(layer) is FusedBatchNormalization or _has_plain_bias(layer)]
    # Nodes are calls, of layers and of Keras' operations alike.
    once = [layer for layer in found if len(layer._inbound_nodes) == 1 and layer.output is not model.output]
    return {
        layer.name
        for layer in once
        if len(layer._outbound_nodes) == 1 and _is_plain_pooling(layer._outbound_nodes[0], layer.compute_dtype)
    }


def _is_plain_pooling(node: Any, dtype: str) -> bool:
    """True if `node`, a call, is a max pooling of (N, H, W, C) in `dtype` that does nothing else."""
    pool, given = node.operation, node.arguments
    return (
        type(pool) is layers.MaxPooling2D
        and pool.data_format == "channels_last"
        and pool.activity_regularizer is None
        and pool.compute_dtype == dtype
        and len(given.args) == 1
        and all(value is None for value in given.kwargs.values())
    )


def _has_plain_bias(layer: Any) -> bool:
    """True if `layer` is a convolution whose result is its bias added to a sum of products, and nothing else."""
    return (
        type(layer) is layers.Conv2D
        and layer.use_bias
        and layer.data_format == "channels_last"
        and layer.activation is keras.activations.linear
        and layer.activity_regularizer is None
        and layer.quantization_mode is None
    )


def _without_bias(layer: Any, images: Any) -> Any:
    """What a convolution gives for `images` (n, H, W, C), but for its bias."""
    return layer.convolution_op(tf.cast(images, layer.compute_dtype), tf.cast(layer.kernel, layer.compute_dtype))


def _pooled(deferred: Any, parts: Sequence[Any], pool: Any) -> list[Any]:
    """`parts` (n_i, H, W, C), pooled, and then what was deferred computed on them."""
    if type(deferred) is FusedBatchNormalization:
        return normalize_shards(deferred, parts, pool)
    return [tf.nn.bias_add(pool(part), tf.cast(deferred.bias, deferred.compute_dtype)) for part in parts]
