"""A view of a data set's images, which copies only the rows that are read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hcr.data.pixels import Images


@dataclass(frozen=True, eq=False)
class ImageView:
    """The images `base[index]`, for reading; of a memory-mapped `base` only the pages that are read use memory.

    `view[rows]`, with a number, a slice, an array of numbers or a mask, is what it is for an array, and always a copy.
    `view[:]` and `np.asarray(view)` copy all images.

    Attributes:
        base: (M, H, W, C), contiguous.
        index: (N,), integers in [0, M).
    """

    base: Images
    index: NDArray[np.intp]

    def __post_init__(self) -> None:
        assert self.base.flags.c_contiguous  # NumPy would copy all of another array to take a few images

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return (len(self.index), *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """The type of a pixel."""
        return self.base.dtype

    def __getitem__(self, rows: Any) -> Images:
        """A copy of the images `rows`, and of nothing else.

        Raises:
            IndexError: there is no such image.
            TypeError: `rows` has more than one axis, as in `view[:, 0]`, which is written `view[:][:, 0]`.
        """
        if isinstance(rows, tuple):
            raise TypeError(f"expected images of the first axis alone, such as view[rows][:, 0], got {rows}")
        # Twice as fast as `base[...]`, since it copies whole images; of a np.memmap it would return another one.
        chosen: Images = np.take(np.asarray(self.base), self.index[rows], axis=0)
        return chosen

    def __iter__(self) -> Iterator[Images]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("expected to copy: the images of a view are not in one array")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)


AnyImages: TypeAlias = Images | ImageView
