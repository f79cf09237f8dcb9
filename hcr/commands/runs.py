"""`hcr runs`: a table of runs with what differs between them."""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.cells import chop_cells
from rich.table import Table

from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, TrackingError
from hcr.config.text import csv_line, markdown, printable
from hcr.config.tracking import output_root, tracking_uri
from hcr.console import PlainConsole, num_columns
from hcr.evaluation.labels import short_names
from hcr.gate.fingerprint import NOT_DECIDING, NOT_DECIDING_OF_DATASET
from hcr.importing import import_needed
from hcr.tracking.conditions import Condition, is_metric, number, parse_conditions, refuse_unknown
from hcr.tracking.events import WITH_MODEL, best_metric, first_event, kind_of
from hcr.tracking.finding import latest_sweep, look_up
from hcr.tracking.place import store_of
from hcr.tracking.reading import StoreRow, order_of, reading_store, search
from hcr.tracking.stored import NEWEST, StoredRun

DEFAULT_TOP = 20
SCORES = ("best/val_accuracy", "best/val_loss", "test/accuracy")
LONGEST_NAME = 16  # columns of a name in a terminal that is too narrow for all
FIRST_SETTINGS = 2  # settings that are more important than the time when a run started
MOST_SETTINGS = 6  # columns of settings in a terminal; files have all
LOWER_IS_BETTER = ("loss", "ece", "nll", "epoch", "params", "_s", "_before", "_after", "_difference", "temperature")
HIGHER_IS_BETTER = ("images_per_s",)


def main(argv: Sequence[str]) -> int:
    """Print a table of the store's runs, or of a sweep's, with the settings that differ between them.

    Raises:
        ConfigError: an option is not understood, or names what no run has.
        TrackingError: there is no such sweep, no store, or it does not answer.
    """
    parser = OneLineParser("runs", "Show the runs of the store, or of a sweep, with the settings that differ.")
    parser.add_argument("sweep", nargs="?", metavar="SWEEP", help="its parent run: a key, a run id, a name, or latest")
    parser.add_argument("--where", metavar="TEXT", help='such as "val/accuracy > 0.99 and model.depth = 3"')
    parser.add_argument("--sort", metavar="KEY", help="a metric (best first), a setting, name, status or started")
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    parser.add_argument("--top", type=int, metavar="N", help=f"show at most N runs (default {DEFAULT_TOP}; 0: all)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV, with every column that differs")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    form.add_argument("--json", action="store_true", help="print JSON, with every setting and metric")
    arguments = parser.parse_args(argv)
    conditions = parse_conditions(arguments.where) if arguments.where else ()
    if arguments.top is not None and arguments.top < 0:
        raise ConfigError(f"--top: expected 1 or more, or 0 for all, got {arguments.top}")
    is_file = arguments.csv or arguments.markdown or arguments.json
    top = arguments.top or None if arguments.top is not None or is_file else DEFAULT_TOP
    import_needed("mlflow")
    uri, sweep, is_checked = _sweep(arguments.sweep)
    with reading_store(uri) as client:
        if sweep is not None and not is_checked:
            _require_sweep(sweep, next(iter(search(client, key=sweep, top=1))).kind)
        order = _order(arguments.sort, sweep is not None, arguments.reverse)
        if sweep is not None and arguments.sort is None:
            order = _order_of_sweep(sweep, client, arguments.reverse)
        rows = search(client, conditions=conditions, sweep=sweep, order=order, top=None if top is None else top + 1)
        if not rows or (arguments.sort and all(row.value_of(arguments.sort) is None for row in rows)):
            _refuse_unknown(conditions, search(client, sweep=sweep, top=1), arguments.sort)
    shown = rows[:top]
    settings = varying(shown)
    scores = [name for name in SCORES if any(name in row.metrics for row in shown)]
    asked = [each.key for each in conditions] + ([arguments.sort] if arguments.sort else [])
    scores += [key for key in dict.fromkeys(asked) if is_metric(key) and key not in scores]
    if arguments.json:
        print(json.dumps([_plain(row) for row in shown], indent=2, ensure_ascii=False))
    elif arguments.csv:
        sys.stdout.write("".join(map(csv_line, _table(shown, settings, scores, whole=True))))
    elif arguments.markdown:
        head, *body = _table(shown, settings, scores)
        lines = [head, ["---"] * len(head), *body]
        print("\n".join("| " + " | ".join(map(markdown_cell, line)) + " |" for line in lines))
    else:
        _print(shown, settings, scores, has_more=len(rows) > len(shown))
    return 0


def varying(rows: Sequence[StoreRow]) -> list[str]:
    """The settings that differ between runs, in the order of the config; names, notes and places are left out."""
    left_out = ("tracking.", "tags.", *(f"dataset.{name}" for name in NOT_DECIDING_OF_DATASET if name != "name"))
    rows = [row for row in rows if row.kind in WITH_MODEL] or rows  # others have params of their own
    keys = dict.fromkeys(key for row in rows for key in row.params)
    found = []
    for key in keys:
        if key in NOT_DECIDING or key.startswith(left_out):
            continue
        if len({row.params[key] for row in rows if key in row.params}) > 1:
            found.append(key)
    return found


def markdown_cell(text: str) -> str:
    """A cell of a Markdown table."""
    return text if text == "---" else markdown(text)


def started(row: StoreRow) -> str:
    """When a run started, in this machine's time: "2026-11-29 09:41"."""
    return datetime.fromtimestamp(row.start_ms / 1000).strftime("%Y-%m-%d %H:%M")


def _sweep(name: str | None) -> tuple[str, str | None, bool]:
    """The store to read, the key of the sweep's parent run, and False if only the store can say whether it is one."""
    if name is None:
        return tracking_uri(None), None, True
    found = latest_sweep(output_root()) if name == "latest" else look_up(output_root(), name)
    if isinstance(found, StoredRun):
        return found.uri, found.key, False
    header = first_event(found)
    _require_sweep(found.name, kind_of(header.get("tags", {})))
    return store_of(found, header), found.name, True


def _require_sweep(key: str, kind: str) -> None:
    if kind != "sweep":
        raise TrackingError(f"run {key}: expected a sweep's parent run, got one of another kind: {kind}")


def _order(sort: str | None, is_sweep: bool, reverse: bool) -> str:
    if sort is None:
        return NEWEST.replace("DESC", "ASC") if reverse else NEWEST
    is_low_first = sort != "started"
    if is_metric(sort):
        is_low_first = sort.endswith(LOWER_IS_BETTER) and not sort.endswith(HIGHER_IS_BETTER)
    return order_of(sort, ascending=is_low_first != reverse)


def _order_of_sweep(sweep: str, client: Any, reverse: bool) -> str:
    """The order of the leaderboard: by the metric that the sweep's runs monitor."""
    some = search(client, sweep=sweep, top=1)
    metric, choose = best_metric(some[0].params.get("monitor") if some else None)
    return order_of(metric, ascending=(choose is min) != reverse)


def _refuse_unknown(conditions: Sequence[Condition], some: Sequence[StoreRow], sort: str | None) -> None:
    """Where no run was found: refuse a key that the newest run does not have."""
    if some:
        known = [*some[0].params, *some[0].metrics]
        for key in [*(each.key for each in conditions), *([sort] if sort else [])]:
            refuse_unknown(key, [*known, "started"], option="--where" if key != sort else "--sort")


def _plain(row: StoreRow) -> dict[str, object]:
    facts = {"key": row.key, "run_id": row.run_id, "name": row.name, "kind": row.kind, "status": row.status}
    times = {"start_ms": row.start_ms, "end_ms": row.end_ms}
    return {**facts, **times, "params": dict(row.params), "metrics": row.own_metrics}


def _duration(row: StoreRow) -> str:
    if row.end_ms is None:
        return ""
    seconds = (row.end_ms - row.start_ms) / 1000
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _table(
    rows: Sequence[StoreRow], settings: Sequence[str], scores: Sequence[str], *, whole: bool = False
) -> list[list[str]]:
    """The head and the lines of the table; `whole` numbers and times for machines."""
    columns: list[tuple[str, Callable[[StoreRow], str]]] = [("key", lambda row: row.key)]
    if len({row.kind for row in rows}) > 1 or whole:
        columns.append(("kind", lambda row: row.kind))
    if whole or any(map(_own_name, rows)):
        columns.append(("name", (lambda row: row.name) if whole else _own_name))
    columns.append(("status", lambda row: row.status))
    names = {key: key for key in settings} if whole else short_names(settings)
    columns += [(names[key], _setting(key)) for key in settings]
    columns += [(name, _score(name, whole=whole)) for name in scores]
    if whole:
        columns.append(("start_ms", lambda row: str(row.start_ms)))
        columns.append(("end_ms", lambda row: "" if row.end_ms is None else str(row.end_ms)))
    else:
        columns.append(("started", started))
        columns.append(("took", _duration))
    return [[name for name, _ in columns], *([cell(row) for _, cell in columns] for row in rows)]


def _own_name(row: StoreRow) -> str:
    """The name of a run that its settings do not say: its user's own, or a sweep's."""
    is_own = row.params.get("tracking.run_name", "null") != "null" or "model.name" not in row.params
    return row.name if is_own else ""


def _setting(key: str) -> Callable[[StoreRow], str]:
    return lambda row: row.params.get(key, "")


def _score(name: str, *, whole: bool) -> Callable[[StoreRow], str]:
    def cell(row: StoreRow) -> str:
        value = row.metrics.get(name)
        return "" if value is None else repr(value) if whole else f"{value:.4f}"

    return cell


def _print(rows: Sequence[StoreRow], settings: Sequence[str], scores: Sequence[str], *, has_more: bool) -> None:
    console = PlainConsole()
    if not rows:
        console.say("no run fulfils the conditions")
        return
    head, *body = _table(rows, settings[:MOST_SETTINGS], scores)
    columns = [[printable(cell) for cell in column] for column in zip(head, *body, strict=True)]
    shown = list(range(len(columns)))
    if console.is_interactive:
        columns, shown = _fitting(columns, len(settings[:MOST_SETTINGS]), len(scores), console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name, *cells in (columns[i] for i in shown):
        is_number = all(number(cell) is not None for cell in cells if cell)
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for line in range(1, len(rows) + 1):
        table.add_row(*(columns[i][line] for i in shown))
    console.print_table(table)
    if settings[MOST_SETTINGS:]:
        console.say(f"also differ: {', '.join(settings[MOST_SETTINGS:])} (--csv shows them)")
    if left_out := [printable(name) for i, name in enumerate(head) if i not in shown]:
        console.say(f"no room for: {', '.join(left_out)} (--csv shows them)")
    if has_more:
        console.say(f"the first {len(rows)}; --top 0 shows all")


def _fitting(
    columns: Sequence[Sequence[str]], num_settings: int, num_scores: int, width: int
) -> tuple[list[list[str]], list[int]]:
    """The columns of a table for a terminal of `width` columns, and which of them have room there.

    Names are cut and headings broken only where the table would be too wide as it is.
    """
    found = [list(column) for column in columns]
    num_first = len(found) - num_settings - num_scores - 2  # the last two say when it started and how long it took
    settings = list(range(num_first, num_first + num_settings))
    started, took = len(found) - 2, len(found) - 1

    def room(indices: Sequence[int]) -> int:
        return 2 + sum(max(num_columns(line) for cell in found[i] for line in cell.split("\n")) + 2 for i in indices)

    if room(range(len(found))) > width:
        for i, (name, *cells) in enumerate(found):
            if name == "name":
                cells = [_shortened(cell) for cell in cells]
            found[i] = [name.replace("/", "/\n"), *cells]
    shown = [i for i in range(started) if i not in settings]
    for i in (*settings[:FIRST_SETTINGS], started, *settings[FIRST_SETTINGS:], took):
        shown += [i] if room([*shown, i]) <= width else []
    return found, sorted(shown)


def _shortened(name: str) -> str:
    return name if num_columns(name) <= LONGEST_NAME else f"{chop_cells(name, LONGEST_NAME - 1)[0]}…"
