"""Images in blocks of bounded size, so that a large data set is never in memory at once."""

from collections.abc import Iterator

from hcr.data.pixels import Images
from hcr.data.views import AnyImages

BLOCK_BYTES = 1 << 24  # pixels of a block: 16 MiB, or 64 MiB as float32


def blocks(images: AnyImages, size_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, Images]]:
    """Consecutive images and where they are; a block has at most `size_bytes`, or one image."""
    step = max(1, size_bytes // max(1, images[:1].nbytes))
    for start in range(0, len(images), step):
        rows = slice(start, start + step)
        yield rows, images[rows]
