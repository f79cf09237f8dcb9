"""What a run keeps of its trained model: itself, or the mean over shifts of the image."""

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from hcr.gate.compose import compose
from hcr.model.building import build_model
from hcr.model.finishing import SHIFTS, finished_model, with_shifts
from hcr.training.predict import predict_probabilities

pytestmark = pytest.mark.slow  # imports TensorFlow

SMALL = ["model.filters=4", "model.dense_units=[]"]
SHAPE = (8, 8, 1)


@pytest.fixture(params=["float32", "mixed_bfloat16"])
def model(request: pytest.FixtureRequest) -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    built = build_model(compose(SMALL).model, SHAPE, 10, seed=0)
    keras.config.set_dtype_policy(before)
    return built


def images(shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)


def test_without_test_time_augmentation_the_trained_model_is_kept(model: keras.Model) -> None:
    assert finished_model(model, compose([]).training) is model


def test_shifts_average_the_image_and_its_four_neighbours_whose_border_is_repeated(model: keras.Model) -> None:
    seen = images()
    framed = np.pad(seen, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="edge")
    moved = [framed[:, top : top + 8, left : left + 8] for top, left in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]
    expected = np.mean([predict_probabilities(model, np.ascontiguousarray(view)) for view in moved], axis=0)

    finished = finished_model(model, compose(["training.tta=shift"]).training)
    got = predict_probabilities(finished, seen)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(got, predict_probabilities(model, seen), atol=1e-6)
    assert finished.count_params() == model.count_params()
    assert compose(["training.tta=shift"]).training.predictions_per_image == 1 + len(SHIFTS)


def test_it_loads_without_hcr_and_predicts_the_same(model: keras.Model, tmp_path: Path) -> None:
    finished = finished_model(model, compose(["training.tta=shift"]).training)
    finished.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as saved:
        assert b"hcr" not in saved.read("config.json")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(predict_probabilities(loaded, images()), predict_probabilities(finished, images()))


@pytest.mark.parametrize("shape", [(1, 5, 1), (5, 1, 3), (1, 1, 1)])
def test_images_of_one_pixel_across_are_shifted_onto_themselves(shape: tuple[int, ...]) -> None:
    inputs = keras.Input(shape, dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(flat))
    assert with_shifts(model).output_shape == (None, 3)
    if shape == (1, 1, 1):
        np.testing.assert_allclose(
            predict_probabilities(with_shifts(model), images(shape)),
            predict_probabilities(model, images(shape)),
            atol=1e-6,
        )
