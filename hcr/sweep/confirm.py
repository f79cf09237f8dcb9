"""Confirming a winner: the best points of a sweep once more, on seeds that had no part in choosing them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from hcr.config import HcrError
from hcr.config.points import SEED, Space
from hcr.config.text import printable
from hcr.config.tracking import output_root
from hcr.evaluation.leaderboard import Leaderboard, number_format
from hcr.sweep.controller import Controller
from hcr.sweep.plan import Plan, PlannedRun, frozen_config
from hcr.sweep.report import board_of
from hcr.sweep.runs import Run
from hcr.sweep.trial import RESULT, TASK, told_by
from hcr.tracking.events import read_events
from hcr.tracking.uploader import Uploader

CONFIRMED = 2  # points: the winner, and who came next


@dataclass(frozen=True)
class Confirmation:
    """What came of the best points on fresh seeds.

    Attributes:
        board: of the fresh runs alone.
        runs: these.
        test: test accuracy of each of the winner's, in order of seeds; scored once each.
    """

    board: Leaderboard
    runs: list[Run]
    test: tuple[float, ...]

    def lines(self) -> list[str]:
        """Sentences to print: only these figures are to be quoted."""
        best = self.board.rows[0]
        show = number_format([row.mean for row in self.board.rows if row.mean is not None])
        told = [f"On {best.n} fresh seeds alone, {self.board.monitor}:"]
        for row in self.board.rows:
            assert row.mean is not None and row.sd is not None, "of a board that is whole"
            told.append(f"  {row.label}: mean {show(row.mean)}, sd {show(row.sd)}, n = {row.n}")
        told += self.board.verdict[:1]
        if self.test:
            spread = f", sd {stdev(self.test):.4f}" if len(self.test) > 1 else ""
            told.append(
                f"{best.label}: test accuracy {mean(self.test):.4f}{spread} (n = {len(self.test)} fresh seeds, scored"
                " once each); quote these, not the scores that it was chosen by."
            )
        return list(map(printable, told))


def confirming_runs(plan: Plan, board: Leaderboard, runs: Sequence[Run], num_seeds: int) -> list[PlannedRun]:
    """The best points of `board` that have finished runs, with `num_seeds` seeds that no run of the sweep has had."""
    space = Space.from_json(plan.space)
    fresh = range(max(run.planned.seed for run in runs) + 1, max(run.planned.seed for run in runs) + 1 + num_seeds)
    found: list[PlannedRun] = []
    first = 1 + max(run.planned.number for run in runs)
    for row in [row for row in board.rows if row.n][:CONFIRMED]:
        of_point = next(run.planned for run in runs if run.planned.point_label == row.label)
        for seed in fresh:
            asked = space.run({**of_point.values, SEED: seed})
            found.append(
                PlannedRun(
                    number=first + len(found),
                    overrides=asked.overrides,
                    values=of_point.values,
                    point=of_point.point,
                    seed=seed,
                    config=frozen_config(asked.cfg, space, plan.threads),
                    phase="confirm",
                )
            )
    return found


def confirmation(plan: Plan, controller: Controller, folder: Path, runs: Sequence[Run]) -> Confirmation:
    """Compare the fresh runs, all of which have finished, and score the winner's on test.

    Raises:
        HcrError: test cannot be scored.
    """
    board = board_of(plan, runs, allow_incomplete=False)
    assert board is not None, "all of them have finished"
    winner = board.rows[0].label
    test = tuple(_score(controller, folder, run) for run in runs if run.planned.point_label == winner)
    return Confirmation(board, list(runs), test)


def score_missing(controller: Controller, folder: Path, runs: Sequence[Run], delivery: Uploader) -> None:
    """Score on test what `score_test=true` asks for and a reused run lacks; it is counted as any look at test.

    Args:
        folder: the sweep's.
        runs: those of the sweep; none of them is being uploaded.

    Raises:
        HcrError: test cannot be scored.
    """
    for run in runs:
        if run.outcome is None or not run.planned.cfg.score_test:
            continue
        journal = output_root() / "runs" / run.outcome.key
        scored = (event for event, _ in read_events(journal) if "test/accuracy" in event.get("values", {}))
        if next(scored, None) is None:
            _score(controller, folder, run)
            delivery.finish(journal)


def _score(controller: Controller, folder: Path, run: Run) -> float:
    assert run.outcome is not None
    task = folder / "score" / run.outcome.key
    task.mkdir(parents=True, exist_ok=True)
    (task / RESULT).unlink(missing_ok=True)
    (task / TASK).write_text(
        json.dumps({"task": "score", "run": str(output_root() / "runs" / run.outcome.key)}), encoding="utf-8"
    )
    result = controller.task(task)
    if result is None or result["status"] == "failed":
        raise HcrError(f"run {run.outcome.key} cannot be scored on test: {told_by(task, result)}")
    return float(result["test_accuracy"])
