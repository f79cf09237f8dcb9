"""The pictures of suspicious labels and near copies hold what they are given, and say so if there is nothing."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from hcr.evaluation.inspection_pictures import (
    MOST_DOUBTED,
    MOST_PAIRS,
    doubted_info,
    draw_doubted,
    draw_pairs,
    pairs_info,
)
from hcr.evaluation.style import default_style

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 9, 7, 1), dtype=np.uint8)
NAMES = ("a", "ß", "long " * 30)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def doubted(count: int):
    labels = np.arange(count) % 3
    names, agreement = [f"train {i}" for i in range(count)], ["9 of 10"] * count
    return doubted_info(
        IMAGES[:count], names, labels, (labels + 1) % 3, agreement, NAMES, num_doubted=count, num_judged=1000
    )


def test_the_first_images_are_shown_with_both_labels() -> None:
    info = doubted(40)
    assert len(info.images) == len(info.labels) == MOST_DOUBTED
    assert (info.labels[:2], info.neighbours[:2]) == (("a", "ß"), ("ß", NAMES[2]))
    with default_style():
        shown = texts(draw_doubted(info))
    assert f"The {MOST_DOUBTED} most suspicious of 40 labels" in shown
    assert shown.count("labelled a") == MOST_DOUBTED // 3
    assert "neighbours say ß" in shown
    assert any(text.startswith("9 of 10, train 0") for text in shown)


def test_few_images_are_all_shown() -> None:
    with default_style():
        assert "The suspicious labels" in texts(draw_doubted(doubted(4)))


def test_pairs_are_shown_side_by_side_with_their_correlation() -> None:
    captions = [(f"test {i}", f"train {i + 50}: a") for i in range(20)]
    correlation = [0.999 - i / 10_000 for i in range(20)]
    info = pairs_info(IMAGES[:20], IMAGES[20:], captions, correlation, num_pairs=77, limit=0.99)
    assert (len(info.first), len(info.second)) == (MOST_PAIRS, MOST_PAIRS)
    with default_style():
        shown = texts(draw_pairs(info))
    assert f"{MOST_PAIRS} of 77 pairs of nearly identical images" in shown
    assert {"test 3", "0.9987"} <= set(shown)


def test_nothing_found_is_said() -> None:
    with default_style():
        assert "No suspicious labels" in texts(draw_doubted(doubted(0)))
        none = pairs_info(IMAGES[:0], IMAGES[:0], [], [], num_pairs=0, limit=0.99)
        assert "No nearly identical images" in texts(draw_pairs(none))


def test_images_in_colour_and_of_any_size_can_be_drawn() -> None:
    large = np.random.default_rng(1).integers(0, 256, (3, 300, 200, 3), dtype=np.uint8)
    info = pairs_info(large, large, [("val 1", "train 2")] * 3, [0.991] * 3, num_pairs=3, limit=0.99)
    with default_style():
        assert "3 pairs of nearly identical images" in texts(draw_pairs(info))
