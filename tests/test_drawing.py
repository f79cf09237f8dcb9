"""A run's pictures: drawn at its end or later, they are the same; runs of a sweep are drawn when somebody looks."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Hcr

from hcr.tracking.events import first_event, read_events
from hcr.tracking.status import read_position
from hcr.tracking.store import open_store

pytestmark = pytest.mark.slow

SMALL = ("training=smoke", "model.filters=4", "model.dense_units=[]", "training.threads=1")
PIXELS = {"samples.png", "class_balance.png", "predictions.png", "worst_mistakes.png"}
OTHERS = {"curves.png", "confusion_matrix.png", "class_f1.png", "reliability.png", "reject_curve.png", "filters.png"}


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "artifacts" / "plots").glob("*.png")}


def children(root: Path) -> dict[str, Path]:
    """The folders of a sweep's own runs, by what varies."""
    headers = {folder: first_event(folder) for folder in (root / "runs").iterdir()}
    return {h["name"]: folder for folder, h in headers.items() if h["parent"] is not None}


def test_a_sweep_reuses_a_single_run_draws_its_best_and_plots_draws_any_other_as_at_once(
    hcr: Hcr, tmp_path: Path
) -> None:
    """The three in one, as each needs the runs of the one before."""
    root = tmp_path / "output"
    single = hcr("train", "model.depth=2", *SMALL)
    assert single.returncode == 0, single.stderr
    (at_once,) = (root / "runs").iterdir()
    assert pictures(at_once).keys() == PIXELS | OTHERS

    preview = hcr("train", "-m", "model.depth=1,2", *SMALL[:-1], "training.threads=2", "check_only=true")
    line = "not reused 1 finished run trained with training.threads=1; this sweep uses 2"
    assert line in " ".join(preview.stdout.split())

    sweep = hcr("train", "-m", "model.depth=1,2", "model.filters=4", *SMALL[:1], *SMALL[2:])
    assert sweep.returncode == 0, sweep.stderr
    assert "1 reused, 0 resumed, 1 to run" in sweep.stdout

    own = children(root)["depth=1"]
    best = next(tags for tags in tags_of(root, "hcr.best_key"))["hcr.best_key"]
    assert bool(pictures(own)) is (best == own.name)  # the other one was drawn before

    anew = hcr("train", "-m", "model.depth=2,3", "resume=never", *SMALL)
    assert anew.returncode == 0, anew.stderr
    later = children(root)["depth=2"]
    assert pictures(later).keys() in (set(), PIXELS | OTHERS)
    drawn = hcr("plots", later.name)
    assert drawn.returncode == 0, drawn.stderr
    assert {Path(line).name for line in drawn.stdout.splitlines()} == PIXELS | OTHERS
    same = {"samples.png", "class_balance.png", "curves.png", "filters.png"}  # the others are of test in a single run
    assert {name: pictures(later)[name] for name in same} == {name: pictures(at_once)[name] for name in same}
    client = open_store(f"sqlite:///{root / 'mlflow.db'}")
    stored = client.list_artifacts(read_position(later)["run_id"], "plots")
    assert {Path(entry.path).name for entry in stored} == PIXELS | OTHERS
    description = client.get_run(read_position(later)["run_id"]).data.tags["mlflow.note.content"]
    assert f"`hcr plots {later.name}` draws them" in description


def test_a_run_of_a_sweep_that_is_asked_for_alone_is_scored_on_test_once_and_not_trained_again(
    undrawn: Hcr, tmp_path: Path
) -> None:
    sweep = undrawn("train", "-m", "model.depth=1,2", *SMALL)
    assert sweep.returncode == 0, sweep.stderr
    run = children(tmp_path / "output")["depth=1"]
    alone = undrawn("train", "model.depth=1", *SMALL)
    assert alone.returncode == 0, alone.stderr
    told, scored = alone.stdout.splitlines()[:2]
    assert told.startswith(f"run {run.name} has finished with this config, data and code")
    assert re.fullmatch(rf"test accuracy 0\.\d{{4}}, scored now with the weights that run {run.name} kept", scored)
    looks = [e["values"]["hcr.test_looks"] for e, _ in read_events(run) if "hcr.test_looks" in e.get("values", {})]
    assert looks == ["1"]
    again = undrawn("train", "model.depth=1", *SMALL)
    assert again.stdout.splitlines() == [told]


def tags_of(root: Path, name: str) -> list[dict[str, Any]]:
    client = open_store(f"sqlite:///{root / 'mlflow.db'}")
    return [run.data.tags for run in client.search_runs(["1"]) if name in run.data.tags]


def test_without_its_data_set_a_run_is_drawn_as_far_as_that_goes_and_says_so(hcr: Hcr, tmp_path: Path) -> None:
    labels = np.repeat(np.arange(3), 40)
    images = np.random.default_rng(0).integers(0, 255, (120, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", x=images, y=labels)
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "a.yaml").write_text(
        "{name: a, format: arrays, path: a.npz, image_shape: [8, 8, 1], num_classes: 3, class_names: [p, q, r]}\n"
    )
    assert hcr("train", "dataset=a", *SMALL).returncode == 0
    (run,) = (tmp_path / "output" / "runs").iterdir()
    before = pictures(run)
    np.savez(tmp_path / "a.npz", x=images[::-1], y=labels)
    changed = hcr("plots", run.name)
    assert changed.returncode == 0, changed.stderr
    why = f"a.npz: the data changed since run {run.name} was trained"
    assert f"note: pictures that need the images are not drawn: {why}" in changed.stdout
    (tmp_path / "a.npz").unlink()
    gone = hcr("plots", run.name)
    assert "note: pictures that need the images are not drawn: dataset.path: " in gone.stdout
    for done in (changed, gone):
        assert {Path(line).name for line in done.stdout.splitlines() if line.endswith(".png")} == OTHERS
    assert pictures(run) == before


def test_a_run_that_cannot_be_drawn_is_refused_in_a_line(quick_run: Path, hcr: Hcr, tmp_path: Path) -> None:
    shutil.copytree(quick_run / "output", tmp_path / "output")
    (run,) = (tmp_path / "output" / "runs").iterdir()
    nothing = hcr("plots", "nothing")
    assert (nothing.returncode, nothing.stderr.count("\n")) == (1, 1)
    (run / "artifacts" / "predictions" / "test.npz").write_bytes(b"PK")
    damaged = hcr("plots", run.name)
    assert (damaged.returncode, damaged.stderr.count("\n")) == (1, 1)
    assert "/predictions/test.npz: expected the run's predictions (" in damaged.stderr
