"""Each check fails on the fault that it is for, just above its limit, and passes below."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_digits

from hcr.data.inspection.checks import DESCRIPTIONS, failed_checks
from hcr.data.inspection.inspect import Inspection, inspect_images
from hcr.data.splitting import Subset

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]


def data(seed: int = 0) -> Arrays:
    """Three classes of distinct blobs on a dark ground, as (images, labels) of each side: 300, 100 and 100."""
    rng = np.random.default_rng(seed)
    prototypes = rng.integers(0, 160, (3, 5, 5))
    made = {}
    for side, count in (("train", 300), ("val", 100), ("test", 100)):
        labels = np.arange(count) % 3
        coarse = np.clip(prototypes[labels] + rng.integers(0, 90, (count, 5, 5)), 0, 255).astype(np.uint8)
        images = np.zeros((count, 12, 12, 1), np.uint8)
        images[:, 1:11, 1:11, 0] = coarse.repeat(2, axis=1).repeat(2, axis=2)
        made[side] = (images, labels)
    return made


def inspected(arrays: Arrays, num_classes: int = 3) -> Inspection:
    subsets = [Subset(images, labels, np.arange(len(labels))) for images, labels in arrays.values()]
    return inspect_images(subsets, [f"class {k}" for k in range(num_classes)])


def copies_in_test(arrays: Arrays, count: int) -> None:
    arrays["test"][0][:count] = arrays["train"][0][:count]


def near_copies_in_val(arrays: Arrays, count: int) -> None:
    lighter = arrays["train"][0][:count].astype(float) * 0.9 + 5
    arrays["val"][0][:count] = np.rint(lighter).astype(np.uint8)


def conflicts(arrays: Arrays, count: int) -> None:
    """Pairs of training images that are identical and have different labels, as neighbours in order have."""
    arrays["train"][0][1:count:2] = arrays["train"][0][:count:2]


def blank(arrays: Arrays, count: int) -> None:
    """Blank images of all classes, in training."""
    arrays["train"][0][:count] = 0


def blank_in_class(arrays: Arrays, count: int) -> None:
    places = np.flatnonzero(arrays["train"][1] == 1)[:count]
    arrays["train"][0][places] = 0


def turned(arrays: Arrays, count: int) -> None:
    arrays["train"][0][:count] = 255 - arrays["train"][0][:count]


def shuffled(arrays: Arrays, count: int) -> None:
    if count:
        for _, labels in arrays.values():
            labels[:] = np.random.default_rng(1).permutation(labels)


FAULTS = {
    "copies": (copies_in_test, 10, 11, "test: expected at most 10% of the images to have a copy in training, got 11"),
    "near": (near_copies_in_val, 9, 12, "validation: expected at most 10% of the images to have a copy in training"),
    "conflicts": (conflicts, 20, 22, "labels: expected at most 5% of the training and validation images to be id"),
    "blank": (blank, 5, 6, "images: expected at most 1% to be blank, got 1.2% (6)"),
    "turned": (turned, 50, 51, "images: expected all to be light on dark like most, got 10.2% (51) dark on light"),
}  # fmt: skip


def test_clean_data_passes() -> None:
    assert failed_checks(inspected(data())) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_check_fails_just_above_its_limit(fault: str) -> None:
    put: Callable[[Arrays, int], None]
    put, passing, failing, told = FAULTS[fault]
    arrays = data()
    put(arrays, passing)
    assert [line for line in failed_checks(inspected(arrays)) if told[:20] in line] == []
    arrays = data()
    put(arrays, failing)
    lines = [line for line in failed_checks(inspected(arrays)) if line.startswith(told)]
    assert len(lines) == 1, failed_checks(inspected(arrays))
    assert "; " in lines[0]  # what to do


@pytest.mark.parametrize(("share", "fails"), [(0.02, False), (0.09, True)])
def test_many_wrong_labels_fail_and_few_do_not(share: float, fails: bool) -> None:
    digits = load_digits()
    images, labels = np.rint(digits.images * 15.9375).astype(np.uint8)[..., np.newaxis], digits.target.copy()
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(labels), round(share * len(labels)), replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    parts = np.split(np.arange(len(labels)), [1200, 1500])
    arrays = {side: (images[part], labels[part]) for side, part in zip(("train", "val", "test"), parts, strict=True)}
    lines = failed_checks(inspected(arrays, 10))
    assert [line.startswith("labels: expected at most 5% to be contradicted by the nearest") for line in lines] == (
        [True] if fails else []
    )


def test_a_class_that_is_mostly_blank_is_named_even_if_few_images_are() -> None:
    arrays = data()
    for side in arrays:
        arrays[side] = (arrays[side][0], np.where(np.arange(len(arrays[side][1])) < 3, 3, arrays[side][1]))
        arrays[side][0][:2] = 0
    lines = failed_checks(inspected(arrays, 4))
    assert any(line.startswith("images: expected at most 50% of the images of a class to be blank") for line in lines)
    assert any("got more of class 3;" in line for line in lines)


def test_a_class_missing_from_a_side_is_named_with_the_side() -> None:
    arrays = data()
    arrays["val"][1][:] = 0
    lines = failed_checks(inspected(arrays))
    assert lines[0].startswith("validation: expected images of every class, got none of class 1, class 2; add images")


def test_of_many_missing_classes_a_few_are_named() -> None:
    (line, *_) = failed_checks(inspected(data(), num_classes=12))
    assert "class 3, class 4, class 5, class 6, class 7 and 4 more; " in line


def test_labels_that_do_not_belong_to_the_images_fail() -> None:
    arrays = data()
    more_images, more_labels = data(1)["train"]
    images, labels = arrays["train"]
    arrays["train"] = (np.concatenate([images, more_images]), np.concatenate([labels, more_labels]))
    shuffled(arrays, 1)
    lines = failed_checks(inspected(arrays))
    assert any("look whether labels and images are in the same order" in line for line in lines)


def test_the_labels_of_test_are_never_judged() -> None:
    arrays = data()
    before = inspected(arrays)
    arrays["test"][1][:] = np.random.default_rng(0).permutation(arrays["test"][1])
    arrays["test"][0][:2] = arrays["train"][0][:2]
    after = inspected(arrays)
    assert after.suspicions == before.suspicions
    assert after.conflicts.tolist() == before.conflicts.tolist() == []
    assert max((one.index for one in after.suspicions.found), default=0) < 400


def test_places_count_through_the_sides() -> None:
    found = inspected(data())
    assert [found.side_of(place) for place in (0, 299, 300, 399, 400, 499)] == [
        ("train", 0), ("train", 299), ("val", 0), ("val", 99), ("test", 0), ("test", 99),
    ]  # fmt: skip
    assert found.num_open == 400


def test_every_check_is_described_with_its_limit() -> None:
    assert len(DESCRIPTIONS) == 7
    assert all(text == text.strip() and text[-1] != "." for text in DESCRIPTIONS)
