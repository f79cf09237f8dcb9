"""Progress display of training: a live line in a terminal, and one line per epoch everywhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from hcr.console import PlainConsole, fold
from hcr.training.loop import StepsDone, TrainingState


class ProgressDisplay:
    """Shows epoch, loss, accuracy, images per second and the time left.

    Pass its `on_steps` and `on_epoch` to `fit`.

    Args:
        epochs: the maximum number of epochs.
        keeps_best: the run keeps the weights of the best epoch, not of the last.
        console: standard output by default. Without a terminal only finished epochs are printed.
    """

    def __init__(self, epochs: int, console: PlainConsole | None = None, *, keeps_best: bool = True) -> None:
        self._epochs = epochs
        self._keeps_best = keeps_best
        self._steps = 1
        self._console = console or PlainConsole()
        self._started: float | None = None
        self._first_epoch = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_interactive,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_steps(self, now: StepsDone) -> None:
        """Update the live line."""
        self._steps = now.num_steps
        if self._started is None:
            self._started, self._first_epoch = time.monotonic(), now.epoch - 1
        if self._progress.disable:
            return
        if self._task is None:
            self._task = self._progress.add_task("", total=self._steps, numbers="", visible=False)
        done = (now.epoch - 1 - self._first_epoch) * self._steps + now.steps
        self._progress.update(
            self._task,
            description=f"epoch {now.epoch}/{self._epochs}",
            completed=now.steps,
            visible=True,
            numbers=f"loss {now.loss:.4f}  accuracy {now.accuracy:.4f}  {now.images_per_s:,.0f} images/s"
            f"  {self._left(done)} left",
        )
        self._progress.start()  # does nothing after the first call; not earlier, as a download may show its own bar
        self._progress.refresh()

    def on_epoch(self, state: TrainingState) -> None:
        """Print a line for the epoch that has just ended."""
        if self._task is not None:
            self._progress.update(self._task, visible=False)  # until the next steps: saving makes no progress
        metrics = state.history[-1]
        width = len(str(self._epochs))
        done = (state.epoch - self._first_epoch) * self._steps
        best = "  best" if self._keeps_best and state.best_epoch == state.epoch else ""  # best so far
        parts = [
            f"epoch {state.epoch:{width}d}/{self._epochs}",
            f"loss {metrics['train/loss']:.4f}",
            f"accuracy {metrics['train/accuracy']:.4f}",
            f"val loss {metrics['val/loss']:.4f}",
            f"val accuracy {metrics['val/accuracy']:.4f}",
            f"{metrics['time/images_per_s']:,.0f} images/s",
            f"{self._left(done)} left{best}",
        ]
        # Fold between the parts: a narrow terminal would break the line inside a word or a number.
        across = self._console.width if self._console.is_interactive else sys.maxsize
        for line in fold(parts, across, between="  "):
            self._console.print(line)

    def _left(self, steps_done: int) -> str:
        """Estimated time until the end of the last epoch, as minutes:seconds."""
        assert self._started is not None
        total = (self._epochs - self._first_epoch) * self._steps
        elapsed_s = time.monotonic() - self._started
        minutes, seconds = divmod(round(elapsed_s * (total - steps_done) / max(1, steps_done)), 60)
        return f"{minutes}:{seconds:02d}"
