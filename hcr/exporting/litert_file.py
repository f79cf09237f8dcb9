"""LiteRT (TensorFlow Lite), run by its interpreter. Metadata are JSON in the metadata buffer `hcr` of the file."""

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

METADATA = "hcr"  # name of the buffer
IDENTIFIER = b"TFL3"  # of such files


class LiteRt(ExportFormat):
    """A `.tflite` file whose first axis is dynamic: an interpreter resizes its input to the size of a batch."""

    ending = ".tflite"

    def write(self, model: "keras.Model", path: Path, about: Mapping[str, Any]) -> None:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        model.export(str(path), format="litert", verbose=False)
        content = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()))
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(json.dumps(about, ensure_ascii=False).encode(), np.uint8)
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA, len(content.buffers)
        content.buffers.append(buffer)
        content.metadata = [*(content.metadata or []), entry]
        builder = flatbuffers.Builder(path.stat().st_size)
        builder.Finish(content.Pack(builder), IDENTIFIER)
        path.write_bytes(builder.Output())

    def read_metadata(self, path: Path) -> dict[str, Any]:
        from ai_edge_litert import schema_py_generated as schema

        content = schema.Model.GetRootAs(path.read_bytes())
        for i in range(content.MetadataLength()):
            entry = content.Metadata(i)
            if entry.Name() == METADATA.encode():
                found: dict[str, Any] = json.loads(content.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
                return found
        return {}

    def load(self, path: Path) -> LoadedExport:
        return _Interpreter(path)


class _Interpreter(LoadedExport):
    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(str(path))

    def probabilities(self, images: "Images") -> NDArray[np.float32]:
        number = self._interpreter.get_input_details()[0]["index"]
        self._interpreter.resize_tensor_input(number, images.shape)
        self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(number, images)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._interpreter.get_output_details()[0]["index"]))
