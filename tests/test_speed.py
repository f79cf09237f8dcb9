"""The speed benchmark counts right, and its programs do what they say."""

import importlib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SPEED = Path(__file__).parents[1] / "experiments" / "speed"
EXAMPLE = "keras_convnet"
MACHINE = {"cpu": "one", "cores": 2, "bfloat16": True, "threads": [2]}


@pytest.fixture(scope="module", autouse=True)
def _of_speed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SPEED)
        yield


@pytest.fixture
def benchmark() -> ModuleType:
    return importlib.import_module("benchmark")


@pytest.fixture
def programs() -> ModuleType:
    return importlib.import_module("programs")


@pytest.fixture
def tables() -> ModuleType:
    return importlib.import_module("speed_tables")


def test_the_operations_of_an_image_are_those_of_the_layers(tables: ModuleType) -> None:
    from hcr.gate.compose import compose
    from hcr.model.building import build_model

    model = build_model(compose(["experiment=keras_example"]).model, (28, 28, 1), 10, seed=0)
    forward = []
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            pixels = layer.output.shape[1] * layer.output.shape[2] if len(layer.output.shape) == 4 else 1
            forward.append(2 * pixels * layer.kernel.shape.num_elements())
    assert forward[0] == tables.FIRST_FLOP
    assert 3 * sum(forward) - forward[0] == tables.FLOP_PER_IMAGE


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_the_plain_models_are_those_of_hcr(programs: ModuleType, name: str) -> None:
    import numpy as np
    from keras import layers

    from hcr.gate.compose import compose
    from hcr.model.building import build_model

    cfg = compose([*programs.PLAIN, f"model={name}"])
    ours = build_model(cfg.model, (28, 28, 1), 10, seed=0)
    scripts = importlib.import_module("keras_batch_norm")
    plain = scripts.MODELS[name]()
    assert plain.count_params() == ours.count_params()
    settings = {layers.Dropout: ["rate"], layers.BatchNormalization: ["momentum", "epsilon"]}
    for kind in (layers.Conv2D, layers.BatchNormalization, layers.Dense, layers.Dropout, layers.Add):
        found, expected = (
            [
                (layer.output.shape, *(getattr(layer, name) for name in settings.get(kind, ())))
                for layer in model.layers
                if isinstance(layer, kind)
            ]
            for model in (plain, ours)
        )
        assert found == expected, kind
    rng = np.random.default_rng(0)
    # Of one axis: scales, offsets and moments, which no layer may ignore. The others are larger, to tell images apart.
    weights = [rng.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else 2 * w for w in ours.get_weights()]
    for model in (plain, ours):
        model.set_weights(weights)
    images = rng.integers(0, 256, (5, 4, 4, 1), dtype=np.uint8).repeat(7, axis=1).repeat(7, axis=2)
    probabilities = ours(images, training=False).numpy()
    assert probabilities.std(axis=0).max() > 0.1
    np.testing.assert_allclose(plain(images / np.float32(255), training=False).numpy(), probabilities, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_the_plain_models_train_as_those_of_hcr(programs: ModuleType, name: str) -> None:
    from hcr.gate.compose import compose

    cfg = compose([*programs.PLAIN, f"model={name}"])
    scripts = importlib.import_module("keras_batch_norm")
    optimizer = scripts.compiled(scripts.MODELS[name]()).optimizer
    for setting in ("learning_rate", "beta_1", "beta_2", "epsilon"):
        value = getattr(optimizer, setting)
        assert float(value) == pytest.approx(getattr(cfg.optimizer, setting)), setting
    assert scripts.BATCH_SIZE == cfg.training.batch_size == programs.BATCH_SIZE[name]
    assert compose(["experiment=keras_example"]).training.batch_size == programs.BATCH_SIZE[EXAMPLE]


def run(epoch_s: list[float], accuracy: list[float], precision: str = "float32") -> dict[str, Any]:
    images = {"train": 54_000, "val": 6_000}
    return {
        "epoch_s": epoch_s, "val_accuracy": accuracy, "test_accuracy": accuracy, "wall_s": 9.0, "rss_mib": 900.0,
        "images": images, "precision": precision,
    }  # fmt: skip


def two_rounds(programs: ModuleType) -> list[dict[str, Any]]:
    """Rounds of which the second hits a machine that is twice as slow."""
    rounds = []
    for slow in (1.0, 2.0):
        of = {name: run([6 * slow, 4 * slow], [0.98, 0.991]) for name in programs.MODELS[EXAMPLE]}
        of[programs.BFLOAT16] = run([4 * slow, 1 * slow], [0.98, 0.985], "bfloat16")
        recipes = {"speedrun": [run([1 * slow], [0.99], "bfloat16")], "fast_995": [run([5 * slow], [0.995])]}
        rounds.append({EXAMPLE: {"2": of}, "recipes": recipes})
    return rounds


def test_ratios_are_taken_within_a_round(
    programs: ModuleType, tables: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = two_rounds(programs)
    settings = {**MACHINE, "epochs": {EXAMPLE: 2}, "images": {EXAMPLE: 60_000}, "recipes": ["speedrun", "fast_995"]}
    of_example = [round_[EXAMPLE]["2"] for round_ in rounds]
    assert tables.ratios(of_example, programs.BFLOAT16, programs.STOCK, max) == [1.5, 1.5]
    assert tables.time_to([0.98, 0.99, 0.995], [3.0, 2.0, 1.0]) == 5.0
    assert tables.time_to([0.98], [3.0]) is None
    tables.print_tables(rounds, {"float32": {"2": 2e11}, "bfloat16": {"2": 4e11}}, settings)
    told = capsys.readouterr().out
    assert "its mean reaches 99.0 % after 2 epochs" in told
    assert "Keras' over ours, round by round: 10.0" in told
    assert "0 of 2 did" in told
    assert "hcr bfloat16 : Keras, stock fit   means 2.00" in told
    assert "goal 2.1x: missed" in told
    assert "goal 1.85x: reached" in told
    assert "speedrun: test accuracy" in told
    assert "fast_995 (float32 here): test accuracy" in told


def test_recipes_are_not_told_in_epochs_of_other_images(
    programs: ModuleType, tables: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**MACHINE, "epochs": {EXAMPLE: 2}, "images": {EXAMPLE: 6_000}, "recipes": ["speedrun"]}
    tables.print_tables(two_rounds(programs), {"float32": {"2": 2e11}, "bfloat16": {"2": 4e11}}, settings)
    told = capsys.readouterr().out
    assert "speedrun: test accuracy" in told
    assert "in epochs of" not in told


def test_rounds_of_other_settings_are_refused(benchmark: ModuleType, tmp_path: Path) -> None:
    output = tmp_path / "speed.json"
    settings = {"threads": [2, 1], "epochs": {EXAMPLE: 12}}
    assert benchmark.kept(output, settings) == {}
    output.write_text(json.dumps({"settings": settings, "rounds": [{}]}))
    assert benchmark.kept(output, settings)["rounds"] == [{}]
    with pytest.raises(SystemExit, match=r"measured with threads \[2, 1\], not \[2\]; choose another --output"):
        benchmark.kept(output, settings | {"threads": [2]})
    output.write_text(json.dumps({"rounds": [{}]}))  # of a version that did not note them
    with pytest.raises(SystemExit, match="threads None"):
        benchmark.kept(output, settings)


@pytest.mark.slow
def test_the_plain_scripts_and_hcr_train_the_same_images(programs: ModuleType, mnist_dir: Path) -> None:
    mnist = mnist_dir / "mnist-original.mat"
    for model, names in {EXAMPLE: [programs.STALL_FREE], "cnn": [programs.STOCK, programs.FLOAT32]}.items():
        for name in names:
            command = programs.MODELS[model][name]
            measured = programs.run_program(command, mnist, seed=0, epochs=1, images=6_000, threads=1)
            assert measured["images"] == {"train": 5_400, "val": 600}, name
            assert len(measured["epoch_s"]) == len(measured["val_accuracy"]) == 1, name
            assert measured["val_accuracy"][0] > 0.7, name
            assert 0 < measured["epoch_s"][0] < measured["wall_s"], name
            assert measured["rss_mib"] > 300, name


@pytest.mark.slow
def test_the_seconds_of_a_run_are_told_in_order(tmp_path: Path) -> None:
    command = [sys.executable, SPEED / "start.py", "--times", "1", "training=smoke", "model.filters=4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = re.findall(r"^ *([0-9.]+)  \[ *(-?[0-9.]+); *-?[0-9.]+\]  (.*)$", done.stdout, re.MULTILINE)
    names = [name for *_, name in rows]
    assert [names[0], names[-1]] == ["hcr is imported", "the command ends"]
    for first, then in itertools.pairwise(
        ["the config is accepted", "NumPy, TensorFlow and Keras are imported", "the step is traced", "trained"]
    ):
        assert names.index(first) < names.index(then)
    seconds = [float(at) for at, *_ in rows]
    assert seconds == sorted(seconds)
    assert "the whole command: " in done.stdout


@pytest.mark.slow
def test_the_operations_of_a_step_are_told_with_their_work(mnist_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, SPEED / "operations.py", "--mnist", mnist_dir / "mnist-original.mat"]
    command += ["--models", "keras_convnet", "--steps", "16", "--threads", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "convolution, gradient of the kernel, 3x3, 32 to 64, at 11x11" in done.stdout
    assert "14.26 MFLOP an image" in done.stdout, "as its layers say, forward and backward"
