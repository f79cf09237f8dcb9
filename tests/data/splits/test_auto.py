"""split=auto: what it becomes, and that it draws the same."""

import numpy as np
import pytest

from hcr.data.dataset import Dataset
from hcr.data.formats.arrays import Arrays
from hcr.data.splits.auto import Auto

AUTO = Auto(name="auto", validation=0.15, test=0.25, test_seed=4, seed=9)
SETTINGS = {"validation": 0.15, "seed": 9}
DRAWN = {"test": 0.25, "test_seed": 4}


@pytest.mark.parametrize(
    ("has_official_test", "has_groups", "expected"),
    [
        (True, True, {"name": "official"}),
        (True, False, {"name": "official"}),
        (False, True, {"name": "grouped"} | DRAWN),
        (False, False, {"name": "stratified"} | DRAWN),
    ],
)
def test_it_becomes_the_split_that_suits_the_data_set(
    has_official_test: bool, has_groups: bool, expected: dict[str, object]
) -> None:
    cfg = Arrays(
        name="made up",
        format="arrays",
        path="nowhere",
        image_shape=(1, 1, 1),
        num_classes=3,
        class_names=("a", "b", "c"),
        has_official_test=has_official_test,
        has_groups=has_groups,
    )
    split = AUTO.resolved(cfg)
    assert split.model_dump() == expected | SETTINGS
    random = np.random.default_rng(0)
    data = Dataset(
        images=np.zeros((300, 1, 1, 1), np.uint8),
        labels=np.sort(random.integers(0, 3, 300)),
        is_test=random.random(300) < 0.2 if has_official_test else None,
        groups=random.integers(0, 20, 300) if has_groups else None,
        hashes=np.zeros((300, 32), np.uint8),
        digest="",
        class_names=("a", "b", "c"),
        source="a file",
    )
    split.check_dataset(cfg)
    for own, theirs in zip(AUTO.draw(data, 3), split.draw(data, 3), strict=True):
        assert own.tolist() == theirs.tolist()
