"""The choices behind the pictures of images: which, of whom, in what order."""

import numpy as np
import pytest

from hcr.evaluation.pictures import (
    NUM_MISTAKES,
    NUM_PREDICTIONS,
    PER_CLASS,
    augmentation_info,
    draw_augmentation,
    draw_mistakes,
    draw_samples,
    filters_info,
    mistakes_info,
    predictions_info,
    samples_info,
)

NAMES = ("a", "b", "c", "d")


def labelled_images(num_images=100, seed=0):
    """Images whose first pixel is their label and whose second is their place in the set."""
    labels = np.random.default_rng(seed).integers(0, len(NAMES), num_images)
    images = np.zeros((num_images, 5, 4, 1), dtype=np.uint8)
    images[:, 0, 0, 0] = labels
    images[:, 0, 1, 0] = np.arange(num_images)
    return images, labels


def random_probabilities(num_images=100):
    return np.random.default_rng(1).dirichlet(np.ones(len(NAMES)), num_images)


def test_each_sample_belongs_to_the_class_of_its_row():
    images, labels = labelled_images()
    info = samples_info(images, labels, NAMES)
    assert info.class_names == NAMES
    for k, row in enumerate(info.rows):
        assert row.shape == (PER_CLASS, 5, 4, 1)
        assert (row[:, 0, 0, 0] == k).all()


def test_no_sample_is_shown_twice_and_they_reach_through_the_whole_class():
    images, labels = labelled_images()
    info = samples_info(images, labels, NAMES)
    for k, row in enumerate(info.rows):
        places = row[:, 0, 1, 0].tolist()
        own = np.flatnonzero(labels == k)
        assert places == sorted(set(places))
        assert (places[0], places[-1]) == (own[0], own[-1])


def test_a_class_with_few_images_shows_all_and_one_with_none_shows_none():
    labels = np.array([0, 0, *[2] * 20])
    images = np.arange(22, dtype=np.uint8).reshape(22, 1, 1, 1)
    info = samples_info(images, labels, ("a", "b", "c"))
    assert [len(row) for row in info.rows] == [2, 0, PER_CLASS]
    assert info.rows[0].ravel().tolist() == [0, 1]


def test_a_prediction_is_shown_with_its_own_image_label_and_confidence():
    images, labels = labelled_images()
    probabilities = random_probabilities()
    info = predictions_info(images, labels, probabilities, NAMES)
    assert len(set(info.index.tolist())) == NUM_PREDICTIONS
    for m, n in enumerate(info.index):
        assert info.images[m, 0, 1, 0] == n
        assert info.actual[m] == NAMES[labels[n]]
        assert info.predicted[m] == NAMES[probabilities[n].argmax()]
        assert info.right[m] == (info.actual[m] == info.predicted[m])
        assert info.confidence[m] == probabilities[n].max()


def test_two_models_are_shown_on_the_same_images_in_the_order_of_the_set():
    images, labels = labelled_images()
    one, other = (predictions_info(images, labels, p, NAMES) for p in (random_probabilities(), np.eye(4)[labels]))
    assert one.index.tolist() == other.index.tolist() == sorted(one.index)
    assert one.index.tolist() != list(range(NUM_PREDICTIONS))


def test_fewer_images_than_asked_for_are_all_shown():
    images, labels = labelled_images(6)
    info = predictions_info(images, labels, random_probabilities(6), NAMES)
    assert info.index.tolist() == [0, 1, 2, 3, 4, 5]


def test_mistakes_are_wrong_and_ordered_by_confidence():
    images, labels = labelled_images()
    info = mistakes_info(images, labels, random_probabilities(), NAMES)
    assert not info.right.any()
    assert all(actual != predicted for actual, predicted in zip(info.actual, info.predicted, strict=True))
    assert (np.diff(info.confidence) <= 0).all()


def test_no_mistake_that_is_left_out_is_more_confident_than_one_that_is_shown():
    images, labels = labelled_images()
    probabilities = random_probabilities()
    info = mistakes_info(images, labels, probabilities, NAMES)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    left_out = np.setdiff1d(wrong, info.index)
    assert (info.num_wrong, info.num_images) == (len(wrong), 100)
    assert len(info.index) == NUM_MISTAKES
    assert probabilities[left_out].max() <= info.confidence.min()


def test_without_mistakes_there_is_nothing_to_show_and_the_page_says_so():
    images, labels = labelled_images()
    info = mistakes_info(images, labels, np.eye(len(NAMES))[labels], NAMES)
    assert (info.num_wrong, len(info.index)) == (0, 0)
    texts = [text.get_text() for text in draw_mistakes(info).texts]
    assert texts == ["No mistakes", "All 100 images are classified correctly."]


def test_filters_are_the_mean_over_input_channels():
    kernels = np.random.default_rng(0).standard_normal((3, 5, 2, 4)).astype(np.float32)
    info = filters_info(kernels)
    assert info.values.shape == (4, 3, 5)
    assert info.values[3] == pytest.approx((kernels[:, :, 0, 3] + kernels[:, :, 1, 3]) / 2, rel=1e-5)
    assert info.limit == pytest.approx(np.abs(info.values).max())
    assert (info.num_filters, info.num_channels) == (4, 2)


def test_at_most_64_filters_are_shown_and_the_layer_s_number_is_kept():
    info = filters_info(np.ones((3, 3, 1, 100)))
    assert (len(info.values), info.num_filters) == (64, 100)


def test_weights_that_are_nan_or_all_zero_leave_a_scale_to_draw_with():
    kernels = np.zeros((1, 1, 1, 3))
    assert filters_info(kernels).limit == 1.0
    kernels[0, 0, 0] = [np.nan, -0.5, 0.25]
    assert filters_info(kernels).limit == 0.5


def pixels_of(figure):
    """The one image of a figure, (height, width, 3)."""
    (axes,) = figure.axes
    (image,) = axes.get_images()
    return np.asarray(image.get_array())


def test_a_page_shows_each_image_once_and_enlarged_without_new_colours():
    # Four classes of one image each, all of one grey: four areas of equal size.
    greys = np.array([50, 100, 150, 200], dtype=np.uint8)
    images = np.broadcast_to(greys[:, None, None, None], (4, 8, 8, 1))
    page = pixels_of(draw_samples(samples_info(images, np.arange(4), NAMES)))
    areas = [int((page == grey).all(axis=-1).sum()) for grey in greys]
    assert areas == [88 * 88] * 4  # 8 pixels 11 times as large: the most that 90 holds
    assert set(np.unique(page)) <= {*greys, 255, *range(0xDF, 0xE9)}  # the paper and the frames


def test_the_original_is_left_of_its_own_variants():
    originals = np.array([10, 20], dtype=np.uint8).reshape(2, 1, 1, 1)
    augmented = np.array([[11, 12, 13], [21, 22, 23]], dtype=np.uint8).reshape(2, 3, 1, 1, 1)
    page = pixels_of(draw_augmentation(augmentation_info(originals, augmented)))[..., 0]
    place = {grey: np.argwhere(page == grey)[0] for grey in (10, 11, 12, 13, 20, 21, 22, 23)}
    for row in (10, 20):
        tops = {int(place[row + i][0]) for i in range(4)}
        lefts = [int(place[row + i][1]) for i in range(4)]
        assert len(tops) == 1
        assert lefts == sorted(set(lefts))
    assert place[10][0] < place[20][0]
