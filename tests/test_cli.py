"""`hcr` itself: help, versions, verbs."""

import pytest
from conftest import Hcr

from hcr import __version__
from hcr.cli import VERBS, main


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert [verb for verb in VERBS if f"\n  {verb} " not in printed] == []


def test_the_verbs_are_the_public_ones() -> None:
    assert list(VERBS) == ["train", "data", "ui", "sync"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hcr {__version__}\n"


def test_an_unknown_verb_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 1
    assert (
        capsys.readouterr().err == "hcr: verb: no 'trian' here; did you mean 'train'? (one of data, sync, train, ui)\n"
    )


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--help", "hcr train dataset=mnist model.depth=3"),
        ("--hydra-help", "hydra"),
        ("--version", "Hydra"),
    ],
)
def test_hydras_own_flags_work(hcr: Hcr, flag: str, told: str) -> None:
    done = hcr("train", flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert told.lower() in done.stdout.lower()


def test_cfg_job_prints_the_composed_config_with_its_overrides(hcr: Hcr) -> None:
    done = hcr("train", "model.depth=1", "--cfg", "job")
    assert done.returncode == 0
    assert "depth: 1" in done.stdout
    assert "hydra:" not in done.stdout


def test_cfg_of_one_package_and_info_work(hcr: Hcr) -> None:
    assert hcr("train", "--cfg", "job", "--package", "optimizer").stdout.startswith("# @package optimizer\nname: adam")
    assert "hcr.conf" in hcr("train", "--info", "searchpath").stdout


def test_help_of_the_other_verbs_has_examples(hcr: Hcr) -> None:
    for verb in ("data", "ui", "sync"):
        done = hcr(verb, "--help")
        assert done.returncode == 0
        assert f"hcr {verb}" in done.stdout.split("examples:")[1]


def test_a_traceback_is_there_for_who_asks(hcr: Hcr) -> None:
    done = hcr("train", "model.depth=0", env={"HCR_TRACEBACK": "1"})
    assert "Traceback" in done.stderr
    assert "ConfigError: model.depth: expected 1 to 64, got 0" in done.stderr
