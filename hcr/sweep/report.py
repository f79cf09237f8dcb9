"""The parent run of a sweep: its plan, its progress, and its leaderboard at the end."""

import json
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from hcr.config import ConfigError, HcrError, TrackingError
from hcr.config.errors import one_line
from hcr.config.replicates import Replicate
from hcr.config.secrets import override_without_secrets, redact, without_secrets
from hcr.config.text import csv_line, markdown
from hcr.config.tracking import output_root
from hcr.evaluation.calibration import scale
from hcr.evaluation.image_scores import ImageScores, correctness, losses
from hcr.evaluation.labels import counted
from hcr.evaluation.ranking import Leaderboard, PointScores, kind_of, rank
from hcr.evaluation.statistics import Kind
from hcr.evaluation.table import format_table, write_csv
from hcr.evaluation.verdict import verdict
from hcr.gate import RunConfig
from hcr.record import source_tags
from hcr.recorded_sweep import REUSED_BY, REUSED_POINT, SWEEP_ID
from hcr.sweep.ledger import Ledger, Outcome, Run, number_tag, point_name
from hcr.sweep.plan import PLAN, Plan, PlannedRun
from hcr.sweep.shown import choices_of, leaderboard_table, links_of, views_of
from hcr.tracking.events import ARTIFACTS, DESCRIPTION, JOURNAL, KIND, Event, first_event, read_events
from hcr.tracking.journal import DatasetFacts, Journal, add_events
from hcr.tracking.lock import lock_ended_run
from hcr.tracking.status import read_position
from hcr.tracking.tables import record_table
from hcr.tracking.uploader import Uploader
from hcr.tracking.views import IN_SWEEP

if TYPE_CHECKING:
    from hcr.sweep.confirm import Confirmation

MOST_SHOWN = 20  # points of the leaderboard that is printed; leaderboard.csv has all
VALIDATION = "predictions/val.npz"


def begin_run(journal: Journal, plan: Plan, folder: Path, configs: Sequence[RunConfig]) -> None:
    """Start or resume the parent run.

    Args:
        folder: the sweep's, with its plan.
        configs: of its runs, or of some of them.

    Raises:
        ConfigError: another process is uploading it.
    """
    own = plan.parents[-1]
    there = output_root() / "runs" / own
    if _has_begun(there):
        try:
            journal.resume(there, reopen=True)
        except BlockingIOError:
            raise ConfigError(
                f"another process is uploading this sweep's parent run {own}; wait until it has finished"
            ) from None
    else:
        shutil.rmtree(there, ignore_errors=True)  # left by a kill before its first event
        command = shlex.join(["hcr", "train", "-m", *map(override_without_secrets, plan.command)])
        tags = {KIND: "sweep", "hcr.sweep": own, SWEEP_ID: plan.id, **source_tags(command)}
        tags[DESCRIPTION] = links_of(views_of(plan, configs))
        journal.begin(name=redact(plan.name), tags=tags, key=own)
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
    journal.views(views_of(plan, configs))
    workers = {} if plan.workers is None else {"hcr.workers": str(plan.workers)}
    journal.tags(workers | ({"hcr.mixed_code": "true"} if plan.is_mixed else {}))
    shown = without_secrets(json.loads((folder / PLAN).read_text(encoding="utf-8")))
    journal.artifact(PLAN).write_text(json.dumps(shown, indent=1), encoding="utf-8")
    journal.artifact_written(PLAN)


def record_progress(journal: Journal, ledger: Ledger) -> None:
    """Record the sweep's progress, without its confirmation."""
    states = [other.state for other in ledger.candidates]
    done = {name: states.count(name) for name in ("finished", "reused", "pruned", "failed")}
    values = {
        "sweep/finished": float(done["finished"] + done["reused"]),
        "sweep/pruned": float(done["pruned"]),
        "sweep/failed": float(done["failed"]),
    }
    journal.metrics(values, step=sum(done.values()))


def record_end(
    journal: Journal,
    plan: Plan,
    board: Leaderboard | None,
    ledger: Ledger,
    confirming: Sequence[Run],
    confirmed: "Confirmation | None",
    importances: Mapping[str, float] | None,
    num_left: int,
) -> None:
    """Record the result of the sweep and its status: FINISHED only if no run is missing."""
    lines = confirmed.lines() if confirmed is not None else []
    if board is not None:
        runs = [*ledger.candidates, *confirming]
        record_datasets(journal, runs)
        record_board(journal, plan, board, runs, importances)
        describe(journal, plan, board, runs, lines)
    if confirmed is not None:
        record_confirmation(journal, plan, confirmed.board, lines)
    failed = sum(run.state == "failed" for run in ledger.candidates)
    if failed:
        journal.tags({"hcr.error": f"{failed} of {len(ledger.candidates)} runs failed"})
        journal.end("FAILED")
    elif num_left:
        journal.tags({"hcr.error": f"incomplete: {counted(num_left, 'run')} left"})
        journal.end("KILLED")


def _has_begun(run: Path) -> bool:
    """True if the run's journal has a complete first event."""
    try:
        return b"\n" in (run / JOURNAL).read_bytes()
    except FileNotFoundError:
        return False


def points_of(runs: Iterable[Run]) -> list[PointScores]:
    """The scores of each point, in order of the plan, without refused points.

    A search may propose the same values twice: they count as one point, with the run that finished.
    """
    by_point: dict[str, list[Run]] = {}
    for run in sorted((run for run in runs if run.state != "refused"), key=lambda run: run.planned.number):
        mates = by_point.setdefault(run.planned.point_label, [])
        if run.planned.phase != "search" or not mates:
            mates.append(run)
        elif mates[0].outcome is None:  # the earlier one was pruned or failed
            mates[0] = run
    points = []
    for of_point in by_point.values():
        done = [run for run in of_point if run.outcome is not None]
        outcomes = [run.outcome for run in done if run.outcome is not None]
        points.append(
            PointScores(
                label=of_point[0].planned.point_label,
                values=of_point[0].planned.values,
                scores={run.planned.replicate: run.outcome.value for run in done if run.outcome is not None},
                num_planned=len(of_point),
                num_folds=_num_folds([run.planned for run in of_point]),
                num_failed=sum(run.state == "failed" for run in of_point),
                num_pruned=sum(run.state == "pruned" for run in of_point),
                num_params=outcomes[0].num_params if outcomes else None,
                train_s=mean(outcome.train_s for outcome in outcomes) if outcomes else None,
            )
        )
    return points


def _num_folds(runs: Sequence[PlannedRun]) -> int | None:
    """The number of folds of a point's cross-validation; None if its runs have no fold, or all the same."""
    return runs[0].num_folds if len({run.replicate.fold for run in runs}) > 1 else None


def board_of(plan: Plan, runs: Sequence[Run], *, allow_incomplete: bool) -> Leaderboard | None:
    """The leaderboard, tested with the scores of validation images if they are here; None if no run has finished."""
    points = points_of(runs)
    if not any(point.scores for point in points):
        return None
    points, why = with_images(points, runs, plan.monitor)
    return rank(
        points,
        monitor=plan.monitor,
        higher_is_better=plan.higher_is_better,
        allow_incomplete=allow_incomplete,
        no_images_why=why,
    )


def with_images(
    points: Sequence[PointScores], runs: Sequence[Run], monitor: str
) -> tuple[list[PointScores], str | None]:
    """The points with the scores of their runs' validation images, or as they are and why; all of them or none.

    Of each run only one number an image is kept.
    """
    if all(point.num_folds is not None for point in points):  # a cross-validation is tested by its folds
        return list(points), None
    if kind_of(monitor) is Kind.OTHER:
        return list(points), f"{monitor} is not a mean over images"
    found: dict[str, dict[Replicate, ImageScores]] = {}
    reasons = []
    for run in runs:
        if run.outcome is None:
            continue
        try:
            found.setdefault(run.planned.point_label, {})[run.planned.replicate] = validation_scores(
                run.outcome, monitor
            )
        except TrackingError as error:
            reasons.append(str(error))
    if len({_data_of(run) for run in runs if run.outcome is not None}) > 1:
        return list(points), "the runs were validated on different data sets"
    if reasons:
        total = sum(run.outcome is not None for run in runs)
        return list(points), f"{len(reasons)} of {counted(total, 'run')}, such as {reasons[0]}"
    return [replace(point, images=found.get(point.label, {})) for point in points], None


def _data_of(run: Run) -> str:
    """The digest of the data set of a finished run."""
    assert run.outcome is not None
    return str(first_event(output_root() / "runs" / run.outcome.key).get("tags", {}).get("hcr.dataset_digest"))


def validation_scores(outcome: Outcome, monitor: str) -> ImageScores:
    """The monitored metric of each validation image of a finished run, from its predictions on this machine.

    Raises:
        TrackingError: they are not here, are damaged, or their mean is not the run's score.
    """
    path = output_root() / "runs" / outcome.key / ARTIFACTS / VALIDATION
    try:
        with np.load(path) as arrays:
            probabilities, labels = arrays["probabilities"], arrays["labels"]
            if outcome.temperature != 1:  # runs are compared by what they were before their calibration
                probabilities = scale(probabilities, 1 / outcome.temperature)
            is_loss = kind_of(monitor) is Kind.LOSS
            values = (losses if is_loss else correctness)(probabilities, labels).astype(np.float32)
            groups = arrays["groups"].astype(np.int32) if "groups" in arrays else None
            scores = ImageScores(arrays["index"].astype(np.int32), values, groups)
    except FileNotFoundError:
        raise TrackingError(f"{outcome.key}, whose predictions are not on this machine") from None
    except Exception as error:  # damaged: NumPy and zip raise many types
        raise TrackingError(f"{outcome.key}, whose predictions cannot be read ({one_line(error)})") from error
    if not np.isclose(scores.mean, outcome.value, rtol=1e-3, atol=1e-6):
        raise TrackingError(
            f"{outcome.key}, whose predictions give {monitor} {scores.mean:.6g}, not {outcome.value:.6g}"
        )
    return scores


def record_board(
    journal: Journal, plan: Plan, board: Leaderboard, runs: Sequence[Run], importances: Mapping[str, float] | None
) -> None:
    """Record the points in the parent run: metrics, `leaderboard.csv`, `runs.csv`, the verdict and pictures."""
    metric = f"point/mean_{plan.monitor.replace('/', '_')}"  # not the children's name: MLflow sorts those
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
    record_table(journal, "leaderboard.json", leaderboard_table(board))
    _write_runs(journal, runs)
    journal.artifact("verdict.txt").write_text("\n".join(verdict(board)) + "\n", encoding="utf-8")
    journal.artifact_written("verdict.txt")
    _record_pictures(journal, plan, board, runs, importances)


def record_datasets(journal: Journal, runs: Sequence[Run]) -> None:
    """Record the data sets of the finished runs as inputs of the parent run, each once."""
    found: dict[tuple[str, str], DatasetFacts] = {}
    for folder in [output_root() / "runs" / run.outcome.key for run in runs if run.outcome is not None]:
        try:
            events = [event for event, _ in read_events(folder) if event["event"] == "datasets"]
        except (OSError, TrackingError):  # of a run that is only in the store
            continue
        for facts in (facts for event in events for facts in event["datasets"]):
            found.setdefault((facts["digest"], facts["context"]), DatasetFacts(**facts))
    if found:
        journal.datasets(list(found.values()))


def record_confirmation(journal: Journal, plan: Plan, board: Leaderboard, lines: Sequence[str]) -> None:
    """Record the results of the best points on fresh seeds in the parent run."""
    write_csv(board, journal.artifact("confirmation.csv"))
    journal.artifact_written("confirmation.csv")
    journal.artifact("confirmation.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    journal.artifact_written("confirmation.txt")
    best = board.rows[0]
    if best.mean is not None:
        journal.metrics({f"confirmed/mean_{plan.monitor.replace('/', '_')}": best.mean}, step=best.n)
    journal.tags({"hcr.confirmed_point": best.label})


def _write_runs(journal: Journal, runs: Sequence[Run]) -> None:
    """Write `runs.csv`: every run of the sweep, including reused ones of other sweeps."""
    with journal.artifact("runs.csv").open("w", newline="", encoding="utf-8") as file:
        names = "number point overrides seed fold state run value epochs train_s why"
        file.write(csv_line(names.split()))
        for run in runs:
            planned, outcome = run.planned, run.outcome
            found = [outcome.key, outcome.value, outcome.epochs, round(outcome.train_s, 3)] if outcome else [None] * 4
            own = [planned.number + 1, planned.point + 1, planned.label, *planned.replicate]
            file.write(csv_line([*own, run.state, *found, run.why]))
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
    """The base point, and for each axis the points that differ from it there."""
    points = points_of(runs)
    base = next(point for point in points if not point.values)
    effects: dict[str, list[tuple[object, PointScores]]] = {}
    for point in points:
        for axis, value in point.values.items():
            effects.setdefault(axis, []).append((value, point))
    return replace(base, values=plan.base), effects


def record_means(runs: Sequence[Run], board: Leaderboard | None, plan: Plan, uploader: Uploader) -> None:
    """Record each point's mean in its runs, so that sorting MLflow's table gives the leaderboard.

    A reused run gets tags that find it; one of another sweep keeps its mean there.
    """
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
            parent, first = plan.parents[-1], first_event(folder)
            if first.get("parent") in (None, parent) and first:
                _append(folder, {"event": "metrics", "step": 0, "values": means}, uploader)
            if first and first.get("parent") != parent:  # of another sweep or command: the tags find it
                number = number_tag(run.planned)
                name = point_name(run.planned, plan)
                point = str(run.planned.point + 1)
                marks = {f"{REUSED_BY}.{parent}": number, f"{REUSED_POINT}.{parent}": point}
                marks[f"{IN_SWEEP}.{parent}"] = name
                _append(folder, {"event": "tags", "values": choices_of(run.planned) | marks}, uploader)


def _append(folder: Path, event: Event, uploader: Uploader) -> None:
    """Append `event` to the journal of an ended run, unless it is there already."""
    if _is_recorded(folder, event):
        return
    try:
        with lock_ended_run(folder):
            add_events(folder, [event])
    except (OSError, HcrError) as error:
        print(f"note: run {folder.name} was not marked as part of this sweep ({one_line(error)})", flush=True)
    uploader.finish(folder)


def _is_recorded(folder: Path, wanted: Event) -> bool:
    last: dict[str, Any] = {}
    for event, _ in read_events(folder):
        if event["event"] == wanted["event"]:
            last |= event["values"]
    return all(last.get(name) == value for name, value in wanted["values"].items())


def describe(journal: Journal, plan: Plan, board: Leaderboard, runs: Sequence[Run], lines: Sequence[str]) -> None:
    """Write the parent run's description in MLflow: the verdict, the leaderboard, and how to find reused runs."""
    mixed = "Mixed code: " if plan.is_mixed else ""
    sentences = [f"{mixed}{line}" for line in [*verdict(board), *lines]]
    firsts = [first_event(output_root() / "runs" / run.outcome.key) for run in runs if run.outcome is not None]
    older = sum(bool(first) and first.get("parent") != journal.key for first in firsts)
    text = "\n\n".join([links_of(journal.shared_views), *(markdown(redact(line)) for line in sentences)])
    text += f"\n\n```\n{redact(format_table(board, MOST_SHOWN))}\n```\n"
    if older:
        text += f"\n{counted(older, 'reused run')}: `tags.\"{REUSED_BY}.{journal.key}\" LIKE '%'` finds them.\n"
    journal.tags({DESCRIPTION: text})


def record_best(journal: Journal, board: Leaderboard, runs: Sequence[Run], uploader: Uploader) -> None:
    """Record the best run of the best point in the parent run, by its key and its MLflow run id."""
    mates = [run for run in runs if run.planned.point_label == board.rows[0].label and run.outcome is not None]
    pick = max if board.higher_is_better else min
    best = pick(mates, key=lambda run: run.outcome.value if run.outcome is not None else 0.0)
    assert best.outcome is not None
    # Ask the store first: the id noted at upload may belong to a database that no longer exists.
    run_id = uploader.find(journal.uri, str(journal.header["experiment"]), best.outcome.key)
    run_id = run_id or read_position(output_root() / "runs" / best.outcome.key).get("run_id")
    tags = {"hcr.best_point": board.rows[0].label} | ({"hcr.best_key": best.outcome.key} if best.outcome.key else {})
    journal.tags(tags | ({"hcr.best_run_id": str(run_id)} if run_id else {}))
