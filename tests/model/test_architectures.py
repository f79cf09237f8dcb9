"""Architectures: raw pixels in, probabilities out, the layers that were asked for."""

import keras
import numpy as np
import pytest

from hcr.gate.compose import compose
from hcr.model.architectures.cnn import Cnn
from hcr.model.building import build_model
from hcr.training import predict_probabilities
from hcr.training.build import build

CNN = compose().model
assert isinstance(CNN, Cnn)


def of_type(model: keras.Model, kind: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_raw_pixels_go_in_and_probabilities_come_out() -> None:
    model = build_model(CNN, (8, 8, 1), 10, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    probabilities = predict_probabilities(model, images)
    assert model.input.dtype == "uint8"
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_scaling_to_0_1_is_the_first_layer() -> None:
    model = build_model(CNN, (8, 8, 1), 10, seed=0)
    scaled = model.layers[1](np.array([[[[0], [255]]]], np.uint8))
    np.testing.assert_allclose(np.array(scaled).ravel(), [0.0, 1.0])


def test_one_number_of_filters_doubles_from_block_to_block() -> None:
    model = build_model(CNN.replace(depth=3, filters=8), (28, 28, 1), 10, seed=0)
    assert [layer.filters for layer in of_type(model, keras.layers.Conv2D)] == [8, 16, 32]


def test_a_list_gives_each_block_its_own_filters() -> None:
    model = build_model(CNN.replace(depth=2, filters=(5, 7)), (28, 28, 1), 10, seed=0)
    assert [layer.filters for layer in of_type(model, keras.layers.Conv2D)] == [5, 7]


@pytest.mark.parametrize(
    ("pooling", "kind"), [("max", keras.layers.MaxPooling2D), ("average", keras.layers.AveragePooling2D)]
)
def test_pooling_halves_the_image_once_a_block(pooling: str, kind: type) -> None:
    model = build_model(CNN.replace(depth=2, pooling=pooling), (28, 28, 1), 10, seed=0)
    assert [layer.output.shape[1:3] for layer in of_type(model, kind)] == [(14, 14), (7, 7)]


def test_without_pooling_the_image_keeps_its_size_at_any_depth() -> None:
    model = build_model(CNN.replace(depth=5, filters=2, pooling="none"), (8, 8, 1), 10, seed=0)
    assert model.get_layer("act5").output.shape[1:3] == (8, 8)


def test_each_block_may_have_settings_of_its_own() -> None:
    cfg = CNN.replace(
        depth=3,
        filters=(4, 5, 6),
        convolutions=(1, 2, 1),
        kernel_size=(5, 3, 3),
        strides=(2, 1, 1),
        padding=("valid", "same", "same"),
        pooling=("none", "max", "average"),
    )
    model = build_model(cfg, (28, 28, 1), 10, seed=0)
    convolutions = of_type(model, keras.layers.Conv2D)
    assert [(layer.name, layer.filters, layer.kernel_size[0], layer.strides[0]) for layer in convolutions] == [
        ("conv1", 4, 5, 2),
        ("conv2", 5, 3, 1),
        ("conv2_2", 5, 3, 1),
        ("conv3", 6, 3, 1),
    ]
    assert len(of_type(model, keras.layers.Activation)) == 4 + 1  # and the softmax
    # 28 loses 4 and is halved by strides; then pooling halves it twice.
    assert [layer.output.shape[1] for layer in convolutions] == [12, 12, 12, 6]
    assert model.get_layer("flatten").output.shape[1] == 3 * 3 * 6


def test_what_the_gate_counts_of_an_image_is_what_keras_leaves_of_it() -> None:
    for padding in ("same", "valid"):
        for strides, kernel_size, convolutions in ((1, 3, 1), (2, 5, 2), (3, 2, 3), (2, 1, 1)):
            cfg = CNN.replace(depth=1, padding=padding, strides=strides, kernel_size=kernel_size)
            cfg = cfg.replace(convolutions=convolutions, filters=2)
            block = build_model(cfg, (29, 23, 1), 10, seed=0).get_layer("flatten").input
            assert block.shape[1:3] == tuple(cfg.blocks[0].output_size(size) for size in (29, 23)), cfg


def test_a_crop_looks_at_the_central_square_alone() -> None:
    model = build_model(CNN.replace(crop=22), (28, 28, 1), 10, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), dtype=np.uint8)
    framed = images.copy()
    framed[:, :3] = framed[:, -3:] = framed[:, :, :3] = framed[:, :, -3:] = 0
    assert np.array_equal(predict_probabilities(model, framed), predict_probabilities(model, images))
    framed[:, 3, 3] ^= 255
    assert not np.array_equal(predict_probabilities(model, framed), predict_probabilities(model, images))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_pooling_before_the_activation_changes_nothing(activation: str) -> None:
    """Each block is the maximum of activations, whichever of the two comes first in the graph."""
    model = build_model(CNN.replace(depth=1, filters=3, activation=activation), (8, 8, 1), 10, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    before = keras.Model(model.input, model.get_layer("norm1").output)(images)
    expected = keras.ops.max_pool(keras.activations.get(activation)(before), 2, 2)
    found = keras.Model(model.input, model.get_layer("flatten").input)(images)
    assert np.array_equal(found, expected)


def test_batch_norm_dropout_and_dense_layers_come_and_go_with_their_settings() -> None:
    full = build_model(CNN.replace(dense_units=(16, 8), dropout=0.5), (8, 8, 1), 10, seed=0)
    bare = build_model(CNN.replace(dense_units=(), dropout=0.0, batch_norm=False), (8, 8, 1), 10, seed=0)
    assert [layer.units for layer in of_type(full, keras.layers.Dense)] == [16, 8, 10]
    assert [layer.rate for layer in of_type(full, keras.layers.Dropout)] == [0.5, 0.5, 0.5]
    assert len(of_type(full, keras.layers.BatchNormalization)) == 2
    assert [layer.units for layer in of_type(bare, keras.layers.Dense)] == [10]
    assert of_type(bare, keras.layers.Dropout) == of_type(bare, keras.layers.BatchNormalization) == []


@pytest.mark.parametrize(("precision", "computed"), [("bfloat16", "bfloat16"), ("float32", "float32")])
def test_precision_is_that_of_the_sums_while_weights_and_probabilities_stay_float32(
    precision: str, computed: str
) -> None:
    model, _ = build(compose([f"training.precision={precision}"]), num_train=100)
    convolution = model.get_layer("conv2")
    assert convolution.compute_dtype == computed
    assert convolution.kernel.dtype == "float32"
    assert predict_probabilities(model, np.zeros((2, 8, 8, 1), np.uint8)).dtype == np.float32


def test_the_keras_example_has_its_published_size() -> None:
    cfg = compose(["experiment=keras_example"])
    assert build_model(cfg.model, (28, 28, 1), 10, seed=0).count_params() == 34_826


def test_the_seed_decides_the_initial_weights_whatever_was_built_before() -> None:
    first = build_model(CNN, (8, 8, 1), 10, seed=3)
    build_model(CNN, (28, 28, 1), 26, seed=1)
    again = build_model(CNN, (8, 8, 1), 10, seed=3)
    other = build_model(CNN, (8, 8, 1), 10, seed=4)
    assert [layer.name for layer in first.layers] == [layer.name for layer in again.layers]
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), again.get_weights(), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first.get_weights(), other.get_weights(), strict=True))


def test_lenet5_has_the_layers_of_its_paper() -> None:
    model = build_model(compose(["dataset=mnist", "model=lenet5"]).model, (28, 28, 1), 10, seed=0)
    assert model.get_layer("pool2").output.shape[1:] == (5, 5, 16)
    # 156 + 2,416 in the convolutions, 400 to 120 to 84 to 10 behind them.
    assert model.count_params() == 156 + 2_416 + 401 * 120 + 121 * 84 + 85 * 10


def test_an_mlp_without_hidden_layers_is_a_linear_model() -> None:
    cfg = compose(["model=mlp", "model.dense_units=[]"]).model
    assert build_model(cfg, (8, 8, 1), 10, seed=0).count_params() == 65 * 10


def test_a_resnet_halves_the_image_at_every_stage_but_the_first_and_has_its_blocks() -> None:
    cfg = compose(["model=resnet", "model.filters=[4,8,16]", "model.blocks=2"]).model
    model = build_model(cfg, (28, 28, 1), 10, seed=0)
    sizes = [model.get_layer(f"stage{stage}_block2_add").output.shape[1:] for stage in (1, 2, 3)]
    assert sizes == [(28, 28, 4), (14, 14, 8), (7, 7, 16)]
    assert len(of_type(model, keras.layers.Add)) == 6
    # A shortcut is a convolution only where the shape changes.
    assert [layer.name for layer in model.layers if "shortcut" in layer.name] == [
        "stage2_block1_shortcut",
        "stage3_block1_shortcut",
    ]


@pytest.mark.parametrize("size", [(5, 3), (8, 8), (29, 17)])
def test_mlp_and_resnet_take_images_of_any_size(size: tuple[int, int]) -> None:
    for name in ("mlp", "resnet"):
        model = build_model(compose([f"model={name}"]).model, (*size, 3), 7, seed=0)
        probabilities = predict_probabilities(model, np.zeros((2, *size, 3), np.uint8))
        assert probabilities.shape == (2, 7)


def test_the_crop_is_the_centre_and_a_model_that_is_called_plainly_does_not_train() -> None:
    model = build_model(CNN.replace(depth=1, crop=5), (8, 9, 1), 10, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 1), dtype=np.uint8)
    seen = keras.Model(model.input, model.get_layer("crop").output)(images)
    np.testing.assert_allclose(np.asarray(seen), images[:, 1:6, 2:7] / np.float32(255), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(model(images)), predict_probabilities(model, images), atol=1e-6)
