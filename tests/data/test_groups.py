"""The grouped split: no group on two sides, fractions and classes as near as whole groups allow."""

from pathlib import Path

import numpy as np
import pytest
from conftest import DATA_DIR

from hcr.config.errors import DataError
from hcr.data.formats.arrays import Arrays
from hcr.data.groups import deal_groups, draw_groups
from hcr.data.loading import load_dataset
from hcr.data.splits.grouped import Grouped
from hcr.data.splitting import Splits, load_splits
from hcr.gate.compose import compose

CLASSES = 4


def small(folder: Path, sizes: list[int], name: str = "small.npz", order_seed: int | None = None) -> Arrays:
    """Groups of such sizes, with every class in each."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(len(sizes)), sizes)
    x, y = rng.integers(0, 256, (len(group), 4, 3), dtype=np.uint8), np.arange(len(group)) % CLASSES
    x[1], y[1] = x[0], y[0]
    x[-1], y[-1] = x[0], y[0]  # one image in two groups: which is which must not depend on the file's order
    order = np.arange(len(x)) if order_seed is None else np.random.default_rng(order_seed).permutation(len(x))
    np.savez(folder / name, x=x[order], y=y[order], group=group[order])
    return Arrays(
        name="small",
        format="arrays",
        path=str(folder / name),
        has_groups=True,
        image_shape=(4, 3, 1),
        num_classes=CLASSES,
        class_names=("a", "b", "c", "d"),
    )


def grouped(validation: float = 0.1, test: float = 0.2) -> Grouped:
    return Grouped(name="grouped", validation=validation, test=test, test_seed=0)


def groups_of(cfg: Arrays, splits: Splits) -> list[set[int]]:
    groups = load_dataset(cfg).groups
    assert groups is not None
    return [set(groups[part.index].tolist()) for part in (splits.train, splits.val, splits.test)]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("num_groups", [3, 5, 12, 13, 40, 300])
def test_every_image_is_somewhere_and_no_group_is_on_two_sides(tmp_path: Path, num_groups: int, seed: int) -> None:
    sizes = np.random.default_rng(num_groups).integers(8, 40, num_groups).tolist()
    cfg = small(tmp_path, sizes)
    splits = load_splits(cfg, grouped(), seed)
    together = np.concatenate([splits.train.index, splits.val.index, splits.test.index])
    assert np.sort(together).tolist() == list(range(sum(sizes)))
    train, val, test = groups_of(cfg, splits)
    assert train | val | test == set(range(num_groups))
    assert len(train) + len(val) + len(test) == num_groups
    assert set(splits.train.labels.tolist()) == set(range(CLASSES))


@pytest.mark.parametrize("fraction", [0.1, 0.15, 0.2, 0.33, 0.5])
@pytest.mark.parametrize("num_groups", [60, 400])
def test_many_groups_come_near_to_the_fraction_of_all_images_and_of_each_class(
    num_groups: int, fraction: float
) -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(num_groups), rng.integers(20, 60, num_groups))
    labels = rng.choice(CLASSES, len(groups), p=[0.4, 0.3, 0.2, 0.1])
    _, drawn = draw_groups(np.arange(len(groups)), labels, groups, fraction, seed=0)
    assert len(drawn) / len(groups) == pytest.approx(fraction, abs=0.015)
    share = np.bincount(labels[drawn]) / np.bincount(labels)
    assert share == pytest.approx(np.full(CLASSES, fraction), abs=0.04)


def test_of_few_groups_the_choice_nearest_to_the_fraction_is_found() -> None:
    # 20 of 100 images are wanted, and only the two groups of 10 make that.
    groups = np.repeat(np.arange(5), [70, 10, 10, 5, 5])
    labels = np.arange(100) % 2
    _, drawn = draw_groups(np.arange(100), labels, groups, 0.2, seed=0)
    assert sorted(set(groups[drawn].tolist())) in ([1, 2], [1, 3, 4], [2, 3, 4])
    assert len(drawn) == 20


def test_a_class_that_only_one_group_has_stays_in_training() -> None:
    groups = np.repeat(np.arange(5), 20)
    labels = np.where(groups == 2, 1, 0)
    for seed in range(10):
        _, drawn = draw_groups(np.arange(100), labels, groups, 0.2, seed=seed)
        assert 2 not in groups[drawn]
        assert len(drawn) == 20


def test_the_seed_decides_and_the_order_of_the_file_does_not(tmp_path: Path) -> None:
    sizes = [10] * 30
    cfg = small(tmp_path, sizes)
    first, other = (load_splits(cfg, grouped(), seed) for seed in (0, 1))
    for order_seed in range(6):
        again = load_splits(small(tmp_path, sizes, "mixed.npz", order_seed), grouped(), 0)
        assert (first.dataset_digest, first.split_digest) == (again.dataset_digest, again.split_digest)
    assert groups_of(cfg, first)[1] != groups_of(cfg, other)[1]
    assert groups_of(cfg, first)[2] == groups_of(cfg, other)[2]  # test stays sealed across seeds
    assert first.dataset_digest == other.dataset_digest


def test_groups_that_were_dealt_before_are_dealt_the_same() -> None:
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 3, 400), rng.integers(0, 40, 400)
    first = {seed: deal_groups(labels, groups, 4, seed) for seed in range(3)}
    for seed, part in first.items():
        assert deal_groups(labels, groups, 4, seed).tolist() == part.tolist()
    assert deal_groups(labels, groups, 5, 1).max() == 4
    assert deal_groups(labels[::-1], groups, 4, 1).tolist() != first[1].tolist()


@pytest.mark.parametrize("num_groups", [1, 2])
def test_fewer_than_three_groups_are_refused(tmp_path: Path, num_groups: int) -> None:
    with pytest.raises(
        DataError, match=rf"^split: expected at least 3 groups.* got {num_groups} among {40 * num_groups} images"
    ):
        load_splits(small(tmp_path, [40] * num_groups), grouped(), 0)


@pytest.mark.slow
def test_the_real_letters_are_split_by_word_to_the_tenth_of_a_percent() -> None:
    path = DATA_DIR / "ocr-letters.npz"
    if not path.is_file():
        pytest.skip(f"ocr-letters.npz is not in {DATA_DIR}; HCR_DATA_DIR names its folder")
    cfg = compose(["dataset=letters", f"dataset.path={path}"])
    assert isinstance(cfg.dataset, Arrays)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    train, val, test = groups_of(cfg.dataset, splits)
    assert len(train | val | test) == len(train) + len(val) + len(test) == 6877
    for part, fraction in ((splits.val, 0.1), (splits.test, 0.2)):
        assert len(part) / 52152 == pytest.approx(fraction, abs=0.001)
        share = np.bincount(part.labels) / np.bincount(load_dataset(cfg.dataset).labels)
        assert share == pytest.approx(np.full(26, fraction), abs=0.01)
    # Coarse glyphs repeat: the same pixels are drawn in several words.
    assert splits.duplicates_test > 0
