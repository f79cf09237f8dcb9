"""TensorFlow's SavedModel, a folder, run by TensorFlow. Metadata are in its `metadata.json`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcr.exporting.formats import ExportFormat, LoadedExport

if TYPE_CHECKING:
    import keras

    from hcr.data.pixels import Images

METADATA = "metadata.json"
PROGRAM = "saved_model.pb"  # every such folder has it


class SavedModel(ExportFormat):
    """A folder with the signature `serving_default`, and the function `serve`."""

    def write(self, model: "keras.Model", path: Path, about: Mapping[str, Any]) -> None:
        model.export(str(path), format="tf_saved_model", verbose=False)
        (path / METADATA).write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    def read_metadata(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((path / METADATA).read_text(encoding="utf-8"))
        return found

    def load(self, path: Path) -> LoadedExport:
        return _Loaded(path)


class _Loaded(LoadedExport):
    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        self._module = tf.saved_model.load(str(path))

    def probabilities(self, images: "Images") -> NDArray[np.float32]:
        return np.asarray(self._module.serve(images))
