"""Architectures, one per module: a class that declares its settings and builds its layers."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from hcr.config.parts import Part, Parts

if TYPE_CHECKING:
    import keras

# A larger number is a typo, and building such a model would exhaust the machine.
DEEPEST = 64
WIDEST = 65_536

Width = Annotated[int, Field(ge=1, le=WIDEST)]
Activation = Annotated[
    Literal["relu", "elu", "gelu", "silu", "leaky_relu", "tanh"], Field(description="activation after each layer")
]
Dropout = Annotated[float, Field(ge=0, lt=1, description="fraction of units dropped while training")]


class Architecture(Part):
    """Base class of architectures."""

    group: ClassVar[str] = "model"

    def check_image(self, image_shape: tuple[int, ...]) -> None:
        """Refuse images that are too small for the architecture.

        Args:
            image_shape: (height, width, channels).

        Raises:
            ConfigError: the images are too small.
        """

    def build(self, x: "keras.KerasTensor") -> "keras.KerasTensor":
        """Build the layers between scaled images and the output layer.

        Args:
            x: images (N, H, W, C), scaled to [0, 1].

        Returns:
            Features (N, F).
        """
        raise NotImplementedError


ARCHITECTURES = Parts(__name__, Architecture, "hcr.models", "build")
