"""What training shows."""

import io
import re

import pytest

from hcr.console import PlainConsole
from hcr.training import TrainingState
from hcr.training.loop import StepsDone
from hcr.training.progress import ProgressDisplay

METRICS = {
    "train/loss": 0.5,
    "train/accuracy": 0.75,
    "val/loss": 0.25,
    "val/accuracy": 0.875,
    "lr": 0.1,
    "time/epoch_s": 2.0,
    "time/images_per_s": 12345.0,
}


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    console = PlainConsole(file=out, terminal=terminal, width=160)
    with ProgressDisplay(epochs=3, console=console) as display:
        display.on_steps(StepsDone(1, 10, 20, 0.7, 0.6, 54321.0))
        display.on_steps(StepsDone(1, 20, 20, 0.5, 0.75, 54321.0))
        display.on_epoch(TrainingState(epoch=1, history=[METRICS], best_epoch=1))
        display.on_epoch(TrainingState(epoch=2, history=[METRICS, METRICS], best_epoch=1))
    return out.getvalue()


def test_without_a_terminal_there_is_one_plain_line_an_epoch() -> None:
    lines = shown(terminal=False).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/3  loss 0.5000  accuracy 0.7500  val loss 0.2500  val accuracy 0.8750")
    assert "12,345 images/s" in lines[0]
    assert lines[0].endswith("best")
    assert lines[1].endswith("left")
    assert "\x1b" not in "".join(lines)


def test_a_terminal_gets_a_live_line_between_the_epochs() -> None:
    text = shown(terminal=True)
    assert "\x1b[" in text
    assert "loss 0.7000" in text or "loss 0.5000" in text
    assert "54,321 images/s" in text
    assert text.count("val loss 0.2500") == 2


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_pipe_that_is_to_have_colours_gets_no_live_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, "1")
    with ProgressDisplay(epochs=3) as display:
        display.on_steps(StepsDone(1, 10, 20, 0.7, 0.6, 54321.0))
        display.on_epoch(TrainingState(epoch=1, history=[METRICS], best_epoch=1))
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith("epoch 1/3  loss 0.5000")


@pytest.mark.parametrize("width", [20, 60, 110, 300])
def test_a_narrow_terminal_breaks_no_number_and_no_word(width: int) -> None:
    out = io.StringIO()
    console = PlainConsole(file=out, terminal=True, width=width, color_system=None)
    with ProgressDisplay(epochs=300, console=console) as display:
        display.on_steps(StepsDone(1, 20, 20, 0.5, 0.75, 54321.0))
        display.on_epoch(TrainingState(epoch=1, history=[METRICS], best_epoch=1))
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "\n").splitlines()
    for part in ("loss 0.5000", "val loss 0.2500", "val accuracy 0.8750", "12,345 images/s"):
        assert any(part in line.split("  ") for line in lines), part
    assert max(len(line) for line in lines if "val" in line) <= width
