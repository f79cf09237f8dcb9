"""A stack of convolution blocks, then dense layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union

from pydantic import Field, model_validator

from hcr.config.errors import ConfigError
from hcr.config.settings import Count, Listing, Settings, expected
from hcr.model.architectures import DEEPEST, WIDEST, Activation, Architecture, Dropout, Width

if TYPE_CHECKING:
    import keras

LARGEST_KERNEL = 64  # pixels per side
RISING = ("relu", "elu", "leaky_relu", "tanh")  # monotonic activations

T = TypeVar("T")
PerBlock = Union[T, Listing[T]]  # noqa: UP007  # one value for all blocks, or one per block
Padding = Literal["same", "valid"]
Pooling = Literal["max", "average", "none"]


class Block(Settings):
    """The settings of one block: `convolutions` convolutions, the first with `strides`, then pooling."""

    filters: int
    convolutions: int
    kernel_size: int
    strides: int
    padding: Padding
    pooling: Pooling

    def output_size(self, size: int) -> int:
        """The output size of an image side of `size` pixels; 0 or less if the block does not fit."""
        for convolution in range(self.convolutions):
            strides = self.strides if convolution == 0 else 1
            if self.padding == "valid":
                size -= self.kernel_size - 1
            size = -(-size // strides)
        return size if self.pooling == "none" else size // 2

    def what_keeps_pixels(self) -> list[tuple[str, str]]:
        """The settings that would shrink the image less, with their values."""
        padding = [("padding", "same")] if self.padding == "valid" and self.kernel_size > 1 else []
        return padding + ([("pooling", "none")] if self.pooling != "none" else [])


class Cnn(Architecture):
    """`depth` blocks of convolution, batch norm, activation and pooling, then dense layers.

    A block setting is one value for all blocks, or a list with one value per block.
    """

    depth: Annotated[
        int, Field(ge=1, le=DEEPEST, description="blocks; pooling halves the image, so 28x28 allows at most 4")
    ]
    filters: Annotated[
        PerBlock[Count],
        Field(description="filters per block; a single number doubles per block (32, 64, ...)"),
    ]
    convolutions: Annotated[
        PerBlock[Annotated[int, Field(ge=1, le=DEEPEST)]],
        Field(description="convolutions per block, each with batch norm and activation"),
    ]
    kernel_size: Annotated[
        PerBlock[Annotated[int, Field(ge=1, le=LARGEST_KERNEL)]],
        Field(description="side of the convolution kernels, in pixels"),
    ]
    strides: Annotated[PerBlock[Width], Field(description="stride of the first convolution of a block, in pixels")]
    padding: Annotated[
        PerBlock[Padding],
        Field(description="same: a convolution keeps the size; valid: it loses kernel_size - 1 pixels"),
    ]
    batch_norm: Annotated[bool, Field(description="batch normalization after each convolution")]
    pooling: Annotated[PerBlock[Pooling], Field(description="2x2 pooling at the end of a block")]
    dense_units: Annotated[
        Listing[Width], Field(description="units of each dense layer between blocks and output; []: none")
    ]
    dropout: Annotated[Dropout, Field(description="fraction dropped before each dense layer and the output")]
    activation: Activation
    crop: Annotated[
        Count | None, Field(description="side of the central crop that the model sees, in pixels; null: no crop")
    ]

    @model_validator(mode="after")
    def _fits_depth(self) -> "Cnn":
        for name in PER_BLOCK:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.depth:
                raise expected(
                    f"{self.depth} values, one per block (model.depth={self.depth})", f"model.{name}", list(value)
                )
        widest = max(block.filters for block in self.blocks)
        if widest > WIDEST:
            raise ConfigError(f"model.filters: expected at most {WIDEST} in a block, got {widest} in the widest")
        return self

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The settings of each block; a single number of filters doubles from block to block."""

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
            if self.crop > size:
                raise expected(f"at most the {size} pixels of an image's side", "model.crop", self.crop)
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

    def build(self, x: "keras.KerasTensor") -> "keras.KerasTensor":
        from keras import layers

        from hcr.model.fast_layers import FastDropout

        if self.crop is not None:
            # Not CenterCrop: its default training=True would be that of the whole model, called without saying which.
            margins = [(size - self.crop) // 2 for size in x.shape[1:3]]
            ends = [size - self.crop - margin for size, margin in zip(x.shape[1:3], margins, strict=True)]
            x = layers.Cropping2D(tuple(zip(margins, ends, strict=True)), name="crop")(x)
        for number, block in enumerate(self.blocks, start=1):
            x = self._build_block(block, x, str(number))
        x = layers.Flatten(name="flatten")(x)
        for i, units in enumerate(self.dense_units, start=1):
            if self.dropout:
                x = FastDropout(self.dropout, name=f"drop{i}")(x)
            x = layers.Dense(units, activation=self.activation, name=f"dense{i}")(x)
        if self.dropout:
            x = FastDropout(self.dropout, name="drop")(x)
        return x

    def _build_block(self, block: Block, x: "keras.KerasTensor", name: str) -> "keras.KerasTensor":
        """Build the convolutions, each with norm and activation, and the pooling."""
        from keras import layers

        from hcr.model.fast_layers import batch_norm

        for i in range(block.convolutions):
            if i > 0:
                x = layers.Activation(self.activation, name=f"act{name}")(x)
                name = f"{name.partition('_')[0]}_{i + 1}"
            x = layers.Conv2D(
                block.filters,
                block.kernel_size,
                strides=block.strides if i == 0 else 1,
                padding=block.padding,
                use_bias=not self.batch_norm,  # batch norm has its own shift
                name=f"conv{name}",
            )(x)
            if self.batch_norm:
                x = batch_norm(x, f"norm{name}")
        # Max pooling commutes with a monotonic activation; pooling first is the same at a quarter of the work.
        if block.pooling == "max" and self.activation in RISING:
            x = layers.MaxPooling2D(2, name=f"pool{name}")(x)
            return layers.Activation(self.activation, name=f"act{name}")(x)
        x = layers.Activation(self.activation, name=f"act{name}")(x)
        if block.pooling == "max":
            return layers.MaxPooling2D(2, name=f"pool{name}")(x)
        return layers.AveragePooling2D(2, name=f"pool{name}")(x) if block.pooling == "average" else x


PER_BLOCK: Sequence[str] = tuple(Block.model_fields)
