"""`hcr compare`, on the runs of a real sweep: what differs, what may be said, and what is refused."""

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import UNDRAWN, Hcr, Warm, made_once
from scipy.stats import ttest_ind

from hcr.commands import compare as command
from hcr.comparing.differing import _shell
from hcr.config.errors import ConfigError, DataError, TrackingError
from hcr.environment import ONEDNN
from hcr.evaluation.paired_tests import mcnemar_p
from hcr.evaluation.statistics import holm, permutation_p
from hcr.recorded import read_run
from hcr.tracking.events import ARTIFACTS, first_event, last_event, read_events
from hcr.tracking.finding import find_run
from hcr.tracking.status import is_delivered, read_position, run_folders
from hcr.tracking.store import open_store

pytestmark = pytest.mark.slow

SMALL = ("model.filters=4", "model.dense_units=[]", "split.seed=0", "score_test=true")
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def root(shared: Path, warm: Warm) -> Path:
    """The output root of a sweep of two lengths with two seeds each, and a run on other data. To be read only."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder / "output")}
        for words in (
            ["-m", "training.epochs=1,8", "seed=0,1"],
            ["dataset.limit=500", "training=smoke"],
            [
                "model.filters=6",
                "training.epochs=3",
                "seed=5",
                "split.seed=null",
                'tracking.run_name="<script>1</script>"',
            ],
        ):
            done = warm.run("train", *SMALL, *words, cwd=folder, env=environment, code=UNDRAWN)
            assert done.returncode == 0, done.stderr

    return made_once(shared / "compared", make) / "output"


@pytest.fixture
def own(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the output root, which a test may write to."""
    copied = tmp_path / "output"
    shutil.copytree(root, copied)
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(copied))
    return copied


@pytest.fixture(autouse=True)
def _at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(root))


@pytest.fixture
def sweep(root: Path) -> str:
    return next(path.name for path in (root / "runs").iterdir() if "hcr.sweep_id" in first_event(path)["tags"])


def compare(*words: str) -> int:
    """Without a record: the output root is to be read only."""
    return command.main([*words, "--no-record"])


def runs_of(root: Path, point: int) -> list[Path]:
    """The runs of a point, by seed."""
    runs = [
        path for path in (root / "runs").iterdir() if first_event(path)["tags"].get("hcr.sweep_point") == str(point)
    ]
    return sorted(runs, key=lambda path: read_run(path).cfg.seed)


def named(root: Path, name: str) -> str:
    return next(path.name for path in (root / "runs").iterdir() if first_event(path)["name"] == name)


def other_data(root: Path) -> str:
    singles = [path for path in run_folders(root) if first_event(path)["parent"] is None]
    return next(path.name for path in singles if "limit=500" in first_event(path)["name"])


def comparisons(root: Path) -> list[Path]:
    return [path for path in run_folders(root) if first_event(path)["tags"].get("hcr.kind") == "compare"]


def tags_of(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for event, _ in read_events(folder):
        found |= event["tags"] if event["event"] == "run" else event["values"] if event["event"] == "tags" else {}
    return found


def test_two_points_say_which_is_better_and_what_differs(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(f"{sweep}/2", f"{sweep}/1") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "training.epochs 1 8" in printed
    assert "validation images, the same for all runs:" in printed
    assert "training.epochs=8 is better than training.epochs=1: +" in printed
    assert "p < 0.001" in printed or "p = 0.0" in printed


def test_beside_the_verdict_stand_mcnemars_test_of_each_seed_and_the_tests_of_the_seeds_alone(
    root: Path, sweep: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(f"{sweep}/2", f"{sweep}/1", "--json") == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    right = {}
    for point in (1, 2):
        for folder in runs_of(root, point):
            own = read_run(folder).predictions("val")
            right[point, read_run(folder).cfg.seed] = own.probabilities.argmax(axis=1) == own.labels
    for found, seed in zip(pair["mcnemar_by_seed"], (0, 1), strict=True):
        one, other = right[1, seed], right[2, seed]
        assert (found["seed"], found["only_first"]) == (seed, int((one & ~other).sum()))
        assert found["p"] == pytest.approx(mcnemar_p(int((one & ~other).sum()), int((other & ~one).sum())), abs=1e-12)
    means = [[float(right[point, seed].mean()) for seed in (0, 1)] for point in (1, 2)]
    assert (pair["seeds"]["first"], pair["seeds"]["second"]) == (2, 2)
    assert pair["seeds"]["permutation_p"] == pytest.approx(permutation_p(*means), abs=1e-12)
    assert pair["seeds"]["welch"]["p"] == pytest.approx(
        ttest_ind(means[1], means[0], equal_var=False).pvalue, abs=1e-12
    )
    assert pair["mcnemar"] is None


def test_two_runs_are_told_apart_by_mcnemars_exact_test(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short, long = runs_of(root, 1)[0], runs_of(root, 2)[0]
    assert compare(short.name, long.name, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (pair,) = found["pairs"]
    right = []
    for folder in (short, long):
        own = read_run(folder).predictions("val")
        right.append(own.probabilities.argmax(axis=1) == own.labels)
    only = [int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())]
    assert pair["p"] == pair["mcnemar"]["p"] == pytest.approx(mcnemar_p(*only), rel=1e-12)
    assert pair["mean_second"] - pair["mean_first"] == pytest.approx(np.mean(right[1]) - np.mean(right[0]), abs=1e-6)
    assert pair["difference"] == pytest.approx(pair["mean_second"] - pair["mean_first"], abs=1e-9)
    assert pair["verdict"].endswith("(of these trained models, on new images; other seeds may differ)")
    assert found["differs"]["config"] == {"training.epochs": ["1", "8"]}
    assert found["run"] is None and found["notes"] == []


def test_seeds_that_drew_other_images_are_compared_on_the_shared_ones_and_that_is_said(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn, shared = named(root, "<script>1</script>"), runs_of(root, 2)[0]
    assert compare(shared.name, drawn, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    one, other = (read_run(root / "runs" / key).predictions("val").index for key in (shared.name, drawn))
    common = len(np.intersect1d(one, other))
    assert 0 < common < len(one)
    assert (found["pairs"][0]["images"], found["same_images_for_all_runs"]) == (common, False)
    assert compare(shared.name, drawn) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"the runs drew different ones, {len(one)} each; " in printed
    assert f"{common} by both (split.seed=0 draws the same for all)" in printed


def test_what_differs_in_code_and_environment_is_named_by_file_and_package(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tarfile

    first, second = (folder.name for folder in runs_of(own, 1))
    artifacts = own / "runs" / second / ARTIFACTS
    requirements = (artifacts / "code/requirements.txt").read_text()
    changed = re.sub("(?m)^numpy==.*$", "numpy==1.0", requirements) + "brand-new==3\n"
    (artifacts / "code/requirements.txt").write_text(changed)
    with tarfile.open(artifacts / "code/source.tar.gz") as archive:
        contents = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    contents["hcr/model/muon.py"] += b"# another"
    contents["hcr/verbs.py"] += b"# another"
    with tarfile.open(artifacts / "code/source.tar.gz", "w:gz") as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    assert compare(first, second, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["differs"]["code"]) == ["hcr/model/muon.py", "hcr/verbs.py"]
    assert list(found["differs"]["environment"]) == ["numpy", "brand-new"]
    assert found["differs"]["environment"]["brand-new"] == ["", "3"]
    assert found["deciding"] == ["hcr/model/muon.py", "numpy"]
    (artifacts / "code/source.tar.gz").write_bytes(b"no archive")
    assert compare(first, second) == 0
    told = f"note: sources were not compared: run {second} has no code/source.tar.gz that can be read"
    assert told in capsys.readouterr().out


def test_what_the_shell_set_differs_if_it_means_something_else() -> None:
    recorded = ["", f"TF_ENABLE_ONEDNN_OPTS={ONEDNN}", "TF_ENABLE_ONEDNN_OPTS=0"]
    told = [_shell(SimpleNamespace(tags={"hcr.environment": text})) for text in recorded]
    assert told == ["", "", "TF_ENABLE_ONEDNN_OPTS=0"]  # hcr's default was once recorded as what the shell set


def test_a_sweep_means_its_best_point_and_csv_has_every_pair(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(sweep, f"{sweep}/2", "--metric", "loss", "--csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["first"], row["second"]) == ("training.epochs=8", "training.epochs=1")
    assert float(row["difference"]) > float(row["low"]) > 1  # a ratio of losses
    assert (row["runs_first"], row["runs_second"], row["mcnemar_p"]) == ("2", "2", "")
    assert "training.epochs=1 is worse than training.epochs=8" in row["verdict"]


def test_a_comparison_is_a_run_that_every_compared_run_names_and_the_same_is_recorded_once(
    own: Path, sweep: str, hcr: Hcr
) -> None:
    points = (f"{sweep}/2", f"{sweep}/1")
    latest, best = (find_run(own, word) for word in ("latest", "best"))
    done = hcr("compare", *points)
    assert done.returncode == 0, done.stderr
    (folder,) = comparisons(own)
    assert f"run {folder.name} is in {folder}\n" in done.stdout
    client = open_store(f"sqlite:///{own}/mlflow.db")
    run = client.get_run(read_position(folder)["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["hcr.kind"] == "compare"
    keys = [[path.name for path in runs_of(own, point)] for point in (1, 2)]
    assert run.data.tags["hcr.compares"] == " against ".join(map(" ".join, keys))
    metrics = run.data.metrics
    assert metrics["compare/low"] < metrics["compare/difference"] < metrics["compare/high"]
    assert 0 < metrics["compare/p"] == metrics["compare/p_adjusted"] < 0.05
    description = run.data.tags["mlflow.note.content"]
    assert description.startswith("**training.epochs=8 is better than training.epochs=1: +")
    names = {path.relative_to(folder / ARTIFACTS).as_posix() for path in (folder / ARTIFACTS).rglob("*.*")}
    assert names == {
        *(f"comparison/comparison.{end}" for end in ("html", "csv", "json")),
        *(
            f"plots/{name}.png"
            for name in ("curves", "confusion_difference", "only_first", "only_second", "reliability")
        ),
    }
    assert json.loads((folder / ARTIFACTS / "comparison/comparison.json").read_text())["run"] == folder.name

    for key in (*keys[0], *keys[1], sweep):
        compared = client.get_run(read_position(own / "runs" / key)["run_id"])
        assert compared.data.tags["hcr.compared"] == folder.name
        link = f"(#/runs/{run.info.run_id})"
        assert compared.data.tags["mlflow.note.content"].count(link) == 1
        assert f"(#/runs/{compared.info.run_id})" in description or key == sweep
        assert is_delivered(own / "runs" / key) and last_event(own / "runs" / key)["status"] == "FINISHED"

    before = {path: path.read_bytes() for path in own.rglob("journal.jsonl")}
    again = hcr("compare", *points)
    assert again.returncode == 0, again.stderr
    assert f"run {folder.name} is in {folder}, recorded before\n" in again.stdout
    assert {path: path.read_bytes() for path in own.rglob("journal.jsonl")} == before

    # It is no trained run.
    assert (find_run(own, "latest"), find_run(own, "best")) == (latest, best)
    assert "expected a trained run, got one of `hcr compare`" in hcr("evaluate", folder.name).stderr
    listed = hcr("runs", "--where", "kind = compare", "--json")
    assert [row["key"] for row in json.loads(listed.stdout)] == [folder.name]
    shown = hcr("show", folder.name)
    assert shown.returncode == 0 and "hcr compare" in shown.stdout
    assert hcr("sync", "--check").returncode == 0

    # One that the user removed stays removed; the same again is another run.
    assert hcr("rm", folder.name, "--yes").returncode == 0
    assert hcr("compare", *points).returncode == 0
    (new,) = (path for path in comparisons(own) if last_event(path).get("status") == "FINISHED")
    assert new.name != folder.name
    assert tags_of(own / "runs" / keys[0][0])["hcr.compared"] == f"{folder.name} {new.name}"


def test_a_comparison_that_was_interrupted_is_completed_under_its_key(own: Path, sweep: str, hcr: Hcr) -> None:
    dying = "import hcr.comparing.recording as r, os\nr._card = lambda *_: os._exit(9)\n"
    assert hcr("compare", f"{sweep}/2", f"{sweep}/1", code=dying).returncode == 9
    (folder,) = comparisons(own)
    assert last_event(folder).get("event") != "end"
    done = hcr("compare", f"{sweep}/2", f"{sweep}/1")
    assert done.returncode == 0, done.stderr
    assert comparisons(own) == [folder]
    assert last_event(folder)["status"] == "FINISHED" and is_delivered(folder)


def test_three_sides_are_corrected_by_holm_and_recorded_by_pair(own: Path, sweep: str, hcr: Hcr) -> None:
    keys = [runs_of(own, 1)[0].name, runs_of(own, 2)[0].name, runs_of(own, 2)[1].name]
    done = hcr("compare", *keys, "--json")
    assert done.returncode == 0, done.stderr
    pairs = json.loads(done.stdout)["pairs"]
    assert [pair["p_adjusted"] for pair in pairs] == pytest.approx(holm([pair["p"] for pair in pairs]), abs=1e-12)
    (folder,) = comparisons(own)
    values = next(event["values"] for event, _ in read_events(folder) if event["event"] == "metrics")
    assert values["compare/1-3/p_adjusted"] == pairs[1]["p_adjusted"]
    assert {path.name for path in (folder / ARTIFACTS / "plots").iterdir()} >= {"only_first_2.png", "only_second_3.png"}
    assert done.stderr.startswith(f"run {folder.name} is in ")


def test_without_a_record_nothing_is_left(root: Path, sweep: str, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert compare(f"{sweep}/2", f"{sweep}/1") == 0
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_comparison_on_test_counts_as_a_look_at_each_run(own: Path, hcr: Hcr) -> None:
    keys = [runs_of(own, point)[0].name for point in (1, 2)]
    done = hcr("compare", *keys, "--on", "test", "--no-record")
    assert done.returncode == 0, done.stderr
    assert "test images, the same for all runs" in done.stdout
    assert [read_run(own / "runs" / key).tags["hcr.test_looks"] for key in keys] == ["2", "2"]
    assert all(is_delivered(own / "runs" / key) for key in keys)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_the_page_opens_without_a_network_at_both_widths_and_shows_names_as_they_are(
    root: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    page = tmp_path / "compare.html"
    drawn = named(root, "<script>1</script>")
    assert compare(runs_of(root, 2)[0].name, drawn, "--html", str(page)) == 0
    assert "<script" not in page.read_text()
    with sync_playwright() as started, started.chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
    ) as browser:  # fmt: skip
        for width in (1500, 390):
            context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
            tab, asked, told = context.new_page(), [], []  # type: ignore[var-annotated]
            tab.on("request", lambda request, asked=asked: asked.append(request.url))
            tab.on("console", lambda message, told=told: told.append(message.text))
            tab.goto(f"file://{page}")
            assert [url for url in asked if not url.startswith("data:")] == [f"file://{page}"]
            assert told == []
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            pictures: list[Any] = tab.evaluate("[...document.images].map(image => [image.naturalWidth, image.alt])")
            assert len(pictures) == 5 and all(wide > 0 and alt for wide, alt in pictures)
            assert "<script>1</script>" in tab.inner_text("h1")
            verdict, headings = tab.inner_text(".verdict"), tab.locator("h2").all_inner_texts()
            assert " points [" in verdict and verdict.endswith((".", ")."))
            assert headings == ["Difference", "Other tests of the same", "Pictures", "What differs", "Method"]


def test_a_page_is_never_written_over_a_file_without_being_asked(root: Path, sweep: str, tmp_path: Path) -> None:
    page, sides = tmp_path / "mine.html", (f"{sweep}/2", f"{sweep}/1")
    page.write_text("mine")
    with pytest.raises(ConfigError, match=r"^--html: .*mine.html exists; --force replaces it, another name keeps it$"):
        compare(*sides, "--html", str(page))
    assert page.read_text() == "mine"
    with pytest.raises(ConfigError, match=r"^--html: expected a file, such as .*compare.html; .* is a folder$"):
        compare(*sides, "--html", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^--html: expected a file in a folder that exists; "):
        compare(*sides, "--html", str(tmp_path / "none" / "page.html"))
    assert compare(*sides, "--html", str(page), "--force") == 0
    first = page.read_text()
    assert first.startswith("<!doctype html>")
    assert compare(*sides, "--html", str(page), "--force") == 0
    assert page.read_text() == first  # the same comparison, the same bytes
    assert [path.name for path in tmp_path.iterdir() if path.name != "output"] == ["mine.html"]


def test_pictures_of_images_that_are_not_at_hand_are_left_out_and_said(
    root: Path, sweep: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(self: object) -> None:
        raise DataError("digits.npz: expected a file, got none")

    monkeypatch.setattr("hcr.recorded.RecordedRun.load_splits", gone)
    assert compare(f"{sweep}/2", f"{sweep}/1", "--html", str(tmp_path / "page.html")) == 0
    line = "no pictures of images, as they are not at hand: digits.npz: expected a file, got none"
    assert f"note: {line}\n" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img") == 3 and line in page


def test_what_cannot_be_compared_is_refused_in_a_line(root: Path, sweep: str) -> None:
    with pytest.raises(ConfigError, match="expected two or more runs or points, got 1"):
        compare(sweep)
    with pytest.raises(TrackingError, match="expected another run or point than"):
        compare(f"{sweep}/1", f"{sweep}/1")
    with pytest.raises(TrackingError, match="/7: expected the rank of a point in the leaderboard, from 1 to 2"):
        compare(f"{sweep}/1", f"{sweep}/7")
    with pytest.raises(TrackingError, match="figures on different images cannot be compared"):
        compare(f"{sweep}/1", other_data(root))


def test_points_of_a_sweep_that_reuses_runs_are_those_of_that_sweep(
    own: Path, warm: Warm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own runs and the reused ones both have numbers of points, of different sweeps."""
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(own)}
    words = ("train", *SMALL, "-m", "training.epochs=8,2", "seed=0,1")  # 8 epochs were the second point
    done = warm.run(*words, cwd=tmp_path, env=environment, code=UNDRAWN)
    assert done.returncode == 0, done.stderr
    assert "2 reused, 0 resumed, 2 to run" in done.stdout
    second = max((path for path in run_folders(own) if first_event(path)["tags"].get("hcr.kind") == "sweep"),
                 key=lambda path: first_event(path)["time_ms"]).name  # fmt: skip
    assert compare(f"{second}/1", f"{second}/2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differs"]["config"] == {"training.epochs": ["8", "2"]}
    with pytest.raises(TrackingError, match="/3: expected the rank of a point in the leaderboard, from 1 to 2"):
        compare(f"{second}/3", f"{second}/1")
