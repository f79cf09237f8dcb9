"""`dataset.limit`: fewer images, each class and each official side in proportion, the same ones every time."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcr.config.errors import DataError
from hcr.data.dataset import Dataset, of_arrays
from hcr.data.formats import DataFormat
from hcr.data.loading import load_dataset
from hcr.gate.compose import compose

SIZES = {False: [50, 30, 4], True: [10, 5, 1]}  # images of each class, for training and for test


def make(limit: int | None, *, official: bool = True, order: Any = slice(None)) -> Dataset:
    cfg = DataFormat(
        name="small",
        format="sklearn_digits",
        image_shape=(4, 3, 1),
        num_classes=3,
        class_names=("a", "b", "c"),
        limit=limit,
    )
    labels = np.concatenate([np.repeat(np.arange(3), sizes) for sizes in SIZES.values()])
    is_test = np.repeat([False, True], [sum(sizes) for sizes in SIZES.values()])
    images = np.random.default_rng(0).integers(0, 256, (100, 4, 3), dtype=np.uint8)
    return of_arrays(cfg, images[order], labels[order], is_test[order] if official else None)


@settings(max_examples=60, deadline=None)
@given(limit=st.integers(3, 100), official=st.booleans())
def test_exactly_so_many_are_kept_each_class_and_side_within_one_image_of_its_share(limit: int, official: bool) -> None:
    data = make(limit, official=official)
    assert len(data.images) == len(data.hashes) == limit
    for side, sizes in SIZES.items() if official else [(None, np.sum(list(SIZES.values()), axis=0))]:
        on_side = data.labels if data.is_test is None else data.labels[data.is_test == side]
        counts = np.bincount(on_side, minlength=3)
        # A class that would have no training image gets one, at the cost of the largest shares.
        assert (np.abs(counts - limit * np.asarray(sizes) / 100) < 2).all()
        if not side:
            assert counts.min() >= 1


@pytest.mark.parametrize("limit", [3, 17, 50, 99])
def test_the_images_kept_are_the_first_of_their_class_whatever_the_order_of_the_file(limit: int) -> None:
    kept, whole = make(limit), make(None)
    assert kept.digest == make(limit, order=np.random.default_rng(1).permutation(100)).digest
    assert kept.is_test is not None
    assert whole.is_test is not None
    for label in range(3):
        for side in (False, True):
            ours = kept.images[(kept.labels == label) & (kept.is_test == side)]
            assert (ours == whole.images[(whole.labels == label) & (whole.is_test == side)][: len(ours)]).all()


def test_a_limit_that_takes_all_changes_nothing_and_a_smaller_one_changes_the_digest() -> None:
    assert make(100).digest == make(None).digest
    assert len({make(limit).digest for limit in (100, 99, 98)}) == 3


def test_more_images_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match=r"^dataset\.limit: expected at most the 100 images of dataset=small, got 101$"):
        make(101)


def test_every_data_set_takes_a_limit() -> None:
    data = load_dataset(compose(["dataset.limit=200"]).dataset)
    assert len(data.images) == 200
    assert np.bincount(data.labels).min() >= 19
    for name in ("mnist", "letters"):
        assert compose([f"dataset={name}", "dataset.limit=500"]).dataset.limit == 500
