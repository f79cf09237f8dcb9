"""Tables as MLflow shows them: a JSON file in its own layout, and a tag that lists the run's tables.

MLflow's Artifacts page shows such a file as a table. A cell may be a picture of the run's artifacts.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hcr.tracking.events import Event, read_events
from hcr.tracking.journal import Journal

LISTED = "mlflow.loggedArtifacts"  # tag with the run's tables, as JSON
Columns = Mapping[str, Sequence[Any]]


def record_table(journal: Journal, path: str, columns: Columns) -> None:
    """Record a table as the artifact `path`, which ends in .json; a table that is recorded again replaces itself.

    Args:
        columns: as for `table_text`.
    """
    journal.artifact(path).write_text(table_text(columns), encoding="utf-8")
    journal.artifact_written(path)
    journal.tags(listed(journal.folder, [path]))


def table_text(columns: Columns) -> str:
    """The text of a table's file, with numbers of 6 digits; one that is not finite is text, for JSON has none.

    Args:
        columns: values by heading, all of one length: text, numbers, None, or a `picture_cell`. A heading has no dot:
            MLflow would look for a value inside the cell's, and show none.
    """
    assert not any("." in heading for heading in columns), list(columns)
    rows = [[_plain(value) for value in row] for row in zip(*columns.values(), strict=True)]
    return json.dumps({"columns": list(columns), "data": rows}, ensure_ascii=False, allow_nan=False)


def picture_cell(path: str) -> dict[str, str]:
    """A cell that shows the artifact `path`, a PNG file."""
    return {"type": "image", "filepath": path, "compressed_filepath": path}


def listed(folder: Path, paths: Iterable[str]) -> dict[str, str]:
    """The tag that lists the tables of the run in `folder`: those that its journal has, and `paths`."""
    events = (event for event, _ in read_events(folder))
    found = [entry["path"] for event in events for entry in _entries(event)]
    every = dict.fromkeys([*found, *paths])
    return {LISTED: json.dumps([{"path": path, "type": "table"} for path in every])}


def _entries(event: Event) -> list[dict[str, str]]:
    values = event["values"] if event["event"] == "tags" else {}
    return list(json.loads(values.get(LISTED, "[]")))


def _plain(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)
