"""`hcr export`: files that other runtimes run, checked before they are kept."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import Hcr

from hcr.exporting.formats import FORMATS, format_of
from hcr.recorded import RecordedRun, read_run
from hcr.tracking.events import last_event, read_events
from hcr.tracking.status import read_position
from hcr.tracking.store import open_store

NAME = "digits-cnn-epochs=2-filters=8-seed=0"  # of the quick run
# Within the process: the run's data set is not on this machine.
NO_DATA = """
import hcr.recorded
from hcr.config import DataError
def gone(self):
    raise DataError("digits.npz: expected a file, found none")
hcr.recorded.RecordedRun.load_splits = gone
"""


@pytest.fixture
def run(quick_run: Path, tmp_path: Path) -> RecordedRun:
    """A copy of the quick run, which a test may change."""
    shutil.copytree(quick_run / "output", tmp_path / "output")
    (folder,) = (tmp_path / "output" / "runs").iterdir()
    return read_run(folder)


def by_onnx(path: Path, images: np.ndarray) -> Any:
    return onnxruntime.InferenceSession(path).run(["probabilities"], {"images": images})[0]


def by_litert(path: Path, images: np.ndarray) -> Any:
    interpreter = Interpreter(str(path))
    number = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(number, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(number, images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def by_tensorflow(path: Path, images: np.ndarray) -> Any:
    loaded = tf.saved_model.load(str(path))
    return loaded.serve(images).numpy()


RUNTIMES: Mapping[str, tuple[str, Callable[[Path, np.ndarray], Any]]] = {
    "onnx": (f"{NAME}.onnx", by_onnx),
    "litert": (f"{NAME}.tflite", by_litert),
    "saved_model": (f"{NAME}-saved_model", by_tensorflow),
    "keras": (f"{NAME}.keras", lambda path, x: np.asarray(keras.models.load_model(path)(x))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_an_export_gives_the_probabilities_that_the_run_recorded_and_the_check_is_in_mlflow(
    name: str, run: RecordedRun, hcr: Hcr, tmp_path: Path
) -> None:
    file, probabilities = RUNTIMES[name]
    done = hcr("export", "latest", "--to", name)
    assert (done.returncode, done.stderr) == (0, "")
    what, checked = done.stdout.splitlines()
    assert what.startswith(f"{file}: ")
    assert what.endswith("uint8 N x 8x8x1 in, probabilities of 10 classes out")
    assert checked.startswith("checked on 180 validation images: probabilities differ from Keras' by at most ")
    assert {path.name for path in tmp_path.iterdir()} == {"output", file}

    recorded = run.predictions("val")
    found = probabilities(tmp_path / file, run.load_splits().val.images[:])
    np.testing.assert_allclose(found, recorded.probabilities, atol=1e-4)
    about = format_of(name).read_metadata(tmp_path / file)
    assert about["class_names"] == [str(digit) for digit in range(10)]
    assert (about["image_shape"], about["run"], about["dataset"]) == ([8, 8, 1], run.key, "digits")
    assert (about["invert"], about["fit"], about["pixels"], about["color"]) == ("auto", "pad", "auto", None)

    assert run.folder is not None
    again = read_run(run.folder)
    assert again.metrics[f"export/{name}_difference"] <= 1e-4
    assert json.loads(again.tags[f"hcr.export.{name}"])["checked_on"] == "180 validation images"
    assert again.tags.get("hcr.test_looks") == run.tags["hcr.test_looks"]  # an export looks at validation only
    stored = open_store(f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}").get_run(read_position(run.folder)["run_id"])
    assert stored.data.metrics[f"export/{name}_difference"] == again.metrics[f"export/{name}_difference"]
    assert stored.info.status == "FINISHED"


@pytest.mark.slow
def test_a_file_is_replaced_only_with_force(run: RecordedRun, hcr: Hcr, tmp_path: Path) -> None:
    target = tmp_path / "digits.keras"
    target.write_text("mine")
    refused = hcr("export", run.key, "--to", "keras", "-o", "digits.keras")
    said = "hcr: -o: digits.keras exists; --force replaces it, -o names another place\n"
    assert (refused.returncode, refused.stderr) == (1, said)
    assert target.read_text() == "mine"
    assert hcr("export", run.key, "--to", "keras", "-o", "digits.keras", "--force").returncode == 0
    assert keras.models.load_model(target).input_shape == (None, 8, 8, 1)


@pytest.mark.slow
def test_a_file_that_differs_from_the_model_is_not_kept_and_not_recorded(
    run: RecordedRun, hcr: Hcr, tmp_path: Path
) -> None:
    wrong = (
        "import hcr.exporting.keras_file as k\nk._Loaded.probabilities = lambda self, x: self._model(x).numpy() ** 2"
    )
    done = hcr("export", run.key, "--to", "keras", code=wrong)
    assert done.returncode == 1
    assert done.stderr.startswith("hcr: --to keras: expected the probabilities of the Keras model to 0.0001, but they")
    assert done.stderr.endswith("on 180 validation images; no file was kept\n")
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    assert run.folder is not None
    assert "export/keras_difference" not in read_run(run.folder).metrics


@pytest.mark.slow
def test_a_conversion_that_fails_or_is_interrupted_leaves_nothing(run: RecordedRun, hcr: Hcr, tmp_path: Path) -> None:
    fails = "import hcr.exporting.onnx_file as o\no._rename_output = lambda *_: {}['no op']"
    done = hcr("export", run.key, "--to", "onnx", code=fails)
    assert done.returncode == 1
    assert done.stderr == "hcr: --to onnx: model cnn cannot be exported (KeyError: 'no op'); no file was kept\n"
    stop = (
        "import os, signal, hcr.exporting.export as e\ne.run_exported = lambda *_: os.kill(os.getpid(), signal.SIGINT)"
    )
    stopped = hcr("export", run.key, "--to", "keras", code=stop)
    assert (stopped.returncode, stopped.stderr) == (130, "hcr: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    assert run.folder is not None
    assert last_event(run.folder)["status"] == "FINISHED"


@pytest.mark.slow
def test_without_its_data_set_a_model_is_checked_on_generated_images_and_says_so(run: RecordedRun, hcr: Hcr) -> None:
    done = hcr("export", run.key, "--to", "keras", code=NO_DATA)
    assert done.returncode == 0, done.stderr
    _, checked, note = done.stdout.splitlines()
    assert checked.startswith("checked on 1,000 generated images: ")
    assert note == "note: the run's own images were not available (digits.npz: expected a file, found none)"
    assert run.folder is not None
    tags = [event["values"] for event, _ in read_events(run.folder) if event["event"] == "tags"]
    assert json.loads(tags[-1]["hcr.export.keras"])["checked_on"] == "1000 generated images"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["latest"], "the following arguments are required: --to"),
        (["latest", "--to", "tflite"], "invalid choice: 'tflite'"),
        (["nothing", "--to", "onnx"], "no run 'nothing' under"),
        (["latest", "--to", "onnx", "-o", "nowhere/a.onnx"], "in a folder that exists; nowhere is none"),
        (
            ["latest", "--to", "onnx", "-o", "output"],
            "-o: expected a file, such as output/model.onnx; output is a folder",
        ),
        (["latest", "--to", "saved_model", "-o", "output"], "output exists and is no SavedModel"),
    ],
)
def test_a_wrong_command_is_refused_in_a_line_before_tensorflow_is_imported(
    words: list[str], said: str, run: RecordedRun, hcr: Hcr
) -> None:
    done = hcr("export", *words, light=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert said in done.stderr


@pytest.mark.slow
def test_the_export_of_a_run_that_only_a_store_has_is_checked_and_not_recorded(run: RecordedRun, hcr: Hcr) -> None:
    only_stored = (
        "import dataclasses, hcr.commands.export as e\n"
        "found = e.recorded_run\n"
        "e.recorded_run = lambda name: dataclasses.replace(found(name), folder=None)\n"
    )
    done = hcr("export", run.key, "--to", "keras", code=only_stored)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "note: only the store has this run, so the check is not recorded"
    assert run.folder is not None
    assert "export/keras_difference" not in read_run(run.folder).metrics
