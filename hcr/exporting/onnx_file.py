"""ONNX, run by ONNX Runtime. Metadata are the model's `metadata_props`; a value that is no text is JSON."""

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

OUTPUT = "probabilities"


class Onnx(ExportFormat):
    """An `.onnx` file with the input `images` and the output `probabilities`."""

    ending = ".onnx"

    def write(self, model: "keras.Model", path: Path, about: Mapping[str, Any]) -> None:
        import onnx

        model(np.zeros((1, *model.input_shape[1:]), np.uint8))  # Keras refuses a model that was never called
        model.export(str(path), format="onnx", verbose=False)
        written = onnx.load(path)
        _rename_output(written.graph, OUTPUT)
        _replace_erfc(written.graph)
        onnx.helper.set_model_props(written, {key: _as_text(value) for key, value in about.items()})
        onnx.checker.check_model(written)
        onnx.save(written, path)

    def read_metadata(self, path: Path) -> dict[str, Any]:
        import onnx

        return {prop.key: _of_text(prop.value) for prop in onnx.load(path).metadata_props}

    def load(self, path: Path) -> LoadedExport:
        return _Session(path)


class _Session(LoadedExport):
    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def probabilities(self, images: "Images") -> NDArray[np.float32]:
        (found,) = self._session.run([OUTPUT], {self._session.get_inputs()[0].name: images})
        return np.asarray(found)


def _rename_output(graph: Any, name: str) -> None:
    """Call the graph's only output `name`; tf2onnx names it after a TensorFlow operation, such as `Identity:0`."""
    (output,) = graph.output
    old = output.name
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name if each == old else each for each in names]
    output.name = name


def _replace_erfc(graph: Any) -> None:
    """Write `Erfc(x)` as `1 - Erf(x)`: tf2onnx makes that of TensorFlow's gelu, but ONNX has no such operator."""
    from onnx import TensorProto
    from onnx.helper import make_node, make_tensor

    found = [node for node in graph.node if node.op_type == "Erfc"]
    if not found:
        return
    graph.initializer.append(make_tensor("one_of_erfc", TensorProto.FLOAT, [], [1.0]))
    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        erf = f"{node.output[0]}/erf"
        nodes.append(make_node("Erf", list(node.input), [erf], name=f"{node.name}/Erf"))
        nodes.append(make_node("Sub", ["one_of_erfc", erf], list(node.output), name=f"{node.name}/Sub"))
    del graph.node[:]
    graph.node.extend(nodes)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _of_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
