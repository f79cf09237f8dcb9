"""The typed config of architectures. Each refuses an image that it would shrink to nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

from hcr.config.errors import ConfigError
from hcr.config.schema import require

# Beyond these a number is a slip of the finger, and building the model would take the machine down.
DEEPEST = 64
WIDEST = 65_536
LARGEST_KERNEL = 64  # pixels along a side

Activation = Literal["relu", "elu", "gelu", "silu", "leaky_relu", "tanh"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What every architecture has."""

    name: str

    def check_image(self, image_shape: tuple[int, ...]) -> None:
        """Raise a ConfigError where images of `image_shape`, (height, width, channels), are too small."""


Padding = Literal["same", "valid"]
Pooling = Literal["max", "average", "none"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of a `cnn`: `convolutions` of them, the first with `strides`, then pooling."""

    filters: int
    convolutions: int
    kernel_size: int
    strides: int
    padding: Padding
    pooling: Pooling

    def output_size(self, size: int) -> int:
        """Pixels left of `size` along one side; 0 or fewer where the block does not fit."""
        for convolution in range(self.convolutions):
            strides = self.strides if convolution == 0 else 1
            if self.padding == "valid":
                size -= self.kernel_size - 1
            size = -(-size // strides)
        return size if self.pooling == "none" else size // 2

    def what_keeps_pixels(self) -> list[tuple[str, str]]:
        """The settings that would take fewer pixels from an image, each with the value that it would need."""
        padding = [("padding", "same")] if self.padding == "valid" and self.kernel_size > 1 else []
        return padding + ([("pooling", "none")] if self.pooling != "none" else [])


@dataclass(frozen=True, kw_only=True)
class CnnConfig(ModelConfig):
    """`depth` convolution blocks, then dense layers, then softmax.

    What is a value or a tuple is the same for every block, or has a value for each.
    """

    depth: int
    filters: int | tuple[int, ...]
    convolutions: int | tuple[int, ...]
    kernel_size: int | tuple[int, ...]
    strides: int | tuple[int, ...]
    padding: Padding | tuple[Padding, ...]
    batch_norm: bool
    pooling: Pooling | tuple[Pooling, ...]
    dense_units: tuple[int, ...]
    dropout: float
    activation: Activation
    crop: int | None

    def __post_init__(self) -> None:
        require(self.crop is None or self.crop >= 1, "model.crop", "1 or more, or null", self.crop)
        require(1 <= self.depth <= DEEPEST, "model.depth", f"1 to {DEEPEST}", self.depth)
        for name in PER_BLOCK:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.depth:
                raise ConfigError(
                    f"model.{name}: expected {self.depth} values, one per block (model.depth={self.depth}),"
                    f" got {list(value)}"
                )
        for name, most in (("convolutions", DEEPEST), ("kernel_size", LARGEST_KERNEL), ("strides", WIDEST)):
            within = all(1 <= getattr(block, name) <= most for block in self.blocks)
            require(within, f"model.{name}", f"1 to {most}", _listed(getattr(self, name)))
        filters = [block.filters for block in self.blocks]
        require(min(filters) >= 1, "model.filters", "1 or more", _listed(self.filters))
        if max(filters) > WIDEST:
            raise ConfigError(f"model.filters: expected at most {WIDEST} in a block, got {max(filters)} in the widest")
        within = all(1 <= units <= WIDEST for units in self.dense_units)
        require(within, "model.dense_units", f"1 to {WIDEST} each", list(self.dense_units))
        require(0 <= self.dropout < 1, "model.dropout", "a fraction in [0, 1)", self.dropout)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Each block with its own settings: one number of filters doubles from block to block."""

        def own(value: Any, i: int) -> Any:
            return value[i] if isinstance(value, tuple) else value

        rows = [{name: own(getattr(self, name), i) for name in PER_BLOCK} for i in range(self.depth)]
        if not isinstance(self.filters, tuple):
            rows = [row | {"filters": self.filters * 2**i} for i, row in enumerate(rows)]
        return tuple(Block(**row) for row in rows)

    def check_image(self, image_shape: tuple[int, ...]) -> None:
        height, width, _ = image_shape
        size = min(height, width)
        if self.crop is not None:
            require(self.crop <= size, "model.crop", f"at most the {size} pixels of an image's side", self.crop)
            height = width = size = self.crop
        for number, block in enumerate(self.blocks, start=1):
            size = block.output_size(size)
            if size < 1:
                what = f"block {number} shrinks a {height}x{width} image below 1x1"
                remedies = [f"model.{name}={value}" for name, value in block.what_keeps_pixels()]
                either = f" (or {' or '.join(remedies)})" if remedies else ""
                if number > 1:
                    raise ConfigError(f"model.depth: {what}; expected at most {number - 1}{either}")
                if self.crop is not None and self.crop < min(image_shape[:2]):
                    raise ConfigError(f"model.crop: {what}; expected a larger one{either}")
                if block.padding == "valid" and block.kernel_size > 1:
                    raise ConfigError(f"model.kernel_size: {what}; expected a smaller one{either}")
                raise ConfigError(f"model.pooling: {what}; expected none, or larger images")


PER_BLOCK = tuple(field.name for field in fields(Block))


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, kw_only=True)
class KerasConvnetConfig(ModelConfig):
    """The convnet of the Keras MNIST example."""

    dropout: float

    def __post_init__(self) -> None:
        require(0 <= self.dropout < 1, "model.dropout", "a fraction in [0, 1)", self.dropout)

    def check_image(self, image_shape: tuple[int, ...]) -> None:
        height, width, _ = image_shape
        if min(height, width) < 10:  # 10 -> conv 8 -> pool 4 -> conv 2 -> pool 1
            raise ConfigError(
                f"model.name: keras_convnet shrinks a {height}x{width} image below 1x1;"
                f" expected images of 10x10 or more (model=cnn takes smaller ones)"
            )


@dataclass(frozen=True, kw_only=True)
class LeNet5Config(ModelConfig):
    """LeCun et al. 1998, with the padding that brings 28x28 images to its own 32x32."""

    activation: Activation

    def check_image(self, image_shape: tuple[int, ...]) -> None:
        height, width, _ = image_shape
        if min(height, width) < 12:  # 12 -> pool 6 -> conv 2 -> pool 1
            raise ConfigError(
                f"model.name: lenet5 shrinks a {height}x{width} image below 1x1; expected images of 12x12 or more"
                " (model=cnn takes smaller ones)"
            )


@dataclass(frozen=True, kw_only=True)
class MlpConfig(ModelConfig):
    """Dense layers alone."""

    dense_units: tuple[int, ...]
    batch_norm: bool
    dropout: float
    activation: Activation

    def __post_init__(self) -> None:
        within = all(1 <= units <= WIDEST for units in self.dense_units)
        require(within, "model.dense_units", f"1 to {WIDEST} each", list(self.dense_units))
        require(0 <= self.dropout < 1, "model.dropout", "a fraction in [0, 1)", self.dropout)


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(ModelConfig):
    """Residual blocks in stages; each stage but the first halves the image and has filters of its own."""

    filters: tuple[int, ...]
    blocks: int
    dropout: float
    activation: Activation

    def __post_init__(self) -> None:
        within = bool(self.filters) and all(1 <= filters <= WIDEST for filters in self.filters)
        require(within, "model.filters", f"a number of filters for each stage, 1 to {WIDEST}", list(self.filters))
        require(1 <= self.blocks <= DEEPEST, "model.blocks", f"1 to {DEEPEST}", self.blocks)
        require(0 <= self.dropout < 1, "model.dropout", "a fraction in [0, 1)", self.dropout)


MODELS: Mapping[str, type[ModelConfig]] = MappingProxyType(
    {
        "cnn": CnnConfig,
        "keras_convnet": KerasConvnetConfig,
        "lenet5": LeNet5Config,
        "mlp": MlpConfig,
        "resnet": ResNetConfig,
    }
)
