"""The pictures of a sweep's best runs; `hcr plots` draws others, as drawing takes half as long as a short run."""

import json
from collections.abc import Sequence
from pathlib import Path

from hcr.config.tracking import output_root
from hcr.drawing import is_drawn
from hcr.evaluation.leaderboard import Leaderboard
from hcr.sweep.controller import Controller
from hcr.sweep.runs import Run
from hcr.sweep.trial import RESULT, TASK, told_by
from hcr.tracking.uploader import Uploader


def draw_best(
    controller: Controller, folder: Path, board: Leaderboard | None, runs: Sequence[Run], delivery: Uploader
) -> None:
    """Draw the runs of the best point that have no pictures yet, in a process of their own, and upload them.

    Args:
        folder: the sweep's.
        board: None where no run has finished.
        runs: those that the sweep knows; none of them is being uploaded.
    """
    if board is None:
        return
    best = [run.outcome.key for run in runs if run.outcome and run.planned.point_label == board.rows[0].label]
    folders = [output_root() / "runs" / key for key in best]
    undrawn = [run for run in folders if run.is_dir() and not is_drawn(run)]
    if not undrawn:
        return
    task = folder / "draw"
    task.mkdir(exist_ok=True)
    (task / RESULT).unlink(missing_ok=True)
    (task / TASK).write_text(json.dumps({"task": "draw", "runs": [str(run) for run in undrawn]}), encoding="utf-8")
    result = controller.task(task)
    if result is None or result["status"] == "failed":
        print(f"note: the best runs are not drawn ({told_by(task, result)}); `hcr plots RUN` draws one", flush=True)
    for run in undrawn:
        delivery.finish(run)
