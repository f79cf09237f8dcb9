"""The notebook, executed as a person would: every cell, in order, in a kernel of its own."""

import base64
import struct
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from hcr.tracking.store import open_store

NOTEBOOK = Path(__file__).parents[1] / "experiments" / "handwritten_character_recognition.ipynb"


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
def test_the_notebook_runs_and_shows_numbers_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    # This interpreter, whatever kernels the user has.
    argv = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    (kernel / "kernel.json").write_text(f'{{"argv": {argv}, "display_name": "Python 3", "language": "python"}}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    accuracy = float(text.split("test accuracy ")[1].split()[0])
    assert accuracy >= 0.975
    assert "precision  recall" in text
    pictures = [
        base64.b64decode(output.data["image/png"]) for output in outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 5  # samples, curves, confusion matrix, predictions, mistakes
    for i, png in enumerate(pictures):
        (tmp_path / f"{i}.png").write_bytes(png)
        width, height = struct.unpack(">II", png[16:24])
        assert width > 500 and height > 200 and len(png) > 5_000

    client = open_store(f"sqlite:///{tmp_path / 'output' / 'mlflow.db'}")
    smaller, shown = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])  # newest first
    assert (shown.info.status, smaller.info.status) == ("FINISHED", "FINISHED")
    assert shown.data.metrics["test/accuracy"] == pytest.approx(accuracy, abs=1e-4)
    assert shown.data.tags["mlflow.note.content"].startswith("from the notebook")
    assert f"#/runs/{shown.info.run_id}" in text

    compared, by_epoch = (str(output.data["text/plain"]) for output in outputs if "text/html" in output.get("data", {}))
    for run in (shown, smaller):
        assert run.data.tags["hcr.key"] in compared
        assert run.data.tags["hcr.key"] in by_epoch
        assert f"{run.data.metrics['test/accuracy']:.6f}" in compared
