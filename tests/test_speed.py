"""The speed benchmark counts right, and its programs do what they say."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SPEED = Path(__file__).parents[1] / "experiments" / "speed"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark", SPEED / "benchmark.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_operations_of_an_image_are_those_of_the_layers(benchmark: ModuleType) -> None:
    from hcr.gate.compose import compose
    from hcr.model.building import build_model

    model = build_model(compose(["experiment=keras_example"]).model, (28, 28, 1), 10, seed=0)
    forward = []
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            pixels = layer.output.shape[1] * layer.output.shape[2] if len(layer.output.shape) == 4 else 1
            forward.append(2 * pixels * layer.kernel.shape.num_elements())
    assert forward[0] == benchmark.FIRST_FLOP
    assert 3 * sum(forward) - forward[0] == benchmark.FLOP_PER_IMAGE


def run(epoch_s: list[float], accuracy: list[float]) -> dict[str, object]:
    return {"epoch_s": epoch_s, "val_accuracy": accuracy, "test_accuracy": accuracy, "wall_s": 9.0, "rss_mib": 900.0}


def test_ratios_are_taken_within_a_round(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    rounds = []
    for slow in (1.0, 2.0):  # the second round hits a machine that is twice as slow
        of = {name: run([6 * slow, 4 * slow], [0.98, 0.991]) for name in benchmark.PROGRAMS}
        of["hcr bfloat16"] = run([3 * slow, 2 * slow], [0.98, 0.985])
        rounds.append(of | {name: [run([1 * slow], [0.99])] for name in benchmark.RECIPES})
    assert benchmark.ratios(rounds, "hcr bfloat16", "Keras, stock fit") == [2.0, 2.0]
    assert benchmark.time_to([0.98, 0.99, 0.995], [3.0, 2.0, 1.0]) == 5.0
    assert benchmark.time_to([0.98], [3.0]) is None
    benchmark.print_tables(rounds, {"float32": 2e11, "bfloat16": 4e11})
    told = capsys.readouterr().out
    assert "its mean reaches 99.0 % after 2 epochs" in told
    assert "Keras' over ours, round by round: 10.0" in told
    assert "0 of 2 did" in told


@pytest.mark.slow
def test_the_plain_scripts_and_hcr_train_the_example(benchmark: ModuleType, mnist_dir: Path) -> None:
    mnist = mnist_dir / "mnist-original.mat"
    found = {
        "stall-free": benchmark.run_keras("keras_stall_free.py", mnist, 0, 1),
        "hcr": benchmark.run_hcr((*benchmark.EXAMPLE, "training.epochs=1", "training.steps_per_epoch=200"), mnist),
    }
    for name, measured in found.items():
        assert len(measured["epoch_s"]) == len(measured["val_accuracy"]) == 1, name
        assert measured["test_accuracy"][0] > {"stall-free": 0.95, "hcr": 0.9}[name], name  # of 200 steps, ours
        assert 0 < measured["epoch_s"][0] < measured["wall_s"], name
        assert measured["rss_mib"] > 300, name
