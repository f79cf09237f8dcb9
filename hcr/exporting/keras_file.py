"""Keras' own file, run by Keras. Metadata are the member `hcr.json` of the file, which is a zip."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcr.exporting.formats import ExportFormat, LoadedExport

if TYPE_CHECKING:
    import keras

    from hcr.data.pixels import Images

METADATA = "hcr.json"


class KerasFile(ExportFormat):
    """A `.keras` file with Keras' own layers only, so that it loads without hcr."""

    ending = ".keras"

    def write(self, model: "keras.Model", path: Path, about: Mapping[str, Any]) -> None:
        model.save(path)
        with zipfile.ZipFile(path, "a") as members:
            members.writestr(METADATA, json.dumps(about, ensure_ascii=False, indent=1) + "\n")

    def read_metadata(self, path: Path) -> dict[str, Any]:
        with zipfile.ZipFile(path) as members:
            found: dict[str, Any] = json.loads(members.read(METADATA))
        return found

    def load(self, path: Path) -> LoadedExport:
        return _Loaded(path)


class _Loaded(LoadedExport):
    def __init__(self, path: Path) -> None:
        import keras

        self._model = keras.models.load_model(path, compile=False, safe_mode=True)

    def probabilities(self, images: "Images") -> NDArray[np.float32]:
        return np.asarray(self._model(images))  # as users call it, without saying training=False
