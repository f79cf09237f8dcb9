"""A residual network."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hcr.config.settings import Listing
from hcr.config.words import Expected
from hcr.model.architectures import DEEPEST, WIDEST, Activation, Architecture, Dropout, Width

if TYPE_CHECKING:
    import keras

STAGES = Expected(f"a list of filters, one number for each stage, each from 1 to {WIDEST}")


class ResNet(Architecture):
    """A 3x3 stem, stages of residual blocks, and global average pooling.

    Each stage after the first halves the image.

    Source:
        He et al. 2016, "Identity Mappings in Deep Residual Networks", fig. 1b: pre-activation blocks.
    """

    filters: Annotated[Listing[Width], STAGES, Field(min_length=1, description="filters of each stage")]
    blocks: Annotated[int, Field(ge=1, le=DEEPEST, description="residual blocks per stage")]
    dropout: Annotated[Dropout, Field(description="fraction dropped before the output")]
    activation: Activation

    def build(self, x: "keras.KerasTensor") -> "keras.KerasTensor":
        from keras import layers

        from hcr.model.fast_layers import FastDropout, batch_norm

        x = layers.Conv2D(self.filters[0], 3, padding="same", use_bias=False, name="stem")(x)
        for stage, filters in enumerate(self.filters, start=1):
            for block in range(1, self.blocks + 1):
                strides = 2 if stage > 1 and block == 1 else 1
                x = self._build_block(x, filters, strides, f"stage{stage}_block{block}")
        x = layers.Activation(self.activation, name="act")(batch_norm(x, "norm"))
        x = layers.GlobalAveragePooling2D(name="mean")(x)
        return FastDropout(self.dropout, name="drop")(x) if self.dropout else x

    def _build_block(self, x: "keras.KerasTensor", filters: int, strides: int, name: str) -> "keras.KerasTensor":
        """Build two convolutions with a shortcut, which is a 1x1 convolution if the shape changes."""
        from keras import layers

        from hcr.model.fast_layers import batch_norm

        y = layers.Activation(self.activation, name=f"{name}_act1")(batch_norm(x, f"{name}_norm1"))
        shortcut = x
        if strides != 1 or x.shape[-1] != filters:
            # Thinned out first: the kernel gradient of a strided 1x1 convolution corrupts memory in TensorFlow 2.21
            # with oneDNN, for some numbers of channels and images (4, 6 and 13).
            thin = layers.MaxPooling2D(1, strides, name=f"{name}_thin")(y) if strides != 1 else y
            shortcut = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_shortcut")(thin)
        y = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"{name}_conv1")(y)
        y = layers.Activation(self.activation, name=f"{name}_act2")(batch_norm(y, f"{name}_norm2"))
        y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv2")(y)
        return layers.Add(name=f"{name}_add")([shortcut, y])
