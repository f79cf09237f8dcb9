"""The record of a sweep in its own run: its plan, how far it is, and its leaderboard when it has run."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from hcr.config import ConfigError, HcrError
from hcr.config.errors import one_line
from hcr.config.secrets import redact, without_secrets
from hcr.config.text import csv_line, markdown
from hcr.config.tracking import output_root
from hcr.evaluation.labels import counted
from hcr.evaluation.ranking import Leaderboard, PointScores, rank
from hcr.evaluation.table import format_table, write_csv
from hcr.evaluation.verdict import verdict
from hcr.sweep.ledger import Ledger, Run, number_tag
from hcr.sweep.plan import PLAN, Plan
from hcr.tracking.events import DESCRIPTION, JOURNAL, Event, first_event, read_events
from hcr.tracking.journal import Journal, add_events
from hcr.tracking.lock import lock_ended_run
from hcr.tracking.status import read_position
from hcr.tracking.uploader import Uploader

if TYPE_CHECKING:
    from hcr.sweep.confirm import Confirmation

MOST_SHOWN = 20  # points of the leaderboard that is printed; leaderboard.csv has all
REUSED_BY = "hcr.reused_by"  # and a sweep's key: a run's number in a sweep that did not make it


def begin_run(journal: Journal, plan: Plan, folder: Path) -> None:
    """Open the sweep's own run, or go on with it.

    Args:
        folder: the sweep's, with its plan.

    Raises:
        ConfigError: another process uploads it.
    """
    own = plan.parents[-1]
    there = output_root() / "runs" / own
    if _has_begun(there):
        try:
            journal.resume(there, reopen=True)
        except BlockingIOError:
            raise ConfigError(
                f"another process delivers the run {own} of this sweep; expected it to end first"
            ) from None
    else:
        shutil.rmtree(there, ignore_errors=True)  # where it was killed as it began
        journal.begin(name=redact(plan.name), tags={"hcr.sweep": own, "hcr.sweep_id": plan.id}, key=own)
    journal.params(
        {
            "sweep.axes": ", ".join(plan.axes),
            "sweep.sampler": str(plan.sweep["sampler"]),
            "sweep.pruner": str(plan.sweep["pruner"]),
            "sweep.design": str(plan.sweep["design"]),
            "sweep.threads": str(plan.threads),
            "monitor": plan.monitor,
            "seed": str(plan.seed),
        }
    )
    workers = {} if plan.workers is None else {"hcr.workers": str(plan.workers)}
    journal.tags(workers | ({"hcr.mixed_code": "true"} if plan.is_mixed else {}))
    told = without_secrets(json.loads((folder / PLAN).read_text(encoding="utf-8")))
    journal.artifact(PLAN).write_text(json.dumps(told, indent=1), encoding="utf-8")
    journal.artifact_written(PLAN)


def tell_progress(journal: Journal, ledger: Ledger) -> None:
    """Record how far the sweep is, its confirmation apart."""
    states = [other.state for other in ledger.candidates]
    done = {name: states.count(name) for name in ("finished", "reused", "pruned", "failed")}
    values = {
        "sweep/finished": float(done["finished"] + done["reused"]),
        "sweep/pruned": float(done["pruned"]),
        "sweep/failed": float(done["failed"]),
    }
    journal.metrics(values, step=sum(done.values()))


def tell_end(
    journal: Journal,
    plan: Plan,
    board: Leaderboard | None,
    ledger: Ledger,
    confirming: Sequence[Run],
    confirmed: "Confirmation | None",
    importances: Mapping[str, float] | None,
    num_left: int,
) -> None:
    """Record the result of the sweep, and its status: FINISHED only where nothing is missing."""
    lines = confirmed.lines() if confirmed is not None else []
    if board is not None:
        runs = [*ledger.candidates, *confirming]
        record_board(journal, plan, board, runs, importances)
        describe(journal, plan, board, runs, lines)
    if confirmed is not None:
        record_confirmation(journal, plan, confirmed.board, lines)
    failed = sum(run.state == "failed" for run in ledger.candidates)
    if failed:
        journal.tags({"hcr.error": f"{failed} of {len(ledger.candidates)} runs failed"})
        journal.end("FAILED")
    elif num_left:
        journal.tags({"hcr.error": f"not all of it was run: {counted(num_left, 'run')} left"})
        journal.end("KILLED")


def _has_begun(run: Path) -> bool:
    """Whether a run has its first event, whole."""
    try:
        return b"\n" in (run / JOURNAL).read_bytes()
    except FileNotFoundError:
        return False


def points_of(runs: Iterable[Run]) -> list[PointScores]:
    """The runs by point, in order of the plan; values that a search tried more than once are one point.

    What the gate refuses is no point.
    """
    by_point: dict[str, list[Run]] = {}
    for run in sorted((run for run in runs if run.state != "refused"), key=lambda run: run.planned.number):
        mates = by_point.setdefault(run.planned.point_label, [])
        if run.planned.phase != "search" or not mates:
            mates.append(run)
        elif mates[0].outcome is None:  # given up or failed then, and tried again
            mates[0] = run
    points = []
    for of_point in by_point.values():
        done = [run for run in of_point if run.outcome is not None]
        outcomes = [run.outcome for run in done if run.outcome is not None]
        points.append(
            PointScores(
                label=of_point[0].planned.point_label,
                values=of_point[0].planned.values,
                scores={run.planned.seed: run.outcome.value for run in done if run.outcome is not None},
                num_planned=len(of_point),
                num_failed=sum(run.state == "failed" for run in of_point),
                num_pruned=sum(run.state == "pruned" for run in of_point),
                num_params=outcomes[0].num_params if outcomes else None,
                train_s=mean(outcome.train_s for outcome in outcomes) if outcomes else None,
            )
        )
    return points


def board_of(plan: Plan, runs: Sequence[Run], *, allow_incomplete: bool) -> Leaderboard | None:
    """The leaderboard; None where no run has finished."""
    points = points_of(runs)
    if not any(point.scores for point in points):
        return None
    return rank(
        points,
        monitor=plan.monitor,
        higher_is_better=plan.higher_is_better,
        allow_incomplete=allow_incomplete,
    )


def record_board(
    journal: Journal, plan: Plan, board: Leaderboard, runs: Sequence[Run], importances: Mapping[str, float] | None
) -> None:
    """Tell the sweep's own run of its points: numbers, `leaderboard.csv`, `runs.csv` and pictures."""
    metric = f"point/mean_{plan.monitor.replace('/', '_')}"  # another name than the children's, which are sorted by it
    numbers: dict[str, int] = {}
    for run in runs:
        numbers.setdefault(run.planned.point_label, run.planned.point + 1)
    for row in board.rows:
        if row.mean is None:
            continue
        values = {metric: row.mean, "point/n": float(row.n)} | ({} if row.sd is None else {"point/sd": row.sd})
        journal.metrics(values, step=numbers[row.label])
    write_csv(board, journal.artifact("leaderboard.csv"))
    journal.artifact_written("leaderboard.csv")
    _write_runs(journal, runs)
    journal.artifact("verdict.txt").write_text("\n".join(verdict(board)) + "\n", encoding="utf-8")
    journal.artifact_written("verdict.txt")
    _record_pictures(journal, plan, board, runs, importances)


def record_confirmation(journal: Journal, plan: Plan, board: Leaderboard, lines: Sequence[str]) -> None:
    """Tell the sweep's own run what the best points came to on fresh seeds."""
    write_csv(board, journal.artifact("confirmation.csv"))
    journal.artifact_written("confirmation.csv")
    journal.artifact("confirmation.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    journal.artifact_written("confirmation.txt")
    best = board.rows[0]
    if best.mean is not None:
        journal.metrics({f"confirmed/mean_{plan.monitor.replace('/', '_')}": best.mean}, step=best.n)
    journal.tags({"hcr.confirmed_point": best.label})


def _write_runs(journal: Journal, runs: Sequence[Run]) -> None:
    """Every run of the sweep in one table, those of other sweeps that it uses among them."""
    with journal.artifact("runs.csv").open("w", newline="", encoding="utf-8") as file:
        file.write(
            csv_line(["number", "point", "overrides", "seed", "state", "run", "value", "epochs", "train_s", "why"])
        )
        for run in runs:
            planned, outcome = run.planned, run.outcome
            found = [outcome.key, outcome.value, outcome.epochs, round(outcome.train_s, 3)] if outcome else [None] * 4
            row = [planned.number + 1, planned.point + 1, planned.label, planned.seed, run.state, *found, run.why]
            file.write(csv_line(row))
    journal.artifact_written("runs.csv")


def _record_pictures(
    journal: Journal, plan: Plan, board: Leaderboard, runs: Sequence[Run], importances: Mapping[str, float] | None
) -> None:
    from hcr.evaluation import axis_plots, sweep_plots
    from hcr.evaluation.canvas import save_figure
    from hcr.evaluation.style import default_style

    drawn: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "leaderboard": (sweep_plots.leaderboard_info(board), sweep_plots.draw_leaderboard),
        "parallel": (axis_plots.parallel_info(board), axis_plots.draw_parallel),
        "heat": (axis_plots.heat_info(board), axis_plots.draw_heat),
        "importance": (axis_plots.importance_info(board, importances), axis_plots.draw_importance),
    }
    if plan.sweep["design"] == "around":
        base, effects = _around(plan, [run for run in runs if run.planned.phase != "confirm"])
        info = sweep_plots.effects_info(base, effects, monitor=plan.monitor, higher_is_better=plan.higher_is_better)
        drawn = {"leaderboard": drawn["leaderboard"], "effects": (info, sweep_plots.draw_effects)}
    for name, (info, draw) in drawn.items():
        if info is None:  # nothing to draw, such as a map of one axis
            continue
        with default_style():
            save_figure(draw(info), journal.artifact(f"plots/{name}.png"))
        journal.artifact_written(f"plots/{name}.png")


def _around(plan: Plan, runs: Sequence[Run]) -> tuple[PointScores, dict[str, list[tuple[object, PointScores]]]]:
    """The base point, and by axis the points that differ from it there."""
    points = points_of(runs)
    base = next(point for point in points if not point.values)
    effects: dict[str, list[tuple[object, PointScores]]] = {}
    for point in points:
        for axis, value in point.values.items():
            effects.setdefault(axis, []).append((value, point))
    return replace(base, values=plan.base), effects


def tell_means(runs: Sequence[Run], board: Leaderboard | None, plan: Plan, uploader: Uploader) -> None:
    """Each run of the sweep hears what its point came to, so that sorting MLflow's table gives the leaderboard."""
    if board is None:
        return
    for row in board.rows:
        mates = [run for run in runs if run.planned.point_label == row.label and run.outcome is not None]
        outcomes = [run.outcome for run in mates if run.outcome is not None]
        if not outcomes:
            continue
        means = {
            "sweep/mean_val_accuracy": sum(outcome.val_accuracy for outcome in outcomes) / len(outcomes),
            "sweep/mean_val_loss": sum(outcome.val_loss for outcome in outcomes) / len(outcomes),
        }
        for run in mates:
            assert run.outcome is not None
            folder = output_root() / "runs" / run.outcome.key
            if (first := first_event(folder)).get("parent") == plan.parents[-1]:
                _tell(folder, {"event": "metrics", "step": 0, "values": means}, uploader)
            elif first:  # of an older sweep, whose mean it has: it is found by this
                _tell(
                    folder,
                    {"event": "tags", "values": {f"{REUSED_BY}.{plan.parents[-1]}": number_tag(run.planned)}},
                    uploader,
                )


def _tell(folder: Path, event: Event, uploader: Uploader) -> None:
    """Tell a run that has ended something, unless it knows."""
    if _has_told(folder, event):
        return
    try:
        with lock_ended_run(folder):
            add_events(folder, [event])
    except (OSError, HcrError) as error:
        print(f"note: run {folder.name} is not told what it is part of ({one_line(error)})", flush=True)
    uploader.finish(folder)


def _has_told(folder: Path, told: Event) -> bool:
    last: dict[str, Any] = {}
    for event, _ in read_events(folder):
        if event["event"] == told["event"]:
            last |= event["values"]
    return all(last.get(name) == value for name, value in told["values"].items())


def describe(journal: Journal, plan: Plan, board: Leaderboard, runs: Sequence[Run], lines: Sequence[str]) -> None:
    """The description of the sweep's own run in MLflow: the verdict, and where the runs are that it did not make."""
    mixed = "Mixed code: " if plan.is_mixed else ""
    told = [f"{mixed}{line}" for line in [*verdict(board), *lines]]
    firsts = [first_event(output_root() / "runs" / run.outcome.key) for run in runs if run.outcome is not None]
    older = sum(bool(first) and first.get("parent") != journal.key for first in firsts)
    text = "\n\n".join(markdown(redact(line)) for line in told)
    text += f"\n\n```\n{redact(format_table(board, MOST_SHOWN))}\n```\n"
    if older:
        text += f"\n{counted(older, 'run')} made before it: `tags.\"{REUSED_BY}.{journal.key}\" LIKE '%'` finds them.\n"
    journal.tags({DESCRIPTION: text})


def tell_best(journal: Journal, board: Leaderboard, runs: Sequence[Run], uploader: Uploader) -> None:
    """Record the best run of the best point, by its key and by its id in MLflow."""
    mates = [run for run in runs if run.planned.point_label == board.rows[0].label and run.outcome is not None]
    pick = max if board.higher_is_better else min
    best = pick(mates, key=lambda run: run.outcome.value if run.outcome is not None else 0.0)
    assert best.outcome is not None
    # The store is asked first: what was noted on upload may be of a database that is gone.
    run_id = uploader.find(journal.uri, str(journal.header["experiment"]), best.outcome.key)
    run_id = run_id or read_position(output_root() / "runs" / best.outcome.key).get("run_id")
    tags = {"hcr.best_point": board.rows[0].label} | ({"hcr.best_key": best.outcome.key} if best.outcome.key else {})
    journal.tags(tags | ({"hcr.best_run_id": str(run_id)} if run_id else {}))
