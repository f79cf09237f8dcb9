"""A batch cut into shards gives the numbers of the whole batch: outputs, gradients, moving statistics."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from hcr.gate.compose import compose
from hcr.model.building import build_model
from hcr.model.fast_layers import FastDropout, batch_norm
from hcr.training.shards import call_on_shards, cut

SHAPE = (28, 28, 1)
LOSS = keras.losses.CategoricalCrossentropy(reduction="sum")

Numbers = tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]


@pytest.fixture(autouse=True)
def _in_float32() -> None:
    """Whatever precision the process trained in before."""
    keras.config.set_dtype_policy("float32")


def whole(model: keras.Model, batch: Any) -> Any:
    return model(batch, training=True)


def sharded(num_shards: int) -> Callable[[keras.Model, Any], Any]:
    return lambda model, batch: tf.concat(call_on_shards(model, cut(batch, num_shards)), 0)


def step(model: keras.Model, call: Callable[[keras.Model, Any], Any], num_images: int = 13) -> Numbers:
    """The outputs of a step in training, the gradients, and all weights and states afterwards."""
    random = np.random.default_rng(1)
    images = tf.constant(random.integers(0, 256, (num_images, *model.input_shape[1:]), dtype=np.uint8))
    classes = tf.one_hot(random.integers(0, 10, num_images), 10)

    @tf.function(autograph=False)
    def run() -> Any:
        with tf.GradientTape() as tape:
            outputs = call(model, images)
            loss = tf.add_n([LOSS(classes, outputs) / num_images, *model.losses])
        return outputs, tape.gradient(loss, model.trainable_variables)

    outputs, gradients = run()
    return np.asarray(outputs), [np.asarray(g) for g in gradients], [np.asarray(v) for v in model.variables]


def assert_equal_steps(build: Callable[[], keras.Model], num_shards: int, num_images: int = 13) -> None:
    expected = step(build(), whole, num_images)
    got = step(build(), sharded(num_shards), num_images)
    np.testing.assert_allclose(got[0], expected[0], atol=1e-5)
    for ours, theirs in zip(got[1], expected[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1, np.abs(theirs).max()))
    for ours, theirs in zip(got[2], expected[2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def moved(model: keras.Model) -> keras.Model:
    """The model with biases, and scales of either sign, as training may make them."""
    random = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and layer.use_bias:
            layer.bias.assign(random.normal(0, 1, layer.bias.shape))
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(random.normal(0, 1, layer.gamma.shape))
            layer.beta.assign(random.normal(0, 1, layer.beta.shape))
    return model


ARCHITECTURES = {
    "cnn": ["model.filters=4"],
    "cnn-deep": [
        *("model.depth=3", "model.filters=[4,6,8]", "model.convolutions=[1,2,1]", "model.crop=22"),
        *("model.pooling=[max,max,none]", "model.dropout=0.3", "model.padding=[valid,same,same]"),
    ],
    "cnn-average": ["model.filters=4", "model.pooling=average", "model.activation=gelu"],
    "cnn-plain": ["model.filters=4", "model.batch_norm=false"],
    "keras_convnet": ["model=keras_convnet"],
    "lenet5": ["model=lenet5"],
    "mlp": ["model=mlp", "model.dense_units=[16,8]"],
    "resnet": ["model=resnet", "model.filters=[4,6]", "model.blocks=1", "model.dropout=0.2"],
}


@pytest.mark.parametrize("num_shards", [1, 2, 4])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_step_in_shards_has_the_gradients_and_statistics_of_keras_own_step(name: str, num_shards: int) -> None:
    cfg = compose(["dataset=mnist", *ARCHITECTURES[name]]).model
    assert_equal_steps(lambda: moved(build_model(cfg, SHAPE, 10, seed=0)), num_shards)


@keras.saving.register_keras_serializable()
class Mixing(layers.Layer):
    """A layer of somebody's own that mixes the images of a batch, and adds a loss."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        self.add_loss(keras.ops.mean(inputs))
        return inputs - keras.ops.mean(inputs, axis=0) if training else inputs


def test_layers_that_may_mix_images_get_the_whole_batch() -> None:
    def build() -> keras.Model:
        keras.utils.set_random_seed(0)
        images = keras.Input((8, 8, 1), dtype="uint8")
        x = layers.Rescaling(1 / 255)(images)
        x = layers.Conv2D(4, 3, activity_regularizer="l2", kernel_regularizer="l2")(x)
        x = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(), layers.GaussianDropout(0.3)])(x)
        x = layers.Dropout(0.4)(layers.Flatten()(Mixing()(x)))
        x = layers.Concatenate()([x, 2.0 * keras.ops.flip(x, axis=0)])
        x = layers.Dense(8)(inputs=x)
        return keras.Model(images, layers.Dense(10, activation="softmax")(x))

    assert_equal_steps(build, num_shards=2)
    assert_equal_steps(build, num_shards=3)


def test_dropout_drops_the_values_that_it_would_drop_of_the_whole_batch() -> None:
    x = tf.ones([7, 11])
    together = FastDropout(0.5, seed=3)(x, training=True)
    parts = FastDropout(0.5, seed=3).drop_shards(cut(x, 3))
    np.testing.assert_array_equal(tf.concat(parts, 0), together)


@pytest.mark.parametrize("kind", ["norm", "bias"])
def test_what_others_read_too_is_not_pooled_first(kind: str) -> None:
    def build() -> keras.Model:
        keras.utils.set_random_seed(0)
        images = keras.Input((8, 8, 1), dtype="uint8")
        read = layers.Conv2D(4, 3, padding="same", use_bias=kind == "bias")(layers.Rescaling(1 / 255)(images))
        if kind == "norm":
            read = batch_norm(read, "norm")
        x = layers.Concatenate()([layers.Flatten()(layers.MaxPooling2D(2)(read)), layers.Flatten()(read)])
        return moved(keras.Model(images, layers.Dense(10, activation="softmax")(x)))

    assert_equal_steps(build, num_shards=2)


@pytest.mark.parametrize("kind", ["norm", "bias"])
@pytest.mark.parametrize(
    ("convolution", "pooling", "by_name"),
    [
        ({"activation": "gelu"}, {}, False),
        ({"activity_regularizer": "l2"}, {}, False),
        ({"groups": 2}, {}, False),
        ({}, {"activity_regularizer": "l2"}, False),
        ({}, {"dtype": "float64"}, False),
        ({"dilation_rate": 2}, {"padding": "same"}, False),
        ({"padding": "same"}, {"data_format": "channels_first"}, False),
        ({}, {}, True),
    ],
    ids=repr,
)
def test_what_comes_before_any_pooling_has_the_numbers_of_keras(
    kind: str, convolution: dict[str, Any], pooling: dict[str, Any], by_name: bool
) -> None:
    def build() -> keras.Model:
        keras.utils.set_random_seed(0)
        images = keras.Input((8, 8, 1), dtype="uint8")
        x = layers.Rescaling(1 / 255)(images)
        x = layers.Conv2D(4, 3, use_bias=kind == "bias", **convolution)(layers.Concatenate()([x, 1 - x]))
        if kind == "norm":
            x = batch_norm(x, "norm")
        pool = layers.MaxPooling2D(2, **pooling)
        x = layers.Flatten()(pool(inputs=x) if by_name else pool(x))
        return moved(keras.Model(images, layers.Dense(10, activation="softmax", dtype="float32")(x)))

    assert_equal_steps(build, num_shards=2)


def test_a_convolution_that_is_called_twice_has_the_numbers_of_keras() -> None:
    def build() -> keras.Model:
        keras.utils.set_random_seed(0)
        images = keras.Input((8, 8, 1), dtype="uint8")
        x = layers.Rescaling(1 / 255)(images)
        twice = layers.Conv2D(4, 3)
        x = layers.Add()([layers.MaxPooling2D(2)(twice(x)), layers.MaxPooling2D(2)(twice(1 - x))])
        return moved(keras.Model(images, layers.Dense(10, activation="softmax")(layers.Flatten()(x))))

    assert_equal_steps(build, num_shards=2)


def test_the_biases_of_keras_convnet_are_added_behind_pooling() -> None:
    model = build_model(compose(["dataset=mnist", "model=keras_convnet"]).model, SHAPE, 10, seed=0)
    run = tf.function(sharded(2)).get_concrete_function(model, tf.zeros([8, *SHAPE], tf.uint8))
    sizes = {tuple(node.outputs[0].shape[1:3]) for node in run.graph.get_operations() if node.type == "BiasAdd"}
    assert {(13, 13), (5, 5)} <= sizes
    assert not {(26, 26), (11, 11)} & sizes


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 64, 65])
@pytest.mark.parametrize("num_shards", [1, 2, 3, 8])
def test_a_cut_keeps_every_row_in_order(rows: int, num_shards: int) -> None:
    parts = cut(tf.range(rows), num_shards)
    assert len(parts) == num_shards
    np.testing.assert_array_equal(tf.concat(parts, 0), np.arange(rows))
    sizes = [int(tf.size(part)) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("name", ["cnn-deep", "keras_convnet"])
def test_shards_in_bfloat16_are_as_near_to_float32_as_keras_own_step_is(name: str) -> None:
    cfg = compose(["dataset=mnist", *ARCHITECTURES[name]]).model

    def gradients(policy: str, call: Callable[[keras.Model, Any], Any]) -> np.ndarray:
        keras.config.set_dtype_policy(policy)
        try:
            found = step(moved(build_model(cfg, SHAPE, 10, seed=0)), call, num_images=64)[1]
        finally:
            keras.config.set_dtype_policy("float32")
        return np.concatenate([gradient.ravel() for gradient in found])

    exact = gradients("float32", whole)
    theirs = np.linalg.norm(gradients("mixed_bfloat16", whole) - exact)
    assert 0 < theirs < np.linalg.norm(exact) / 2
    assert np.linalg.norm(gradients("mixed_bfloat16", sharded(2)) - exact) < 1.5 * theirs
