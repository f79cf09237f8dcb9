"""No augmentation."""

from hcr.model.augmentations import Augmentation


class Unchanged(Augmentation):
    """Images stay as they are."""

    def build(self) -> None:
        return None
