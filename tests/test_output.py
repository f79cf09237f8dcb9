"""Output that nobody reads, and full disks: one line, and what was begun can be resumed; real processes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from conftest import Hcr, Process

from hcr.tracking.events import last_event

SMALL = ("training=smoke", "training.epochs=2", "model.filters=2", "dataset.limit=100")
SWEEP = ("-m", "seed=0,1", "launcher.workers=1")
FULL = "standard output: expected room for what is printed, got: No space left on device"
UNREAD = "nobody reads what it prints any more"
Into = Callable[..., tuple[int, str]]
FULL_DISK = "def full(*arguments, **keywords): raise OSError(28, 'No space left on device')\n"


def hcr_into(output: int | IO[bytes], *words: str, start: Callable[..., Process]) -> tuple[int, str]:
    """The exit code and standard error of an `hcr` that prints to `output`."""
    process = start(*words, stdout=output)
    _, told = process.communicate(timeout=300)
    return process.returncode, told


def into_a_closed_pipe(*words: str, start: Callable[..., Process]) -> tuple[int, str]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return hcr_into(writer, *words, start=start)
    finally:
        os.close(writer)


def into_a_full_disk(*words: str, start: Callable[..., Process]) -> tuple[int, str]:
    with Path("/dev/full").open("wb") as full:
        return hcr_into(full, *words, start=start)


def fresh(*words: str, **keywords: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", "hcr", *words], stderr=subprocess.PIPE, text=True, **keywords)


@pytest.mark.parametrize(
    "words",
    [("--help",), pytest.param(("data",), marks=pytest.mark.slow), ("train", "--cfg", "all"), ("completion", "bash")],
)
def test_a_pipe_that_nobody_reads_ends_a_verb_without_a_word(words: tuple[str, ...]) -> None:
    assert into_a_closed_pipe(*words, start=fresh) == (141, "")


@pytest.mark.parametrize("words", [("--help",), ("train", "--cfg", "all")])
def test_an_output_whose_disk_is_full_is_one_line(words: tuple[str, ...]) -> None:
    assert into_a_full_disk(*words, start=fresh) == (1, f"hcr: {FULL}\n")


def test_another_disk_that_is_full_is_not_taken_for_the_output(hcr: Hcr) -> None:
    code = FULL_DISK + "import hcr.verbs\nhcr.verbs.help_text = full"
    assert "OSError" in hcr("--help", code=code).stderr  # no file of the user's: a mistake of ours
    code = FULL_DISK + "import hcr.commands.sync\nhcr.commands.sync.output_root = full"
    told = "hcr: a file: cannot be written (No space left on device); make room, and try again\n"
    done = hcr("sync", code=code)
    assert (done.returncode, done.stderr) == (1, told)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("into", "sweep", "code", "why"),
    [
        (into_a_closed_pipe, (), 141, UNREAD),
        (into_a_full_disk, (), 1, FULL),
        (into_a_full_disk, SWEEP, 1, FULL),
    ],
)
def test_a_run_and_a_sweep_that_can_print_no_more_end_as_killed_and_name_what_resumes_them(
    into: Into, sweep: tuple[str, ...], code: int, why: str, start_hcr: Callable[..., Process], tmp_path: Path
) -> None:
    exit_code, told = into("train", *sweep, *SMALL, start=start_hcr)
    runs = list((tmp_path / "output" / "runs").glob("*"))
    what = f"sweep {next((tmp_path / 'output' / 'sweeps').iterdir()).name}" if sweep else f"run {runs[0].name}"
    assert told.splitlines()[0] == f"hcr: {why}; the same command resumes {what}"
    assert (exit_code, "Traceback" in told) == (code, False)
    assert all(last_event(run)["status"] == "KILLED" for run in runs)


@pytest.mark.slow
def test_a_sweep_that_loses_its_reader_in_the_middle_is_resumed_by_the_same_command(
    start_hcr: Callable[..., Process], hcr: Hcr, tmp_path: Path
) -> None:
    words = ("train", *SWEEP, *SMALL)
    first = start_hcr(*words)
    assert first.stdout.readline() == "0 reused, 0 resumed, 2 to run\n"
    first.stdout.close()
    told = first.stderr.read()
    assert (first.wait(), told.count("\n"), UNREAD in told) == (141, 1, True)
    second = hcr(*words)
    assert (second.returncode, second.stderr) == (0, "")
    runs = (tmp_path / "output" / "runs").iterdir()
    parents = [path for path in runs if (path / "artifacts" / "plan.json").exists()]
    assert [last_event(path)["status"] for path in parents] == ["FINISHED"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import hcr.sweep.sweep as at; at.write_plan = full", None),
        ("import hcr.sweep.report as at; at.write_csv = full", "FAILED"),
    ],
    ids=["plan", "leaderboard"],
)
def test_a_disk_that_is_full_for_a_sweep_s_own_files_is_one_line(
    code: str, status: str | None, hcr: Hcr, tmp_path: Path
) -> None:
    done = hcr("train", *SWEEP, *SMALL, code=FULL_DISK + code)
    line = "cannot be written (No space left on device); make room; the same command resumes the sweep"
    assert (done.returncode, done.stderr) == (1, f"hcr: {tmp_path / 'output'}: {line}\n")
    runs = (tmp_path / "output" / "runs").glob("*/artifacts/plan.json")
    assert [last_event(path.parents[1])["status"] for path in runs] == ([] if status is None else [status])
