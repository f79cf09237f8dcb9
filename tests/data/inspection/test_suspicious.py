"""Wrong labels are found, and right ones are left alone."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from hcr.data.inspection import suspicious
from hcr.data.inspection.features import features_of
from hcr.data.inspection.suspicious import AGREEMENT, NEIGHBOURS, Suspicions, suspicious_labels


def clusters(per_class: int = 40, spread: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Points of three classes around the corners of a triangle, in 4 dimensions."""
    rng = np.random.default_rng(0)
    labels = np.arange(3).repeat(per_class)
    return (np.eye(4)[labels] + rng.normal(0, spread, (len(labels), 4))).astype(np.float32), labels


def test_a_flipped_label_is_listed_with_what_its_neighbours_say() -> None:
    features, labels = clusters()
    labels[17], labels[100] = 2, 1
    found = suspicious_labels(features, labels, 3)
    listed = {(one.index, one.label, one.neighbours_label) for one in found.found}
    assert listed == {(17, 2, 0), (100, 1, 2)}
    assert all(AGREEMENT <= one.agreement <= NEIGHBOURS and one.ratio > 5 for one in found.found)
    assert (found.num_images, found.num_judged, found.num_references) == (120, 120, 120)
    assert found.share == pytest.approx(2 / 120)


def test_the_most_contradicted_label_comes_first() -> None:
    features, labels = clusters()
    labels[17], labels[60] = 2, 0
    features[60] += 0.3 * (features[labels == 0].mean(axis=0) - features[60])  # somewhat like its label
    found = suspicious_labels(features, labels, 3).found
    assert [one.index for one in found] == [17, 60]
    assert found[0].ratio > found[1].ratio


def test_clean_classes_and_overlapping_ones_are_left_alone() -> None:
    assert suspicious_labels(*clusters(), 3).found == ()
    overlapping, labels = clusters(spread=3.0)
    assert suspicious_labels(overlapping, labels, 3).share < 0.01


def test_agreement_with_the_nearest_image_is_0_by_chance_and_1_at_best() -> None:
    features, labels = clusters(400)
    assert suspicious_labels(features, labels, 3).agreement == 1.0
    shuffled = np.random.default_rng(1).permutation(labels)
    assert abs(suspicious_labels(features, shuffled, 3).agreement) < 0.1


def test_images_without_features_and_labels_of_too_few_images_are_not_judged() -> None:
    features, labels = clusters()
    features[:5] = np.nan
    labels[10:12] = 3  # two images, which have no two others of their label
    found = suspicious_labels(features, labels, 4)
    assert (found.num_images, found.num_judged, found.num_references) == (120, 113, 115)
    assert not {one.index for one in found.found} & {0, 1, 2, 3, 4, 10, 11}


@pytest.mark.parametrize("count", [0, 1, NEIGHBOURS])
def test_too_few_images_for_neighbours_are_not_judged(count: int) -> None:
    found = suspicious_labels(np.zeros((count, 2), np.float32), np.zeros(count, int), 2)
    assert found == Suspicions(count, 0, count, 1.0, ())


def test_it_is_what_a_plain_search_for_neighbours_gives() -> None:
    digits = load_digits()
    (features,) = features_of([np.rint(digits.images * 255 / 16).astype(np.uint8)[..., np.newaxis]])
    rng = np.random.default_rng(3)
    labels = digits.target.copy()
    flipped = rng.choice(len(labels), 36, replace=False)
    labels[flipped] = (labels[flipped] + rng.integers(1, 10, 36)) % 10
    found = suspicious_labels(features, labels, 10)
    rows = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(features).kneighbors(return_distance=False)[:, :NEIGHBOURS]
    for one in found.found:
        votes = np.bincount(labels[rows[one.index]], minlength=10)
        assert (one.neighbours_label, one.agreement) == (votes.argmax(), votes.max())
    listed = {one.index for one in found.found}
    assert len(listed & set(flipped.tolist())) >= 30
    assert len(listed - set(flipped.tolist())) <= 2


def test_a_sample_of_a_large_data_set_finds_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspicious, "MOST_REFERENCES", 60)
    monkeypatch.setattr(suspicious, "MOST_JUDGED", 50)
    monkeypatch.setattr(suspicious, "ROWS", 7)
    features, labels = clusters()
    labels[18] = 2
    found = suspicious_labels(features, labels, 3)
    assert found.num_judged == 40  # every third
    assert 55 <= found.num_references <= 65
    assert [one.index for one in found.found] == [18]
