"""Output that nobody reads, and full disks: one line, and what was begun can be resumed; real processes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from hcr.tracking.events import last_event

SMALL = ("training=smoke", "training.epochs=2", "model.filters=2", "dataset.limit=100")
SWEEP = ("-m", "seed=0,1", "launcher.workers=1")
FULL = "standard output: expected room for what is printed, got: No space left on device"
UNREAD = "nobody reads what it prints any more"
Into = Callable[..., tuple[int, str]]


def hcr_into(output: int | IO[bytes], *words: str, folder: Path) -> tuple[int, str]:
    """The exit code and standard error of an `hcr` that prints to `output`."""
    done = subprocess.run(
        [sys.executable, "-m", "hcr", *words],
        stdout=output, stderr=subprocess.PIPE, cwd=folder, env={**os.environ, "HCR_OUTPUT_DIR": str(folder)},
        check=False,
    )  # fmt: skip
    return done.returncode, done.stderr.decode()


def into_a_closed_pipe(*words: str, folder: Path) -> tuple[int, str]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return hcr_into(writer, *words, folder=folder)
    finally:
        os.close(writer)


def into_a_full_disk(*words: str, folder: Path) -> tuple[int, str]:
    with Path("/dev/full").open("wb") as full:
        return hcr_into(full, *words, folder=folder)


def hcr_with(code: str, *words: str, folder: Path) -> tuple[int, str]:
    """The exit code and standard error of an `hcr` that begins with `code`."""
    script = f"import sys\ndef full(*arguments, **keywords): raise OSError(28, 'No space left on device')\n{code}\n"
    script += "from hcr.cli import main\nsys.exit(main())\n"
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=folder, env={**os.environ, "HCR_OUTPUT_DIR": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [("--help",), ("data",), ("train", "--cfg", "all"), ("completion", "bash")])
def test_a_pipe_that_nobody_reads_ends_a_verb_without_a_word(words: tuple[str, ...], tmp_path: Path) -> None:
    assert into_a_closed_pipe(*words, folder=tmp_path) == (141, "")


@pytest.mark.parametrize("words", [("--help",), ("train", "--cfg", "all")])
def test_an_output_whose_disk_is_full_is_one_line(words: tuple[str, ...], tmp_path: Path) -> None:
    assert into_a_full_disk(*words, folder=tmp_path) == (1, f"hcr: {FULL}\n")


def test_another_disk_that_is_full_is_not_taken_for_the_output(tmp_path: Path) -> None:
    code = "import hcr.verbs\nhcr.verbs.help_text = full"
    assert "OSError" in hcr_with(code, "--help", folder=tmp_path)[1]  # no file of the user's: a mistake of ours
    code = "import hcr.commands.sync\nhcr.commands.sync.output_root = full"
    told = "hcr: a file: cannot be written (No space left on device); make room, and try again\n"
    assert hcr_with(code, "sync", folder=tmp_path) == (1, told)


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
    into: Into, sweep: tuple[str, ...], code: int, why: str, tmp_path: Path
) -> None:
    exit_code, told = into("train", *sweep, *SMALL, folder=tmp_path)
    runs = list((tmp_path / "runs").glob("*"))
    what = f"sweep {next((tmp_path / 'sweeps').iterdir()).name}" if sweep else f"run {runs[0].name}"
    assert told.splitlines()[0] == f"hcr: {why}; the same command resumes {what}"
    assert (exit_code, "Traceback" in told) == (code, False)
    assert all(last_event(run)["status"] == "KILLED" for run in runs)


@pytest.mark.slow
def test_a_sweep_that_loses_its_reader_in_the_middle_is_resumed_by_the_same_command(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "hcr", "train", *SWEEP, *SMALL]
    environment = {**os.environ, "HCR_OUTPUT_DIR": str(tmp_path)}
    first = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert first.stdout is not None and first.stderr is not None
    assert first.stdout.readline() == b"0 reused, 0 resumed, 2 to run\n"
    first.stdout.close()
    told = first.stderr.read().decode()
    assert (first.wait(), told.count("\n"), UNREAD in told) == (141, 1, True)
    second = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stderr) == (0, "")
    parents = [path for path in (tmp_path / "runs").iterdir() if (path / "artifacts" / "plan.json").exists()]
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
def test_a_disk_that_is_full_for_a_sweep_s_own_files_is_one_line(code: str, status: str | None, tmp_path: Path) -> None:
    exit_code, told = hcr_with(code, "train", *SWEEP, *SMALL, folder=tmp_path)
    line = f"{tmp_path}: cannot be written (No space left on device); make room; the same command resumes the sweep"
    assert (exit_code, told) == (1, f"hcr: {line}\n")
    runs = (tmp_path / "runs").glob("*/artifacts/plan.json")
    assert [last_event(path.parents[1])["status"] for path in runs] == ([] if status is None else [status])
