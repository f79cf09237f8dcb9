"""The typed config of what is done to training images, and to no others."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hcr.config.schema import require


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Images as they are."""

    name: str


@dataclass(frozen=True, kw_only=True)
class ShiftConfig(AugmentationConfig):
    """Moved by whole pixels, up to `pixels` each way."""

    pixels: int

    def __post_init__(self) -> None:
        require(1 <= self.pixels <= 1000, "augmentation.pixels", "1 or more", self.pixels)


@dataclass(frozen=True, kw_only=True)
class AffineConfig(AugmentationConfig):
    """Turned, sheared, scaled and moved, each by up to so much either way."""

    rotation_degrees: float
    shear_degrees: float
    scale: float
    shift_pixels: float

    def __post_init__(self) -> None:
        require(0 <= self.rotation_degrees <= 180, "augmentation.rotation_degrees", "0 to 180", self.rotation_degrees)
        require(0 <= self.shear_degrees < 90, "augmentation.shear_degrees", "0 or more, under 90", self.shear_degrees)
        require(0 <= self.scale < 1, "augmentation.scale", "a fraction in [0, 1)", self.scale)
        require(0 <= self.shift_pixels <= 1000, "augmentation.shift_pixels", "0 or more", self.shift_pixels)


@dataclass(frozen=True, kw_only=True)
class ElasticConfig(AugmentationConfig):
    """Bent by a smooth random field.

    Source:
        Simard, Steinkraus & Platt 2003, "Best Practices for Convolutional Neural Networks Applied to Visual
        Document Analysis", section 2.
    """

    displacement_pixels: float
    smoothness_pixels: float

    def __post_init__(self) -> None:
        bend, smooth = self.displacement_pixels, self.smoothness_pixels
        require(0 < bend <= 1000, "augmentation.displacement_pixels", "a number over 0", bend)
        require(0 < smooth <= 100, "augmentation.smoothness_pixels", "a number over 0, at most 100", smooth)


AUGMENTATIONS: Mapping[str, type[AugmentationConfig]] = MappingProxyType(
    {"affine": AffineConfig, "elastic": ElasticConfig, "none": AugmentationConfig, "shift": ShiftConfig}
)
