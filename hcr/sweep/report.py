"""What a sweep tells of itself when it has run: its leaderboard, in numbers, pictures and sentences."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from hcr.config import HcrError
from hcr.config.errors import one_line
from hcr.config.secrets import redact
from hcr.config.text import csv_line, markdown
from hcr.config.tracking import output_root
from hcr.evaluation.leaderboard import Leaderboard, PointScores, counted, format_table, leaderboard, write_csv
from hcr.sweep.plan import Plan
from hcr.sweep.runs import Run, number_tag
from hcr.tracking.events import DESCRIPTION, Event, first_event, read_events
from hcr.tracking.journal import Journal, add_events
from hcr.tracking.lock import lock_ended_run
from hcr.tracking.status import read_position
from hcr.tracking.uploader import Uploader

MOST_SHOWN = 20  # points of the leaderboard that is printed; leaderboard.csv has all
REUSED_BY = "hcr.reused_by"  # and a sweep's key: a run's number in a sweep that did not make it


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
    return leaderboard(
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
    verdict = "\n".join(board.verdict) + "\n"
    journal.artifact("verdict.txt").write_text(verdict, encoding="utf-8")
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


def tell_means(parent: str, runs: Sequence[Run], board: Leaderboard | None, plan: Plan, delivery: Uploader) -> None:
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
            if (first := first_event(folder)).get("parent") == parent:
                _tell(folder, {"event": "metrics", "step": 0, "values": means}, delivery)
            elif first:  # of an older sweep, whose mean it has: it is found by this
                _tell(folder, {"event": "tags", "values": {f"{REUSED_BY}.{parent}": number_tag(run.planned)}}, delivery)


def _tell(folder: Path, event: Event, delivery: Uploader) -> None:
    """Tell a run that has ended something, unless it knows."""
    if _has_told(folder, event):
        return
    try:
        with lock_ended_run(folder):
            add_events(folder, [event])
    except (OSError, HcrError) as error:
        print(f"note: run {folder.name} is not told what it is part of ({one_line(error)})", flush=True)
    delivery.finish(folder)


def _has_told(folder: Path, told: Event) -> bool:
    last: dict[str, Any] = {}
    for event, _ in read_events(folder):
        if event["event"] == told["event"]:
            last |= event["values"]
    return all(last.get(name) == value for name, value in told["values"].items())


def describe(journal: Journal, plan: Plan, board: Leaderboard, runs: Sequence[Run], lines: Sequence[str]) -> None:
    """What MLflow shows above the sweep's own run: what can be said, and where the runs are that it did not make."""
    mixed = "Mixed code: " if plan.is_mixed else ""
    told = [f"{mixed}{line}" for line in [*board.verdict, *lines]]
    firsts = [first_event(output_root() / "runs" / run.outcome.key) for run in runs if run.outcome is not None]
    older = sum(bool(first) and first.get("parent") != journal.key for first in firsts)
    text = "\n\n".join(markdown(redact(line)) for line in told)
    text += f"\n\n```\n{redact(format_table(board, MOST_SHOWN))}\n```\n"
    if older:
        text += f"\n{counted(older, 'run')} made before it: `tags.\"{REUSED_BY}.{journal.key}\" LIKE '%'` finds them.\n"
    journal.tags({DESCRIPTION: text})


def tell_best(journal: Journal, board: Leaderboard, runs: Sequence[Run], delivery: Uploader) -> None:
    """Which child is the best of the best point, by its key and by its id in MLflow."""
    mates = [run for run in runs if run.planned.point_label == board.rows[0].label and run.outcome is not None]
    pick = max if board.higher_is_better else min
    best = pick(mates, key=lambda run: run.outcome.value if run.outcome is not None else 0.0)
    assert best.outcome is not None
    # The store is asked first: what was noted on delivery may be of a database that is gone.
    run_id = delivery.find(journal.uri, str(journal.header["experiment"]), best.outcome.key)
    run_id = run_id or read_position(output_root() / "runs" / best.outcome.key).get("run_id")
    tags = {"hcr.best_point": board.rows[0].label} | ({"hcr.best_key": best.outcome.key} if best.outcome.key else {})
    journal.tags(tags | ({"hcr.best_run_id": str(run_id)} if run_id else {}))
