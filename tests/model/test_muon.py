"""Muon: orthogonal updates of kernels, Adam for the rest."""

import keras
import numpy as np
import pytest
from keras import ops

from hcr.gate.compose import compose
from hcr.model.building import build_model, build_optimizer
from hcr.model.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(9, 32), (288, 64), (16, 16)])
def test_an_update_is_nearly_orthogonal_whatever_the_scale_of_its_gradient(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result = np.array(orthogonalize(ops.convert_to_tensor(matrix), steps=6))
    values = np.linalg.svd(result, compute_uv=False)
    assert 0.6 < values.min() <= values.max() < 1.3
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    # The same singular vectors: what is left of the difference is in the singular values alone.
    rotated = left.T @ result @ right.T
    np.testing.assert_allclose(rotated, np.diag(np.diag(rotated)), atol=0.02)
    scaled = np.array(orthogonalize(ops.convert_to_tensor(matrix * 1000), steps=6))
    np.testing.assert_allclose(scaled, result, atol=1e-3)


def muon(**overrides: object) -> Muon:
    words = [f"optimizer.{name}={value}" for name, value in overrides.items()]
    cfg = compose(["optimizer=muon", "schedule=constant", *words])
    optimizer = build_optimizer(cfg.optimizer, cfg.schedule, 100)
    assert isinstance(optimizer, Muon)
    return optimizer


def test_convolution_kernels_go_to_muon_and_the_rest_to_adam() -> None:
    model = build_model(compose().model, (8, 8, 1), 10, seed=0)
    optimizer = muon()
    taken = {variable.path for variable in model.trainable_variables if optimizer.takes(variable)}
    assert taken == {"conv1/kernel", "conv2/kernel"}
    with_dense = muon(dense_kernels="true")
    taken = {variable.path for variable in model.trainable_variables if with_dense.takes(variable)}
    assert taken == {"conv1/kernel", "conv2/kernel", "dense1/kernel"}


def test_a_step_on_a_kernel_is_the_orthogonal_update_times_its_scale() -> None:
    kernel = keras.Variable(np.zeros((3, 3, 2, 32), np.float32), name="kernel", trainable=True)
    object.__setattr__(kernel, "_path", "conv1/kernel")
    gradient = np.random.default_rng(1).normal(size=(3, 3, 2, 32)).astype(np.float32)
    optimizer = muon(learning_rate=0.5, newton_schulz_steps=4)
    optimizer.apply([ops.convert_to_tensor(gradient)], [kernel])
    expected = np.array(orthogonalize(ops.convert_to_tensor(gradient.reshape(18, 32)), 4)) * np.sqrt(32 / 18)
    np.testing.assert_allclose(np.array(kernel.numpy()), -0.5 * expected.reshape(3, 3, 2, 32), atol=1e-5)


def test_everything_else_steps_as_keras_adam_does() -> None:
    rng = np.random.default_rng(2)
    start = rng.normal(size=(5,)).astype(np.float32)
    ours, theirs = keras.Variable(start, name="bias"), keras.Variable(start, name="bias")
    optimizer = muon(learning_rate=0.02, adam_learning_rate=0.01)
    adam = keras.optimizers.Adam(0.01, epsilon=1e-7)
    for _ in range(5):
        gradient = ops.convert_to_tensor(rng.normal(size=(5,)).astype(np.float32))
        optimizer.apply([gradient], [ours])
        adam.apply([gradient], [theirs])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4)
