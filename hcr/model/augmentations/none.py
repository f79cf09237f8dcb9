"""No augmentation."""

from hcr.model.augmentations import Augmentation


class Unchanged(Augmentation):
    """Images are unchanged."""

    def build(self) -> None:
        return None
