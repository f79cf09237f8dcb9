"""What `hcr data` shows of a data set with faults, as text, as JSON, as pictures and by its exit code."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from hcr.cli import main
from hcr.data.splitting import load_splits
from hcr.gate.compose import compose
from hcr.gate.resolve import fill_from_data

PNG = b"\x89PNG\r\n\x1a\n"
DIGITS = load_digits()
IMAGES = np.rint(DIGITS.images * 15.9375).astype(np.uint8)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "output"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("HCR_CONF_DIR", raising=False)
    return tmp_path


def faulty(folder: Path) -> list[str]:
    """A data set of 1,000 digits: half of test is copied from training, and 20 labels of training are wrong."""
    train, test = IMAGES[:800].copy(), IMAGES[800:1000].copy()
    labels = DIGITS.target[:1000].copy()
    test[:60], labels[800:860] = train[:60], labels[:60]
    test[60:100], labels[860:900] = np.rint(train[60:100] * 0.8 + 9), labels[60:100]
    labels[100:120] = (labels[100:120] + 3) % 10
    np.savez(folder / "faulty.npz", x_train=train, y_train=labels[:800], x_test=test, y_test=labels[800:])
    return ["dataset=npz", "dataset.path=faulty.npz", "dataset.name=faulty"]


def test_a_fault_is_one_line_on_stderr_and_an_exit_code(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *faulty(own_folder)]) == 1
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("hcr: test: expected at most 10% of the images to have a copy in training, got ")
    assert "remove the copies" in line
    assert "checks         1 failed" in printed.out.splitlines()


def test_the_json_has_the_facts_of_the_text(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = faulty(own_folder)
    assert main(["data", "--json", *overrides]) == 1
    facts = json.loads(capsys.readouterr().out)
    cfg = fill_from_data(compose(overrides))
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    assert facts["digests"]["split"] == splits.split_digest
    assert facts["images"]["test"] == np.bincount(splits.test.labels, minlength=10).tolist()
    assert (facts["image_shape"], facts["split"]["name"]) == ([8, 8, 1], "official")
    in_training = next(one for one in facts["copies"] if (one["side"], one["in"]) == ("test", "train"))
    assert in_training["identical"] == splits.duplicates_test
    assert 30 <= in_training["near"] <= 45
    everything = np.concatenate([splits.train.images[:], splits.val.images[:], splits.test.images[:]])
    place = np.argsort(np.concatenate([splits.train.index, splits.val.index, splits.test.index]))
    for pair in in_training["near_pairs"]:
        left, right = everything[place[pair["index"]]], everything[place[pair["other"]]]
        assert np.corrcoef(left.ravel(), right.ravel())[0, 1] == pytest.approx(pair["correlation"], abs=1e-4)
    wrong = {IMAGES[i].tobytes() for i in range(100, 120)}
    listed = facts["labels"]["suspicious"]
    hits = [everything[place[one["index"]]].tobytes() in wrong for one in listed]
    assert sum(hits) >= 12
    assert len(listed) - sum(hits) <= 3
    assert {one["side"] for one in listed} <= {"train", "val"}
    assert facts["failed_checks"][0].startswith("test: expected at most 10%")
    assert all(Path(file).read_bytes().startswith(PNG) for file in facts["pictures"].values())


def test_the_text_fits_80_columns_and_lists_suspicious_labels(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["data", *faulty(own_folder)])
    lines = capsys.readouterr().out.splitlines()
    wide = [line for line in lines if len(line) > 80 and not line.startswith(("note", "samples", "balance"))]
    assert [line for line in wide if str(own_folder) not in line] == []
    assert any("neighbours say" in line for line in lines)
    assert any(line.startswith("sizes          all images are 8x8") for line in lines)
    for what in ("samples", "balance", "suspicious", "near copies"):
        assert f"{what:<14} {own_folder}/output/data/faulty-{what.replace(' ', '-')}.png" in lines


def test_a_clean_data_set_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "checks         all 7 passed" in printed.out.splitlines()


def test_sizes_before_and_after_preparation_are_told(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    for i in range(200):
        place = own_folder / "scans" / str(DIGITS.target[i])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[i]).resize((10 + i % 3, 14)).save(place / f"{i}.png")
    assert main(["data", "--json", "dataset=folder", "dataset.path=scans", "dataset.image_size=[20,20]"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["source_sizes"] == {"smallest": [14, 10], "median": [14, 11], "largest": [14, 12], "num_different": 3}
    assert facts["image_shape"] == [20, 20, 1]


def test_the_help_names_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    from hcr.data.inspection.checks import DESCRIPTIONS

    with pytest.raises(SystemExit):
        main(["data", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert [text for text in DESCRIPTIONS if text not in told] == []


def test_the_documented_limits_are_those_of_the_checks() -> None:
    from hcr.data.inspection import checks, copies, suspicious

    text = (Path(__file__).parents[2] / "conf/README.md").read_text()
    table = text.split("| check | limit |")[1].split("\n\n")[0]
    limits = [row.rstrip("| ").rsplit("| ", 1)[1] for row in table.strip().splitlines()[1:]]
    assert limits == [
        "none",
        f"{checks.MOST_COPIES:.0%}".replace("%", " %"),
        f"{checks.MOST_CONFLICTS:.0%}".replace("%", " %"),
        f"{checks.MOST_BLANK:.0%}; {checks.MOST_BLANK_IN_CLASS:.0%} of a class".replace("%", " %"),
        f"{checks.MOST_TURNED:.0%}".replace("%", " %"),
        f"{checks.MOST_SUSPICIOUS:.0%}".replace("%", " %"),
        f"at least {checks.LEAST_AGREEMENT}",
    ]
    assert f"with {checks.FEWEST_JUDGED} labels or more" in table
    flat = " ".join(text.split())
    assert f"a correlation of {copies.NEAR} or more" in flat
    assert f"Above {copies.MOST_PAIRS // 10**9} billion pairs" in flat
    assert f"{suspicious.AGREEMENT} or more of the {suspicious.NEIGHBOURS} nearest agree" in flat
    assert f"at least {suspicious.RATIO} times as far away" in flat
