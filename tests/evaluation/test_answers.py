"""Votes of several runs on the same images."""

import numpy as np

from hcr.evaluation.answers import answers_of, only_right


def run(labels, predicted, index, num_classes=3):
    return np.eye(num_classes)[predicted], np.array(labels), np.array(index)


def test_votes_shares_and_mistakes_are_worked_by_hand():
    runs = [run([0, 1, 2], [0, 1, 1], [10, 20, 30]), run([0, 2], [1, 1], [10, 30])]
    found = answers_of(runs, np.array([10, 30]))
    assert found.labels.tolist() == [0, 2]
    assert found.votes.tolist() == [[1, 1, 0], [0, 2, 0]]
    assert found.num_runs.tolist() == [2, 2]
    assert found.share_right.tolist() == [0.5, 0.0]
    assert found.mistakes.tolist() == [1, 1]
    assert found.confusion.tolist() == [[0.5, 0.5, 0], [0, 0, 0], [0, 1, 0]]


def test_each_image_counts_once_in_the_confusion_matrix_however_many_runs_answered_it():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 50)
    runs = [run(labels[:40], random.integers(0, 3, 40), np.arange(40))]
    runs.append(run(labels[20:], random.integers(0, 3, 30), np.arange(20, 50)))
    found = answers_of(runs, np.arange(50))
    assert np.allclose(found.confusion.sum(axis=1), np.bincount(labels, minlength=3))


def test_images_that_most_runs_of_one_side_have_right_and_most_of_the_other_wrong_the_clearest_first():
    labels, index = [0, 0, 0, 0], [0, 1, 2, 3]
    good = answers_of([run(labels, [0, 0, 0, 1], index), run(labels, [0, 0, 0, 1], index)], np.arange(4))
    bad = answers_of([run(labels, [0, 1, 2, 1], index), run(labels, [1, 1, 1, 1], index)], np.arange(4))
    assert only_right(good, bad).tolist() == [1, 2]  # of image 0 half of the other side is right
    assert only_right(bad, good).tolist() == []
    mixed = answers_of(
        [run(labels, [1, 0, 0, 0], index), run(labels, [0, 1, 0, 0], index), run(labels, [0, 0, 0, 0], index)],
        np.arange(4),
    )
    wrong = answers_of([run(labels, [1, 1, 1, 1], index)], np.arange(4))
    assert only_right(mixed, wrong).tolist() == [2, 3, 0, 1]
