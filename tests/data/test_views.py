"""A view of images reads like the array it stands for, and copies no more than is asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcr.data.views import ImageView

BASE = np.random.default_rng(0).integers(0, 256, (12, 3, 2, 1), dtype=np.uint8)


@st.composite
def indices(draw: st.DrawFn) -> np.ndarray:
    return np.array(draw(st.lists(st.integers(0, len(BASE) - 1), max_size=20)), np.intp)


@st.composite
def rows(draw: st.DrawFn, size: int) -> Any:
    """What selects images of a view of `size`: a slice, a mask, numbers in a list or an array, or one number."""
    kinds = [
        st.slices(size),
        st.lists(st.booleans(), min_size=size, max_size=size).map(lambda mask: np.array(mask, bool)),
    ]
    if size:
        number = st.integers(-size, size - 1)
        numbers = st.lists(number, max_size=30)
        grid = st.tuples(number, number).map(lambda pair: np.array([pair, pair], np.int64))
        kinds += [number, number.map(np.int64), numbers.map(lambda chosen: np.array(chosen, np.int32)), grid]
        kinds.append(st.lists(number, min_size=1, max_size=5))
    return draw(st.one_of(kinds))


@given(st.data())
def test_any_rows_are_those_of_the_array_it_stands_for(data: st.DataObject) -> None:
    index = data.draw(indices())
    view, plain = ImageView(BASE, index), BASE[index]
    chosen = data.draw(rows(len(index)))
    read = view[chosen]
    assert isinstance(read, np.ndarray)
    assert (read.dtype, read.shape) == (np.uint8, plain[chosen].shape)
    assert np.array_equal(read, plain[chosen])
    assert not np.shares_memory(read, BASE)


@given(indices())
def test_its_length_shape_type_and_order_are_those_of_the_array(index: np.ndarray) -> None:
    view, plain = ImageView(BASE, index), BASE[index]
    assert (len(view), view.shape, view.dtype) == (len(plain), plain.shape, plain.dtype)
    assert len(list(view)) == len(plain)
    assert all(np.array_equal(one, other) for one, other in zip(view, plain, strict=True))
    assert np.array_equal(np.asarray(view), plain)
    assert np.array_equal(np.concatenate([view, view]), np.concatenate([plain, plain]))
    assert np.asarray(view, np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="expected to copy"):
        np.array(view, copy=False)


@pytest.mark.parametrize("wrong", [3, -4, [0, 3], np.array([5])])
def test_an_image_that_is_not_there_is_refused(wrong: Any) -> None:
    with pytest.raises(IndexError):
        ImageView(BASE, np.array([2, 7, 1]))[wrong]


@pytest.mark.parametrize("axes", [(0, 0), (slice(None), 0), (..., 0)])
def test_axes_of_an_image_are_not_taken_for_images(axes: Any) -> None:
    with pytest.raises(TypeError, match="of the first axis alone"):
        ImageView(BASE, np.array([2, 7, 1]))[axes]


def test_what_is_read_can_be_changed_and_the_data_set_stays(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", BASE)
    view = ImageView(np.load(tmp_path / "images.npy", mmap_mode="r"), np.array([4, 2]))
    for read in (view[:], view[0], np.asarray(view), next(iter(view))):
        assert type(read) is np.ndarray
        read[:] = 7
    assert np.array_equal(view[:], BASE[[4, 2]])


def test_an_array_that_numpy_would_copy_whole_is_no_base() -> None:
    with pytest.raises(AssertionError):
        ImageView(np.asfortranarray(np.zeros((4, 3, 3, 2), np.uint8)), np.arange(4))


def anonymous_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_going_through_a_large_file_takes_the_memory_of_a_slice(tmp_path: Path) -> None:
    shape = (400_000, 28, 28, 1)
    with (tmp_path / "images").open("wb") as file:
        file.truncate(int(np.prod(shape)))  # a hole: 300 MB that take no room on the disk
    mapped = np.memmap(tmp_path / "images", np.uint8, "r", shape=shape).view(np.ndarray)
    view = ImageView(mapped, np.random.default_rng(0).permutation(len(mapped)))
    before, most = anonymous_kib(), 0
    for start in range(0, len(view), 1000):
        assert not view[start : start + 1000].any()
        most = max(most, anonymous_kib() - before)
    assert most < 20 * 1024
