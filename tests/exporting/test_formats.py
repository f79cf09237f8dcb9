"""Exported models are run by the runtimes that users have, and agree with Keras on batches of any size."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from hcr.config import ConfigError
from hcr.exporting import formats
from hcr.exporting.agreement import TOLERANCE, generated_images
from hcr.exporting.formats import FORMATS, check_packages, format_of
from hcr.exporting.inference import for_inference, in_float32, is_float32
from hcr.gate.compose import compose
from hcr.model.building import build_model
from hcr.model.fast_layers import with_keras_layers
from hcr.training import predict_probabilities

ABOUT = {"class_names": ["0", "é", "½"], "image_shape": [14, 14, 1], "invert": "auto", "size": None, "run": "a1"}
ARCHITECTURES = ("cnn", "keras_convnet", "lenet5", "mlp", "resnet")
BATCHES = (1, 7, 1000)


def model_of(
    name: str, *overrides: str, precision: str = "float32", shape: tuple[int, int, int] = (14, 14, 1)
) -> keras.Model:
    """A model with weights and statistics of batch norm as a trained one has, as a run keeps it."""
    keras.utils.clear_session()
    keras.config.set_dtype_policy(precision)
    cfg = compose([f"model={name}", "dataset=mnist", *overrides]).model
    model = with_keras_layers(build_model(cfg, shape, 3, seed=0))
    keras.config.set_dtype_policy("float32")
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()])
    logits = model.get_layer("logits")
    logits.set_weights([10 * weight for weight in logits.get_weights()])
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "float32") for name in ARCHITECTURES), ("resnet", "mixed_bfloat16")]
)
def test_every_architecture_runs_in_onnx_runtime_and_litert_with_batches_of_any_size(
    name: str, precision: str, tmp_path: Path
) -> None:
    model = for_inference(model_of(name, precision=precision))
    images = generated_images((14, 14, 1))
    expected = predict_probabilities(model, images)
    assert expected.std() > 0.01  # it tells images apart
    for kind in (format_of("onnx"), format_of("litert")):
        path = tmp_path / f"model{kind.ending}"
        kind.write(model, path, ABOUT)
        assert kind.read_metadata(path) == ABOUT
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] == np.uint8
    for size in BATCHES:
        (found,) = session.run(["probabilities"], {"images": images[:size]})
        np.testing.assert_allclose(found, expected[:size], atol=TOLERANCE)
        interpreter.resize_tensor_input(given["index"], [size, 14, 14, 1])
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], images[:size])
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(answer["index"]), expected[:size], atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["elu", "gelu", "silu", "leaky_relu", "tanh"])
def test_every_activation_and_a_crop_run_in_onnx_runtime_and_litert(activation: str, tmp_path: Path) -> None:
    model = model_of("cnn", f"model.activation={activation}", "model.crop=12", "model.pooling=average", "model.depth=1")
    images = generated_images((14, 14, 1), 50)
    for kind in (format_of("onnx"), format_of("litert")):
        path = tmp_path / f"model{kind.ending}"
        kind.write(model, path, ABOUT)
        np.testing.assert_allclose(
            kind.load(path).probabilities(images), predict_probabilities(model, images), atol=TOLERANCE
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_batch_norm_after_a_layer_that_trains_by_default_uses_the_statistics_of_training(
    name: str, tmp_path: Path
) -> None:
    """CenterCrop is such a layer, in runs of earlier versions and in packages."""
    inputs = keras.Input((14, 14, 1), dtype="uint8", name="images")
    cropped = keras.layers.CenterCrop(12, 12)(keras.layers.Rescaling(1 / 255)(inputs))
    features = keras.layers.Flatten()(keras.layers.BatchNormalization(name="norm")(cropped))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(features))
    model.get_layer("norm").set_weights([np.array([value]) for value in (1.0, 0.5, 0.2, 2.0)])
    images, kind = generated_images((14, 14, 1), 20), format_of(name)
    trained = np.asarray(model(images))  # which is what Keras would export; it also moves the statistics
    expected = predict_probabilities(model, images)
    assert np.abs(trained - expected).max() > 0.01
    path = tmp_path / f"model{kind.ending}"
    kind.write(for_inference(model), path, ABOUT)
    np.testing.assert_allclose(kind.load(path).probabilities(images), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_read_back_with_its_metadata(name: str, tmp_path: Path) -> None:
    model, kind, images = model_of("cnn"), format_of(name), generated_images((14, 14, 1), 20)
    path = tmp_path / f"model{kind.ending}"
    kind.write(model, path, ABOUT)
    assert kind.read_metadata(path) == ABOUT
    loaded = kind.load(path)
    for size in (1, 7, 20):
        found = loaded.probabilities(images[:size])
        assert found.shape == (size, 3)
        np.testing.assert_allclose(found, predict_probabilities(model, images[:size]), atol=1e-5)


@pytest.mark.slow
def test_metadata_are_where_each_format_has_them(tmp_path: Path) -> None:
    model = model_of("mlp")
    for name in ("onnx", "keras", "saved_model"):
        format_of(name).write(model, tmp_path / f"m{format_of(name).ending}", ABOUT)
    props = {prop.key: prop.value for prop in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(props["class_names"]) == ["0", "é", "½"]
    assert props["run"] == "a1"
    with zipfile.ZipFile(tmp_path / "m.keras") as members:
        assert json.loads(members.read("hcr.json"))["class_names"] == ["0", "é", "½"]
    assert json.loads((tmp_path / "m" / "metadata.json").read_text())["image_shape"] == [14, 14, 1]


def test_a_model_in_bfloat16_is_exported_with_the_same_weights_in_float32() -> None:
    mixed = model_of("resnet", precision="mixed_bfloat16")
    plain = in_float32(mixed)
    assert not is_float32(mixed)
    assert is_float32(plain)
    assert in_float32(plain) is plain
    for one, other in zip(mixed.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    images = generated_images((14, 14, 1), 100)
    # It is what training in float32 would have built, not the rounded model.
    expected = model_of("resnet")
    expected.set_weights(mixed.get_weights())
    np.testing.assert_array_equal(predict_probabilities(plain, images), predict_probabilities(expected, images))
    apart = np.abs(predict_probabilities(mixed, images) - predict_probabilities(plain, images)).max()
    assert 1e-4 < apart < 0.2


def test_a_missing_package_is_named_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^--to onnx: needs tf2onnx, which is not installed; pip install 'hcr\[exp"):
        check_packages("onnx")
    check_packages("saved_model")  # TensorFlow is a part of hcr's own


@pytest.mark.slow
def test_the_code_in_the_readme_runs_an_export(tmp_path: Path) -> None:
    """Each block is a program of its own."""
    readme = (Path(formats.__file__).parent / "README.md").read_text()
    programs = re.findall(r"^```python\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    assert len(programs) == 2
    model = model_of("mlp", shape=(8, 8, 1))
    for kind in (format_of("onnx"), format_of("litert")):
        kind.write(model, tmp_path / f"digits{kind.ending}", ABOUT)
    for program in programs:
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert re.fullmatch(r"\['(.)', '\1', '\1'\]\n", done.stdout)
