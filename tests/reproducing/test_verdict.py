"""Two records are the same only if every number is: of each epoch, of the end, of predictions and weights."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcr.config.errors import TrackingError
from hcr.recorded import Record
from hcr.reproducing.verdict import compare

EPOCH = {"train/loss": 0.5, "val/loss": 0.25, "time/epoch_s": 1.0}
END = {"best/val_loss": 0.25, "test/loss": 0.3, "time/total_s": 9.0, "sweep/mean_val_loss": 1.0}


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Record]:
    """A record with metrics of two epochs and of the end, predictions and a model."""

    def make(
        end: dict[str, float] | None = None,
        history: Any = (EPOCH, EPOCH),
        row: float = 0.5,
        weights: bytes = b"w",
        time: int = 1980,
    ) -> Record:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        (folder / "predictions").mkdir(parents=True)
        (folder / "model/data").mkdir(parents=True)
        for part in ("val", "test"):
            probabilities = np.array([[0.5, 0.5], [row, 1 - row]], np.float32)
            np.savez(folder / f"predictions/{part}.npz", probabilities=probabilities, labels=np.array([0, 1]))
        with zipfile.ZipFile(folder / "model/data/model.keras", "w") as model:
            model.writestr(zipfile.ZipInfo("model.weights.h5", (time, 1, 1, 0, 0, 0)), weights)
        return Record(
            key="abcdef012345",
            name="a run",
            folder=folder,
            artifacts=folder,
            status="FINISHED",
            tags={},
            metrics={**EPOCH, **END, **(end or {})},
            history=list(history),
        )

    return make


def found(then: Record, now: Record, *, with_test: bool = True) -> list[str]:
    return [each.what for each in compare(then, now, with_test=with_test).differences]


def test_times_of_the_machine_and_of_files_and_means_of_a_sweep_are_left_out(record: Any) -> None:
    other = record({"time/total_s": 1.0, "sweep/mean_val_loss": 2.0}, [EPOCH | {"time/epoch_s": 7.0}] * 2, time=2020)
    verdict = compare(record(), other, with_test=True)
    assert verdict.differences == []
    assert (verdict.num_metrics, verdict.num_epochs) == (4, 2)
    assert verdict.files == ["predictions/val", "predictions/test", "weights"]


def test_the_last_bit_of_a_metric_is_a_difference_and_its_first_epoch_is_named(record: Any) -> None:
    other = record(history=[EPOCH, EPOCH | {"val/loss": 0.25 + 2**-54}])
    (difference,) = compare(record(), other, with_test=True).differences
    assert (difference.what, difference.epoch) == ("val/loss", 2)
    assert (difference.recorded, difference.here) == ("0.25", "0.25000000000000006")


def test_a_metric_that_is_missing_here_is_a_difference_and_one_only_here_a_note(record: Any) -> None:
    more = record({"best/val_kappa": 0.5})
    assert found(more, record()) == ["best/val_kappa"]
    verdict = compare(record(), more, with_test=True)
    assert (verdict.differences, verdict.notes) == ([], ["only this run has best/val_kappa"])


def test_a_later_look_at_test_is_not_repeated(record: Any) -> None:
    other = record({"test/loss": 0.1})
    assert found(record(), other, with_test=False) == []
    assert found(record(), other) == ["test/loss"]


@pytest.mark.parametrize(
    ("then", "now", "is_same"),
    [
        (float("nan"), float("nan"), True),
        (float("nan"), 1.0, False),
        (1.7976931348623157e308, float("inf"), True),  # as MLflow's databases have it
        (-1.7976931348623157e308, float("inf"), False),
        (0.0, -0.0, True),
    ],
)
def test_numbers_that_a_store_changes_are_the_same(record: Any, then: float, now: float, is_same: bool) -> None:
    assert (found(record({"best/x": then}), record({"best/x": now})) == []) is is_same


def test_another_number_of_epochs_is_a_difference(record: Any) -> None:
    assert found(record(), record(history=[EPOCH])) == ["epochs"]


def test_one_prediction_or_weight_that_differs_is_a_difference(record: Any) -> None:
    row = float(np.nextafter(np.float32(0.5), np.float32(1)))
    verdict = compare(record(), record(row=row), with_test=False)
    assert [(each.what, each.here) for each in verdict.differences] == [
        ("predictions/val: probabilities", "1 of 2 rows differ")
    ]
    assert found(record(), record(weights=b"x")) == ["weights"]


def test_predictions_that_are_gone_or_damaged_are_refused(record: Any) -> None:
    other = record()
    (other.artifacts / "predictions/val.npz").write_bytes(b"PK")
    with pytest.raises(TrackingError, match="expected the predictions of both runs"):
        compare(record(), other, with_test=True)
