"""The benchmark of memory tells training from what is before and after, and makes the images it promises."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.io

MEMORY = Path(__file__).parents[2] / "experiments" / "data" / "memory.py"


@pytest.fixture(scope="module")
def memory() -> ModuleType:
    spec = importlib.util.spec_from_file_location("memory", MEMORY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_training_is_what_the_journal_says(memory: ModuleType, tmp_path: Path) -> None:
    events = [
        {"event": "run", "time_ms": 1_000},
        {"event": "metrics", "time_ms": 2_000, "values": {"model/params": 5.0}},
        {"event": "metrics", "time_ms": 14_000, "values": {"time/epoch_s": 4.0, "time/images_per_s": 10.0}},
        {"event": "metrics", "time_ms": 17_000, "values": {"time/epoch_s": 3.0, "time/images_per_s": 20.0}},
        {"event": "end", "time_ms": 30_000},
    ]
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    found = memory.epochs_of(tmp_path / "journal.jsonl")
    assert found == {"begun_s": 10.0, "ended_s": 17.0, "epoch_s": 3.0, "images_per_s": 20.0}
    nan = float("nan")
    samples = [(9.9, 900.0, 5.0), (10.0, 300.0, 6.0), (16.9, 320.0, 7.0), (17.0, 800.0, 1.0), (18.0, nan, nan)]
    assert memory.peaks({**found, "samples": samples}) == {
        "before": 900.0,
        "training": 320.0,
        "after": 800.0,
        "file": 7.0,
    }


def test_the_large_set_is_compared_with_the_small_one_of_its_round(
    memory: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(anonymous_mib: float, epoch_s: float) -> dict[str, object]:
        return {"begun_s": 1.0, "ended_s": 9.0, "epoch_s": epoch_s, "samples": [(5.0, anonymous_mib, 0.0)]}

    rounds = [{100: found(300, 1.0), 1000: found(350, 10.0)}, {100: found(500, 2.0), 1000: found(590, 30.0)}]
    memory.print_answer(rounds, 100, 1000)
    told = capsys.readouterr().out
    assert "70, sd 28 (50 to 90) MiB more; at most 400 were aimed at: met" in told
    assert "1.25, sd 0.35 (1.00 to 1.50) times as long" in told


def test_memory_is_read_of_a_process_and_not_of_one_that_has_ended(memory: ModuleType) -> None:
    import os

    anonymous_mib, file_mib = memory.resident_mib(os.getpid())
    assert anonymous_mib > 10
    assert file_mib > 1
    assert np.isnan(memory.resident_mib(2**22 + 1)).all()  # the kernel gives out no such number


def test_the_images_are_shifted_copies_with_their_labels(memory: ModuleType, mnist_dir: Path, tmp_path: Path) -> None:
    mnist = mnist_dir / "mnist-original.mat"
    memory.write_shifted(mnist, tmp_path / "some.npz", 500)
    file = scipy.io.loadmat(mnist)
    originals, labels = file["data"].T.reshape(-1, 28, 28), file["label"][0]
    of_pixels = {image.tobytes(): label for image, label in zip(originals[:, 4:24, 4:24], labels, strict=True)}
    with np.load(tmp_path / "some.npz") as made:
        assert (made["x_train"].shape, made["y_train"].shape) == ((500, 28, 28), (500,))
        assert np.array_equal(made["x_test"], originals[60_000:])
        assert np.array_equal(made["y_test"], labels[60_000:])
        for image, label in zip(made["x_train"], made["y_train"], strict=True):
            # The ink is within the inner 20x20 pixels, so a shift loses none of it.
            windows = (image[down : down + 20, across : across + 20] for down in range(2, 7) for across in range(2, 7))
            assert label in [of_pixels.get(window.tobytes()) for window in windows]


@pytest.mark.slow
def test_a_pair_of_small_sets_is_trained_on(memory: ModuleType, mnist_dir: Path, tmp_path: Path) -> None:
    memory.write_shifted(mnist_dir / "mnist-original.mat", tmp_path / "some.npz", 2000)
    found = memory.train(tmp_path / "output", ("dataset=mnist", f"dataset.path={tmp_path / 'some.npz'}", "model=mlp"))
    most = memory.peaks(found)
    assert found["epoch_s"] > 0
    assert 100 < most["training"] < 4000
    assert most["before"] > 0
