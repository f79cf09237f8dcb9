"""The numbers behind the curves and the reliability diagram, and that every picture comes out as a PNG."""

import struct
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from hcr.evaluation.calibration import scale
from hcr.evaluation.canvas import save_figure, shorten, text_width
from hcr.evaluation.class_plots import (
    class_balance_info,
    class_f1_info,
    confusion_info,
    draw_class_balance,
    draw_class_f1,
    draw_confusion,
)
from hcr.evaluation.metrics import evaluate, expected_calibration_error
from hcr.evaluation.pictures import (
    augmentation_info,
    draw_augmentation,
    draw_filters,
    draw_mistakes,
    draw_predictions,
    draw_samples,
    filters_info,
    mistakes_info,
    predictions_info,
    samples_info,
)
from hcr.evaluation.plots import curves_info, draw_curves, draw_reliability, reliability_info
from hcr.evaluation.reject_plot import draw_reject, reject_info


def history(*losses, accuracies=None):
    accuracies = accuracies or [0.9] * len(losses)
    return [
        {"train/loss": 2 * loss, "train/accuracy": acc, "val/loss": loss, "val/accuracy": acc}
        for loss, acc in zip(losses, accuracies, strict=True)
    ]


def random_predictions(num_images, num_classes, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_images)
    probabilities = random.dirichlet(np.full(num_classes, 0.3), num_images)
    probabilities[np.arange(num_images), labels] += 0.5
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def test_curves_keep_each_metric_in_the_order_of_epochs():
    info = curves_info(history(0.5, 0.3, 0.4, accuracies=[0.7, 0.9, 0.8]), best_epoch=2, monitor="val/loss")
    assert info.values["val/loss"].tolist() == [0.5, 0.3, 0.4]
    assert info.values["train/loss"].tolist() == [1.0, 0.6, 0.8]
    assert info.values["val/accuracy"].tolist() == [0.7, 0.9, 0.8]
    assert info.num_epochs == 3


def test_a_first_epoch_far_above_the_others_gives_a_logarithmic_loss_axis():
    assert curves_info(history(5.0, 0.1, 0.09), 3, "val/loss").loss_is_log
    assert not curves_info(history(0.5, 0.4, 0.4), 2, "val/loss").loss_is_log


def test_a_loss_of_zero_or_nan_keeps_the_axis_linear_or_is_ignored():
    assert not curves_info(history(1.0, 0.0), 2, "val/loss").loss_is_log
    assert not curves_info(history(1.0, float("nan")), 1, "val/loss").loss_is_log
    assert curves_info(history(5.0, float("nan"), 0.1), 3, "val/loss").loss_is_log
    assert not curves_info(history(1.0, float("inf")), 1, "val/loss").loss_is_log
    assert not curves_info(history(float("nan")), 1, "val/loss").loss_is_log


def test_a_poor_first_epoch_leaves_the_accuracy_axis_only_when_there_are_many():
    late = [0.97, 0.98, 0.985, 0.99]
    many = curves_info(history(*[1.0] * 5, accuracies=[0.2, *late]), 5, "val/accuracy")
    assert many.accuracy_floor == 0.97
    few = curves_info(history(*[1.0] * 3, accuracies=[0.2, *late[:2]]), 3, "val/accuracy")
    assert few.accuracy_floor == 0.2


def test_an_accuracy_that_rises_steadily_is_shown_whole():
    rising = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    assert curves_info(history(*[1.0] * 6, accuracies=rising), 6, "val/accuracy").accuracy_floor == 0.5


def test_reliability_leaves_out_empty_bins_and_counts_every_image():
    probabilities = np.array([[0.55, 0.45], [0.95, 0.05], [0.05, 0.95], [1.0, 0.0]])
    info = reliability_info(probabilities, np.array([1, 0, 1, 1]))
    assert info.images.tolist() == [1, 3]
    assert info.low.tolist() == pytest.approx([8 / 15, 14 / 15])
    assert info.width == pytest.approx(1 / 15)
    assert info.confidence.tolist() == pytest.approx([0.55, (0.95 + 0.95 + 1.0) / 3])
    assert info.accuracy.tolist() == pytest.approx([0.0, 2 / 3])


def test_the_gaps_of_a_reliability_diagram_add_up_to_its_ece():
    probabilities, labels = random_predictions(500, 7)
    info = reliability_info(probabilities, labels)
    gaps = np.abs(info.confidence - info.accuracy)
    assert info.images.sum() == 500
    assert float((gaps * info.images).sum() / 500) == pytest.approx(info.ece)
    assert info.ece == expected_calibration_error(probabilities, labels)
    inside = (info.low < info.confidence) & (info.confidence <= info.low + info.width + 1e-12)
    assert inside.all()


def test_a_shortened_name_fits_and_a_short_one_is_left_alone():
    assert shorten("ampersand", 9.0, 1000) == "ampersand"
    for width in (30, 60, 90):
        short = shorten("Latin small letter WWW with a long name", 9.0, width)
        assert short.endswith("…")
        assert text_width(short, 9.0) <= width
    assert len(shorten("WWWWWWWWWW", 9.0, 100)) < len(shorten("iiiiiiiiiiiiiiiiiiiiii", 9.0, 100))


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def every_picture(images, labels, probabilities, class_names, epochs) -> dict[str, Figure]:
    evaluation = evaluate(probabilities, labels, class_names)
    thirds = np.array_split(labels, 3)
    return {
        "samples": draw_samples(samples_info(images, labels, class_names)),
        "curves": draw_curves(curves_info(epochs, 1, "val/loss")),
        "confusion": draw_confusion(confusion_info(evaluation)),
        "predictions": draw_predictions(predictions_info(images, labels, probabilities, class_names)),
        "mistakes": draw_mistakes(mistakes_info(images, labels, probabilities, class_names)),
        "reliability": draw_reliability(reliability_info(probabilities, labels)),
        "calibrated": draw_reliability(
            reliability_info(scale(probabilities, 1.5), labels), reliability_info(probabilities, labels)
        ),
        "reject": draw_reject(reject_info(probabilities, labels)),
        "balance": draw_class_balance(
            class_balance_info(dict(zip(("train", "val", "test"), thirds, strict=True)), class_names)
        ),
        "f1": draw_class_f1(class_f1_info(evaluation)),
        "filters": draw_filters(filters_info(np.linspace(-1, 1, 3 * 3 * 2 * 12).reshape(3, 3, 2, 12))),
        "augmentation": draw_augmentation(augmentation_info(images[:4], np.stack([images[4:9]] * 4))),
    }


TEN = tuple("0123456789")
LONG = tuple(f"a rather long name of the letter {letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
# Names that Matplotlib would take for formulas, the second for a broken one.
FORMULAS = ("$", r"$\frac", "{", "_", "a b", "", "%", "&", "^", "\\")
slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("class_names", "shape", "all_right"),
    [
        pytest.param(TEN, (8, 8, 1), False, id="10 classes of 8x8"),
        slow(LONG, (28, 28, 1), False, id="26 classes with long names"),
        slow(TEN, (8, 8, 1), True, id="no mistakes"),
        slow(FORMULAS, (40, 24, 3), False, id="names like formulas, tall images in colour"),
        slow(TEN[:2], (150, 150, 3), False, id="2 classes of large images"),
    ],
)
def test_every_picture_is_a_png_that_fits_the_artifact_pane(tmp_path, class_names, shape, all_right):
    probabilities, labels = random_predictions(300, len(class_names))
    if all_right:
        probabilities = np.eye(len(class_names))[labels]
    images = np.random.default_rng(0).integers(0, 256, (300, *shape), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = every_picture(images, labels, probabilities, class_names, history(0.5))
        for name, figure in figures.items():
            save_figure(figure, tmp_path / f"{name}.png")
    for name in figures:
        width, height = png_size(tmp_path / f"{name}.png")
        assert 900 <= width <= 1200, name
        assert 90 <= height <= 1700, name


@pytest.mark.parametrize("num_epochs", [1, 2, 3, 15, 100])
def test_every_tick_of_an_epoch_axis_is_an_epoch(num_epochs):
    figure = draw_curves(curves_info(history(*np.linspace(3, 0.1, num_epochs)), 1, "val/loss"))
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert 1 <= len(ticks) <= 11
        assert all(tick == int(tick) and 1 <= tick <= num_epochs for tick in ticks)


def test_a_training_that_diverged_can_be_drawn(tmp_path):
    epochs = history(2.0, float("inf"), float("nan"))
    save_figure(draw_curves(curves_info(epochs, 1, "val/loss")), tmp_path / "curves.png")
    assert png_size(tmp_path / "curves.png")[0] == 1000


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        save_figure(draw_curves(curves_info(history(0.5, 0.4), 2, "val/loss")), tmp_path / f"{name}.png")
    data = (tmp_path / "one.png").read_bytes()
    assert data == (tmp_path / "two.png").read_bytes()
    assert b"Software" not in data
    assert b"tIME" not in data
