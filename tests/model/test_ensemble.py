"""A model of several: their mean, whatever they are, in one file that needs no hcr."""

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from hcr.gate.compose import compose
from hcr.gate.run_config import RunConfig
from hcr.model.building import build_model
from hcr.model.ensemble import ensemble_of
from hcr.model.fast_layers import with_keras_layers
from hcr.model.finishing import finished_model
from hcr.training.predict import predict_probabilities

pytestmark = pytest.mark.slow  # imports TensorFlow


def kept(cfg: RunConfig, seed: int) -> keras.Model:
    """An untrained model as a run keeps it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if cfg.training.precision == "bfloat16" else "float32")
    model = build_model(cfg.model, (8, 8, 1), 10, seed)
    keras.config.set_dtype_policy(before)
    return with_keras_layers(finished_model(model, cfg.training))


def test_it_is_the_mean_of_members_with_the_same_names_of_other_kinds_and_precisions(tmp_path: Path) -> None:
    small = ["model.filters=4", "model.dense_units=[]"]
    configs = [
        compose(small),
        compose(small),  # all its layers have the names of the first one's
        compose(["model=mlp"]),
        compose([*small, "training.precision=bfloat16"]),
        compose([*small, "training.tta=shift"]),
    ]
    members = [kept(cfg, seed) for seed, cfg in enumerate(configs)]
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    expected = np.mean([predict_probabilities(member, images) for member in members], axis=0, dtype=np.float64)

    model = ensemble_of(members)
    assert (model.input_shape, model.output_shape) == ((None, 8, 8, 1), (None, 10))
    got = predict_probabilities(model, images)
    np.testing.assert_allclose(got, expected, atol=3e-7)
    assert model.count_params() == sum(member.count_params() for member in members)

    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as saved:
        assert b"hcr" not in saved.read("config.json")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(predict_probabilities(loaded, images), got)
    ensemble_of([loaded, members[0]])  # an ensemble may be a member
