"""The numbers behind the pictures of a comparison."""

import numpy as np
import pytest

from hcr.evaluation.answers import answers_of
from hcr.evaluation.comparison_plots import (
    MOST_IMAGES,
    MOST_SIDES,
    compared_curves_info,
    confusion_difference_info,
    disagreements_info,
    draw_compared_curves,
    draw_confusion_difference,
    draw_disagreements,
    shown_disagreements,
)


def history(*losses):
    return [{"val/loss": loss, "val/accuracy": 1 - loss / 10} for loss in losses]


def answers(labels, *predicted, num_classes=3):
    index = np.arange(len(labels))
    return answers_of([(np.eye(num_classes)[own], np.array(labels), index) for own in predicted], index)


def test_curves_are_the_mean_and_the_range_over_the_runs_that_reached_an_epoch():
    info = compared_curves_info(("A", "B"), [[history(4, 2), history(2, 1, 0.5)], [history(1)]])
    first, second = info.curves["val/loss"]
    assert first.mean.tolist() == [3, 1.5, 0.5]
    assert (first.low.tolist(), first.high.tolist()) == ([2, 1, 0.5], [4, 2, 0.5])
    assert first.num_runs.tolist() == [2, 2, 1]
    assert second.mean.tolist() == [1]
    assert info.has_bands and info.loss_is_log


def test_diverged_runs_and_many_sides_can_be_drawn():
    info = compared_curves_info([f"side {k}" for k in range(9)], [[history(np.nan, np.inf)]] * 9)
    assert len(info.labels) == MOST_SIDES and not info.loss_is_log
    assert len(draw_compared_curves(info).axes[0].lines) == MOST_SIDES


def test_the_difference_of_confusions_is_second_minus_first():
    labels = [0, 0, 1, 1, 1]
    info = confusion_difference_info(
        ("A", "B"), answers(labels, [0, 1, 1, 2, 2]), answers(labels, [0, 0, 1, 1, 0]), ("a", "b", "c")
    )
    assert info.counts.tolist() == [[1, -1, 0], [1, 1, -2], [0, 0, 0]]
    assert info.shares[1].tolist() == pytest.approx([1 / 3, 0, -2 / 3])
    assert np.trace(np.abs(info.shares)) == 0
    assert info.num_wrong == (3, 1)
    swapped = confusion_difference_info(
        ("B", "A"), answers(labels, [0, 0, 1, 1, 0]), answers(labels, [0, 1, 1, 2, 2]), ("a", "b", "c")
    )
    assert (swapped.counts == -info.counts).all()


def test_sides_that_answer_the_same_have_no_colour_to_explain():
    same = answers([0, 1, 2], [0, 1, 1])
    info = confusion_difference_info(("A", "B"), same, same, ("a", "b", "c"))
    assert not info.counts.any()
    assert len(draw_confusion_difference(info).axes) == 1  # no colour bar


def test_disagreements_name_label_answer_and_votes():
    right, wrong = answers([0, 1, 2], [0, 1, 2], [0, 1, 1]), answers([0, 1, 2], [2, 1, 0], [2, 0, 0])
    assert shown_disagreements(right, wrong).tolist() == [0]
    images = np.zeros((1, 8, 8, 1), np.uint8)
    info = disagreements_info(("A", "B"), right, wrong, images, ("<b>", "$x$", "c"))
    assert (info.labels, info.answers, info.votes) == (("<b>",), ("c",), ("2/2 : 0/2",))
    assert (info.num_found, info.num_images) == (1, 3)
    texts = [text.get_text() for text in draw_disagreements(info).axes[0].texts]
    assert texts == ["says c", "is <b>", "2/2 : 0/2, 0"]


def test_a_page_shows_the_clearest_and_says_how_many_there_are():
    many = MOST_IMAGES + 5
    right, wrong = answers([0] * many, [0] * many), answers([0] * many, [1] * many)
    shown = shown_disagreements(right, wrong)
    info = disagreements_info(("A", "B"), right, wrong, np.zeros((len(shown), 8, 8, 1), np.uint8), ("a", "b", "c"))
    assert (len(info.labels), info.num_found) == (MOST_IMAGES, many)
    none = disagreements_info(("B", "A"), wrong, right, np.zeros((0, 8, 8, 1), np.uint8), ("a", "b", "c"))
    assert none.num_found == 0
    assert "None of 23 images." in [text.get_text() for text in draw_disagreements(none).texts]
