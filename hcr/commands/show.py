"""`hcr show`: one run in one screen."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hcr.commands.arguments import OneLineParser
from hcr.commands.runs import started
from hcr.config.text import printable
from hcr.config.tracking import output_root
from hcr.console import PlainConsole, wrap
from hcr.evaluation.sparkline import sparkline
from hcr.importing import import_needed
from hcr.tracking.events import ARTIFACTS, MODEL_RUN, WITH_MODEL, first_event, last_event
from hcr.tracking.finding import look_up
from hcr.tracking.place import store_of
from hcr.tracking.reading import StoreRow, artifact_text, history_of, reading_store, search
from hcr.tracking.status import is_delivered
from hcr.tracking.stored import StoredRun

INDENT = 12  # columns before a fact
CURVES = ("train/loss", "val/loss", "val/accuracy")
REPORT = "reports/classification_report.json"
MOST_CONFUSIONS = 3
SCORES = ("best/val_accuracy", "best/val_loss", "test/accuracy", "test/loss", "test/macro_f1", "test/ece")


def main(argv: Sequence[str]) -> int:
    """Print a run's state, what it changed, its scores and curves, its confusions, and what can be done next.

    Raises:
        TrackingError: no run or several match, or the store does not answer.
    """
    parser = OneLineParser("show", "Show one run: its state, its scores, its worst confusions, and what to do next.")
    parser.add_argument("run", metavar="RUN", help="a key, a run id, a run name, latest, best, or models:/NAME@ALIAS")
    arguments = parser.parse_args(argv)
    found = look_up(output_root(), arguments.run)
    import_needed("mlflow")
    folder = None if isinstance(found, StoredRun) else found
    uri = found.uri if isinstance(found, StoredRun) else store_of(found, first_event(found))
    key = found.key if isinstance(found, StoredRun) else found.name
    with reading_store(uri) as client:
        row = next(iter(search(client, key=key, top=1)), None)
        if row is None:
            return _print_unknown(key, folder)
        curves = history_of(client, row.run_id, [name for name in CURVES if name in row.metrics])
        children = search(client, sweep=key) if row.kind == "sweep" else []
        report = _report(client, row, folder)
    facts = _state(row, folder) | _made_of(row, children)
    facts |= _scores(row) | _curves(curves) | _confusions(report) | _places(row, folder)
    facts["next"] = _next(row)
    console = PlainConsole()
    console.print(printable(f"{row.key}  {row.name}"), style="bold")
    for name, lines in facts.items():
        for line in [lines] if isinstance(lines, str) else lines:
            for part in wrap(printable(line), max(40, console.width - INDENT)) if "▁" not in line else [line]:
                console.print(f"{name:<{INDENT}}{part}".rstrip())
                name = ""
    return 0


Facts = dict[str, str | list[str]]


def _print_unknown(key: str, folder: Path | None) -> int:
    """A run that the store does not have: say what its journal says."""
    status = last_event(folder).get("status", "still running, or its process died") if folder else "unknown"
    print(f"run {key} is not in the store: {status}; `hcr sync` uploads what is missing")
    return 1


def _state(row: StoreRow, folder: Path | None) -> Facts:
    why = row.tags.get("hcr.pruned") or row.tags.get("hcr.error") or ""
    took = "" if row.end_ms is None else f", took {(row.end_ms - row.start_ms) / 1000:,.0f} s"
    upload = "" if folder is None or is_delivered(folder) else "; its upload is not complete"
    state = f"{row.status}{f' ({why})' if why else ''}; started {started(row)}{took}{upload}"
    return {"status": state}


def _made_of(row: StoreRow, children: Sequence[StoreRow]) -> Facts:
    command = row.tags.get("mlflow.source.name", "")
    facts: Facts = {"command": command} if command else {}
    if children:
        states = [child.status for child in children]
        facts["runs"] = ", ".join(f"{states.count(each)} {each}" for each in dict.fromkeys(states))
    if "model.name" in row.params:
        images = json.loads(row.tags.get("hcr.images", "{}"))
        counts = ", ".join(f"{number:,} {name}" for name, number in images.items())
        facts["data"] = row.params.get("dataset.name", "?") + (f": {counts} images" if counts else "")
        size = f", {row.metrics['model/params']:,.0f} parameters" if "model/params" in row.metrics else ""
        facts["model"] = f"{row.params.get('model.name', '?')}{size}"
    return facts


def _scores(row: StoreRow) -> Facts:
    shown = [f"{name} {row.metrics[name]:.4f}" for name in SCORES if name in row.metrics]
    epoch = row.metrics.get("best/epoch")
    looks = row.tags.get("hcr.test_looks", "0")
    facts: Facts = {}
    if shown:
        at = f" (epoch {epoch:.0f})" if epoch is not None else ""
        facts["scores"] = ", ".join(shown) + at
        if row.kind in WITH_MODEL:
            facts["test"] = "not scored" if looks == "0" else f"looked at {looks} time{'s' * (looks != '1')}"
    return facts


def _curves(curves: Mapping[str, Mapping[int, float]]) -> Facts:
    lines = []
    for name, steps in curves.items():
        values = [steps[step] for step in sorted(steps)]
        lines.append(f"{name:<13}{sparkline(values)}  {values[0]:.4f} to {values[-1]:.4f}")
    return {"curves": lines} if lines else {}


def _confusions(report: Mapping[str, Any] | None) -> Facts:
    if report is None:
        return {}
    names = [score["name"] for score in report["classes"]]
    pairs = [
        (count, names[actual], names[predicted])
        for actual, counts in enumerate(report["confusion"])
        for predicted, count in enumerate(counts)
        if actual != predicted and count
    ]
    pairs.sort(key=lambda pair: -pair[0])
    told = [f"{actual} taken for {predicted} ({count})" for count, actual, predicted in pairs[:MOST_CONFUSIONS]]
    part = {"val": "validation", "test": "test"}.get(report.get("scored_on", ""), "")
    wrong = sum(count for count, _, _ in pairs)
    return {"confused": f"{', '.join(told) or 'nothing'}; {wrong} of {report['num_images']:,} {part} images wrong"}


def _report(client: Any, row: StoreRow, folder: Path | None) -> Mapping[str, Any] | None:
    """The classification report, from the run's folder or the store; None if it has none."""
    local = None if folder is None else folder / ARTIFACTS / REPORT
    if row.status != "FINISHED" or row.kind == "sweep":
        return None
    if local is not None and local.is_file():
        return dict(json.loads(local.read_text(encoding="utf-8")))
    text = artifact_text(client, row.run_id, REPORT)
    return None if text is None else dict(json.loads(text))


def _places(row: StoreRow, folder: Path | None) -> Facts:
    facts: Facts = {}
    if folder is not None:
        facts["folder"] = str(folder)
    facts["mlflow"] = [f"run id {row.run_id}", f"see it in MLflow: hcr ui {row.key}"]
    return facts


def _next(row: StoreRow) -> list[str]:
    """Commands that make sense for a run in this state."""
    key = shlex.quote(row.key)
    if row.kind == "sweep":
        return [f"hcr runs {key}  # its runs as a table", f"hcr ensemble {key} --top 3  # one model of the best"]
    if row.status == "RUNNING":
        return [f"hcr show {key}  # again, while it trains"]
    if row.kind not in WITH_MODEL:
        return [f"hcr show {shlex.quote(row.tags[MODEL_RUN])}  # the run of its model"] if MODEL_RUN in row.tags else []
    if row.status != "FINISHED":
        return [f"hcr train resume={key}  # from its last epoch"] if row.kind == "train" else []
    return [f"hcr plots {key}  # its pictures", f"hcr predict {key} IMAGE  # what it reads in an image"]
