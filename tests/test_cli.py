"""`hcr` itself: help, versions, verbs."""

import os
import re
from pathlib import Path

import pytest
from conftest import Hcr

from hcr import __version__
from hcr.cli import main
from hcr.tracking.journal import Journal
from hcr.verbs import GROUPS, VERBS

# A learning rate at which the very first steps overflow.
NAN = ("optimizer.learning_rate=1e35", "schedule=constant", "training=smoke")

HELP = """\
hcr: YAML in, one honest MLflow run out.

run
  train [OVERRIDES] [-m]     train and record a model; Hydra's grammar and flags
  reproduce RUN              train a run again from its record, and compare every number
  ensemble SWEEP --top K     average the best runs of a sweep into one model
look
  runs [SWEEP]               show the recorded runs, or a sweep's, with the settings that differ
  show RUN                   show one run: state, scores, curves, confusions, what to do next
  plots RUN                  draw the pictures of a finished run, such as one of a sweep
  data [OVERRIDES|PATH]      show a data set, its split, its faults, or the YAML that reads a PATH
  ui [RUN_OR_SWEEP...]       open a sweep, a run, some runs or all in MLflow's UI
decide
  compare RUN_OR_SWEEP...    say whether one run or point is better than another, and what differs
  suspects RUN_OR_SWEEP      list the images whose labels are probably wrong
  evaluate RUN [OVERRIDES]   score a model on its test images or other data; each look is counted
use
  predict RUN IMAGE...       read photos and scans with a finished run's model
  demo RUN                   draw a character in the browser and see what a run's model makes of it
  export RUN --to FORMAT     write a model for ONNX, LiteRT, TensorFlow or Keras, checked
  register RUN NAME          register a run's model in MLflow, as a version of NAME
keep
  note RUN TEXT              put a note above a run's description in MLflow
  bundle SWEEP_OR_RUN FILE   write a run, or a sweep with its runs, into one portable file
  unbundle FILE              bring the runs of a bundle here and upload them, once
  rm RUN...                  with --yes, remove runs here and in MLflow; else show which
  sync [RUN...]              upload runs and events that MLflow has not received, or has lost
shell
  schema [GROUP[/NAME]]      print the JSON Schema that editors check YAML files with
  completion bash|zsh        print the script by which the Tab key completes verbs and keys
"""


def test_help_groups_the_verbs_and_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(HELP)
    assert [line for line in printed.splitlines() if len(line) > 100] == []


def test_every_row_of_the_table_is_whole_and_every_group_has_one() -> None:
    assert {verb.group for verb in VERBS.values()} == set(GROUPS)
    for name, verb in VERBS.items():
        assert all(f"hcr {name}" in example for example in verb.examples), name
        assert callable(verb.load())


VERB_NAMES = [
    "train",
    "reproduce",
    "ensemble",
    "runs",
    "show",
    "plots",
    "data",
    "ui",
    "compare",
    "suspects",
    "evaluate",
]
VERB_NAMES += [
    "predict",
    "demo",
    "export",
    "register",
    "note",
    "bundle",
    "unbundle",
    "rm",
    "sync",
    "schema",
    "completion",
]


def test_the_verbs_are_the_public_ones() -> None:
    assert list(VERBS) == VERB_NAMES


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hcr {__version__}\n"


def test_a_program_that_calls_it_keeps_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "the caller's")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    assert main(["--version"]) == 0
    assert dict(os.environ) == before


def test_an_unknown_verb_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 1
    assert (
        capsys.readouterr().err == "hcr: verb: no 'trian' here; did you mean 'train'?"
        f" (one of {', '.join(sorted(VERB_NAMES))})\n"
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


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_its_two_examples_and_fits_a_terminal(hcr: Hcr, verb: str) -> None:
    done = hcr(verb, "--help", env={"COLUMNS": "100"})
    assert (done.returncode, done.stderr) == (0, "")
    assert [example for example in VERBS[verb].examples if example not in done.stdout] == []
    if verb != "train":  # which shows the comments of a config file too
        assert [line for line in done.stdout.splitlines() if len(line) > 100] == []


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "train"])
def test_the_table_has_every_option_of_a_verb(hcr: Hcr, verb: str) -> None:
    told = hcr(verb, "--help").stdout.split("options:")[1].split("examples:")[0]
    assert set(re.findall(r"(?<![\w-])--[a-z-]+", told)) == set(VERBS[verb].options)


def test_the_table_has_every_option_of_train_that_is_allowed() -> None:
    from hydra._internal.utils import get_args_parser

    known = {option for action in get_args_parser()._actions for option in action.option_strings}
    left_out = {"--config-path", "--experimental-rerun", "--shell-completion", "--run"}
    assert set(VERBS["train"].options) == {option for option in known if option.startswith("--")} - left_out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "error", "frame"),
    [
        (["train", "model.depth=0"], "ConfigError: model.depth: expected an integer from 1 to 64", "in parse_config"),
        (["train", *NAN], "TrainingError: epoch 1, ", "in _train_epoch"),
        (["train", "-m", *NAN, "seed=0,1"], "TrainingError: epoch 1, ", "in _train_epoch"),
        (["ui"], "TrackingError: ", "in main"),
        (["sync"], "json.decoder.JSONDecodeError", "in read_events"),
        (["completion", "fish"], "ConfigError: hcr completion:", "in parse_args"),
    ],
)  # fmt: skip
def test_a_traceback_of_every_verb_is_there_for_who_asks_and_for_nobody_else(
    hcr: Hcr, tmp_path: Path, argv: list[str], error: str, frame: str
) -> None:
    if argv == ["sync"]:  # a run whose journal is damaged behind its first event
        journal = Journal(tmp_path / "output", uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="hcr")
        journal.begin(name="run", tags={})
        journal.release()
        with (journal.folder / "journal.jsonl").open("a") as file:
            file.write("not an event\n")
    # A sweep leaves alone what has failed in it: it is asked in another place.
    place = {"HCR_OUTPUT_DIR": str(tmp_path / "other")} if "-m" in argv else {}
    plain, asked = hcr(*argv), hcr(*argv, env={"HCR_TRACEBACK": "1", **place})
    assert (plain.returncode, asked.returncode) == (1, 1)
    assert "Traceback" not in plain.stderr
    assert all(line.startswith("hcr: ") for line in plain.stderr.splitlines())
    assert error in asked.stderr
    assert frame in asked.stderr.split("Traceback", 1)[1]
