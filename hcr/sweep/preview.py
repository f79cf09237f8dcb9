"""`check_only=true` (a dry run) of a sweep: its plan, the runs it can reuse, and estimates of disk and time."""

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.table import Table

from hcr import stopping
from hcr.config import ConfigError, HcrError
from hcr.config.sweep import SweepConfig
from hcr.config.text import printable
from hcr.console import PlainConsole
from hcr.evaluation.labels import counted, counted_replicates, format_value
from hcr.gate import RunConfig
from hcr.gate.run_config import to_dict
from hcr.sweep.identity import Fingerprints, check_data
from hcr.sweep.ledger import Ledger, Run, counts, deleted_runs
from hcr.sweep.plan import Plan, changed_code, read_plan, told_changes, with_threads
from hcr.sweep.reuse import why_not_reused
from hcr.sweep.screen import duration
from hcr.sweep.search import rungs
from hcr.sweep.sweep import check_models, parts_of, sweep_folder
from hcr.sweep.tasks import time_epochs
from hcr.sweep.workers.local import CallFailed, Local

MOST_MODELS = 12  # in the table
MOST_CALIBRATED = 4  # models whose speed is measured; the others get that of the one nearest in parameters
BYTES_BESIDE_MODEL = 1_500_000  # pictures, predictions and sources of one run
BESIDE_TRAINING_S = 3.0  # building, tracing, reports and pictures of one run on one core
BESIDE_RUNS_S = 10.0  # of the sweep itself: imports, the first worker, the leaderboard and its pictures
COPIES = 2  # in the run's folder and in the store


def print_plan(
    plan: Plan,
    sweep: SweepConfig,
    configs: Sequence[RunConfig],
    fingerprints: Fingerprints,
    console: PlainConsole | None = None,
) -> None:
    """Print the plan of a sweep. Nothing is recorded; training is limited to a few steps for timing.

    Args:
        configs: of a grid, all its configs; of a search, some at the edges of the search space.
        fingerprints: of the runs; they cache the digests of the data.

    Raises:
        DataError, ConfigError: as the sweep would raise.
    """
    there = read_plan(sweep_folder(plan))
    if there is not None:
        check_data(there.data, plan)
        plan = replace(plan, runs=there.runs, parents=there.parents)
    console = console or PlainConsole()
    left: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="hcr-check-") as name:  # another process may be using the sweep's folder
        scratch = Path(name)
        with contextlib.closing(Local(scratch, 1, cfg=configs[0])) as local:
            summary = f"{sweep.n_trials} trials by {sweep.sampler}"
            if not plan.is_search:
                deleted = deleted_runs(plan.uri)
                ledger = Ledger(plan, sweep_folder(plan), fingerprints, deleted=deleted, retry_failed=False)
                left = [run for run in map(ledger.add, plan.runs) if run.is_left]
                summary = counts(ledger, len(left), is_search=False)
            sizes = check_models(local, scratch, plan, configs, stopping.check)
            speeds = _calibrate(local, scratch, plan, configs, sizes)
    _print_axes(plan, console)
    _print_models(configs, sizes, speeds, console)
    runs = [run.planned.cfg for run in left]
    if plan.is_search:
        runs = [configs[i % len(configs)] for i in range(sweep.n_trials or 0)]
    points = len({run.point for run in plan.runs})
    replicates = {run.replicate for run in plan.runs}
    size = (
        f"{points} points × {counted_replicates(replicates)} = {len(plan.runs)} runs"
        if points * len(replicates) == len(plan.runs)
        else f"{len(plan.runs)} runs of {points} points"
    )
    gpu = " and a GPU" if any(cfg.training.device == "gpu" for cfg in configs) else ""
    rows = [
        ("sweep", plan.id),
        ("runs", summary if plan.is_search else f"{size}: {summary}"),
        ("at a time", f"{plan.workers or 'as many as fit'}, with {counted(plan.threads, 'thread')}{gpu} each"),
        ("compared by", f"{plan.monitor} ({'higher' if plan.higher_is_better else 'lower'} is better)"),
    ]
    if sweep.pruner != "none":
        epochs = max(cfg.training.epochs for cfg in configs)
        rows.append(("pruning", f"{sweep.pruner}, after epochs {_listed(rungs(sweep, epochs))} of {epochs}"))
    rows += [
        ("not reused", line) for line in why_not_reused(plan, [run.planned.cfg for run in left if run.state == "new"])
    ]
    disk = sum(COPIES * (4 * sizes[parts_of(cfg)] + BYTES_BESIDE_MODEL) for cfg in runs)
    of_runs = sum(BESIDE_TRAINING_S + speeds[parts_of(cfg)] * cfg.training.epochs for cfg in runs)
    seconds = (BESIDE_RUNS_S if runs else 0) + of_runs / (plan.workers or 1)
    rows.append(("disk", f"about {disk / 1e6:,.0f} MB"))
    rows.append(
        ("time", f"at most about {duration(seconds)}, until {datetime.now() + timedelta(seconds=seconds):%a %H:%M}")
    )
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(name, value)
    console.print_table(table)
    changed = [] if there is None or sweep.allow_code_change else changed_code(there.code, plan.code)
    if changed and (plan.is_search or left):
        raise ConfigError(told_changes(changed))
    console.print("the plan is valid; nothing was trained (check_only=true)")


def _print_axes(plan: Plan, console: PlainConsole) -> None:
    axes = Table("axis", "values")
    for axis in plan.space["axes"]:
        if axis["kind"] == "choice":
            values = _listed([format_value(value) for value in axis["choices"]])
        elif axis["step"] is not None:
            values = f"{axis['low']:g} to {axis['high']:g} in steps of {axis['step']:g}"
        else:
            values = f"{axis['low']:g} to {axis['high']:g}" + (", log scale" if axis["log"] else "")
        axes.add_row(printable(axis["key"]), printable(values))
    console.print_table(axes)


def _print_models(
    configs: Sequence[RunConfig], sizes: dict[str, int], speeds: dict[str, float], console: PlainConsole
) -> None:
    different = {parts_of(cfg): cfg for cfg in configs}
    models = Table("model")
    for name in ("parameters", "s/epoch", "epochs"):
        models.add_column(name, justify="right")
    shown = sorted(different.items(), key=lambda row: sizes[row[0]])
    base = to_dict(configs[0])["model"]
    for parts, cfg in shown[:MOST_MODELS]:
        values = to_dict(cfg)["model"]
        names = [key for key in values if any(to_dict(other)["model"].get(key) != values[key] for other in configs)]
        what = " ".join(f"{key}={format_value(values[key])}" for key in names if key != "name")
        label = f"{values['name']} {what}".strip() if values != base or what else str(values["name"])
        models.add_row(printable(label), f"{sizes[parts]:,}", f"{speeds[parts]:.2g}", str(cfg.training.epochs))
    if len(shown) > MOST_MODELS:
        models.add_row(f"and {len(shown) - MOST_MODELS} more", "", "", "")
    console.print_table(models)


def _calibrate(
    local: Local, scratch: Path, plan: Plan, configs: Sequence[RunConfig], sizes: dict[str, int]
) -> dict[str, float]:
    """Seconds per epoch, by model: measured for some; the others get that of the one nearest in parameters."""
    different = {parts_of(cfg): cfg for cfg in configs}
    by_size = sorted(different, key=lambda parts: sizes[parts])
    step = max(1, (len(by_size) - 1) / (MOST_CALIBRATED - 1)) if len(by_size) > 1 else 1
    chosen = sorted({round(i * step) for i in range(MOST_CALIBRATED) if round(i * step) < len(by_size)})
    measured = {by_size[i]: 0.0 for i in chosen}
    values: list[dict[str, Any]] = []
    for parts in measured:
        cfg = to_dict(different[parts])
        values.append(cfg if plan.threads == cfg["training"]["threads"] else with_threads(cfg, plan.threads))
    try:
        found = local.call(time_epochs, values, log=scratch / "calibrate.txt", meanwhile=stopping.check)
    except CallFailed as error:
        raise HcrError(f"models cannot be timed: {error}") from error
    measured = dict(zip(measured, found, strict=True))
    nearest = {parts: min(measured, key=lambda other: abs(sizes[other] - sizes[parts])) for parts in different}
    return {parts: measured[nearest[parts]] for parts in different}


def _listed(values: Sequence[object], most: int = 12) -> str:
    shown = ", ".join(map(str, values[:most]))
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"
