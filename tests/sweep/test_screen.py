"""What a sweep shows: the best first, counts that add up, lines where there is no terminal."""

import io
from pathlib import Path

import pytest

from hcr.console import PlainConsole
from hcr.sweep.screen import SweepScreen, duration


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def screen(
    *, terminal: bool = False, higher: bool = True, total: int | None = 6, width: int = 80
) -> tuple[SweepScreen, io.StringIO, Clock]:
    out, clock = io.StringIO(), Clock()
    console = PlainConsole(file=out, terminal=terminal, width=width, height=24, color_system=None, legacy_windows=False)
    made = SweepScreen(total=total, monitor="val/accuracy", higher_is_better=higher, console=console, clock=clock)
    return made, out, clock


def shown(made: SweepScreen, width: int = 80) -> list[str]:
    out = io.StringIO()
    PlainConsole(file=out, width=width, color_system=None).print(made.frame())
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(("higher", "best"), [(True, ["0.9700", "0.9500"]), (False, ["0.9500", "0.9700"])])
def test_the_best_come_first(higher: bool, best: list[str]) -> None:
    made, _, _ = screen(higher=higher)
    for number, value in enumerate((0.95, 0.97)):
        made.started(number, f"model.depth={number}", epochs=3)
        made.finished(number, value)
    rows = [line for line in shown(made) if line.lstrip().startswith(("1", "2")) and "depth" in line]
    assert [row.split()[1] for row in rows] == best


def test_a_frame_has_counts_running_runs_and_the_time_left() -> None:
    made, _, clock = screen()
    made.reused(0, "model.depth=1 seed=0", 0.91)
    made.started(1, "model.depth=2 seed=0", epochs=3)
    made.started(2, "model.filters=[8,16] seed=0", epochs=3)
    clock.now = 10
    made.finished(1, 0.93)
    made.epoch(2, 2, 0.9)
    frame = shown(made)
    assert frame[0].startswith("2 of 6 finished, 1 running; done about ")
    # Four are left at 10 s each, one of them 10 s under way, two at a time.
    assert made.left_s() == pytest.approx((4 * 10 - 10) / 2)
    assert any(line.split() == ["epoch", "2/3", "0.9000", "filters=[8,16]", "seed=0"] for line in frame)


def test_nothing_is_said_of_the_time_before_a_run_has_ended() -> None:
    made, _, _ = screen()
    made.started(0, "a", epochs=3)
    assert made.left_s() is None
    assert shown(made)[0] == "0 of 6 finished, 1 running"


def test_many_runs_and_long_labels_fit_a_narrow_terminal() -> None:
    made, _, _ = screen(total=100, width=60)
    for number in range(40):
        made.started(number, f"optimizer.learning_rate=0.00123 model.filters=[16,32,64,128] seed={number}", epochs=9)
        made.epoch(number, 1, float("nan"))
    frame = shown(made, 60)
    assert all(len(line) <= 60 for line in frame)
    assert len(frame) <= 16
    assert any("and 32 more" in line for line in frame)


def test_without_a_terminal_each_thing_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    made, out, clock = screen()
    with made:
        made.started(2, "model.filters=[8,16] seed=1", epochs=3)
        made.epoch(2, 1, 0.5)
        clock.now = 31
        made.finished(2, 0.9812)
        made.started(3, "b", epochs=3)
        made.pruned(3, "after epoch 1")
        made.started(4, "c", epochs=3)
        made.failed(4, "the loss became nan", Path("/x/error.txt"))
        made.tick()
    assert out.getvalue().splitlines() == [
        "run 3/6 started: model.filters=[8,16] seed=1",
        "run 3/6 finished: val/accuracy 0.9812 (1 epoch, 31 s): model.filters=[8,16] seed=1",
        "run 4/6 started: b",
        "run 4/6 pruned after epoch 1: b",
        "run 5/6 started: c",
    ]
    assert capsys.readouterr().err == "hcr: run 5/6 failed: the loss became nan; see /x/error.txt: c\n"


def test_a_terminal_rings_at_the_end_and_keeps_what_failed() -> None:
    made, out, _ = screen(terminal=True)
    with made:
        made.started(0, "a", epochs=3)
        made.tick()
        made.failed(0, "why", Path("/x"))
    assert "run 1/6 failed: why; see /x: a" in out.getvalue()
    assert out.getvalue().count("\a") == 1


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (99, "99 s"), (120, "2 min"), (5940, "99 min"), (7500, "2 h 5 min")]
)
def test_a_duration_is_told_in_the_unit_that_fits(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_pipe_that_is_to_have_colours_is_not_drawn_on_again_and_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with SweepScreen(total=2, monitor="val/accuracy", higher_is_better=True) as made:
        made.started(0, "model.depth=1", epochs=3)
        made.finished(0, 0.9)
    assert "\x1b" not in capfd.readouterr().out
