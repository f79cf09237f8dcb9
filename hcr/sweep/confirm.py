"""Confirmation of a sweep's winner: the best points are trained again on fresh seeds, and there on every fold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from hcr.config.replicates import Replicate, sorted_replicates
from hcr.config.sweep import SweepConfig
from hcr.config.text import printable
from hcr.evaluation.labels import counted_replicates, number_format
from hcr.evaluation.ranking import Leaderboard
from hcr.evaluation.verdict import verdict
from hcr.gate.points import Space
from hcr.sweep.ledger import Ledger, Run
from hcr.sweep.plan import Plan, PlannedRun, frozen_config
from hcr.sweep.report import board_of

CONFIRMED = 2  # points: the winner and the runner-up


@dataclass(frozen=True)
class Confirmation:
    """The result of the best points on fresh seeds.

    Attributes:
        board: the leaderboard of the fresh runs alone.
        runs: the fresh runs.
        test: test accuracy of each fresh run of the winner, by seed and fold; scored once each.
    """

    board: Leaderboard
    runs: list[Run]
    test: tuple[float, ...]

    def lines(self) -> list[str]:
        """Sentences to print; quote only these figures."""
        best = self.board.rows[0]
        show = number_format([row.mean for row in self.board.rows if row.mean is not None])
        fresh = counted_replicates(best.scores, seed="fresh seed")
        lines = [f"On {fresh} alone, {self.board.monitor}:"]
        for row in self.board.rows:
            assert row.mean is not None and row.sd is not None, "the board is complete"
            over = f"n = {row.n}" if row.num_folds is None else f"over {fresh}"
            lines.append(f"  {row.label}: mean {show(row.mean)}, sd {show(row.sd)}, {over}")
        lines += verdict(self.board)[:1]
        if self.test:
            spread = f", sd {stdev(self.test):.4f}" if len(self.test) > 1 else ""
            over = f"n = {fresh}" if best.num_folds is None else f"mean over {fresh}"
            lines.append(
                f"{best.label}: test accuracy {mean(self.test):.4f}{spread} ({over}, scored once each);"
                " quote this, not the scores it was selected on."
            )
        return list(map(printable, lines))


def confirming_runs(plan: Plan, board: Leaderboard, runs: Sequence[Run], num_seeds: int) -> list[PlannedRun]:
    """The best points of `board` that have finished runs, each with `num_seeds` seeds that the sweep has not used.

    In a cross-validation, each fresh seed is trained on every fold that the sweep used.
    """
    space = Space.from_json(plan.space)
    fresh = range(max(run.planned.seed for run in runs) + 1, max(run.planned.seed for run in runs) + 1 + num_seeds)
    found: list[PlannedRun] = []
    first = 1 + max(run.planned.number for run in runs)
    for row in [row for row in board.rows if row.n][:CONFIRMED]:
        mates = [run.planned for run in runs if run.planned.point_label == row.label]
        of_point, folds = mates[0], {planned.replicate.fold for planned in mates}
        for replicate in sorted_replicates(Replicate(seed, fold) for seed in fresh for fold in folds):
            asked = space.run({**of_point.values, **replicate.values})
            found.append(
                PlannedRun(
                    number=first + len(found),
                    overrides=asked.overrides,
                    values=of_point.values,
                    point=of_point.point,
                    seed=replicate.seed,
                    config=frozen_config(asked.cfg, space, plan.threads),
                    phase="confirm",
                )
            )
    return found


def plan_confirmation(ledger: Ledger, plan: Plan, sweep: SweepConfig) -> list[Run]:
    """Plan the runs that confirm the best points and add them to the ledger, once all other runs are done.

    Empty if runs are missing, unless `sweep.allow_incomplete`: the best of the remaining ones need not be the best.
    """
    if sweep.confirm is None:
        return []
    board = board_of(plan, ledger.candidates, allow_incomplete=sweep.allow_incomplete)
    if board is None or (board.is_incomplete and not sweep.allow_incomplete):
        return []
    return [ledger.add(planned) for planned in confirming_runs(plan, board, ledger.candidates, sweep.confirm)]


def confirmation(plan: Plan, runs: Sequence[Run], score: Callable[[Run], float]) -> Confirmation | None:
    """Compare the fresh runs, and score those of the winner on test; None unless all of them have finished.

    Args:
        score: scores a run and returns its test accuracy.

    Raises:
        HcrError: a run cannot be scored on test.
    """
    if not runs or any(run.outcome is None for run in runs):
        return None
    board = board_of(plan, runs, allow_incomplete=False)
    assert board is not None, "all runs have finished"
    winner = board.rows[0].label
    test = tuple(score(run) for run in runs if run.planned.point_label == winner)
    return Confirmation(board, list(runs), test)
