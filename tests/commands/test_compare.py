"""`hcr compare`, on the runs of a real sweep: what differs, what may be said, and what is refused."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import UNDRAWN, Hcr, Warm, made_once

from hcr.commands import compare
from hcr.config.errors import ConfigError, TrackingError
from hcr.evaluation.paired_tests import mcnemar_p
from hcr.recorded import read_run
from hcr.tracking.events import first_event

pytestmark = pytest.mark.slow

SMALL = ("model.filters=4", "model.dense_units=[]", "split.seed=0", "score_test=true")


@pytest.fixture(scope="module")
def root(shared: Path, warm: Warm) -> Path:
    """The output root of a sweep of two lengths with two seeds each, and a run on other data. To be read only."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output")}
        for words in (
            ["-m", "training.epochs=1,8", "seed=0,1"],
            ["dataset.limit=500", "training=smoke"],
        ):
            done = warm.run("train", *words, *SMALL, cwd=folder, env=environment, code=UNDRAWN)
            assert done.returncode == 0, done.stderr

    return made_once(shared / "compared", make) / "output"


@pytest.fixture(autouse=True)
def _at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(root))


@pytest.fixture
def sweep(root: Path) -> str:
    return next(path.name for path in (root / "runs").iterdir() if "hcr.sweep_id" in first_event(path)["tags"])


def runs_of(root: Path, point: int) -> list[Path]:
    """The runs of a point, by seed."""
    runs = [
        path for path in (root / "runs").iterdir() if first_event(path)["tags"].get("hcr.sweep_point") == str(point)
    ]
    return sorted(runs, key=lambda path: read_run(path).cfg.seed)


def test_two_points_say_which_is_better_and_what_differs(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([f"{sweep}/1", f"{sweep}/2"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "training.epochs 1 8" in printed
    assert "validation images that both were scored on" in printed
    assert "training.epochs=8 is better than training.epochs=1: +" in printed
    assert "p < 0.001" in printed or "p = 0.0" in printed


def test_two_runs_are_told_apart_by_mcnemars_exact_test(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short, long = runs_of(root, 1)[0], runs_of(root, 2)[0]
    assert compare.main([short.name, long.name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (pair,) = found["pairs"]
    right = []
    for folder in (short, long):
        own = read_run(folder).predictions("val")
        right.append(own.probabilities.argmax(axis=1) == own.labels)
    only = [int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())]
    assert pair["p"] == pytest.approx(mcnemar_p(*only), rel=1e-12)
    assert pair["mean_second"] - pair["mean_first"] == pytest.approx(np.mean(right[1]) - np.mean(right[0]), abs=1e-6)
    assert pair["verdict"].endswith("(of these trained models, on new images; other seeds may differ)")
    assert found["differs"]["training.epochs"] == ["1", "8"]
    assert "seeds" not in found["differs"]


def test_a_sweep_means_its_best_point_and_csv_has_every_pair(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([sweep, f"{sweep}/1", "--metric", "loss", "--csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["first"], row["second"]) == ("training.epochs=8", "training.epochs=1")
    assert float(row["low"]) > 1  # a ratio of losses
    assert "training.epochs=1 is worse than training.epochs=8" in row["verdict"]


def test_a_comparison_on_test_counts_as_a_look_at_each_run(root: Path, hcr: Hcr, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(root, tmp_path / "output")
    keys = [runs_of(root, point)[0].name for point in (1, 2)]
    done = hcr("compare", *keys, "--on", "test")
    assert done.returncode == 0, done.stderr
    assert "test images that both were scored on" in done.stdout
    assert [read_run(tmp_path / "output/runs" / key).tags["hcr.test_looks"] for key in keys] == ["2", "2"]


def test_what_cannot_be_compared_is_refused_in_a_line(root: Path, sweep: str) -> None:
    other = next(path.name for path in (root / "runs").iterdir() if first_event(path)["parent"] is None
                 and "hcr.sweep_id" not in first_event(path)["tags"])  # fmt: skip
    with pytest.raises(ConfigError, match="expected two or more runs or points, got 1"):
        compare.main([sweep])
    with pytest.raises(TrackingError, match="expected another run or point than"):
        compare.main([f"{sweep}/1", f"{sweep}/1"])
    with pytest.raises(TrackingError, match=r"/7: expected the number of a point with finished runs, one of \[1, 2\]"):
        compare.main([f"{sweep}/1", f"{sweep}/7"])
    with pytest.raises(TrackingError, match="figures on different images cannot be compared"):
        compare.main([f"{sweep}/1", other])
