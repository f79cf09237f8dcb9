"""The formats that a model is exported to. Nothing heavy is imported here: a missing package is reported first."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from hcr.config import ConfigError

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from hcr.data.pixels import Images

EXTRA = "pip install 'hcr[export]'"


class ExportFormat(ABC):
    """A format: how a model is written, read and run. Images are uint8 (N, H, W, C); N may be any number.

    Attributes:
        ending: of the file's name; empty for a folder.
    """

    ending: ClassVar[str] = ""

    @abstractmethod
    def write(self, model: "keras.Model", path: Path, about: Mapping[str, Any]) -> None:
        """Write `model`, and `about` as its metadata, to `path`, which does not exist and has the format's ending."""

    @abstractmethod
    def read_metadata(self, path: Path) -> dict[str, Any]:
        """The metadata of the model at `path`."""

    @abstractmethod
    def load(self, path: Path) -> "LoadedExport":
        """The model at `path`, in the format's own runtime."""


class LoadedExport(ABC):
    """An exported model in its own runtime."""

    @abstractmethod
    def probabilities(self, images: "Images") -> "NDArray[np.float32]":
        """Class probabilities (N, K) of raw images (N, H, W, C), uint8."""


# By name: the module and class, and the packages that hcr itself does not need.
_TABLE: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "onnx": ("hcr.exporting.onnx_file:Onnx", ("tf2onnx", "onnx", "onnxruntime")),
        "litert": ("hcr.exporting.litert_file:LiteRt", ("ai_edge_litert",)),
        "saved_model": ("hcr.exporting.saved_model:SavedModel", ()),
        "keras": ("hcr.exporting.keras_file:KerasFile", ()),
    }
)
FORMATS = tuple(_TABLE)


def check_packages(name: str) -> None:
    """Refuse the format `name` if a package that it needs is not installed.

    Raises:
        ConfigError: the message names the package and the extra that has it.
    """
    for package in _TABLE[name][1]:
        if find_spec(package) is None:
            raise ConfigError(f"--to {name}: needs {package.replace('_', '-')}, which is not installed; {EXTRA}")


def format_of(name: str) -> ExportFormat:
    """The format called `name`, one of FORMATS."""
    module, _, kind = _TABLE[name][0].partition(":")
    found: ExportFormat = getattr(import_module(module), kind)()
    return found
