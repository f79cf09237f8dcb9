"""Copies are found where they were put, and nowhere else."""

from collections.abc import Mapping

import numpy as np
import pytest

from hcr.data.inspection import copies
from hcr.data.inspection.copies import NEAR, Copies, conflicting, copies_of, correlations, identities
from hcr.data.inspection.features import features_of


def drawn(count: int, seed: int) -> np.ndarray:
    """Images of random blobs, (count, 20, 16, 1), which are not alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 5, 4, 1), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def noisy(image: np.ndarray, sd: float, seed: int = 0) -> np.ndarray:
    spoiled = image + np.random.default_rng(seed).normal(0, sd, image.shape)
    return np.clip(np.rint(spoiled), 0, 255).astype(np.uint8)


def sides() -> dict[str, np.ndarray]:
    return {"train": drawn(50, 0), "val": drawn(10, 1), "test": drawn(20, 2)}


def found_in(images: Mapping[str, np.ndarray], **options: int) -> dict[tuple[str, str], Copies]:
    features = dict(zip(images, features_of(list(images.values())), strict=True))
    return {(one.side, one.other): one for one in copies_of(images, features, identities(images), **options)}


def test_images_that_differ_have_no_copies_and_every_pair_of_sides_is_looked_at() -> None:
    found = found_in(sides())
    assert list(found) == [
        ("train", "train"), ("val", "train"), ("val", "val"), ("test", "train"), ("test", "val"), ("test", "test"),
    ]  # fmt: skip
    assert all((one.num_identical, one.num_near, one.pairs, one.share) == (0, 0, (), 0.0) for one in found.values())
    assert [one.num_images for one in found.values()] == [50, 10, 10, 20, 20, 20]


def test_identical_images_are_counted_within_and_across_sides() -> None:
    images = sides()
    images["train"][[1, 2]] = images["train"][0]  # three alike
    images["test"][[4, 5]] = images["train"][9]  # two of test, one of training
    images["val"][3] = images["test"][7]
    found = found_in(images)
    identical = {pair: one.num_identical for pair, one in found.items() if one.num_identical}
    assert identical == {("train", "train"): 3, ("test", "train"): 2, ("test", "test"): 2, ("test", "val"): 1}
    assert not any(one.num_near for one in found.values())
    assert found["test", "train"].share == pytest.approx(2 / 20)


def test_near_copies_are_found_with_their_places_and_correlation() -> None:
    images = sides()
    images["test"][6] = noisy(images["train"][30], 4)
    images["val"][2] = np.rint(images["train"][8] * 0.6 + 20)  # darker and flatter
    images["train"][41] = noisy(images["train"][40], 4)
    found = found_in(images)
    (pair,) = found["test", "train"].pairs
    assert (pair.index, pair.other) == (6, 30)
    expected = np.corrcoef(images["test"][6].ravel(), images["train"][30].ravel())[0, 1]
    assert pair.correlation == pytest.approx(expected, abs=1e-4)
    assert [(p.index, p.other) for p in found["val", "train"].pairs] == [(2, 8)]
    assert [(p.index, p.other) for p in found["train", "train"].pairs] == [(40, 41)]  # once, not in both directions
    assert found["train", "train"].num_near == 2
    assert found["test", "train"].share == pytest.approx(1 / 20)


def test_noise_that_is_too_strong_makes_no_near_copy() -> None:
    images = sides()
    images["test"][6] = noisy(images["train"][30], 40)
    assert correlations(images["test"][[6]], images["train"][[30]])[0] < NEAR
    assert found_in(images)["test", "train"].pairs == ()


def test_blank_images_are_identical_but_never_near() -> None:
    images = sides()
    images["train"][:2], images["test"][:2] = 0, 255
    found = found_in(images)
    assert (found["train", "train"].num_identical, found["test", "train"].num_identical) == (2, 0)
    assert not any(one.num_near for one in found.values())


def test_tiles_and_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    images = sides()
    for k in range(8):
        images["test"][k] = noisy(images["train"][3 * k], 3, seed=k)
    whole = found_in(images)
    for name, value in (("ROWS", 7), ("COLUMNS", 5), ("PAIR_BYTES", 4_000)):
        monkeypatch.setattr(copies, name, value)
    assert found_in(images) == whole
    assert [(p.index, p.other) for p in sorted(whole["test", "train"].pairs, key=lambda p: p.index)] == [
        (k, 3 * k) for k in range(8)
    ]


def test_above_the_limit_evenly_spaced_images_stand_for_all() -> None:
    images = {"train": drawn(100, 0), "val": drawn(10, 1), "test": drawn(100, 2)}
    images["test"][:50] = [noisy(image, 3) for image in images["train"][:50]]
    found = found_in(images, most_pairs=8_000)["test", "train"]
    assert found.num_compared < 100
    assert found.share == pytest.approx(found.num_near / found.num_compared)
    assert abs(found.share - 0.5) < 0.1


def test_many_near_copies_take_bounded_memory_and_are_all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST_KEPT", 20)
    image = drawn(1, 5)
    images = {
        "train": np.concatenate([noisy(image, 3, seed=k) for k in range(60)]),
        "val": drawn(5, 1),
        "test": drawn(5, 2),
    }
    within = found_in(images)["train", "train"]
    assert (within.num_near, len(within.pairs)) == (60, 20)
    assert list(within.pairs) == sorted(within.pairs, key=lambda p: -p.correlation)


def test_conflicts_are_the_identical_images_with_different_labels() -> None:
    identity = np.array([0, 1, 0, 2, 2, 3, 0])
    labels = np.array([5, 5, 6, 7, 7, 8, 5])
    assert conflicting(identity, labels).tolist() == [0, 2, 6]


@pytest.mark.slow
def test_near_copies_of_large_images_are_found_though_they_are_averaged_for_the_search() -> None:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (80, 9, 7, 3), dtype=np.uint8)
    train = coarse.repeat(10, axis=1).repeat(10, axis=2)
    images = {"train": train, "val": 255 - train[:5], "test": np.stack([noisy(image, 6) for image in train[:20]])}
    pairs = found_in(images)["test", "train"].pairs
    assert sorted((pair.index, pair.other) for pair in pairs) == [(k, k) for k in range(20)]
