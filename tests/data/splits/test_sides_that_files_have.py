"""Sides and groups that the files of a data set have: official validation stays validation, groups stay whole."""

from dataclasses import replace

import numpy as np
import pytest

from hcr.data.dataset import Dataset, assemble
from hcr.data.formats import DataFormat
from hcr.data.loading import hold_dataset
from hcr.data.raw import Raw, RawPart
from hcr.data.splits import Split
from hcr.data.splits.grouped import Grouped
from hcr.data.splits.official import Official
from hcr.data.splits.stratified import Stratified
from hcr.data.splitting import load_splits

CFG = DataFormat(name="some", format="x")
STRATIFIED = Stratified(name="stratified", validation=0.1, test=0.2, test_seed=0)
GROUPED = Grouped(name="grouped", validation=0.1, test=0.2, test_seed=0)
OFFICIAL = Official(name="official", validation=0.25)


def part(side: str, num: int, first_group: int) -> RawPart:
    random = np.random.default_rng(first_group)
    return RawPart(
        images=random.integers(0, 120, (num, 5, 5), dtype=np.uint8) + np.uint8(128) * np.eye(5, dtype=np.uint8),
        labels=np.arange(num) % 2,
        groups=first_group + np.arange(num) // 6,
        side=side,  # type: ignore[arg-type]
        names=(f"x_{side}", f"y_{side}"),
    )


def data_set(*parts: RawPart) -> Dataset:
    return assemble(Raw(parts=parts), CFG, "some files")


def test_official_validation_is_drawn_by_group_where_there_are_groups() -> None:
    data = data_set(part("train", 120, 0), part("test", 30, 100))
    assert data.groups is not None
    train, val, test = OFFICIAL.draw(data, 0)
    assert len(val) == pytest.approx(30, abs=6)
    assert not set(data.groups[train]) & set(data.groups[val])
    assert len(train) + len(val) + len(test) == 150


@pytest.mark.parametrize("split", [STRATIFIED, GROUPED], ids=lambda split: split.name)
def test_official_validation_stays_validation_where_test_is_drawn(split: Split) -> None:
    data = data_set(part("train", 120, 0), part("val", 30, 100))
    assert data.is_val is not None
    train, val, test = split.draw(data, 0)
    assert sorted(val) == np.flatnonzero(data.is_val).tolist()
    assert not set(test) & set(val)
    assert len(test) == pytest.approx(24, abs=6)
    assert len(train) + len(val) + len(test) == 150


def test_a_side_of_another_name_is_another_data_set() -> None:
    train, other = part("train", 40, 0), part("val", 20, 100)
    assert data_set(train, other).digest != data_set(train, replace(other, side="test")).digest


def test_groups_on_both_sides_are_told() -> None:
    data = data_set(part("train", 120, 0))
    hold_dataset(CFG, data)
    mixed = load_splits(CFG, STRATIFIED, 0)
    assert mixed.groups_test > 0
    assert any("groups of test are also in training; split=grouped keeps each in one part" in n for n in mixed.notes)
    assert load_splits(CFG, GROUPED, 0).notes == data.notes


def test_three_equal_channels_are_one() -> None:
    gray = part("train", 40, 0)
    assert isinstance(gray.images, np.ndarray)
    colour = replace(gray, images=np.repeat(gray.images[..., np.newaxis], 3, axis=3))
    found = data_set(colour)
    assert found.digest == data_set(gray).digest
    assert found.images.shape[3] == 1
    assert any("three channels are equal" in note for note in found.notes)
