"""The faster layers compute what Keras' own compute, and a model goes back to those."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hcr.gate.compose import compose
from hcr.model.building import build_model
from hcr.model.fast_layers import KERAS_LAYERS, FastDropout, FusedBatchNormalization, with_keras_layers
from hcr.training import predict_probabilities


def images(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(2, 3, shape).astype(np.float32))


def step(layer: keras.layers.Layer, x: tf.Tensor) -> tuple[np.ndarray, list[np.ndarray]]:
    """The result of a training step, and the gradients of inputs, scale and shift."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(y * images(*x.shape, seed=1) + y**2)
    return np.array(y), [np.array(value) for value in tape.gradient(loss, [x, *layer.trainable_weights])]


@pytest.mark.parametrize("shape", [(16, 7, 5, 3), (2, 1, 1, 4), (1, 1, 1, 3), (32, 6)], ids=str)
def test_fused_batch_norm_steps_as_keras_does(shape: tuple[int, ...]) -> None:
    layers = [kind(momentum=0.9) for kind in (keras.layers.BatchNormalization, FusedBatchNormalization)]
    (y, gradients), (fused_y, fused_gradients) = (step(layer, images(*shape)) for layer in layers)
    np.testing.assert_allclose(fused_y, y, atol=2e-5)
    for ours, theirs in zip(fused_gradients, gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-3)
    for ours, theirs in zip(layers[1].get_weights(), layers[0].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(layers[1].moving_mean, np.zeros(shape[-1]))
    other = images(*shape, seed=2)
    np.testing.assert_allclose(layers[1](other), layers[0](other), atol=2e-5)


@pytest.mark.parametrize("rate", [0.5, 0.3, 0.01])
def test_dropout_drops_its_rate_and_keeps_the_mean(rate: float) -> None:
    layer = FastDropout(rate, seed=0)
    kept = np.array(layer(tf.ones([400, 1001]), training=True))
    assert set(np.unique(kept)) == {0.0, np.float32(1) / np.float32(1 - round(rate * 65536) / 65536)}
    sd = (rate * (1 - rate) / kept.size) ** 0.5
    assert (kept == 0).mean() == pytest.approx(rate, abs=5 * sd)
    # Neighbours come out of one draw of 32 bits: neither says anything of the other.
    dropped = (kept == 0).ravel()[:400_000].reshape(-1, 2)
    assert dropped.all(axis=1).mean() == pytest.approx(rate**2, abs=5 * (rate**2 / len(dropped)) ** 0.5)


def test_dropout_is_random_from_call_to_call_decided_by_its_seed_and_absent_outside_training() -> None:
    x = tf.ones([20, 30])
    first, again, other = FastDropout(0.5, seed=1), FastDropout(0.5, seed=1), FastDropout(0.5, seed=2)
    calls = [np.array(layer(x, training=True)) for layer in (first, first, again, again, other)]
    assert np.array_equal(calls[0], calls[2])
    assert np.array_equal(calls[1], calls[3])
    assert not np.array_equal(calls[0], calls[1])
    assert not np.array_equal(calls[0], calls[4])
    assert np.array_equal(first(x, training=False), x)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_model_of_keras_own_layers_predicts_to_the_bit_what_the_trained_one_does(precision: str) -> None:
    keras.config.set_dtype_policy(precision)
    try:
        cfg = compose(["dataset=mnist", "model.filters=4", "model.depth=3"]).model
        model = build_model(cfg, (28, 28, 1), 10, seed=0)
        random = np.random.default_rng(0)
        model.set_weights([random.uniform(0.5, 1, weight.shape) for weight in model.get_weights()])
        plain = with_keras_layers(model)
    finally:
        keras.config.set_dtype_policy("float32")
    pixels = random.integers(0, 256, (50, 28, 28, 1), dtype=np.uint8)
    assert any(type(layer) in KERAS_LAYERS for layer in model.layers)
    assert all(type(layer).__module__.startswith("keras.") for layer in plain.layers)
    assert [layer.name for layer in plain.layers] == [layer.name for layer in model.layers]
    assert np.array_equal(predict_probabilities(plain, pixels), predict_probabilities(model, pixels))


@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {"axis": 1}])
def test_a_fused_batch_norm_that_it_cannot_compute_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected scale=True, center=True and axis=-1"):
        FusedBatchNormalization(**settings)
