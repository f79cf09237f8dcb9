"""Who is in training, validation and test: everyone once, each class in proportion, decided by the seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from hcr.config.errors import DataError
from hcr.data.dataset import Dataset, of_arrays
from hcr.data.folds import fold_of
from hcr.data.formats.arrays import Arrays
from hcr.data.loading import load_dataset
from hcr.data.splits import Split
from hcr.data.splits.kfold import Kfold
from hcr.data.splits.official import Official
from hcr.data.splits.stratified import Stratified
from hcr.data.splitting import Splits, data_digests, load_splits
from hcr.gate.compose import compose

STRATIFIED = Stratified(name="stratified", validation=0.1, test=0.2, test_seed=0)
OFFICIAL = Official(name="official", validation=0.1)
KFOLD = Kfold(name="kfold", folds=5, fold=0, test=0.2, test_seed=0)
DIGITS = compose([]).dataset


def parts(splits: Splits) -> list[np.ndarray]:
    return [splits.train.index, splits.val.index, splits.test.index]


def small_mat(folder: Path, order: np.ndarray | None = None, name: str = "small.mat") -> Arrays:
    """90 images of 3 classes, the last 30 of the file for test; `order` shuffles within each side."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (90, 12), dtype=np.uint8)
    label = np.arange(90) % 3
    order = np.arange(90) if order is None else order
    path = folder / name
    scipy.io.savemat(path, {"data": data[order].T, "label": label[order].astype(float)[np.newaxis]})
    return Arrays(
        name="small",
        format="arrays",
        path=str(path),
        files=("small.mat",),
        train_images=60,
        has_official_test=True,
        image_shape=(4, 3, 1),
        num_classes=3,
        class_names=("a", "b", "c"),
    )


@pytest.mark.parametrize("seed", [0, 1, 4294967295])
@pytest.mark.parametrize("split", [STRATIFIED, STRATIFIED.replace(validation=0.3, test=0.5)])
def test_everyone_is_in_exactly_one_part(split: Split, seed: int) -> None:
    splits = load_splits(DIGITS, split, seed)
    assert np.sort(np.concatenate(parts(splits))).tolist() == list(range(1797))
    data = load_dataset(DIGITS)
    for subset in (splits.train, splits.val, splits.test):
        assert (subset.images == data.images[subset.index]).all()
        assert (subset.labels == data.labels[subset.index]).all()
        assert len(subset) == len(subset.labels)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_class_has_its_proportion_within_one_image(seed: int) -> None:
    splits = load_splits(DIGITS, STRATIFIED, seed)
    of_class = np.bincount(load_dataset(DIGITS).labels)
    for subset, fraction in ((splits.val, 0.1), (splits.test, 0.2), (splits.train, 0.7)):
        counts = np.bincount(subset.labels, minlength=10)
        assert np.abs(counts - fraction * of_class).max() <= 1, (subset, fraction)
        assert abs(len(subset) - fraction * 1797) <= 2


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    first, again, other = (load_splits(DIGITS, STRATIFIED, seed) for seed in (3, 3, 4))
    assert first.split_digest == again.split_digest
    assert all((a == b).all() for a, b in zip(parts(first), parts(again), strict=True))
    assert first.split_digest != other.split_digest
    assert first.dataset_digest == other.dataset_digest
    assert set(first.val.index) != set(other.val.index)


def test_what_is_test_for_one_seed_is_learned_by_no_other() -> None:
    first, other = load_splits(DIGITS, STRATIFIED, 3), load_splits(DIGITS, STRATIFIED, 4)
    assert set(first.test.index) == set(other.test.index)
    drawn_anew = load_splits(DIGITS, STRATIFIED.replace(test_seed=1), 3)
    assert set(drawn_anew.test.index) != set(first.test.index)


def test_another_fraction_has_another_split_digest() -> None:
    wider = Stratified(name="stratified", validation=0.11, test=0.2, test_seed=0)
    assert load_splits(DIGITS, wider, 0).split_digest != load_splits(DIGITS, STRATIFIED, 0).split_digest


@pytest.mark.parametrize("split", [STRATIFIED, OFFICIAL], ids=lambda split: split.name)
def test_any_order_of_the_file_gives_the_same_split(tmp_path: Path, split: Split) -> None:
    rng = np.random.default_rng(7)
    order = np.concatenate([rng.permutation(60), 60 + rng.permutation(30)])
    usual = load_splits(small_mat(tmp_path), split, 0)
    mixed = load_splits(small_mat(tmp_path, order, "mixed.mat"), split, 0)
    assert (mixed.dataset_digest, mixed.split_digest) == (usual.dataset_digest, usual.split_digest)
    assert all((a == b).all() for a, b in zip(parts(mixed), parts(usual), strict=True))
    assert np.array_equal(mixed.train.images, usual.train.images)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_official_test_is_the_data_set_s_own_whatever_the_seed(tmp_path: Path, seed: int) -> None:
    cfg = small_mat(tmp_path)
    splits = load_splits(cfg, OFFICIAL, seed)
    data = load_dataset(cfg)
    assert data.is_test is not None
    assert splits.test.index.tolist() == np.flatnonzero(data.is_test).tolist()
    assert (len(splits.train), len(splits.val), len(splits.test)) == (54, 6, 30)
    assert np.bincount(splits.val.labels).tolist() == [2, 2, 2]


@pytest.mark.slow
def test_the_official_test_of_the_real_mnist_is_exactly_the_last_10_000_of_the_file(mnist_dir: Path) -> None:
    path = mnist_dir / "mnist-original.mat"
    splits = load_splits(compose(["dataset=mnist", f"dataset.path={path}"]).dataset, OFFICIAL, 0)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (54000, 6000, 10000)
    pixels = np.ascontiguousarray(scipy.io.loadmat(path, variable_names=["data"])["data"].T)
    last = sorted(image.tobytes() for image in pixels[60000:])
    assert sorted(image.tobytes() for image in splits.test.images) == last


def test_a_data_set_too_small_for_its_fractions_is_refused() -> None:
    data = small_data(num_images=4)
    with pytest.raises(DataError, match=r"^split: "):
        STRATIFIED.draw(data, 0)


def imbalanced(of_last: int, is_test: np.ndarray | None = None) -> Dataset:
    """40 images of class a, 40 of b and `of_last` of c."""
    labels = np.repeat([0, 1, 2], [40, 40, of_last])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    cfg = DIGITS.replace(num_classes=3, class_names=("a", "b", "c"))
    return of_arrays(cfg, images, labels, is_test)


@pytest.mark.parametrize("of_last", [1, 2])
def test_a_class_with_too_few_images_for_three_sides_is_named_with_what_leaves_it_out(of_last: int) -> None:
    with pytest.raises(DataError) as refused:
        STRATIFIED.draw(imbalanced(of_last), 0)
    assert str(refused.value) == (
        "split: expected at least 3 images of each class to split into training, validation and test,"
        f" got {of_last} of class 'c'; add images (or raise dataset.limit), or leave the class out"
        f" (dataset.min_per_class={of_last + 1} or dataset.classes=[...])"
    )


def test_a_class_with_one_official_training_image_is_named_with_those_for_test() -> None:
    data = imbalanced(5)
    is_test = np.arange(85) % 4 == 1
    is_test[81:] = True
    with pytest.raises(DataError, match=r"got 1 of class 'c' \(it has 5, of which 4 for test\); add images"):
        OFFICIAL.draw(replace(data, is_test=is_test), 0)


@pytest.mark.parametrize("fractions", [{}, {"test": 0.5}, {"validation": 0.05, "test": 0.05}, {"validation": 0.6}])
def test_three_images_of_a_class_are_one_on_each_side(fractions: dict[str, float]) -> None:
    data = imbalanced(3)
    for seed in range(5):
        found = STRATIFIED.replace(**fractions).draw(data, seed)
        assert [np.bincount(data.labels[part])[2] for part in found] == [1, 1, 1]


def test_classes_that_are_left_out_move_no_image_and_are_not_refused() -> None:
    data = imbalanced(30)
    kept = np.array([True, False, True])
    for split in (STRATIFIED, KFOLD):
        for whole, part in zip(split.draw(data, 4), split.draw(data, 4, kept), strict=True):
            assert whole.tolist() == part.tolist()
    with pytest.raises(DataError, match="got 1 of class 'c'"):
        STRATIFIED.draw(imbalanced(1), 0)
    found = STRATIFIED.draw(imbalanced(1), 0, np.array([True, True, False]))
    assert np.sort(np.concatenate(found)).tolist() == list(range(81))
    with pytest.raises(DataError, match=r"got 4 of class 'c'; use fewer folds"):
        fold_of(imbalanced(4), np.arange(84), 5, 0)
    assert len(fold_of(imbalanced(4), np.arange(84), 5, 0, kept=np.array([True, True, False]))) == 84


@pytest.mark.parametrize("split", [STRATIFIED, KFOLD], ids=lambda split: split.name)
def test_a_seed_of_the_split_keeps_it_the_same_for_all_seeds(split: Split) -> None:
    fixed = split.replace(seed=3)
    assert len({data_digests(DIGITS, fixed, seed).split for seed in (0, 1, 2)}) == 1
    assert data_digests(DIGITS, fixed, 0).split == data_digests(DIGITS, split, 3).split
    assert data_digests(DIGITS, fixed, 0).split != data_digests(DIGITS, split, 0).split


def test_parts_carry_the_groups_of_their_images(tmp_path: Path) -> None:
    cfg = small_mat(tmp_path).replace(
        path=str(tmp_path / "grouped.npz"), has_official_test=False, has_groups=True, train_images=None
    )
    x = np.random.default_rng(0).integers(0, 256, (90, 4, 3), dtype=np.uint8)
    np.savez(cfg.path, x=x, y=np.arange(90) % 3, group=[f"w{k % 7}" for k in range(90)])
    splits, data = load_splits(cfg, STRATIFIED, 0), load_dataset(cfg)
    assert data.groups is not None and splits.val.groups is not None and splits.test.groups is not None
    assert splits.val.groups.tolist() == data.groups[splits.val.index].tolist()
    assert splits.test.groups.dtype == np.int64
    assert load_splits(DIGITS, STRATIFIED, 0).val.groups is None


def test_the_splitters_return_indices_that_do_not_overlap() -> None:
    data = small_data(num_images=60)
    for found in (STRATIFIED.draw(data, 0), OFFICIAL.draw(data, 0), KFOLD.draw(data, 0)):
        together = np.concatenate(found)
        assert len(set(together.tolist())) == len(together) == 60


def small_data(num_images: int) -> Dataset:
    """A data set of 2 classes whose last third is for test."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (num_images, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(num_images) % 2
    return of_arrays(DIGITS, images, labels, np.arange(num_images) >= num_images * 2 // 3)


def repeated(folder: Path) -> Arrays:
    """60 images for training and 30 for test, of which 7 stand in training too, 2 of them under another label."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (90, 4, 3), dtype=np.uint8), np.arange(90) % 3
    x[60:67] = x[:7]
    y[60:62] = (y[60:62] + 1) % 3
    x[89] = x[88]  # twice in test, never in training
    path = folder / "repeated.npz"
    np.savez(path, x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    return small_mat(folder).replace(path=str(path))


def test_images_that_also_stand_in_training_are_counted_to_the_pixel_and_told(tmp_path: Path) -> None:
    splits = load_splits(repeated(tmp_path), OFFICIAL, 0)
    train = {image.tobytes() for image in splits.train.images}
    # Six images of the official training set are validation; who is where decides how many of the 7 are left.
    expected = sum(image.tobytes() in train for image in splits.test.images)
    assert 1 <= expected <= 7
    assert (splits.duplicates_test, splits.duplicates_val) == (expected, 0)
    assert splits.warning == f"{expected} of 30 test images are also in training, pixel for pixel"
    assert load_splits(small_mat(tmp_path), OFFICIAL, 0).warning is None


def test_duplicates_of_validation_are_counted_apart(tmp_path: Path) -> None:
    cfg = small_mat(tmp_path)
    scipy.io.savemat(
        cfg.path,
        {"data": np.tile(np.arange(12, dtype=np.uint8)[:, np.newaxis], 90), "label": (np.arange(90) % 3.0)[np.newaxis]},
    )
    splits = load_splits(cfg, OFFICIAL, 0)
    assert (splits.duplicates_val, splits.duplicates_test) == (6, 30)
    assert splits.warning == ("6 of 6 validation images and 30 of 30 test images are also in training, pixel for pixel")
