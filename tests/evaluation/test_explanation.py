"""The picture of an answer shows the most probable classes, first the answer, and the image at any size."""

import numpy as np
import pytest

from hcr.evaluation.canvas import save_figure
from hcr.evaluation.explanation import MOST_BARS, draw_explanation, explanation_info
from hcr.evaluation.style import default_style


def test_the_bars_are_the_most_probable_classes_in_order() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(26)).astype(np.float32)
    names = [chr(97 + k) for k in range(26)]
    image = np.zeros((4, 5, 1), np.uint8)
    info = explanation_info("a.png", "answer: a", (image, image), np.zeros((4, 5)), probabilities, names)
    order = np.argsort(-probabilities)[:MOST_BARS]
    assert list(info.names) == [names[k] for k in order]
    assert info.probabilities == pytest.approx(probabilities[order].tolist())


@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_covered_is_marked_on_what_the_model_saw(tmp_path, channels: int) -> None:  # type: ignore[no-untyped-def]
    seen = np.zeros((28, 28, channels), np.uint8)
    fall = np.zeros((28, 28))
    drawn = []
    for deepest in (0.0, 0.7):
        fall[5:10, 5:10] = deepest
        info = explanation_info("$a_b$ 数.png", "answer", (seen, seen), fall, np.array([0.9, 0.1]), ["$x$", "数"])
        with default_style():
            save_figure(draw_explanation(info), tmp_path / f"{deepest}.png")
        drawn.append((tmp_path / f"{deepest}.png").read_bytes())
    assert drawn[0] != drawn[1]
