"""The typed config of architectures. Each refuses an image that it would shrink to nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from hcr.config.errors import ConfigError
from hcr.config.schema import require

# Beyond these a number is a slip of the finger, and building the model would take the machine down.
DEEPEST = 64
WIDEST = 65_536

Activation = Literal["relu", "elu", "gelu", "silu", "leaky_relu", "tanh"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What every architecture has."""

    name: str

    def check_image(self, image_shape: tuple[int, ...]) -> None:
        """Raise a ConfigError where images of `image_shape`, (height, width, channels), are too small."""


@dataclass(frozen=True, kw_only=True)
class CnnConfig(ModelConfig):
    """`depth` convolution blocks, then dense layers, then softmax."""

    depth: int
    filters: int | tuple[int, ...]
    kernel_size: int
    batch_norm: bool
    pooling: Literal["max", "average", "none"]
    dense_units: tuple[int, ...]
    dropout: float
    activation: Activation

    def __post_init__(self) -> None:
        require(1 <= self.depth <= DEEPEST, "model.depth", f"1 to {DEEPEST}", self.depth)
        if isinstance(self.filters, tuple) and len(self.filters) != self.depth:
            raise ConfigError(
                f"model.filters: expected {self.depth} numbers, one per block (model.depth={self.depth}),"
                f" got {list(self.filters)}"
            )
        widest = max(self.filters_per_block)
        require(min(self.filters_per_block) >= 1, "model.filters", "1 or more", self.filters)
        if widest > WIDEST:
            raise ConfigError(f"model.filters: expected at most {WIDEST} in a block, got {widest} in the widest")
        require(1 <= self.kernel_size <= WIDEST, "model.kernel_size", f"1 to {WIDEST}", self.kernel_size)
        within = all(1 <= units <= WIDEST for units in self.dense_units)
        require(within, "model.dense_units", f"1 to {WIDEST} each", list(self.dense_units))
        require(0 <= self.dropout < 1, "model.dropout", "a fraction in [0, 1)", self.dropout)

    @property
    def filters_per_block(self) -> tuple[int, ...]:
        """Filters of each block: the list as given, or one number doubled from block to block."""
        if isinstance(self.filters, tuple):
            return self.filters
        return tuple(self.filters * 2**block for block in range(self.depth))

    def check_image(self, image_shape: tuple[int, ...]) -> None:
        height, width, _ = image_shape
        if self.pooling != "none" and min(height, width) < 2**self.depth:
            deepest = min(height, width).bit_length() - 1
            raise ConfigError(
                f"model.depth: {self.depth} poolings shrink a {height}x{width} image below 1x1;"
                f" expected at most {deepest} (or model.pooling=none)"
            )


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
