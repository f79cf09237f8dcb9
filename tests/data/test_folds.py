"""Cross-validation: folds that partition what test leaves, alike in their classes, and never sharing a group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcr.config.errors import ConfigError, DataError
from hcr.data.dataset import Dataset
from hcr.data.folds import deal_whole_groups, fold_of
from hcr.data.splits.grouped import Grouped
from hcr.data.splits.kfold import Kfold
from hcr.data.splits.stratified import Stratified


def kfold(fold: int = 0, folds: int = 5, **more: float) -> Kfold:
    return Kfold(name="kfold", **({"folds": folds, "fold": fold, "test": 0.2, "test_seed": 0} | more))


def data_of(labels: np.ndarray, groups: np.ndarray | None = None, is_test: np.ndarray | None = None) -> Dataset:
    """A data set without pixels: who is where depends on labels, groups and official sides alone."""
    return Dataset(
        images=np.zeros((len(labels), 1, 1, 1), np.uint8),
        labels=labels.astype(np.int64),
        is_test=is_test,
        groups=groups,
        hashes=np.zeros((len(labels), 32), np.uint8),
        digest="",
        class_names=tuple("abcdefghij"[: int(labels.max()) + 1]),
        source="a file",
    )


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[Dataset, int]:
    """A data set with enough of everything, with or without groups and an official test; and a number of folds."""
    folds = draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_classes, has_groups, has_test = draw(st.integers(2, 5)), draw(st.booleans()), draw(st.booleans())
    if has_groups:
        num_groups = draw(st.integers(folds + 2, 40))
        sizes = random.integers(1, 6, (num_groups, num_classes))  # each group has every class
        labels = np.concatenate([np.repeat(np.arange(num_classes), own) for own in sizes])
        groups = np.repeat(np.arange(num_groups), sizes.sum(axis=1))
        is_test = np.isin(groups, random.choice(num_groups, 2, replace=False)) if has_test else None
    else:
        labels = np.repeat(np.arange(num_classes), random.integers(2 * folds + 2, 80, num_classes))
        groups = None
        is_test = np.arange(len(labels)) % 2 == 0 if has_test else None
    return data_of(labels, groups, is_test), folds


@settings(max_examples=60, deadline=None)
@given(made=data_sets(), seed=st.integers(0, 2**32 - 1))
def test_every_image_outside_test_is_in_validation_of_exactly_one_fold(made: tuple[Dataset, int], seed: int) -> None:
    data, folds = made
    drawn = [kfold(k, folds).draw(data, seed) for k in range(folds)]
    tests = {tuple(test.tolist()) for _, _, test in drawn}
    assert len(tests) == 1
    outside = sorted(set(range(len(data.labels))) - set(*tests))
    assert sorted(np.concatenate([val for _, val, _ in drawn]).tolist()) == outside
    for train, val, _ in drawn:
        assert sorted([*train.tolist(), *val.tolist()]) == outside
        assert set(data.labels[val]) == set(data.labels[train]) == set(data.labels)
        if data.groups is not None:
            assert not set(data.groups[train]) & set(data.groups[val])


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(10, 60), min_size=2, max_size=6), folds=st.integers(2, 6), seed=st.integers(0, 99))
def test_without_groups_folds_differ_by_one_image_in_each_class_and_in_all(
    sizes: list[int], folds: int, seed: int
) -> None:
    data = data_of(np.repeat(np.arange(len(sizes)), sizes))
    counts = np.array(
        [np.bincount(data.labels[kfold(k, folds).draw(data, seed)[1]], minlength=len(sizes)) for k in range(folds)]
    )
    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(counts.sum(axis=1)) <= 1


def test_test_is_that_of_the_split_without_folds() -> None:
    random = np.random.default_rng(0)
    labels, groups = np.sort(random.integers(0, 4, 600)), random.integers(0, 30, 600)
    settings = {"validation": 0.1, "test": 0.2, "test_seed": 7}
    usual = Stratified(name="stratified", **settings).draw(data_of(labels), 0)[2]
    assert set(kfold(test_seed=7).draw(data_of(labels), 1)[2]) == set(usual)
    usual = Grouped(name="grouped", **settings).draw(data_of(labels, groups), 0)[2]
    assert set(kfold(test_seed=7).draw(data_of(labels, groups), 1)[2]) == set(usual)
    is_test = random.random(600) < 0.3
    assert kfold().draw(data_of(labels, groups, is_test), 0)[2].tolist() == np.flatnonzero(is_test).tolist()


def test_another_seed_draws_other_folds_of_the_same_images() -> None:
    data = data_of(np.repeat([0, 1], 100))
    first, other = (kfold().draw(data, seed) for seed in (0, 1))
    assert set(first[1]) != set(other[1])
    assert set(first[2]) == set(other[2])
    assert set(first[1]) == set(kfold().draw(data, 0)[1])


@pytest.mark.parametrize(
    ("given_settings", "told"),
    [
        ({"folds": 1}, "split.folds: expected an integer of 2 or more, got 1"),
        ({"fold": 5}, "split.fold: expected 0 to 4, as split.folds is 5, got 5"),
        ({"fold": -1}, "split.fold: expected an integer of 0 or more, got -1"),
    ],
)
def test_folds_that_cannot_be_are_refused(given_settings: dict[str, int], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        kfold(**given_settings)
    assert str(refused.value) == told


def test_a_class_with_fewer_images_than_folds_is_named_with_what_to_do() -> None:
    data = data_of(np.repeat([0, 1, 2], [50, 50, 5]))
    with pytest.raises(DataError) as refused:
        kfold().draw(data, 0)
    assert str(refused.value) == (
        "split: expected at least 6 images of each class to split into test and 5 folds, got 5 of class 'c'; add images"
        " (or raise dataset.limit), or leave the class out (dataset.min_per_class=6 or dataset.classes=[...])"
    )
    assert [np.count_nonzero(data.labels[part] == 2) for part in kfold(folds=4).draw(data, 0)] == [3, 1, 1]


def test_fewer_groups_than_folds_are_refused_with_the_number_that_can_be() -> None:
    labels, groups = np.tile(np.arange(3), 40), np.repeat(np.arange(4), 30)
    is_test = groups == 0
    with pytest.raises(DataError) as refused:
        kfold().draw(data_of(labels, groups, is_test), 0)
    assert str(refused.value) == (
        "split.folds: expected at most 3, the number of groups outside test, got 5; set split.folds=3,"
        " or use split=grouped"
    )
    assert len(kfold(folds=3).draw(data_of(labels, groups, is_test), 0)[1]) == 30


def test_a_class_of_too_few_groups_is_refused_whichever_fold_lacks_it() -> None:
    labels, groups = np.tile([0, 1, 0], 40), np.repeat(np.arange(12), 10)
    labels[groups < 3] = 2
    for fold in range(4):
        with pytest.raises(DataError, match=r"got no 'c' in fold \d; use fewer folds, draw again .* leave the class"):
            kfold(fold, folds=4).draw(data_of(labels, groups, groups == 11), 0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("num_groups", [3, 4, 7])
def test_as_many_folds_as_groups_leave_one_group_out_each(num_groups: int, seed: int) -> None:
    random = np.random.default_rng([num_groups, seed])
    groups = np.concatenate([np.arange(num_groups).repeat(4), random.integers(0, num_groups, 30)])
    labels = np.concatenate([np.tile(np.arange(4), num_groups), random.integers(0, 4, 30)])
    fold = fold_of(data_of(labels, groups), np.arange(len(labels)), num_groups, seed)
    assert len(set(zip(fold.tolist(), groups.tolist(), strict=True))) == len(set(fold.tolist())) == num_groups


def test_folds_that_can_all_have_every_class_do() -> None:
    # Only a and c against b and d has each class on both sides.
    labels, groups = np.array([1, 1, 0, 0, 2, 2]), np.array([0, 1, 1, 2, 2, 3])
    for seed in range(10):
        fold = deal_whole_groups(labels, groups, 2, seed)
        assert {tuple(sorted({*groups[fold == k]})) for k in (0, 1)} == {(0, 2), (1, 3)}


def test_many_groups_are_dealt_to_a_percent_of_each_class() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(400), random.integers(2, 60, 400))
    labels = random.choice(4, len(groups), p=[0.6, 0.3, 0.08, 0.02])
    fold = deal_whole_groups(labels, groups, 5, 0)
    assert np.bincount(fold) / len(groups) == pytest.approx(np.full(5, 0.2), abs=0.01)
    for k in range(4):
        assert np.bincount(fold[labels == k]) / np.sum(labels == k) == pytest.approx(np.full(5, 0.2), abs=0.01)


def test_few_groups_leave_enough_of_them_for_the_folds() -> None:
    # Two groups of 10 are the test nearest to a fifth, and would leave 4 groups for 5 folds.
    groups = np.repeat(np.arange(6), [20, 20, 20, 20, 10, 10])
    labels = np.arange(100) % 2
    train, _, test = kfold().draw(data_of(labels, groups), 0)
    assert len(set(groups[test])) == 1
    assert len(set(groups[train])) == 4
